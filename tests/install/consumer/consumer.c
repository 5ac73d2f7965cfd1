/* Allocates, writes and frees one block. Prints why when that fails, and ends
 * with the status of the library as its own. */

#include <stdio.h>
#include <string.h>
#include <vrampool/vrampool.h>

int main(void) {
  const size_t bytes = (size_t)1 << 20;
  void* const block = vrampool_allocate(bytes, NULL);
  if (block == NULL) {
    fprintf(stderr, "%s: %s\n", vrampool_status_name(vrampool_last_status()),
            vrampool_last_error_message());
    return (int)vrampool_last_status();
  }
  memset(block, 0x5a, bytes);
  vrampool_deallocate(block, bytes, NULL);
  printf("vrampool %s\n", vrampool_version());
  return (int)vrampool_last_status();
}
