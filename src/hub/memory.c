/* SPDX-License-Identifier: Apache-2.0 */
/* Looks every few seconds, since counting free memory takes a moment of each arena's lock. What has
 * been given back still counts as free to the allocator, so only growth is a reason to do it again;
 * and every minute, as what was given back may have been used and freed in between. */
#include "hub/memory.h"

#include <features.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#define LOOK_SECONDS 3
#define LOOKS_BETWEEN 20
#define WORTH_BYTES (256 * 1024)

void sse_memory_tidy(sse_memory_t *m)
{
    if (++m->seconds < LOOK_SECONDS)
        return;
    m->seconds = 0;
#if defined(__GLIBC__)
    size_t free_bytes = mallinfo2().fordblks;
    m->age++;
    if (free_bytes > m->kept + WORTH_BYTES ||
        (m->age >= LOOKS_BETWEEN && free_bytes > WORTH_BYTES)) {
        malloc_trim(0);
        m->kept = free_bytes;
        m->age = 0;
    } else if (free_bytes < m->kept) {
        m->kept = free_bytes;
    }
#endif
}
