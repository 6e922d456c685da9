// What a record costs: the budget is about 1 us, the write(2) included.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "supervisor/audit/writer.h"

namespace {

using namespace secbox::audit;

SinkIdentity identity() {
  return {
      .session = "8f3a2b1c", .plugin = "embedder", .version = "1.2.0", .mode = "enforce", .user_id = 1000};
}

Record opened() {
  Record record;
  record.event = "file_open";
  record.op = "open";
  record.syscall = "openat";
  record.permission = "file:read";
  record.verdict = Verdict::Allow;
  record.result = "ok";
  record.reason = "granted";
  record.rule = RuleRef{
      .id = "m3", .layer = "manifest", .file = "plugin.json", .line = 12, .text = "file:read:/usr/**"};
  record.enforcement = Enforcement::SameObject;
  record.target.path = "/usr/lib/python3.11/site-packages/package/module/__init__.py";
  record.resolved_target = record.target.path;
  record.dev = 66305;
  record.ino = 1234567;
  record.flags = 0x80000;
  record.pid = 4121;
  record.tid = 4121;
  record.ppid = 4100;
  record.exe = "/usr/bin/python3.11";
  record.comm = "python3.11";
  record.duration_ns = 3456;
  return record;
}

void EncodeRecord(benchmark::State& state) {
  Encoder encoder(identity());
  const Record record = opened();
  Line line;
  Stamp stamp{.seq = 0, .realtime = {1773570645, 0}, .mono_ns = 123456789};
  for (auto _ : state) {
    ++stamp.seq;
    encoder.encode(record, line);
    benchmark::DoNotOptimize(encoder.stamp(line, stamp));
  }
  state.counters["line_bytes"] = static_cast<double>(encoder.stamp(line, stamp).size());
}
BENCHMARK(EncodeRecord);

// Encode, clocks, lock, count and a write(2) that does nothing.
void WriteRecordToNull(benchmark::State& state) {
  auto sink = open_sink("/dev/null", identity());
  const Record record = opened();
  for (auto _ : state) benchmark::DoNotOptimize((*sink)->write(record));
}
BENCHMARK(WriteRecordToNull);

void WriteRecordToFile(benchmark::State& state) {
  static std::unique_ptr<CountingSink> sink;
  if (state.thread_index() == 0) {
    const char* directory = std::getenv("TMPDIR");
    std::string name = std::string(directory != nullptr ? directory : "/tmp") + "/secbox-bench-XXXXXX";
    const int fd = ::mkstemp(name.data());
    sink = std::move(*open_sink("fd:" + std::to_string(fd), identity()));
    ::close(fd);
    ::unlink(name.c_str());
  }
  const Record record = opened();
  for (auto _ : state) benchmark::DoNotOptimize(sink->write(record));
}
// A fixed count: the file would grow with the time.
BENCHMARK(WriteRecordToFile)->Iterations(200000);
BENCHMARK(WriteRecordToFile)->Iterations(100000)->Threads(2)->UseRealTime();

void CountRecord(benchmark::State& state) {
  NullSink sink;
  const Record record = opened();
  for (auto _ : state) benchmark::DoNotOptimize(sink.write(record));
}
BENCHMARK(CountRecord);

}  // namespace
