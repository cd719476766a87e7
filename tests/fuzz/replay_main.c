/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over its committed corpus, or over the files named as arguments; no file at
 * all is a failure. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(1 << 20);
    size_t n;

    if (!f || !data) {
        perror(path);
        exit(1);
    }
    n = fread(data, 1, 1 << 20, f);
    fclose(f);
    /* Exactly as large as the input, so that a sanitizer sees a read behind its end. */
    data = realloc(data, n ? n : 1);
    LLVMFuzzerTestOneInput(data, n);
    free(data);
}

static int replay_dir(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int n = 0;

    while (d && (e = readdir(d))) {
        char path[4096];

        if (e->d_name[0] == '.')
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path))
            continue;
        replay_file(path);
        n++;
    }
    if (d)
        closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir");
    char dir[4096];
    int n = 0, i;

    for (i = 1; i < argc; i++, n++)
        replay_file(argv[i]);
    if (argc == 1) {
        snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", sse_fuzz_name);
        n = replay_dir(dir);
    }
    printf("%s: %d inputs replayed\n", sse_fuzz_name, n);
    return n == 0;
}
