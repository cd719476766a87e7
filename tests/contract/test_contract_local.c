/* SPDX-License-Identifier: Apache-2.0 */
/* The contract suite over the embedded driver: its world is a directory. */
#include "rig.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

world_t world;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static char dir[4096];

/* The directory's lock is held by what was left behind. */
static void renew(void)
{
    static char next[4200];
    static unsigned n;
    snprintf(next, sizeof(next), "%s/%u", dir, ++n);
    if (mkdir(next, 0700) != 0)
        abort();
    world.state_dir = next;
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/sse-contract-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 99;
    }
    world = (world_t){.url = "local", .state_dir = dir, .renew = renew};
    int failed = contract_publish_tests() + contract_history_tests() + contract_records_tests() +
                 contract_life_tests();
    rig_durability = "full";
    failed += contract_life_tests();
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed ? 1 : 0;
}
