// Which names the resolver answered for, told to the supervisor: a call has only the address.
#ifndef SECBOX_PRELOAD_NAMES_H
#define SECBOX_PRELOAD_NAMES_H

namespace secbox::preload {

// `address`: of `family` (AF_INET or AF_INET6; others are not told), in network order.
void tell_name(const char* name, int family, const void* address);

}  // namespace secbox::preload

#endif
