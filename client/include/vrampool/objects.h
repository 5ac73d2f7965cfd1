/* objects.h - the same bytes in several processes: a part of the C interface,
 * included by vrampool.h, which says what holds of errors, threads, forks and
 * streams.
 *
 *   vrampool_buffer buffer = {p, 1 << 20};
 *   vrampool_object* object = NULL;
 *   char token[VRAMPOOL_TOKEN_MAX];
 *   if (vrampool_share(client, &buffer, 1, NULL, &object) != VRAMPOOL_OK ||
 *       vrampool_object_token(object, token, sizeof(token)) != VRAMPOOL_OK) {
 *     fprintf(stderr, "%s\n", vrampool_last_error_message());
 *   }
 *   ... in another process, to which the token came by any channel:
 *   vrampool_open(client, token, 0, &object);
 */

#ifndef VRAMPOOL_OBJECTS_H_
#define VRAMPOOL_OBJECTS_H_

#include <stddef.h>
#include <stdint.h>

#include "vrampool/vrampool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A piece of memory: a whole block or a part of one. */
typedef struct vrampool_buffer {
  void* data;
  size_t size;
} vrampool_buffer;

/* How a buffer's elements lie. Type codes and bits as in DLPack's DLDataType.
 */
typedef struct vrampool_tensor {
  uint32_t dtype_code;
  uint32_t dtype_bits;
  uint32_t dtype_lanes; /* 0 means 1. */
  uint32_t ndim;        /* At most 16. */
  const int64_t* shape;
  const int64_t* strides; /* In elements; null: row-major without gaps. */
  uint64_t byte_offset;   /* Of element zero, in the buffer. */
} vrampool_tensor;

typedef struct vrampool_share_options {
  size_t struct_size;             /* Set by vrampool_share_options_init(). */
  const char* name;               /* To look up within the tenant; null: none.
                                     At most 255 bytes. */
  const vrampool_tensor* tensors; /* One for each buffer, or null. */
  const void* metadata;           /* Opaque; null: none. */
  size_t metadata_size;           /* At most 64 KiB. */
  int pending; /* 1: not to be opened until vrampool_ready(). */
  /* 1: the contents are complete when what was enqueued on `stream` before
   * vrampool_share() is done; not with `pending`. 0: they are complete now. */
  int ordered;
  cudaStream_t stream; /* With `ordered`. Not used after vrampool_share(). */
  /* 1: nobody changes the contents once they are complete. Other processes
   * that open only sealed objects of a slab map it for reading: a write there
   * faults. A guard against accidents: memory of kind CUDA_IPC cannot have it,
   * and neither has the process that shares. */
  int sealed;
  /* So long after this call the name is taken off, as by vrampool_unlink().
   * 0: it stays until then. With a name only. */
  uint64_t expires_ms;
  /* Paths ("root/team-b") of other tenants that may open it, each with all
   * below it: at most 16. For blocks of vrampool_client_allocate_dedicated().
   * It counts against their limits while they map it, and is charged to them
   * when this tenant has let go: has closed it, freed it and taken its name
   * off. */
  const char* const* grants;
  size_t grant_count;
} vrampool_share_options;

VRAMPOOL_API void vrampool_share_options_init_sized(vrampool_share_options* to,
                                                    size_t size);
static inline void vrampool_share_options_init(vrampool_share_options* to) {
  vrampool_share_options_init_sized(to, sizeof(*to));
}

/* Makes 1 to 64 buffers, each inside a live block of `client`, into an object
 * that this process holds until vrampool_object_close(). `options` may be null.
 * One buffer without a name, metadata or grants takes an RPC at first, and now
 * and then. Shared without one, an object that the daemon cannot make (another
 * thread has just used up a bound of it, say) has ended when it is opened.
 *
 * With `ordered` the call does not wait for the GPU: the object is pending, and
 * the library says by itself when the contents are complete. If this process
 * dies first, or its work fails, the object is broken. Until then the GPU must
 * be able to complete that work by itself. On memory of the host `ordered` is
 * ignored: the contents must be complete.
 *   INVALID_ARGUMENT  a buffer that lies in no block, or a layout not inside it
 *   INVALID_ARGUMENT  `stream` is being captured (share before the capture, or
 *                     after the graph was launched) or is none of this GPU
 *   INVALID_ARGUMENT  a grant is no tenant's path, or there are too many
 *   NOT_SHAREABLE     with grants: a block that is not alone in its slab
 *   EXISTS            the name is taken
 *   LIMIT             too many objects, or too much metadata */
VRAMPOOL_API vrampool_status vrampool_share(
    vrampool_client* client, const vrampool_buffer* buffers, size_t count,
    const vrampool_share_options* options, vrampool_object** out);

/* The contents of a pending object are complete. INVALID_ARGUMENT for one that
 * was shared with `ordered`. */
VRAMPOOL_API vrampool_status vrampool_ready(vrampool_object* object);

/* Enough for every token, its NUL included. */
#define VRAMPOOL_TOKEN_MAX 512

/* Writes the object's token: text to pass on by any channel. Whoever knows it
 * and is of the same tenant, or of one that it was granted to, can open the
 * object: treat it as a secret.
 * INVALID_ARGUMENT if `size` is too small. */
VRAMPOOL_API vrampool_status vrampool_object_token(vrampool_object* object,
                                                   char* token, size_t size);

/* Opens an object: its bytes appear in this process, and it lives at least
 * until vrampool_object_close(). Takes no RPC when the token's slab is mapped
 * here already. Waits up to `wait_ms` for a pending object to be ready, also
 * for the GPU to complete its contents: after that any stream may read them.
 *   NOT_FOUND         it has ended, or the token is not genuine
 *   STALE             it was of an earlier life of the daemon
 *   BROKEN            its producer died, or its work failed, before it was
 *                     ready
 *   TIMEOUT           it is not ready yet
 *   PERMISSION        it belongs to another tenant, which has not granted it
 *   OVER_QUOTA        it is another tenant's, and would count beyond the limit
 *   INVALID_ARGUMENT  not a token at all */
VRAMPOOL_API vrampool_status vrampool_open(vrampool_client* client,
                                           const char* token, uint64_t wait_ms,
                                           vrampool_object** out);

/* The same by name; waits up to `wait_ms` also for the name to appear. */
VRAMPOOL_API vrampool_status vrampool_open_name(vrampool_client* client,
                                                const char* name,
                                                uint64_t wait_ms,
                                                vrampool_object** out);

/* As the two above, for work on `stream`, without waiting for the contents. A
 * pending object is opened at once: what is enqueued on `stream` from now on
 * begins when its contents are complete, and so does what waits for that by
 * events. No thread waits. Streams that do not wait must not use the object
 * yet.
 *
 * The wait always ends. If the producer dies, its work fails or the daemon goes
 * away, the stream goes on; what it finds in the object is undefined then, and
 * vrampool_object_status() says so. Ask it before you trust or pass on what
 * came of the contents, once the stream has done its work.
 *
 * An object whose contents are complete is opened as by the calls above, and so
 * is every object where streams cannot wait: on memory of the host, where
 * `stream` is ignored, and when 4096 waits of this process have not ended.
 * `wait_ms` is for a name to appear, and in those cases for the contents.
 *   INVALID_ARGUMENT  `stream` is being captured (open before the capture) or
 *                     is none of this GPU
 *   and as above, TIMEOUT only where `wait_ms` counts
 *
 * Close the object on `stream`, or on one that waits for it: the close comes
 * after the wait. Until the wait ends, what waits for the whole GPU waits for
 * the producer, too: cudaDeviceSynchronize(), vrampool_quiesce(). Closing the
 * client waits up to ten seconds for objects that were closed in that way, and
 * then ends all waits. */
VRAMPOOL_API vrampool_status vrampool_open_on(vrampool_client* client,
                                              const char* token,
                                              cudaStream_t stream,
                                              uint64_t wait_ms,
                                              vrampool_object** out);
VRAMPOOL_API vrampool_status vrampool_open_name_on(vrampool_client* client,
                                                   const char* name,
                                                   cudaStream_t stream,
                                                   uint64_t wait_ms,
                                                   vrampool_object** out);

typedef struct vrampool_open_options {
  size_t struct_size; /* Set by vrampool_open_options_init(). */
  const char* token;  /* Either this, */
  const char* name;   /* or this, */
  const char* tenant; /* of that tenant ("root/team-a"); null: one's own. */
  uint64_t wait_ms;
  int ordered; /* 1: for work on `stream`, as vrampool_open_on(). */
  cudaStream_t stream;
} vrampool_open_options;

VRAMPOOL_API void vrampool_open_options_init_sized(vrampool_open_options* to,
                                                   size_t size);
static inline void vrampool_open_options_init(vrampool_open_options* to) {
  vrampool_open_options_init_sized(to, sizeof(*to));
}

/* Any of the four above, and by name also an object that another tenant has
 * granted. That it has not is NOT_FOUND, as if there were none. */
VRAMPOOL_API vrampool_status
vrampool_open_with(vrampool_client* client,
                   const vrampool_open_options* options, vrampool_object** out);

/* Whether the contents are, or can still become, what the producer meant. Fast,
 * no RPC. Anything but OK is said only of what this process shared with
 * `ordered` or `pending`, or opened for a stream: what it opened otherwise was
 * complete before.
 *   BROKEN       the producer died, or the work that was to complete them has
 *                failed: they are undefined, and nobody can open the object
 *   UNAVAILABLE  the daemon went away before they were complete: nobody can
 *                tell whether they are */
VRAMPOOL_API vrampool_status vrampool_object_status(vrampool_object* object);

/* 1: it was shared as sealed, and is to be read only. */
VRAMPOOL_API int vrampool_object_is_sealed(vrampool_object* object);

/* What is in an object. Pointers stay valid until it is closed. An index out of
 * range gives null and zero. */
VRAMPOOL_API size_t vrampool_object_buffer_count(vrampool_object* object);
VRAMPOOL_API void* vrampool_object_data(vrampool_object* object, size_t index);
VRAMPOOL_API size_t vrampool_object_size(vrampool_object* object, size_t index);

/* The layout of a buffer. NOT_FOUND if the producer gave none. Layout, metadata
 * and name of an object that was opened without an RPC are fetched by the first
 * of these three calls that needs one, unless the object has no more than a
 * layout of at most 8 dimensions: that comes with the token. */
VRAMPOOL_API vrampool_status vrampool_object_tensor(vrampool_object* object,
                                                    size_t index,
                                                    vrampool_tensor* out);

/* The metadata; null and 0 when there is none. */
VRAMPOOL_API vrampool_status vrampool_object_metadata(vrampool_object* object,
                                                      const void** data,
                                                      size_t* size);

/* The name; "" when there is none, null on error. */
VRAMPOOL_API const char* vrampool_object_name(vrampool_object* object);

/* The path of the tenant whose object it is, if that is another one; "" when it
 * is this client's, null on error. */
VRAMPOOL_API const char* vrampool_object_owner(vrampool_object* object);

/* Ends this process's hold when the work enqueued on `stream` so far is done,
 * and does not wait for that. Until then the object lives and its memory stays
 * mapped here, but `object` is gone with this call. Work on other streams that
 * uses the object must be done, or `stream` must wait for it. On memory of the
 * host `stream` is ignored and the hold ends at once. Null is ignored.
 *
 * The orderly end of the process waits up to ten seconds for such closes, and
 * for the contents of `ordered` objects (and before that as long for objects
 * that were opened for a stream and closed); what the GPU has not reached by
 * then ends as if the process had died.
 *   INVALID_ARGUMENT  `stream` is being captured or is none of this GPU: close
 *                     on another stream; `object` is still open */
VRAMPOOL_API vrampool_status vrampool_object_close(vrampool_object* object,
                                                   cudaStream_t stream);

/* Takes the name off an object of this tenant; the object then ends with its
 * last hold. */
VRAMPOOL_API vrampool_status vrampool_unlink(vrampool_client* client,
                                             const char* name);

/* Ends of objects, for who keeps something as long as others use an object: the
 * inside of a block that an allocator of its own cuts up, say. Neither call
 * takes an RPC.
 *
 * Waits up to `wait_ms` until `*ends` is more than `seen`: how often it
 * happened so far that an object which `client` shared ended, or was lost with
 * a session. It is also set on TIMEOUT.
 *   TIMEOUT      not yet
 *   UNAVAILABLE  the process is exiting */
VRAMPOOL_API vrampool_status vrampool_await_ends(vrampool_client* client,
                                                 uint64_t seen,
                                                 uint64_t wait_ms,
                                                 uint64_t* ends);

/* What has become of an object that `client` shared.
 *   OK                it lives
 *   NOT_FOUND         it has ended: nobody holds it, and the work of the GPU
 *                     that their closes waited for is done. (Also of one that
 *                     this client has never shared; and of one whose dedicated
 *                     blocks it has freed: whoever has that one goes on with
 *                     it, and there is no memory here to keep.)
 *   STALE             its session has ended, with the daemon or the connection
 *                     to it. Nobody can open it, but nobody can tell any more
 *                     whether those who have it go on using it
 *   INVALID_ARGUMENT  not a token at all */
VRAMPOOL_API vrampool_status vrampool_shared_status(vrampool_client* client,
                                                    const char* token);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* VRAMPOOL_OBJECTS_H_ */
