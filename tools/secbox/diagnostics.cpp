#include "tools/secbox/diagnostics.h"

#include <cstdio>

#include "supervisor/audit/json_text.h"

namespace secbox::cli {

using manifest::Diagnostic;
using manifest::Diagnostics;
using manifest::Severity;

std::string printable_text(std::string_view text) {
  std::string escaped;
  (void)audit::append_json_text(escaped, text);
  // The inside of a JSON string is safe to print; only its quotes need not be escaped for people.
  std::string out;
  for (std::size_t i = 0; i < escaped.size(); ++i) {
    if (escaped[i] == '\\' && i + 1 < escaped.size() && (escaped[i + 1] == '"' || escaped[i + 1] == '\\'))
      ++i;
    out += escaped[i];
  }
  return out;
}

void print_diagnostics(const Diagnostics& diagnostics) {
  print_diagnostics(diagnostics, [](const Diagnostic&) { return true; });
}

void print_diagnostics(const Diagnostics& diagnostics, bool (*wanted)(const Diagnostic&)) {
  for (const Diagnostic& d : diagnostics.all) {
    if (!wanted(d)) continue;
    std::string line = printable_text(d.file);
    if (d.line > 0) line += ":" + std::to_string(d.line);
    if (d.line > 0 && d.column > 0) line += ":" + std::to_string(d.column);
    line += d.severity == Severity::Error ? ": error " : ": warning ";
    line += d.code + ": " + printable_text(d.message);
    if (!d.pointer.empty()) line += " (at " + printable_text(d.pointer) + ")";
    line += '\n';
    if (!d.hint.empty()) line += "  hint: " + printable_text(d.hint) + '\n';
    std::fputs(line.c_str(), stderr);
  }
}

std::string diagnostics_json(const Diagnostics& diagnostics, bool valid) {
  const auto list = [&](Severity severity) {
    std::string out = "[";
    for (const Diagnostic& d : diagnostics.all) {
      if (d.severity != severity) continue;
      if (out.size() > 1) out += ',';
      out += "{\"code\":" + audit::json_string(d.code) + ",\"message\":" + audit::json_string(d.message) +
             ",\"file\":" + audit::json_string(d.file) + ",\"line\":" + std::to_string(d.line) +
             ",\"column\":" + std::to_string(d.column) + ",\"pointer\":" + audit::json_string(d.pointer) +
             ",\"hint\":" + audit::json_string(d.hint) + "}";
    }
    return out + "]";
  };
  return std::string("{\"valid\":") + (valid ? "true" : "false") + ",\"errors\":" + list(Severity::Error) +
         ",\"warnings\":" + list(Severity::Warning) + "}";
}

}  // namespace secbox::cli
