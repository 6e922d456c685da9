#include "preload/deep_binding.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <cstdint>

#include "preload/real.h"

// The addresses of our own hooks (-Bsymbolic-functions), whatever the program has by the same names.
#define SECBOX_DECLARE_HOOK(name, family) extern "C" void secbox_address_of_##name() __asm__(#name);
SECBOX_FUNCTIONS(SECBOX_DECLARE_HOOK)
SECBOX_DECLARE_HOOK(getenv, none)
SECBOX_DECLARE_HOOK(secure_getenv, none)
#undef SECBOX_DECLARE_HOOK

namespace secbox::preload {

namespace {

using Function = void();

Function* const kHooks[kHooked] = {
    nullptr,
#define SECBOX_ADDRESS(name, family) &secbox_address_of_##name,
    SECBOX_FUNCTIONS(SECBOX_ADDRESS)
#undef SECBOX_ADDRESS
        & secbox_address_of_getenv,
    &secbox_address_of_secure_getenv,
};

#if defined(__x86_64__)
constexpr std::uint64_t kSlotOfCall = R_X86_64_JUMP_SLOT;
constexpr std::uint64_t kSlotOfAddress = R_X86_64_GLOB_DAT;
constexpr std::uint64_t kWord = R_X86_64_64;
#elif defined(__aarch64__)
constexpr std::uint64_t kSlotOfCall = R_AARCH64_JUMP_SLOT;
constexpr std::uint64_t kSlotOfAddress = R_AARCH64_GLOB_DAT;
constexpr std::uint64_t kWord = R_AARCH64_ABS64;
#endif
constexpr std::uintptr_t kPage = 4096;

bool same(const char* left, const char* right) {
  while (*left != '\0' && *left == *right) ++left, ++right;
  return *left == *right;
}

unsigned number_of(const char* name) {
  for (unsigned number = 1; number < kHooked; ++number) {
    if (same(name, name_of(number))) return number;
  }
  return SECBOX_FUNCTION_NONE;
}

// What of an object's dynamic section is of interest.
struct Dynamic {
  const ElfW(Sym) * symbols = nullptr;
  const char* strings = nullptr;
  const ElfW(Rela) * tables[2] = {};
  std::size_t counts[2] = {};
  bool has_rpath = false;
  bool has_runpath = false;
};

Dynamic read_dynamic(const dl_phdr_info& object) {
  Dynamic result;
  const ElfW(Dyn)* entry = nullptr;
  for (int number = 0; number < object.dlpi_phnum; ++number) {
    if (object.dlpi_phdr[number].p_type == PT_DYNAMIC) {
      entry = reinterpret_cast<const ElfW(Dyn)*>(object.dlpi_addr + object.dlpi_phdr[number].p_vaddr);
    }
  }
  // The loader has added the object's address, except where it cannot write there (the vDSO).
  const auto pointer = [&](ElfW(Addr) address) {
    return address < object.dlpi_addr ? address + object.dlpi_addr : address;
  };
  for (; entry != nullptr && entry->d_tag != DT_NULL; ++entry) {
    switch (entry->d_tag) {
      case DT_SYMTAB:
        result.symbols = reinterpret_cast<const ElfW(Sym)*>(pointer(entry->d_un.d_ptr));
        break;
      case DT_STRTAB:
        result.strings = reinterpret_cast<const char*>(pointer(entry->d_un.d_ptr));
        break;
      case DT_JMPREL:
        result.tables[0] = reinterpret_cast<const ElfW(Rela)*>(pointer(entry->d_un.d_ptr));
        break;
      case DT_PLTRELSZ:
        result.counts[0] = entry->d_un.d_val / sizeof(ElfW(Rela));
        break;
      case DT_RELA:
        result.tables[1] = reinterpret_cast<const ElfW(Rela)*>(pointer(entry->d_un.d_ptr));
        break;
      case DT_RELASZ:
        result.counts[1] = entry->d_un.d_val / sizeof(ElfW(Rela));
        break;
      case DT_RPATH:
        result.has_rpath = true;
        break;
      case DT_RUNPATH:
        result.has_runpath = true;
        break;
      default:
        break;
    }
  }
  return result;
}

bool contains(const dl_phdr_info& object, std::uintptr_t address) {
  for (int number = 0; number < object.dlpi_phnum; ++number) {
    const ElfW(Phdr)& segment = object.dlpi_phdr[number];
    if (segment.p_type == PT_LOAD && address - (object.dlpi_addr + segment.p_vaddr) < segment.p_memsz)
      return true;
  }
  return false;
}

// Where the loader may look at the caller.
struct Search {
  const void* caller;
  bool by_path;  // the name is searched for
  bool first = true;
  bool caller_found = false;
  bool caller_matters = false;
};

int look_at_paths(dl_phdr_info* object, size_t, void* data) {
  Search& search = *static_cast<Search*>(data);
  const Dynamic dynamic = read_dynamic(*object);
  const bool is_program = search.first;
  search.first = false;
  // Libraries that the new one needs are looked for in the RPATH of who loaded it. The program's counts
  // always.
  if (dynamic.has_rpath && !dynamic.has_runpath && !is_program) search.caller_matters = true;
  if (contains(*object, reinterpret_cast<std::uintptr_t>(search.caller))) {
    search.caller_found = true;
    if (search.by_path && dynamic.has_runpath) search.caller_matters = true;
  }
  return 0;
}

// The objects that came with a dlopen(3): the last ones.
struct Loaded {
  unsigned long long adds = 0;  // of all times, before
  unsigned long long skip = 0;
  bool counted = false;
  bool lazy[kHooked] = {};  // what is not bound yet would be bound to the real one
};

int count_objects(dl_phdr_info* object, size_t, void* data) {
  static_cast<Loaded*>(data)->adds = object->dlpi_adds;
  return 1;
}

// Pages that the loader made read-only after it had bound everything.
struct ReadOnly {
  std::uintptr_t start = 0;
  std::uintptr_t end = 0;

  bool covers(std::uintptr_t address) const { return address >= start && address < end; }
  bool protect(int protection) const {
    return kernel_call(SYS_mprotect, static_cast<long>(start), static_cast<long>(end - start), protection) ==
           0;
  }
};

ReadOnly read_only_pages(const dl_phdr_info& object) {
  ReadOnly result;
  for (int number = 0; number < object.dlpi_phnum; ++number) {
    const ElfW(Phdr)& segment = object.dlpi_phdr[number];
    if (segment.p_type != PT_GNU_RELRO) continue;
    result.start = (object.dlpi_addr + segment.p_vaddr) & ~(kPage - 1);
    result.end = (object.dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(kPage - 1);
  }
  return result;
}

// libc has older functions of these names too: what is not bound yet may mean them.
bool has_versions(unsigned number) {
  switch (number) {
    case SECBOX_FUNCTION_glob:
    case SECBOX_FUNCTION_glob64:
    case SECBOX_FUNCTION_nftw:
    case SECBOX_FUNCTION_nftw64:
    case SECBOX_FUNCTION_posix_spawn:
    case SECBOX_FUNCTION_posix_spawnp:
      return true;
    default:
      return false;
  }
}

// Runs under the loader's own lock, so that no other thread changes the same pages.
int bind_object(dl_phdr_info* object, size_t, void* data) {
  Loaded& loaded = *static_cast<Loaded*>(data);
  if (!loaded.counted) {
    loaded.counted = true;
    const unsigned long long present = object->dlpi_adds - object->dlpi_subs;
    const unsigned long long added = object->dlpi_adds - loaded.adds;
    loaded.skip = added < present ? present - added : 0;
  }
  if (loaded.skip > 0) {
    --loaded.skip;
    return 0;
  }
  const Dynamic dynamic = read_dynamic(*object);
  if (dynamic.symbols == nullptr || dynamic.strings == nullptr) return 0;
  const ReadOnly sealed = read_only_pages(*object);
  bool open = false;
  for (int table = 0; table < 2; ++table) {
    for (std::size_t number = 0; dynamic.tables[table] != nullptr && number < dynamic.counts[table];
         ++number) {
      const ElfW(Rela)& relocation = dynamic.tables[table][number];
      const std::uint64_t type = ELF64_R_TYPE(relocation.r_info);
      if ((type != kSlotOfCall && type != kSlotOfAddress && type != kWord) || relocation.r_addend != 0)
        continue;
      const ElfW(Sym)& symbol = dynamic.symbols[ELF64_R_SYM(relocation.r_info)];
      if (symbol.st_shndx != SHN_UNDEF) continue;
      const unsigned function = number_of(dynamic.strings + symbol.st_name);
      if (function == SECBOX_FUNCTION_NONE) continue;
      const std::uintptr_t address = object->dlpi_addr + relocation.r_offset;
      auto* slot = reinterpret_cast<void**>(address);
      const bool not_bound =
          type == kSlotOfCall && contains(*object, reinterpret_cast<std::uintptr_t>(*slot));
      if (not_bound ? !loaded.lazy[function] || has_versions(function) : *slot != real_functions[function])
        continue;
      if (sealed.covers(address) && !open) {
        if (!sealed.protect(PROT_READ | PROT_WRITE)) continue;
        open = true;
      }
      __atomic_store_n(slot, reinterpret_cast<void*>(kHooks[function]), __ATOMIC_RELEASE);
    }
  }
  if (open) sealed.protect(PROT_READ);
  return 0;
}

}  // namespace

bool can_bind_after(const char* file, const void* caller) {
  if (board.shared == nullptr || file == nullptr) return false;
  bool has_slash = false;
  for (const char* at = file; *at != '\0'; ++at) {
    if (*at == '$') return false;  // $ORIGIN is the caller's
    has_slash = has_slash || *at == '/';
  }
  Search search{.caller = caller, .by_path = !has_slash};
  ::dl_iterate_phdr(look_at_paths, &search);
  return search.caller_found && !search.caller_matters;
}

void* open_and_bind(const char* file, int mode, Site site) {
  TextContext context{SECBOX_FUNCTION_dlopen, site, file};
  Loaded loaded;
  ::dl_iterate_phdr(count_objects, &loaded);
  void* handle = real<void*(const char*, int)>(SECBOX_FUNCTION_dlopen)(file, mode);
  if (handle == nullptr) return context.done(handle);
  bool failed = false;
  for (unsigned number = 1; number < kHooked; ++number) {
    const void* deep = ::dlsym(handle, name_of(number));
    failed = failed || deep == nullptr;
    // Not where the program itself stands before ours.
    loaded.lazy[number] = deep == real_functions[number] &&
                          ::dlsym(RTLD_DEFAULT, name_of(number)) == reinterpret_cast<void*>(kHooks[number]);
  }
  if (failed) (void)::dlerror();  // dlopen() leaves none behind where it succeeds
  ::dl_iterate_phdr(bind_object, &loaded);
  return handle;
}

}  // namespace secbox::preload
