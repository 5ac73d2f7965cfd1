/* The header in plain C: compiled with -std=c11 -pedantic, and used. */

#include <stdio.h>
#include <string.h>

#include "vrampool/ref.h"
#include "vrampool/vrampool.h"

int main(void) {
  vrampool_options options;
  vrampool_client* client = NULL;
  vrampool_share_options share;
  vrampool_object* object = NULL;
  vrampool_options_init(&options);
  options.directory = "/nonexistent/vrampool";
  if (vrampool_client_open(&options, &client) != VRAMPOOL_UNAVAILABLE) return 1;
  if (client != NULL) return 2;
  if (vrampool_last_status() != VRAMPOOL_UNAVAILABLE) return 3;
  if (strstr(vrampool_last_error_message(), "/nonexistent") == NULL) return 4;
  if (strcmp(vrampool_status_name(VRAMPOOL_OVER_QUOTA), "OVER_QUOTA") != 0) {
    return 5;
  }
  if (vrampool_client_allocate(NULL, 1, NULL) != NULL) return 6;
  if (vrampool_last_status() != VRAMPOOL_INVALID_ARGUMENT) return 7;
  if (vrampool_allocate(0, NULL) != NULL) return 8;
  if (vrampool_last_status() != VRAMPOOL_OK) return 11;
  vrampool_deallocate(NULL, 0, NULL);
  vrampool_client_close(NULL);
  if (vrampool_object_close(NULL, NULL) != VRAMPOOL_OK) return 12;
  vrampool_share_options_init(&share);
  if (share.ordered != 0 || share.stream != NULL) return 13;
  if (vrampool_object_status(NULL) != VRAMPOOL_INVALID_ARGUMENT) return 14;
  if (vrampool_open_on(NULL, "vp1", NULL, 0, &object) !=
          VRAMPOOL_INVALID_ARGUMENT ||
      vrampool_open_name_on(NULL, "name", NULL, 0, &object) !=
          VRAMPOOL_INVALID_ARGUMENT) {
    return 15;
  }
  if (vrampool_ref_client(NULL) != NULL) return 16;
  if (vrampool_last_status() != VRAMPOOL_INVALID_ARGUMENT) return 17;
  vrampool_ref_release(NULL);
  vrampool_dlpack_delete(NULL);
  vrampool_capsule_delete(NULL);
  if (vrampool_ref_try_retain(NULL) != 0) return 18;
  if (vrampool_set_tag("weights") != VRAMPOOL_OK) return 9;
  if (strcmp(vrampool_tag(), "weights") != 0) return 10;
  printf("%s\n", vrampool_version());
  return 0;
}
