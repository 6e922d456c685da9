#include "supervisor/audit/encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "supervisor/audit/json_text.h"
#include "tests/unit/audit/support.h"

namespace secbox::audit {
namespace {

using nlohmann::json;

TEST(Encoder, ADenialLooksLikeThis) {
  EXPECT_EQ(
      encoded(denied_open()),
      R"({"schema":"urn:secbox:schema:audit:1","timestamp":"2026-03-15T10:30:45.123456Z","seq":17,"mono_ns":42,)"
      R"("session":"8f3a","plugin":"custom-embedder","version":"1.2.0","user_id":1000,"mode":"enforce",)"
      R"("event":"file_open","op":"open","syscall":"openat","permission":"file:read","permissions_used":[],)"
      R"("decision":"deny","result":"EACCES","errno":13,"errno_name":"EACCES","reason":"no grant matches",)"
      R"("rule":{"id":"default","layer":"default"},"target":{"path":"/home/ana/.aws/credentials"},)"
      R"("resolved_target":"/home/ana/.aws/credentials","pid":4121,"tid":4122,"ppid":4100,)"
      R"("exe":"/usr/bin/python3.11","comm":"python3.11","duration_ms":0.012})"
      "\n");
}

TEST(Encoder, EveryMemberHasItsKey) {
  const std::vector<std::string> argv = {"git", "status"};
  const std::vector<std::string> env_names = {"PATH"};
  const std::vector<std::pair<std::string, std::string>> extra = {{"counts", "{\"allow\":3}"}};
  Record record = denied_open("/a");
  record.verdict = Verdict::Allow;
  record.permission = "file:create|delete";
  record.err = 0;
  record.result = "ok";
  record.rule =
      RuleRef{.id = "m3", .layer = "manifest", .file = "plugin.json", .line = 12, .text = "file:read:/a"};
  record.target.path2 = "/b";
  record.target.host = "api.example.com";
  record.target.ip = "93.184.216.34";
  record.target.port = 443;
  record.target.transport = "tcp";
  record.target.abstract_name = "bus";
  record.target.name = "HOME";
  record.target.pid = 7;
  record.resolved_target2 = "/c";
  record.dev = 66;
  record.ino = UINT64_MAX;
  record.flags = 0x80000;
  record.enforcement = Enforcement::FloorBounded;
  record.cwd = "/srv";
  record.caller = CallerRef{.module = "/lib/libx.so",
                            .offset = 0x11d9,
                            .function = "steal",
                            .build_id = "c0ffee",
                            .call = "open64",
                            .host = "a.example",
                            .command = "ls",
                            .library = "libz.so",
                            .from_shim = true,
                            .checked = true,
                            .invalid_claim = false};
  record.argv = argv;
  record.env_names = env_names;
  record.extra = extra;
  record.duration_ns = 1'002'003'004;
  const json line = parsed(encoded(record));
  EXPECT_EQ(line["decision"], "allow");
  EXPECT_EQ(line["permissions_used"], (json{"file:create", "file:delete"}));
  EXPECT_EQ(line["rule"], (json{{"id", "m3"},
                                {"layer", "manifest"},
                                {"file", "plugin.json"},
                                {"line", 12},
                                {"text", "file:read:/a"}}));
  EXPECT_EQ(line["target"], (json{{"path", "/a"},
                                  {"to", "/b"},
                                  {"host", "api.example.com"},
                                  {"ip", "93.184.216.34"},
                                  {"port", 443},
                                  {"transport", "tcp"},
                                  {"abstract_name", "bus"},
                                  {"name", "HOME"},
                                  {"pid", 7}}));
  EXPECT_EQ(line["resolved_target2"], "/c");
  EXPECT_EQ(line["object"], (json{{"dev", 66}, {"ino", UINT64_MAX}}));
  EXPECT_EQ(line["flags"], 0x80000);
  EXPECT_EQ(line["enforcement"], "landlock-floor");
  EXPECT_EQ(line["cwd"], "/srv");
  EXPECT_EQ(line["caller"], (json{{"module", "/lib/libx.so"},
                                  {"offset", 0x11d9},
                                  {"function", "steal"},
                                  {"build_id", "c0ffee"},
                                  {"call", "open64"},
                                  {"host", "a.example"},
                                  {"command", "ls"},
                                  {"library", "libz.so"},
                                  {"source", "shim"},
                                  {"checked", true}}));
  EXPECT_EQ(line["argv"], (json{"git", "status"}));
  EXPECT_EQ(line["env_names"], (json{"PATH"}));
  EXPECT_EQ(line["counts"], (json{{"allow", 3}}));
  EXPECT_DOUBLE_EQ(line["duration_ms"], 1002.003);
  EXPECT_FALSE(line.contains("errno"));
}

TEST(Encoder, ACallerThatIsNowhereIsSaidToBe) {
  Record record = denied_open("/a");
  record.caller = CallerRef{.offset = 4096, .invalid_claim = true};
  EXPECT_EQ(parsed(encoded(record))["caller"],
            (json{{"module", nullptr},
                  {"absent_reason", "module: no file's code is at the address"},
                  {"offset", 4096},
                  {"function", nullptr},
                  {"build_id", nullptr},
                  {"source", "instruction"},
                  {"checked", false},
                  {"invalid_claim", true}}));
}

TEST(Encoder, AnEmptyDenialStillHasWhatEveryDenialHas) {
  Record record;
  record.verdict = Verdict::Deny;
  record.op = "mount";
  record.syscall = "mount";
  const json line = parsed(encoded(record));
  for (const char* key :
       {"schema", "timestamp", "seq", "event", "plugin", "version", "permissions_used", "result",
        "duration_ms", "user_id", "op", "target", "decision", "rule", "errno", "pid"}) {
    EXPECT_TRUE(line.contains(key)) << key;
  }
  EXPECT_EQ(line["target"], (json{{"name", "mount"}}));
  EXPECT_EQ(line["rule"], (json{{"id", "default"}, {"layer", "default"}}));
  EXPECT_TRUE(line["pid"].is_null());
  EXPECT_TRUE(line.contains("absent_reason"));
  EXPECT_TRUE(line["duration_ms"].is_null());
}

TEST(Encoder, ASessionRecordHasNoDecision) {
  Record record;
  record.event = "session_start";
  record.op = "session";
  const json line = parsed(encoded(record));
  EXPECT_EQ(line["result"], "ok");
  for (const char* key : {"decision", "rule", "target", "pid", "errno", "enforcement"})
    EXPECT_FALSE(line.contains(key)) << key;
}

TEST(Encoder, AWouldBeDenialIsOneThatWasUsed) {
  Record record = denied_open();
  record.verdict = Verdict::WouldDeny;
  record.err = 0;
  record.result = "ok";
  const json line = parsed(encoded(record));
  EXPECT_EQ(line["decision"], "would_deny");
  EXPECT_EQ(line["permissions_used"], (json{"file:read"}));
}

TEST(Encoder, AnUnnamedVersionIsNull) {
  SinkIdentity nameless = identity();
  nameless.version.clear();
  Encoder encoder(nameless);
  Line line;
  encoder.encode(denied_open(), line);
  EXPECT_TRUE(parsed(encoder.stamp(line, {}))["version"].is_null());
}

TEST(Encoder, TimestampsAreUtcWithMicroseconds) {
  Encoder encoder(identity());
  Line line;
  const std::pair<timespec, const char*> rows[] = {{{0, 0}, "1970-01-01T00:00:00.000000Z"},
                                                   {{951782399, 999999999}, "2000-02-28T23:59:59.999999Z"},
                                                   {{951782400, 1000}, "2000-02-29T00:00:00.000001Z"},
                                                   {{951782400, 999}, "2000-02-29T00:00:00.000000Z"}};
  for (const auto& [time, text] : rows) {
    encoder.encode(denied_open(), line);
    EXPECT_EQ(parsed(encoder.stamp(line, {.seq = 1, .realtime = time, .mono_ns = 0}))["timestamp"], text);
  }
}

TEST(Encoder, TheLongestStampFits) {
  Encoder encoder(identity());
  Line line;
  encoder.encode(denied_open(), line);
  const std::string_view text =
      encoder.stamp(line, {.seq = UINT64_MAX, .realtime = {253402300799, 0}, .mono_ns = INT64_MIN});
  EXPECT_EQ(parsed(text)["seq"], UINT64_MAX);
}

TEST(Encoder, TheLinesOfOneBufferDoNotMix) {
  Encoder encoder(identity());
  Line line;
  encoder.encode(denied_open(std::string(5000, 'x')), line);
  encoder.encode(denied_open("/a"), line);
  EXPECT_EQ(parsed(encoder.stamp(line, {}))["target"]["path"], "/a");
}

// ---- hostile text ----

struct TextRow {
  const char* name;
  std::string bytes;
  std::string encoded;
};
class EncoderText : public testing::TestWithParam<TextRow> {};

TEST_P(EncoderText, IsHarmlessAndComesBack) {
  const TextRow& row = GetParam();
  const std::string line = encoded(denied_open(row.bytes));
  EXPECT_THAT(line, testing::HasSubstr("\"target\":{\"path\":\"" + row.encoded + "\""));
  for (std::size_t i = 0; i + 1 < line.size(); ++i) {
    EXPECT_GE(static_cast<unsigned char>(line[i]), 0x20);
    EXPECT_NE(line[i], 0x7f);
  }
  const json target = parsed(line)["target"];
  const bool inexact = target.contains("path_bytes");
  EXPECT_EQ(
      inexact ? from_base64(target["path_bytes"].get<std::string>()) : target["path"].get<std::string>(),
      row.bytes);
}

INSTANTIATE_TEST_SUITE_P(
    Encoder, EncoderText,
    testing::Values(TextRow{"Plain", "/srv/data", "/srv/data"}, TextRow{"Quote", "a\"b", "a\\\"b"},
                    TextRow{"Backslash", "a\\b", "a\\\\b"}, TextRow{"Newline", "a\nb", "a\\u000ab"},
                    TextRow{"ForgedRecord", "x\"}\n{\"seq\":1}", "x\\\"}\\u000a{\\\"seq\\\":1}"},
                    TextRow{"CarriageReturn", "a\rb", "a\\u000db"}, TextRow{"Tab", "a\tb", "a\\u0009b"},
                    TextRow{"Nul", std::string("a\0b", 3), "a\\u0000b"},
                    TextRow{"Ansi", "\x1b[31mred", "\\u001b[31mred"}, TextRow{"Del", "a\x7f", "a\\u007f"},
                    TextRow{"C1Csi",
                            "\xc2\x9b"
                            "31m",
                            "\\u009b31m"},
                    TextRow{"NextLine", "\xc2\x85", "\\u0085"},
                    TextRow{"LineSeparator",
                            "a\xe2\x80\xa8"
                            "b",
                            "a\\u2028b"},
                    TextRow{"ParagraphSeparator",
                            "a\xe2\x80\xa9"
                            "b",
                            "a\\u2029b"},
                    TextRow{"RightToLeftOverride",
                            "x\xe2\x80\xae"
                            "gpj",
                            "x\\u202egpj"},
                    TextRow{"Isolate", "\xe2\x81\xa6", "\\u2066"},
                    TextRow{"ArabicLetterMark", "\xd8\x9c", "\\u061c"},
                    TextRow{"ByteOrderMark", "\xef\xbb\xbf", "\\ufeff"},
                    TextRow{"Tag", "\xf3\xa0\x81\x81", "\\udb40\\udc41"},
                    TextRow{"Accents", "/h\xc3\xb4tel/\xe6\x97\xa5", "/h\xc3\xb4tel/\xe6\x97\xa5"},
                    TextRow{"Emoji", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
                    TextRow{"RealReplacementCharacter", "\xef\xbf\xbd", "\xef\xbf\xbd"},
                    TextRow{"InvalidByte",
                            "a\xff"
                            "b",
                            "a\xef\xbf\xbd"
                            "b"},
                    TextRow{"LoneContinuation", "\x80", "\xef\xbf\xbd"},
                    TextRow{"Overlong", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
                    TextRow{"OverlongSlash", "\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                    TextRow{"Surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                    TextRow{"BeyondUnicode", "\xf4\x90\x80\x80",
                            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                    TextRow{"CutShort", "a\xe2\x80", "a\xef\xbf\xbd\xef\xbf\xbd"},
                    TextRow{"InvalidThenQuote", "\xe2\"\n", "\xef\xbf\xbd\\\"\\u000a"},
                    TextRow{"LongThenControl", std::string(100, 'x') + "\n" + std::string(9, 'y'),
                            std::string(100, 'x') + "\\u000a" + std::string(9, 'y')}),
    [](const auto& row) { return row.param.name; });

TEST(EncoderText, ArgumentsKeepTheirBytesByPosition) {
  const std::vector<std::string> argv = {"a", "b\xff", "\xef\xbf\xbd"};
  Record record = denied_open();
  record.argv = argv;
  const json line = parsed(encoded(record));
  EXPECT_EQ(line["argv"], (json{"a", "b\xef\xbf\xbd", "\xef\xbf\xbd"}));
  EXPECT_EQ(line["argv_bytes"], (json{nullptr, "Yv8=", nullptr}));
}
TEST(EncoderText, CommCannotForge) {
  Record record = denied_open();
  record.comm = "\",\"decision\":\"allow\",\"x\":\"";
  const json line = parsed(encoded(record));
  EXPECT_EQ(line["decision"], "deny");
  EXPECT_EQ(line["comm"], record.comm);
}
TEST(EncoderText, ExtraValuesStayOnTheLine) {
  const std::vector<std::pair<std::string, std::string>> extra = {{"k\"\n", "[1,\n2]"}};
  Record record;
  record.extra = extra;
  const std::string line = encoded(record);
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  EXPECT_EQ(parsed(line)["k\"\n"], (json{1, 2}));
}

// Random bytes, biased to what the scanner treats in words of eight.
TEST(EncoderText, RandomBytesComeBack) {
  std::mt19937 random(1);
  constexpr std::string_view kSpecial = "\"\\\n\x1b\x7f\x1f \x80\xc2\xe2\x80\xae\xff!#[]";
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (std::size_t length = random() % 40; length > 0; --length) {
      bytes +=
          random() % 3 == 0 ? kSpecial[random() % kSpecial.size()] : static_cast<char>('a' + random() % 26);
    }
    if (bytes.empty()) continue;
    std::string text;
    const bool exact = append_json_text(text, bytes);
    for (const char c : text) ASSERT_GE(static_cast<unsigned char>(c), 0x20);
    const json back = parsed('"' + text + '"');
    if (exact) {
      ASSERT_EQ(back.get<std::string>(), bytes);
    }
    const json target = parsed(encoded(denied_open(bytes)))["target"];
    ASSERT_EQ(target.contains("path_bytes"), !exact);
    if (!exact) {
      ASSERT_EQ(from_base64(target["path_bytes"].get<std::string>()), bytes);
    }
  }
}

TEST(JsonString, HasItsQuotes) { EXPECT_EQ(json_string("a\"\n"), "\"a\\\"\\u000a\""); }

TEST(Base64, KnownAnswers) {
  // RFC 4648, section 10.
  const std::pair<const char*, const char*> rows[] = {{"", ""},
                                                      {"f", "Zg=="},
                                                      {"fo", "Zm8="},
                                                      {"foo", "Zm9v"},
                                                      {"foob", "Zm9vYg=="},
                                                      {"fooba", "Zm9vYmE="},
                                                      {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : rows) {
    std::string out;
    append_base64(out, bytes);
    EXPECT_EQ(out, text);
  }
}

}  // namespace
}  // namespace secbox::audit
