/* A library that chooses one of its functions while it is relocated: before any library that is preloaded has
 * been. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int opened = 1;
static int found;

static int as_it_should(void) { return opened == -1 && found == 0; }

static int (*choose(void))(void) {
  opened = open("/nonexistent/resolver", O_RDONLY);
  found = getenv("HOME") != NULL;
  unlink("/nonexistent/resolver");
  return as_it_should;
}

static int chosen(void) __attribute__((ifunc("choose")));

int resolver_works(void) { return chosen(); }
