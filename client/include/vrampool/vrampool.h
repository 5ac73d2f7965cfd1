/* vrampool.h - the C interface of libvrampool: memory of a GPU (or of the
 * host) that a vrampool daemon shares out among the processes using it.
 *
 * The library leases slabs from the daemon, rarely, and cuts blocks out of them
 * itself: an allocation from a slab it has takes no system call and no RPC.
 *
 * Errors: a function that can fail returns a vrampool_status, or null where it
 * returns a pointer. The calling thread's last failure is then in
 * vrampool_last_status() and, as a sentence that says what to do, in
 * vrampool_last_error_message(). On error nothing has changed. The library
 * never aborts and, but for one function that says so, never throws.
 *
 * Threads: every function may be called from any thread at any time, except
 * that vrampool_client_close and vrampool_object_close are the last call on
 * what they close.
 *
 * fork: a child cannot use its parent's clients. Every call in it gives
 * VRAMPOOL_FORKED; the parent goes on unharmed. Start a new program (exec) in
 * the child, or make it attach before any fork in a process of its own.
 *
 * Streams: memory of a GPU is allocated and freed in the order of a stream, as
 * with cudaMallocAsync. A block may be used on the stream it was allocated on
 * at once, on another one when that waits for the first. It is freed on a
 * stream behind all work that uses it: work of other streams must have been
 * waited for there. Nobody else gets the memory before that work is done, and
 * no call waits for it. A stream must live during the calls that name it, and
 * may be destroyed afterwards. Null is the legacy default stream; a program
 * that is built for per-thread default streams passes cudaStreamPerThread.
 *
 * No CUDA header is needed. `cudaStream_t` and `cudaGraph_t` are declared below
 * as CUDA declares them. Memory of the host has no streams: any value does.
 *
 *   void* p = vrampool_allocate(1 << 20, NULL);
 *   if (p == NULL) fprintf(stderr, "%s\n", vrampool_last_error_message());
 *   vrampool_deallocate(p, 1 << 20, NULL);
 */

#ifndef VRAMPOOL_VRAMPOOL_H_
#define VRAMPOOL_VRAMPOOL_H_

#include <stddef.h>
#include <stdint.h>

#include "vrampool/errors.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st* cudaStream_t;
typedef struct CUgraph_st* cudaGraph_t;

typedef struct vrampool_client vrampool_client;
typedef struct vrampool_object vrampool_object;

/* ---- Clients ------------------------------------------------------------ */

/* How a device's memory travels between processes. */
typedef enum vrampool_kind {
  VRAMPOOL_KIND_NONE = 0,
  VRAMPOOL_KIND_CUDA_IPC = 1, /* Works with every framework, and with RDMA. What
                                 falls idle stays mapped (and charged) until
                                 vrampool_quiesce(): unmapping it stalls. For
                                 kernels of its own GPU alone. */
  VRAMPOOL_KIND_VMM_FD = 2,   /* Goes back to the daemon whenever it is idle.
                                 Also for GPUs that can reach that one. */
  VRAMPOOL_KIND_HOST_FD = 3   /* Memory of the host: the CPU can use it. */
} vrampool_kind;

/* How to open a client. What is left null, zero or negative as
 * vrampool_options_init() leaves it is taken from the environment variable
 * named beside it, and has the default given last if that is not set. */
typedef struct vrampool_options {
  size_t struct_size;    /* Set by vrampool_options_init(). */
  const char* directory; /* VRAMPOOL_DIR; /run/vrampool */
  const char* device;    /* VRAMPOOL_DEVICE: a device's UUID or its link's name
                            ("gpu0", "host0"); the directory's only device */
  const char* name;      /* VRAMPOOL_NAME: a label in reports; the program */
  const char* tag;       /* VRAMPOOL_TAG: a label of each block; none */
  const char* framework; /* VRAMPOOL_FRAMEWORK: a label in reports; none */
  uint64_t slab_bytes;   /* VRAMPOOL_SLAB_SIZE ("64MiB"): what a lease asks for,
                            at least; as much as is leased up to 32 MiB, then
                            a twelfth of it, from 4 to 64 MiB */
  int64_t wait_ms;     /* VRAMPOOL_WAIT_MS: how long an allocation may wait for
                          room, for its tenant's rate (sharing, too), or for a
                          daemon that restarts; 0, fail at once */
  int64_t idle_ms;     /* VRAMPOOL_IDLE_MS: after how long a slab without
                          blocks goes back to the daemon; 1000 */
  vrampool_kind kind;  /* VRAMPOOL_KIND ("CUDA_IPC", "VMM_FD", "HOST_FD"): what
                          allocations are made of; the daemon's default */
  int detect_captures; /* VRAMPOOL_DETECT_CAPTURES ("0", "1"): 1, every
                         allocation and free asks whether its stream captures
                         a graph (50 ns), so that captures need not be
                         announced; the allocator's caches are off. 0 */
  uint64_t reserve_bytes; /* VRAMPOOL_RESERVE ("4GiB"): leased when the client
                             is opened, in as few slabs as can be had, and kept
                             until it is closed: neither time, the daemon's
                             wish for memory nor vrampool_trim() gives it back.
                             Only before a request of its own would fail, the
                             client gives up what of it is unused. Opening
                             fails when it cannot be had. A daemon that comes
                             back after a restart is not asked for it. 0 */
  int lease_ahead;   /* VRAMPOOL_LEASE_AHEAD ("0", "1"): 1, a client that grows
                        for small blocks has its next slab leased in the
                        background before it needs it; it goes back like every
                        unused slab. 1, and 0 where slab_bytes is given */
  const char* debug; /* VRAMPOOL_DEBUG ("0", "1", "abort", "protect", or
                        "protect,abort"): looks for misuse of memory, and
                        tells of it on stderr (docs/leaks.md); slower. 0 */
  uint64_t debug_quarantine_bytes; /* VRAMPOOL_DEBUG_QUARANTINE ("64MiB"): with
                                      it, a freed block is not reused before so
                                      much was freed after it, unless memory
                                      would run out. 64 MiB */
  const char* stacks; /* VRAMPOOL_STACKS ("off", "all", or bytes): of which
                         allocations the whole stack is recorded for leak
                         reports: of one in so many allocated bytes, of all
                         ("all", some microseconds each), of none. "4MiB" */
} vrampool_options;

/* Sets `*options` to "everything from the environment". */
VRAMPOOL_API void vrampool_options_init_sized(vrampool_options* options,
                                              size_t size);
static inline void vrampool_options_init(vrampool_options* options) {
  vrampool_options_init_sized(options, sizeof(*options));
}

/* Attaches to a daemon. `options` may be null: all from the environment.
 *   UNAVAILABLE       no daemon serves the directory or device
 *   NOT_FOUND         no such device, or several and none was named; or this
 *                     process's CUDA does not see the GPU
 *   PERMISSION, LIMIT, VERSION_MISMATCH   the daemon refused; the message says
 *                     what to change
 *   INVALID_ARGUMENT  an option or variable cannot be understood */
VRAMPOOL_API vrampool_status
vrampool_client_open(const vrampool_options* options, vrampool_client** out);

/* Gives back what is not in use and ends the session. Waits for the work that
 * this process has running on the GPU. Blocks that still live become invalid
 * and appear in the daemon's leak report; objects that this process shared live
 * on while others hold them. Graphs that used its memory must not run any more.
 * Null is ignored. */
VRAMPOOL_API void vrampool_client_close(vrampool_client* client);

/* The process-wide client, configured by the environment alone. Opened by the
 * first call that needs it (a failure is tried again by the next), closed when
 * the process exits in order. Null when it cannot be opened. */
VRAMPOOL_API vrampool_client* vrampool_default_client(void);

typedef struct vrampool_info {
  size_t struct_size;     /* Set by the caller: sizeof(vrampool_info). */
  char device_uuid[64];   /* NUL-terminated, as all text here. */
  char tenant[128];       /* "root/team-a"; cut if longer. */
  uint64_t epoch;         /* The daemon's incarnation. */
  uint64_t session_id;    /* Of the session in use now. */
  uint64_t granule_bytes; /* Slabs are multiples of it. */
  vrampool_kind kind;     /* What allocations are made of. */
} vrampool_info;

/* What the client is attached to now (or was last). */
VRAMPOOL_API vrampool_status vrampool_client_info(vrampool_client* client,
                                                  vrampool_info* out);

/* ---- Memory ------------------------------------------------------------- */

/* A block of at least `bytes`, aligned to 256, of the default client. Null with
 * status OK for zero bytes; null with an error otherwise. */
VRAMPOOL_API void* vrampool_allocate(size_t bytes, cudaStream_t stream);

/* Gives back a block. `bytes` is the size it was allocated with. Null is
 * ignored. A pointer that is no live block of the default client, or another
 * size, is INVALID_ARGUMENT in vrampool_last_status() and changes nothing. A
 * block that is part of a live object is given back when the object ends. */
VRAMPOOL_API void vrampool_deallocate(void* p, size_t bytes,
                                      cudaStream_t stream);

/* The same on a client of your own. */
VRAMPOOL_API void* vrampool_client_allocate(vrampool_client* client,
                                            size_t bytes, cudaStream_t stream);
VRAMPOOL_API void vrampool_client_deallocate(vrampool_client* client, void* p,
                                             size_t bytes, cudaStream_t stream);

/* With an alignment: any power of two up to the slab size; less than 256 is
 * 256. Given back with vrampool_client_deallocate. */
VRAMPOOL_API void* vrampool_client_allocate_aligned(vrampool_client* client,
                                                    size_t bytes,
                                                    size_t alignment,
                                                    cudaStream_t stream);

/* A block that is alone in a slab of its own, at its start: what is to be
 * granted to other tenants (vrampool_share_options::grants), who map whole
 * slabs. Costs a lease each time, and a multiple of the granule. Given back
 * with vrampool_client_deallocate; its slab then goes back to the daemon as
 * soon as the GPU has done with it (CUDA_IPC: still mapped, and charged until
 * vrampool_quiesce if other tenants have had it open). */
VRAMPOOL_API void* vrampool_client_allocate_dedicated(vrampool_client* client,
                                                      size_t bytes,
                                                      cudaStream_t stream);

/* As the functions above, for languages whose code has no addresses and which
 * can tell their stack in words. `dedicated` not 0: as
 * vrampool_client_allocate_dedicated, and `alignment` is not looked at.
 * `frames`:
 *   null  the stack is that of the machine, if it is recorded
 *   ""    if it is to be recorded, nothing is allocated, and the answer is
 *         VRAMPOOL_WANTS_FRAMES with status OK: call again, in this thread, for
 *         as many bytes and with the words
 *   else  the words, a line for each frame, the innermost first:
 *         "train.py:12 (step)\ntrain.py:90 (main)", at most 183 bytes and 30
 *         lines of them. The answer is a block, or null */
#define VRAMPOOL_WANTS_FRAMES ((void*)1)
VRAMPOOL_API void* vrampool_client_allocate_from(vrampool_client* client,
                                                 size_t bytes, size_t alignment,
                                                 int dedicated,
                                                 cudaStream_t stream,
                                                 const char* frames);

/* From now on the stacks of what C and C++ code allocates have lines of Python,
 * too, of threads that Python called that code in: whether they have Python's
 * lock then or not, without waiting for it. The Python package calls this.
 *
 * `minor` is that of the version 3.`minor` of CPython, `thread_state` the
 * address of PyGILState_GetThisThreadState and `code_type` that of PyCode_Type.
 * `lines` are those of the caller's frames, the innermost 30 at most, in the
 * form of vrampool_client_allocate_from(): what is read must begin with them.
 *   VERSION_MISMATCH  frames of this Python, or of this build of it, cannot be
 *                     read
 *   PERMISSION        the system does not let a process read its own memory */
VRAMPOOL_API vrampool_status vrampool_python_begin(int minor,
                                                   void* thread_state,
                                                   const void* code_type,
                                                   const char* lines);
/* And not any more: to be called before the interpreter ends. */
VRAMPOOL_API void vrampool_python_end(void);

/* The block of `client` that begins at `p` is also used on `stream`, and the
 * stream on which it will be freed is not made to wait for that: its memory is
 * then given to nobody, nor to the stream that freed it, before the work that
 * is enqueued on `stream` at the time of the free is done. No call waits for
 * it. As PyTorch's Tensor.record_stream(). Call it as often, and for as many
 * streams, as the block is used on; `stream` must live until the free has been
 * called. While it captures, what it uses is kept for the graph.
 *
 * Until that work is done, the memory is missing: a request may fail that could
 * be served a moment later. On memory of the host nothing happens.
 *   INVALID_ARGUMENT  `p` is not the beginning of a live block of the client,
 *                     or `stream` is no stream of its GPU */
VRAMPOOL_API vrampool_status vrampool_record_stream(vrampool_client* client,
                                                    void* p,
                                                    cudaStream_t stream);

/* The tag of the blocks that this thread allocates from now on, at most 55
 * bytes of it; null: the client's own. vrampool_tag() is the tag now set, or
 * null. */
VRAMPOOL_API vrampool_status vrampool_set_tag(const char* tag);
VRAMPOOL_API const char* vrampool_tag(void);

/* Where the calls that this thread makes from now on come from, in the
 * program's own words, like "train.py:12 (step)", at most 159 bytes of them;
 * null: no words. What the debug mode tells then names it and no address: for
 * languages whose code has none. Costs a copy. */
VRAMPOOL_API void vrampool_debug_place(const char* place);

/* Writes to stderr what the debug mode knows of the memory at `p`, in all
 * clients of the process: the block, and where it was allocated and freed. To
 * be called from a debugger, too. */
VRAMPOOL_API void vrampool_debug_describe(const void* p);

/* Returns every slab without blocks to the daemon, now. Never waits for the
 * GPU: slabs that its work may still touch go back by themselves when that is
 * done, and those of kind CUDA_IPC stay mapped, and charged, until
 * vrampool_quiesce(). */
VRAMPOOL_API vrampool_status vrampool_trim(vrampool_client* client);

/* As trim, and also closes mappings whose closing can stall a GPU: call it when
 * no work of this process runs and no stream captures. It waits for the GPU. */
VRAMPOOL_API vrampool_status vrampool_quiesce(vrampool_client* client);

/* For who keeps memory that it could do without: a cache of its own. The daemon
 * asks for memory when somebody waits for room that this process could make:
 * below a limit that both are under, or beyond its tenant's guarantee. Idle
 * slabs go back by themselves then; what is freed after it goes back at once
 * with vrampool_trim(). No call of the daemon is made.
 *
 * Waits up to `wait_ms` until `*reclaims` is more than `seen`: how often it has
 * asked. `*bytes`, if not null, is how much it wanted the last time. Both are
 * set on TIMEOUT, too.
 *   TIMEOUT      not yet
 *   UNAVAILABLE  the process is exiting */
VRAMPOOL_API vrampool_status vrampool_await_reclaim(vrampool_client* client,
                                                    uint64_t seen,
                                                    uint64_t wait_ms,
                                                    uint64_t* reclaims,
                                                    uint64_t* bytes);

/* Graphs. A graph runs again what was captured, so memory that a capture used
 * must be nobody else's as long as the graph lives. Say before a stream begins
 * to capture (cudaStreamBeginCapture; for another stream that joins the
 * capture, before it does), and when its capture has been ended, with the graph
 * that came of it, before that is destroyed. In between the stream must live.
 *
 * Blocks that the stream allocates or frees in between are given to nobody else
 * until the graph and everything made of it (executables, clones) are gone;
 * what was allocated and freed within the capture can be used again within it.
 * `graph` is null when the capture failed or was thrown away.
 *   INVALID_ARGUMENT  begin: the stream captures already, or its capture was
 *                     announced; end: it was not, or the stream still captures
 * When the end cannot be watched (another error), the memory is kept for good.
 *
 * Asking an unannounced capturing stream who it is spoils its capture: an
 * allocation on it gives INVALID_ARGUMENT, and so does the capture's end. With
 * the option detect_captures, and through vrampool_torch_malloc and
 * vrampool_torch_free, it spoils nothing. What is allocated and freed meanwhile
 * is kept until the client is closed.
 *
 * A program that captures graphs without a word, on streams that vrampool is
 * not used on, wants detect_captures, too: before a request fails, and to give
 * idle memory back, an event of all streams may be recorded (cuCtxRecordEvent),
 * which spoils captures. None is once a client of the GPU in this process has
 * the option, the hooks of PyTorch were called, or a capture was found: what no
 * other event covers then waits for vrampool_quiesce(). */
VRAMPOOL_API vrampool_status vrampool_capture_begin(vrampool_client* client,
                                                    cudaStream_t stream);
VRAMPOOL_API vrampool_status vrampool_capture_end(vrampool_client* client,
                                                  cudaStream_t stream,
                                                  cudaGraph_t graph);

/* For PyTorch (torch.cuda.memory.CUDAPluggableAllocator) and hooks like it:
 * memory of the GPU that this process's CUDA calls `device`, from that GPU's
 * daemon. Each GPU has one process-wide client, configured by the environment
 * as the default client is (and the same one, where that is of the same GPU),
 * opened by the first allocation. Null for zero bytes, and on failure: PyTorch
 * then raises its own error. */
VRAMPOOL_API void* vrampool_torch_malloc(size_t bytes, int device,
                                         cudaStream_t stream);
/* The same for torch.cuda.memory.change_current_allocator(), where PyTorch
 * takes null for memory: failure throws std::bad_alloc instead, which PyTorch
 * turns into an error of the operation. Not for callers in C, nor for MemPool.
 */
VRAMPOOL_API void* vrampool_torch_malloc_or_throw(size_t bytes, int device,
                                                  cudaStream_t stream);
VRAMPOOL_API void vrampool_torch_free(void* p, size_t bytes, int device,
                                      cudaStream_t stream);
/* For set_record_stream_fn() of a CUDAPluggableAllocator with those: as
 * vrampool_record_stream(), for the client that the block is of. */
VRAMPOOL_API void vrampool_torch_record_stream(void* p, cudaStream_t stream);

/* PyTorch's own allocator, with blocks of the pool for the segments that it
 * cuts tensors out of: from now on what its library (libc10_cuda.so) asks of
 * cudaMalloc() for the GPU that this process's CUDA calls `device` comes from
 * that GPU's process-wide client, and cudaFree() of it gives it back. Both keep
 * their meaning: memory is ready for every stream, and given back behind the
 * work of every stream, though without a wait for the GPU. Where there is no
 * memory PyTorch gives up what it caches, tries again, and then raises its own
 * error; vrampool_torch_refusal() says why. How much memory there is
 * (cudaMemGetInfo) is the tenant's budget. PyTorch's captures of graphs are
 * announced; with the option detect_captures, for those of others, giving back
 * waits for the GPU as cudaFree() does.
 *
 * What PyTorch got before stays what it was, and so does what it gets by other
 * ways (expandable_segments, the backend cudaMallocAsync).
 *   NOT_FOUND  PyTorch is not loaded, or its library is not linked with CUDA's
 *              runtime as a library of its own; there is no such GPU
 *   errors of vrampool_device_client() */
VRAMPOOL_API vrampool_status vrampool_torch_lead(int device);
/* And from now on from CUDA again; what is of the pool goes back there. */
VRAMPOOL_API void vrampool_torch_leave(int device);
/* Waits until no stream captures a graph for PyTorch, of GPUs that are led: a
 * capture is no time to give memory back. TIMEOUT after `wait_ms`. */
VRAMPOOL_API vrampool_status vrampool_torch_await_no_capture(uint64_t wait_ms);
/* Why there was no memory when PyTorch last asked for some in this thread, told
 * once: written to `text` as far as that has room, with a terminating zero.
 * Gives its length; 0 when there is nothing to tell. */
VRAMPOOL_API size_t vrampool_torch_refusal(char* text, size_t size);

/* The process-wide client of that GPU, to announce captures to; null with an
 * error when it cannot be opened. */
VRAMPOOL_API vrampool_client* vrampool_device_client(int device);

typedef struct vrampool_usage {
  size_t struct_size;    /* Set by the caller: sizeof(vrampool_usage). */
  uint64_t leased_bytes; /* Slabs leased from the daemon. */
  uint64_t slabs;        /* Their number. */
  uint64_t live_bytes;   /* Blocks, as asked for. */
  uint64_t live_blocks;  /* Their number. */
  uint64_t opened_bytes; /* Slabs of others mapped for their objects. */
  uint64_t rpcs;         /* Calls made to the daemon since opening. */
  uint64_t attachments;  /* Sessions begun since opening. */
  uint64_t parked_bytes; /* Slabs given back that are still mapped: charged
                            until vrampool_quiesce(). */
  /* Of the leased bytes without a live block: */
  uint64_t cached_bytes;  /* Blocks that threads freed and keep at hand. */
  uint64_t pending_bytes; /* Freed, and not everyone's yet: the GPU's work, or a
                             graph, may still use them. */
} vrampool_usage;

/* Fast, no RPC. */
VRAMPOOL_API vrampool_status vrampool_client_usage(vrampool_client* client,
                                                   vrampool_usage* out);

typedef struct vrampool_block_info {
  size_t struct_size;  /* Set by the caller: sizeof(vrampool_block_info). */
  uint64_t address;    /* Where the block begins. */
  uint64_t size_bytes; /* As asked for. */
  uint64_t slab_id;    /* As `vrampool leases` lists it. */
  uint64_t slab_bytes;
  vrampool_kind kind;
} vrampool_block_info;

/* The live block of `client` that `p` points into. Fast, no RPC; the memory is
 * not touched. NOT_FOUND if it is in none. */
VRAMPOOL_API vrampool_status vrampool_describe(vrampool_client* client,
                                               const void* p,
                                               vrampool_block_info* out);

typedef struct vrampool_budget {
  size_t struct_size;        /* Set by the caller: sizeof(vrampool_budget). */
  uint64_t used_bytes;       /* Charged to the tenant. */
  uint64_t limit_bytes;      /* The tightest limit on the way to the root. */
  uint64_t available_bytes;  /* What the tenant could get now. */
  uint64_t guarantee_bytes;  /* The tenant's guarantee. */
  uint64_t guaranteed_bytes; /* Of available_bytes, whatever others do. */
  uint64_t total_bytes;      /* With available_bytes: `total` and `free` as of
                                cudaMemGetInfo, guarantees of others left out. */
} vrampool_budget;

/* Asks the daemon (one RPC). UNAVAILABLE when it is away. */
VRAMPOOL_API vrampool_status vrampool_client_budget(vrampool_client* client,
                                                    vrampool_budget* out);

/* Waits until a lease of `bytes` would be granted. Reserves nothing. TIMEOUT
 * after `wait_ms`. */
VRAMPOOL_API vrampool_status vrampool_wait_for_room(vrampool_client* client,
                                                    size_t bytes,
                                                    uint64_t wait_ms);

#ifdef __cplusplus
} /* extern "C" */
#endif

#include "vrampool/objects.h" /* Objects: sharing without copies. */

#endif /* VRAMPOOL_VRAMPOOL_H_ */
