#include "supervisor/sys/elf_file.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "supervisor/base/unique_fd.h"

namespace secbox::sys {
namespace {

struct Segment {
  std::uint32_t type;
  std::string content;
};

std::string note(const std::string& name, const std::string& content) {
  const Elf64_Nhdr header{.n_namesz = static_cast<Elf64_Word>(name.size()),
                          .n_descsz = static_cast<Elf64_Word>(content.size()),
                          .n_type = 4};
  std::string text(reinterpret_cast<const char*>(&header), sizeof header);
  text += name;
  text.resize((text.size() + 3) & ~std::size_t{3});
  text += content;
  text.resize((text.size() + 3) & ~std::size_t{3});
  return text;
}
const std::string kGnu("GNU\0", 4);
const std::string kGo("Go\0\0", 4);
const std::string kLoader("/lib64/ld-linux-x86-64.so.2\0", 28);

std::string elf(const std::vector<Segment>& segments) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(segments.size());
  header.e_phoff = sizeof header;
  std::string text(reinterpret_cast<const char*>(&header), sizeof header);
  std::string contents;
  const std::size_t start = sizeof header + segments.size() * sizeof(Elf64_Phdr);
  for (const Segment& segment : segments) {
    Elf64_Phdr program{};
    program.p_type = segment.type;
    program.p_offset = start + contents.size();
    program.p_filesz = segment.content.size();
    text.append(reinterpret_cast<const char*>(&program), sizeof program);
    contents += segment.content;
  }
  return text + contents;
}

ElfFile read(const std::string& content) {
  const UniqueFd file(::memfd_create("elf", MFD_CLOEXEC));
  EXPECT_EQ(::write(file.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  return read_elf(file.get(), std::string_view(content).substr(0, 256));
}

Elf64_Ehdr& header_of(std::string& content) { return *reinterpret_cast<Elf64_Ehdr*>(content.data()); }
Elf64_Phdr& first_segment(std::string& content) {
  return *reinterpret_cast<Elf64_Phdr*>(content.data() + sizeof(Elf64_Ehdr));
}

TEST(ElfFile, NamesItsLoader) {
  const ElfFile file = read(elf({{PT_LOAD, "code"}, {PT_INTERP, kLoader}, {PT_NOTE, note(kGnu, "id")}}));
  EXPECT_TRUE(file.is_native);
  EXPECT_EQ(file.loader, "/lib64/ld-linux-x86-64.so.2");
  EXPECT_FALSE(file.has_go_note);
}

TEST(ElfFile, AStaticOneHasNone) {
  const ElfFile file = read(elf({{PT_LOAD, "code"}}));
  EXPECT_TRUE(file.is_native);
  EXPECT_EQ(file.loader, "");
}

TEST(ElfFile, OfTwoLoadersTheFirstCounts) {
  EXPECT_EQ(read(elf({{PT_INTERP, std::string("/a\0", 3)}, {PT_INTERP, std::string("/b\0", 3)}})).loader,
            "/a");
}

TEST(ElfFile, ANoteOfGoIsFoundWhereverItStands) {
  const std::string go = note(kGo, "build id");
  EXPECT_TRUE(read(elf({{PT_NOTE, go}, {PT_LOAD, "code"}})).has_go_note);
  EXPECT_TRUE(read(elf({{PT_NOTE, note(kGnu, "odd") + go}})).has_go_note);
  EXPECT_TRUE(read(elf({{PT_NOTE, note(kGnu, "id")}, {PT_INTERP, kLoader}, {PT_NOTE, go}})).has_go_note);
  EXPECT_TRUE(read(elf({{PT_NOTE, go + std::string(8000, 'x')}})).has_go_note);
}

TEST(ElfFile, NotEveryNoteIsOfGo) {
  EXPECT_FALSE(read(elf({{PT_NOTE, note("Gopher", "Go")}})).has_go_note);
  EXPECT_FALSE(read(elf({{PT_LOAD, note(kGo, "id")}})).has_go_note);
  EXPECT_FALSE(read(elf({{PT_NOTE, note(kGnu, note(kGo, "id"))}})).has_go_note);
}

TEST(ElfFile, NotesThatPointPastTheirEnd) {
  std::string lengths = note(kGnu, "id");
  for (const std::size_t at : {0U, 4U}) {
    std::string bad = lengths;
    const std::uint32_t most = 0xffffffff;
    std::memcpy(bad.data() + at, &most, sizeof most);
    EXPECT_FALSE(read(elf({{PT_NOTE, bad + note(kGo, "id")}})).has_go_note);
  }
  EXPECT_FALSE(read(elf({{PT_NOTE, "short"}})).has_go_note);
  EXPECT_FALSE(read(elf({{PT_NOTE, ""}})).has_go_note);
  std::string past = elf({{PT_NOTE, note(kGo, "id")}});
  first_segment(past).p_offset = ~std::uint64_t{0};
  EXPECT_FALSE(read(past).has_go_note);
}

TEST(ElfFile, OthersAreNotNative) {
  EXPECT_FALSE(read("").is_native);
  EXPECT_FALSE(read("#!/bin/sh\n").is_native);
  EXPECT_FALSE(read(elf({{PT_LOAD, "code"}}).substr(0, 63)).is_native);
  std::string small = elf({{PT_INTERP, kLoader}});
  header_of(small).e_phentsize = sizeof(Elf32_Phdr);
  EXPECT_FALSE(read(small).is_native);
  std::string many = elf({{PT_INTERP, kLoader}});
  header_of(many).e_phnum = 2000;
  EXPECT_FALSE(read(many).is_native);
  std::string cut = elf({{PT_INTERP, kLoader}});
  header_of(cut).e_phnum = 5;
  EXPECT_FALSE(read(cut).is_native);
}

// The kernel asks no more of a file either: what it loads is to be judged.
TEST(ElfFile, TheClassIsNotLookedAt) {
  std::string content = elf({{PT_INTERP, kLoader}});
  header_of(content).e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(read(content).loader, "/lib64/ld-linux-x86-64.so.2");
}

TEST(ElfFile, LoadersOfImpossibleLength) {
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4097}, ~std::uint64_t{0}}) {
    std::string content = elf({{PT_INTERP, kLoader}});
    first_segment(content).p_filesz = size;
    EXPECT_EQ(read(content).loader, "") << size;
  }
  std::string past = elf({{PT_INTERP, kLoader}});
  first_segment(past).p_filesz = 100;
  EXPECT_FALSE(read(past).is_native);
}

}  // namespace
}  // namespace secbox::sys
