/* SPDX-License-Identifier: Apache-2.0 */
/* The contract suite over a driver that is a shared object, loaded by its scheme as the hub does:
 * tests/driver. Its world is a file. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

world_t world;

static char dir[4096], url[4200];

/* The file is locked by what was left behind. */
static void renew(void)
{
    static unsigned n;
    if (n)
        unlink(url + strlen("journal://"));
    snprintf(url, sizeof url, "journal://%s/%u", dir, ++n);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/sse-contract-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 99;
    }
    renew();
    world = (world_t){.url = url, .state_dir = dir, .driver_dir = DRIVER_DIR, .renew = renew};
    int failed = contract_publish_tests() + contract_history_tests() + contract_records_tests() +
                 contract_life_tests();
    unlink(url + strlen("journal://"));
    rmdir(dir);
    return failed ? 1 : 0;
}
