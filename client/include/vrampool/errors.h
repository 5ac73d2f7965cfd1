/* errors.h - what a call of libvrampool can come to, and how a thread asks what
 * its last one did. Included by vrampool.h, which says how errors are used.
 *
 * Threads: every function may be called from any thread at any time.
 */

#ifndef VRAMPOOL_ERRORS_H_
#define VRAMPOOL_ERRORS_H_

#if defined(__GNUC__)
#define VRAMPOOL_API __attribute__((visibility("default")))
#else
#define VRAMPOOL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vrampool_status {
  VRAMPOOL_OK = 0,
  VRAMPOOL_INVALID_ARGUMENT = 1, /* The call itself is wrong. */
  VRAMPOOL_OVER_QUOTA = 2,       /* The tenant's limit: free some, or wait. */
  VRAMPOOL_OUT_OF_POOL = 3,      /* The device is full: wait, or ask for less.*/
  VRAMPOOL_LIMIT = 4,            /* A bound on a number of things: use fewer. */
  VRAMPOOL_UNAVAILABLE = 5,      /* No daemon: memory in hand goes on working.*/
  VRAMPOOL_PERMISSION = 6,       /* The daemon does not admit this. */
  VRAMPOOL_NOT_FOUND = 7,        /* No such object, device or name. */
  VRAMPOOL_EXISTS = 8,           /* The name is taken. */
  VRAMPOOL_BROKEN = 9,           /* The producer died before it was ready. */
  VRAMPOOL_STALE = 10,           /* Of an earlier life of the daemon. */
  VRAMPOOL_NOT_SHAREABLE = 11,   /* Must be allocated in another way. */
  VRAMPOOL_TIMEOUT = 12,         /* Waited as long as was allowed. */
  VRAMPOOL_FORKED = 13,          /* The client belongs to the parent process. */
  VRAMPOOL_VERSION_MISMATCH = 14, /* Daemon, library or module do not match. */
  VRAMPOOL_DEVICE_LOST = 15,      /* The device failed; see the daemon's log. */
  VRAMPOOL_ENDED = 16,            /* The daemon ended this session by force. */
  VRAMPOOL_INTERNAL = 17,         /* A defect of vrampool, or a failed call. */
  VRAMPOOL_RATE_LIMITED = 18      /* The tenant's rate: wait, or ask later. */
} vrampool_status;

/* "OVER_QUOTA" for VRAMPOOL_OVER_QUOTA; "UNKNOWN" for a number that is none. */
VRAMPOOL_API const char* vrampool_status_name(vrampool_status status);

/* Of this thread's last call that can fail: VRAMPOOL_OK if it succeeded. */
VRAMPOOL_API vrampool_status vrampool_last_status(void);

/* Its message; "" after success. Valid until this thread's next call. */
VRAMPOOL_API const char* vrampool_last_error_message(void);

/* The library's version, as "0.1.0". */
VRAMPOOL_API const char* vrampool_version(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* VRAMPOOL_ERRORS_H_ */
