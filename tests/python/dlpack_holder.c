/* Takes a DLPack structure as other libraries do, and deletes it as they do: on
 * a thread that Python does not know, and while the process exits. */

#include <pthread.h>
#include <stddef.h>

struct managed {
  char tensor[48];
  void* manager_ctx;
  void (*deleter)(struct managed*);
};

static struct managed* until_exit = NULL;

static void* delete_it(void* managed) {
  struct managed* const taken = managed;
  taken->deleter(taken);
  return NULL;
}

/* 0, when it has been deleted by a thread. The caller may hold the GIL. */
int delete_on_a_thread(void* managed) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, delete_it, managed) != 0) return 1;
  return pthread_join(thread, NULL);
}

void delete_at_exit(void* managed) { until_exit = managed; }

__attribute__((destructor)) static void at_exit(void) {
  if (until_exit != NULL) until_exit->deleter(until_exit);
}
