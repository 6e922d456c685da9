// The processes that a run left to this one, its subreaper.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

namespace secbox::harness {

// Whoever loses their parent below this process becomes its child from now on.
void adopt_orphans();
// Living children of this process; a zombie is none.
[[nodiscard]] std::set<pid_t> living_children();
// "1234 (sleep 60)", for people.
[[nodiscard]] std::string process_text(pid_t pid);
// Kills and reaps every child, and theirs as they come, except those of `kept`.
void end_children(const std::set<pid_t>& kept);

}  // namespace secbox::harness
