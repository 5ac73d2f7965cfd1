/* reserve.h - room that is held before it is used.
 *
 * Programs that start together and look at what is free both believe that it is
 * theirs. One that reserves first knows what it will get, or is told at once
 * that it will not. Errors and threads: as in vrampool.h.
 */

#ifndef VRAMPOOL_RESERVE_H_
#define VRAMPOOL_RESERVE_H_

#include <stddef.h>
#include <stdint.h>

#include "vrampool/vrampool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether a lease of `bytes` would be granted now: 1 or 0 in `*out`. Reserves
 * nothing: the next moment may be another. INVALID_ARGUMENT for a size that the
 * tenant's quota can never admit. */
VRAMPOOL_API vrampool_status vrampool_fits(vrampool_client* client,
                                           size_t bytes, int* out);

/* Room that the daemon holds for this process. */
typedef struct vrampool_reservation {
  uint64_t epoch;
  uint64_t id; /* As `vrampool reservations` lists it. */
} vrampool_reservation;

/* Holds room for `bytes`, rounded up to the granule, for `hold_ms` (at most an
 * hour). It is charged at once; what this process leases from now on draws from
 * it. What is left comes back at the end of that time, on release, or when the
 * session ends. Never waits (see vrampool_wait_for_room). OVER_QUOTA,
 * OUT_OF_POOL, LIMIT or RATE_LIMITED if it cannot be had. */
VRAMPOOL_API vrampool_status vrampool_reserve(vrampool_client* client,
                                              size_t bytes, uint64_t hold_ms,
                                              vrampool_reservation* out);
/* Gives back what is left of it. NOT_FOUND when nothing is. */
VRAMPOOL_API vrampool_status vrampool_reservation_release(
    vrampool_client* client, vrampool_reservation reservation);

#ifdef __cplusplus
}
#endif

#endif /* VRAMPOOL_RESERVE_H_ */
