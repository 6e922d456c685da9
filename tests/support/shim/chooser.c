/* Prints whether the library that makes calls while it is relocated got the answers that libc would have
 * given. */
#include <stdio.h>

int resolver_works(void);

int main(void) {
  puts(resolver_works() ? "as it should" : "not as it should");
  return 0;
}
