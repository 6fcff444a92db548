/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/process.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMESPACES_MAX      256
#define MOUNTINFO_BYTES_MAX (16UL << 20)

static DIR *open_directory(const char *path) {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);

        if (!dir && fd >= 0)
                close(fd);
        return dir;
}

/* The next other process; 0 after the last. */
static int next_process(DIR *proc) {
        struct dirent *entry;
        uint64_t pid;

        while ((entry = readdir(proc)))
                if (str_parse_u64(entry->d_name, INT32_MAX, &pid) == 0 && (int)pid != getpid())
                        return (int)pid;
        return 0;
}

static void fill(Process *process, int pid) {
        cleanup(freep) char *text = NULL;
        char path[48];

        *process = (Process){.pid = pid};
        (void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        if (file_read_at(AT_FDCWD, path, 256, &text, NULL) < 0)
                return;
        str_trim_end(text);
        str_make_utf8(text);
        (void)snprintf(process->name, sizeof(process->name), "%.31s", text);
}

typedef struct Search {
        bool (*is_it)(void *userdata, const struct statx *status);
        void *userdata;
        size_t n_left;
} Search;

static bool is_link_it(Search *search, int dir_fd, const char *name) {
        struct statx status;

        if (search->n_left == 0)
                return false;
        search->n_left--;
        return statx(dir_fd, name, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
#ifdef STATX_MNT_ID
                     STATX_TYPE | STATX_MNT_ID,
#else
                     STATX_TYPE,
#endif
                     &status) == 0 &&
               search->is_it(search->userdata, &status);
}

static bool uses(Search *search, int pid) {
        cleanup(closedirp) DIR *dir = NULL;
        char path[48];
        struct dirent *entry;

        (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        dir = open_directory(path);
        if (!dir)
                return false;
        if (is_link_it(search, dirfd(dir), "../cwd") || is_link_it(search, dirfd(dir), "../root"))
                return true;
        while (search->n_left > 0 && (entry = readdir(dir)))
                if (entry->d_name[0] != '.' && is_link_it(search, dirfd(dir), entry->d_name))
                        return true;
        return false;
}

int process_find_user(bool (*is_it)(void *userdata, const struct statx *status), void *userdata,
                      Process *process) {
        cleanup(closedirp) DIR *proc = open_directory("/proc");
        Search search = {is_it, userdata, PROCESS_LINKS_MAX};
        int pid;

        if (!proc)
                return -errno;
        while (search.n_left > 0 && (pid = next_process(proc)) > 0)
                if (uses(&search, pid)) {
                        fill(process, pid);
                        return 1;
                }
        return 0;
}

/* Whether it is one that was not seen yet. */
static bool is_new_namespace(int pid, ino_t *seen, size_t *n_seen) {
        struct stat status;
        char path[48];

        (void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
        if (*n_seen == NAMESPACES_MAX || stat(path, &status) < 0)
                return false;
        for (size_t i = 0; i < *n_seen; i++)
                if (seen[i] == status.st_ino)
                        return false;
        seen[(*n_seen)++] = status.st_ino;
        return true;
}

int process_each_mount_namespace(int (*each)(void *userdata, const Process *process,
                                             const char *mountinfo, size_t n_mountinfo),
                                 void *userdata) {
        cleanup(closedirp) DIR *proc = open_directory("/proc");
        ino_t seen[NAMESPACES_MAX];
        size_t n_seen = 0;
        int pid, r = 0;

        if (!proc)
                return -errno;
        (void)is_new_namespace(getpid(), seen, &n_seen);
        while (r == 0 && (pid = next_process(proc)) > 0) {
                cleanup(freep) char *text = NULL;
                char path[48];
                Process process;
                size_t n;

                (void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
                if (!is_new_namespace(pid, seen, &n_seen) ||
                    file_read_at(AT_FDCWD, path, MOUNTINFO_BYTES_MAX, &text, &n) < 0)
                        continue;
                fill(&process, pid);
                r = each(userdata, &process, text, n);
        }
        return r;
}
