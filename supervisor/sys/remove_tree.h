// Removing a directory that others filled, and may still change: from one pinned directory down, by
// descriptor.
#pragma once

namespace secbox::sys {

// Removes `name` in the pinned directory `parent` and all that is in it, as far as this user may. No link is
// followed and no mount point crossed; any depth will do, with a bounded number of descriptors. What somebody
// moves meanwhile is left where it went. Without a directory of that name nothing happens.
void remove_tree(int parent, const char* name);

}  // namespace secbox::sys
