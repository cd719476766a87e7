/* SPDX-License-Identifier: Apache-2.0 */
/* The directory the store lives in: is it fit, who holds it, where damaged files go. Writer thread,
 * and the control loop at start. */
#include "broker/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define PROBLEM_SIZE 256

/* statfs magics of file systems whose locks or shared memory maps do not hold between hosts. */
static const struct {
    uint32_t magic;
    const char *name;
} network[] = {
    {0x6969, "NFS"},      {0xFF534D42, "CIFS"}, {0xFE534D42, "SMB2"},   {0x517B, "SMB"},
    {0x564C, "NCP"},      {0x73757245, "Coda"}, {0x5346414F, "AFS"},    {0x6B414653, "AFS"},
    {0x00C36400, "Ceph"}, {0x01021997, "9P"},   {0x0BD00BD0, "Lustre"}, {0x7461636F, "OCFS2"},
    {0x01161970, "GFS2"}, {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"},
};

void sse_disk_place_path(const char *dir, const char *suffix, char *out, size_t size)
{
    snprintf(out, size, "%s/broker.db%s", dir, suffix);
}

apr_status_t sse_disk_place_check(const char *dir, char *problem)
{
    struct stat st;
    struct statfs fs;
    if (!dir || !*dir) {
        snprintf(problem, PROBLEM_SIZE, "no state directory is set");
        return APR_EINVAL;
    }
    if (strlen(dir) > 3800) {
        snprintf(problem, PROBLEM_SIZE, "the state directory's path is too long");
        return APR_EINVAL;
    }
    if (stat(dir, &st) != 0 || statfs(dir, &fs) != 0) {
        snprintf(problem, PROBLEM_SIZE, "the state directory %.120s cannot be used: %s", dir,
                 strerror(errno));
        return APR_EINVAL;
    }
    if (!S_ISDIR(st.st_mode)) {
        snprintf(problem, PROBLEM_SIZE, "the state directory %.120s is not a directory", dir);
        return APR_EINVAL;
    }
    for (size_t i = 0; i < SSE_ARRAY_LEN(network); i++) {
        if ((uint32_t)fs.f_type == network[i].magic) {
            snprintf(problem, PROBLEM_SIZE,
                     "the state directory %.120s is on a network file system (%s), which cannot be "
                     "locked safely",
                     dir, network[i].name);
            return APR_EINVAL;
        }
    }
    return APR_SUCCESS;
}

apr_status_t sse_disk_place_lock(const char *dir, int *out_fd, char *problem)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        snprintf(problem, PROBLEM_SIZE, "the lock file of the state directory %.120s: %s", dir,
                 strerror(errno));
        return APR_EAGAIN;
    }
    /* Owned by the open file, so no close() of another descriptor in this process gives it up. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        bool busy = errno == EAGAIN || errno == EACCES;
        snprintf(problem, PROBLEM_SIZE, "the state directory %.120s %s", dir,
                 busy ? "is in use by another hub" : strerror(errno));
        close(fd);
        return busy ? APR_EBUSY : APR_EAGAIN;
    }
    *out_fd = fd;
    return APR_SUCCESS;
}

apr_status_t sse_disk_place_set_aside(const char *dir, char *out_name)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
    char from[4096], to[4200], aside[64];
    /* A second one within the second gets a number. */
    for (int n = 0;; n++) {
        if (n == 0)
            snprintf(aside, sizeof(aside), ".corrupt-%s", stamp);
        else
            snprintf(aside, sizeof(aside), ".corrupt-%s-%d", stamp, n);
        sse_disk_place_path(dir, aside, to, sizeof(to));
        if (access(to, F_OK) != 0)
            break;
    }
    for (size_t i = 0; i < SSE_ARRAY_LEN(suffixes); i++) {
        char side[96];
        snprintf(side, sizeof(side), "%s%s", aside, suffixes[i]);
        sse_disk_place_path(dir, suffixes[i], from, sizeof(from));
        sse_disk_place_path(dir, side, to, sizeof(to));
        if (rename(from, to) != 0 && errno != ENOENT)
            return APR_EAGAIN;
    }
    snprintf(out_name, 64, "broker.db%.50s", aside);
    return APR_SUCCESS;
}
