#include "supervisor/broker/board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace secbox::broker {

namespace {

struct Function {
  std::string_view name;
  Family family;
};
constexpr Function kFunctions[] = {{"", Family::any},
#define SECBOX_FUNCTION_ROW(name, family) {#name, Family::family},
                                   SECBOX_FUNCTIONS(SECBOX_FUNCTION_ROW)
#undef SECBOX_FUNCTION_ROW
};
static_assert(std::size(kFunctions) == SECBOX_FUNCTION_COUNT);

template <typename T>
T load(const T& field) {
  return __atomic_load_n(&field, __ATOMIC_ACQUIRE);
}

// Bytes that may change while they are copied: what arrives is some bytes, no more is relied on.
void copy(char* to, const char* from, std::size_t size) {
  for (std::size_t at = 0; at < size; ++at) to[at] = __atomic_load_n(from + at, __ATOMIC_RELAXED);
}

template <std::size_t N>
std::string copied_text(const char (&from)[N], std::size_t length) {
  std::string out(std::min(length, N), '\0');
  copy(out.data(), from, out.size());
  out.resize(std::min(out.find('\0'), out.size()));
  return out;
}

}  // namespace

Result<std::shared_ptr<Board>> Board::make(UniqueFd& for_plugin) {
  UniqueFd file(::memfd_create("secbox-board", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return errno_failure("memfd_create for the shim's board");
  if (::ftruncate(file.get(), sizeof(secbox_board)) != 0 ||
      ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return errno_failure("the size of the shim's board");
  void* memory = ::mmap(nullptr, sizeof(secbox_board), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return errno_failure("mmap of the shim's board");
  auto board = std::make_shared<Board>(static_cast<secbox_board*>(memory));
  board->mapped_ = true;
  board->board_->version = SECBOX_WIRE_VERSION;
  for_plugin = std::move(file);
  return board;
}

Board::~Board() {
  if (mapped_) (void)::munmap(board_, sizeof(secbox_board));
}

Board::Slot Board::read(ThreadId tid, Context& out) const {
  const secbox_slot& slot = slot_of(tid);
  if (load(slot.tid) != static_cast<std::uint32_t>(tid.value)) return Slot::None;
  const std::uint16_t function = load(slot.function);
  if (function == SECBOX_FUNCTION_NONE) return Slot::None;
  if (function >= SECBOX_FUNCTION_COUNT || load(slot.text_length) > sizeof slot.text ||
      (load(slot.flags) & ~std::uint32_t{SECBOX_SLOT_WANTS_EXPLANATION}) != 0)
    return Slot::Invalid;
  out = {.function = function,
         .family = kFunctions[function].family,
         .caller = load(slot.caller),
         .argument = load(slot.argument),
         .name = kFunctions[function].name};
  return Slot::Valid;
}

std::string Board::text(ThreadId tid) const {
  const secbox_slot& slot = slot_of(tid);
  return copied_text(slot.text, load(slot.text_length));
}

bool Board::wants_explanation(ThreadId tid) const {
  const secbox_slot& slot = slot_of(tid);
  return load(slot.tid) == static_cast<std::uint32_t>(tid.value) &&
         (load(slot.flags) & SECBOX_SLOT_WANTS_EXPLANATION) != 0;
}

void Board::explain(ThreadId tid, std::string_view text) {
  secbox_slot& slot = slot_of(tid);
  const std::size_t size = std::min(text.size(), sizeof slot.explanation - 1);
  std::memcpy(slot.explanation, text.data(), size);
  slot.explanation[size] = '\0';
}

std::string Board::name_of(const std::array<std::uint8_t, 16>& address) const {
  const std::uint32_t written = load(board_->names_written);
  for (std::uint32_t back = 1; back <= SECBOX_NAMES; ++back) {
    const secbox_name& entry = board_->names[(written - back) % SECBOX_NAMES];
    const std::uint32_t sequence = load(entry.sequence);
    if (sequence == 0 || sequence % 2 != 0) continue;
    std::array<std::uint8_t, 16> held{};
    copy(reinterpret_cast<char*>(held.data()), reinterpret_cast<const char*>(entry.address), held.size());
    if (held != address) continue;
    std::string name = copied_text(entry.name, load(entry.length));
    if (load(entry.sequence) == sequence) return name;
  }
  return {};
}

std::vector<std::string> Board::variables(std::uint32_t& seen) const {
  std::vector<std::string> names;
  const std::uint32_t count = std::min<std::uint32_t>(load(board_->variables), SECBOX_VARIABLES);
  for (; seen < count; ++seen) {
    const auto& name = board_->variable[seen].name;
    std::string text = copied_text(name, sizeof name);
    if (!text.empty()) names.push_back(std::move(text));
  }
  return names;
}

}  // namespace secbox::broker
