/* ref.h - counted references to memory of libvrampool, for bindings. A part of
 * the C interface: errors, threads, forks and streams as vrampool.h says.
 *
 * A reference stands for a client, a block or an open object, and is for those
 * who hand the same memory to several users that know nothing of each other.
 * What it stands for ends with the last reference: a client is closed, a block
 * given back, an object closed. Blocks and objects keep a reference to their
 * client.
 *
 * References are released by any thread at any time, also by a destructor
 * while the process exits; no other call's error is touched by that. A forked
 * child may release what its parent had, and changes nothing by it.
 */

#ifndef VRAMPOOL_REF_H_
#define VRAMPOOL_REF_H_

#include "vrampool/vrampool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vrampool_ref vrampool_ref;

/* Each of these takes over what it is given, which must not be closed or given
 * back in another way from then on, and gives the one reference to it. Null
 * with an error, and then nothing is taken over.
 *   INVALID_ARGUMENT  a process-wide client; a block that is none of the
 *                     client's, or does not begin at `p`, or has another size;
 *                     an object of another client */
VRAMPOOL_API vrampool_ref* vrampool_ref_client(vrampool_client* client);
VRAMPOOL_API vrampool_ref* vrampool_ref_block(vrampool_ref* client, void* p,
                                              size_t bytes,
                                              cudaStream_t stream);
VRAMPOOL_API vrampool_ref* vrampool_ref_object(vrampool_ref* client,
                                               vrampool_object* object,
                                               cudaStream_t stream);

/* A reference to the process-wide client, which stays open. */
VRAMPOOL_API vrampool_ref* vrampool_ref_default_client(void);
/* The same of that of the GPU which this process's CUDA calls `device`
 * (vrampool_device_client). */
VRAMPOOL_API vrampool_ref* vrampool_ref_device_client(int device);

/* One reference more, and one less. Null is ignored. */
VRAMPOOL_API void vrampool_ref_retain(vrampool_ref* ref);
VRAMPOOL_API void vrampool_ref_release(vrampool_ref* ref);

/* The stream on which the last release gives back: at first the one given
 * above. */
VRAMPOOL_API void vrampool_ref_set_stream(vrampool_ref* ref,
                                          cudaStream_t stream);

/* A watcher does not keep the memory, but can ask for it: try_retain retains
 * and gives 1 while references are left, and gives 0 afterwards. `ref` itself
 * stays valid for that until unwatch. */
VRAMPOOL_API void vrampool_ref_watch(vrampool_ref* ref);
VRAMPOOL_API int vrampool_ref_try_retain(vrampool_ref* ref);
VRAMPOOL_API void vrampool_ref_unwatch(vrampool_ref* ref);

/* Deleters for the structures in which other libraries take memory. Each such
 * structure owns one reference, which they release; it may be null.
 *
 * dlpack: for DLManagedTensor and DLManagedTensorVersioned. The structure is
 * the beginning of one piece of memory from malloc(), which holds all that it
 * points to but the data; manager_ctx is the reference. */
VRAMPOOL_API void vrampool_dlpack_delete(void* managed);
VRAMPOOL_API void vrampool_dlpack_delete_versioned(void* managed);

/* arrow: for ArrowArray and ArrowSchema. private_data is one piece of memory
 * from malloc() that holds all that the structure points to but the data, and
 * begins with the reference. Children and dictionary that were not moved away
 * are released first. */
VRAMPOOL_API void vrampool_arrow_release_array(void* array);
VRAMPOOL_API void vrampool_arrow_release_schema(void* schema);

/* The destructor for Python's PyCapsule_New(), of capsules named "dltensor",
 * "dltensor_versioned", "arrow_array", "arrow_device_array" and "arrow_schema":
 * deletes what nobody took out of the capsule. An Arrow structure is one piece
 * of memory from malloc() here, which is freed after its release. Python code
 * could not do this, as capsules are destroyed while an error is on its way.
 *
 * Say once, before, where PyCapsule_IsValid and PyCapsule_GetPointer are:
 * until then a capsule keeps what it holds. */
VRAMPOOL_API void vrampool_capsule_use(void* is_valid, void* get_pointer);
VRAMPOOL_API void vrampool_capsule_delete(void* capsule);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* VRAMPOOL_REF_H_ */
