#include "simt/symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <vector>

namespace simt {

namespace {

template <class T>
std::vector<T> read_table(std::ifstream& file, uint64_t offset, size_t count) {
  std::vector<T> table(count);
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(reinterpret_cast<char*>(table.data()), static_cast<std::streamsize>(count * sizeof(T)));
  if (!file) table.clear();
  return table;
}

/**
 * The function that starts at `address`, in the full symbol table, which hidden functions are in,
 * too.
 */
std::string find_symbol(const char* path, uint64_t address) {
  std::ifstream file(path, std::ios::binary);
  const auto header = read_table<Elf64_Ehdr>(file, 0, 1);
  if (header.empty()) return {};
  const auto sections = read_table<Elf64_Shdr>(file, header[0].e_shoff, header[0].e_shnum);
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    const auto symbols =
        read_table<Elf64_Sym>(file, section.sh_offset, section.sh_size / sizeof(Elf64_Sym));
    const Elf64_Shdr& names = sections[section.sh_link];
    const auto text = read_table<char>(file, names.sh_offset, names.sh_size);
    for (const Elf64_Sym& symbol : symbols)
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_value == address &&
          symbol.st_name < text.size())
        return text.data() + symbol.st_name;
  }
  return {};
}

/** Without return type and parameters. */
std::string shorten(std::string name) {
  if (name.rfind("void ", 0) == 0) name.erase(0, 5);
  int depth = 0;
  for (size_t i = name.size(); i-- > 0;) {
    depth += name[i] == ')' ? 1 : name[i] == '(' ? -1 : 0;
    if (depth == 0) return i > 0 && name.back() == ')' ? name.substr(0, i) : name;
  }
  return name;
}

std::string demangle(const std::string& symbol) {
  int status = 0;
  char* text = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string name = status == 0 ? shorten(text) : symbol;
  std::free(text);
  return name;
}

std::string look_up(const void* function) {
  Dl_info info;
  if (!dladdr(function, &info) || !info.dli_fname) return "(unnamed)";
  const uint64_t base = reinterpret_cast<uint64_t>(info.dli_fbase);
  const std::string symbol =
      find_symbol(info.dli_fname, reinterpret_cast<uint64_t>(function) - base);
  return symbol.empty() ? "(unnamed)" : demangle(symbol);
}

}  // namespace

std::string function_name(const void* function) {
  static std::mutex mutex;
  static std::map<const void*, std::string> known;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(function);
  return found != known.end() ? found->second : known[function] = look_up(function);
}

}  // namespace simt
