/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the kernel: loop device, detached mount, a write that must last. */

#include "tests/oracle/oracle.h"

#include "common/base/cleanup.h"
#include "common/block/block_ioctl.h"
#include "common/block/loop.h"
#include "common/mount/mount_api.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PLACE_NAME "place"

static char place_parent[] = "/tmp/berth-oracle-XXXXXX";
static int oracle_place_fd = -1;

void oracle_place_open(void) {
        assert(unshare(CLONE_NEWNS) == 0);
        assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        assert(mkdtemp(place_parent));
        oracle_place_fd = open(place_parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(oracle_place_fd >= 0 && mkdirat(oracle_place_fd, PLACE_NAME, 0700) == 0);
}

void oracle_place_close(void) {
        (void)unlinkat(oracle_place_fd, PLACE_NAME, AT_REMOVEDIR);
        (void)rmdir(place_parent);
}

/* At a place where only we see it, as Berth mounts, and off again: what is open keeps it. */
static int mount_device(const char *device, const char *type, const char *options, int *root_fdp) {
        static MountOptions parsed;
        MountSpec spec = {.fs_type = type, .source = device, .options = &parsed};
        MountContext context;
        MountPlace place;
        int r;

        parsed = (MountOptions){0};
        assert(mount_options_add(&parsed, options) == 0);
        place = (MountPlace){
                .fd = openat(oracle_place_fd, PLACE_NAME, O_PATH | O_DIRECTORY | O_CLOEXEC),
                .parent_fd = oracle_place_fd,
                .name = PLACE_NAME,
        };
        assert(place.fd >= 0);
        r = mount_new(&spec, &place, &context);
        close(place.fd);
        if (r < 0)
                return r;
        *root_fdp = openat(oracle_place_fd, PLACE_NAME, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert(*root_fdp >= 0);
        return mount_detach(oracle_place_fd, PLACE_NAME, MOUNT_DETACH_LAZY);
}

bool oracle_can_attach(const OracleCase *how) {
        cleanup(closep) int loop_fd = -1, backing = memfd_create("sector", MFD_CLOEXEC);
        LoopConfig config = {
                .backing_fd = backing,
                .is_autoclear = true,
                .logical_sector_bytes = how->sector_bytes,
        };
        unsigned int number;

        assert(backing >= 0 && ftruncate(backing, 1 << 20) == 0);
        return how->sector_bytes <= 4096 || loop_attach(&config, &number, &loop_fd) == 0;
}

int oracle_mount(const char *image, const OracleCase *how, const char *type, const char *options,
                 int *loop_fdp, int *root_fdp) {
        cleanup(closep) int backing = open(image, (how->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        LoopConfig config = {
                .backing_fd = backing,
                .is_autoclear = true,
                .is_read_only = how->read_only,
                .logical_sector_bytes = how->sector_bytes,
        };
        char path[LOOP_PATH_MAX];
        unsigned int number;

        assert(backing >= 0);
        assert(loop_attach(&config, &number, loop_fdp) == 0);
        loop_path(number, path);
        return mount_device(path, type, options, root_fdp);
}

static bool write_file(int root_fd, const char *name) {
        cleanup(closep) int fd = openat(root_fd, name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        char data[8192];

        memset(data, 'o', sizeof(data));
        return fd >= 0 && write(fd, data, sizeof(data)) == (ssize_t)sizeof(data) && fsync(fd) == 0;
}

/* XFS finds some trouble only when it writes its superblock, which a freeze makes it do. */
static bool writes_last(int root_fd) {
        cleanup(closep) int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || !write_file(root_fd, "oracle") || syncfs(fd) < 0)
                return false;
        if (ioctl(fd, FIFREEZE, 0) == 0)
                ioctl(fd, FITHAW, 0);
        return write_file(root_fd, "oracle-again");
}

static void judge_mount(int r, int root_fd, OracleAttempt *attempt) {
        struct statvfs st;

        *attempt = (OracleAttempt){.os_errno = -r};
        if (r < 0)
                return;
        attempt->is_read_only = fstatvfs(root_fd, &st) == 0 && st.f_flag & ST_RDONLY;
        attempt->writes = !attempt->is_read_only && writes_last(root_fd);
}

void oracle_attempt(const char *image, const OracleCase *how, const char *type, const char *options,
                    OracleAttempt *attempt) {
        cleanup(closep) int loop_fd = -1, root_fd = -1;
        int r = oracle_mount(image, how, type, options, &loop_fd, &root_fd);

        judge_mount(r, root_fd, attempt);
}

void oracle_attempt_on(const char *device, const char *type, const char *options,
                       OracleAttempt *attempt) {
        cleanup(closep) int root_fd = -1;
        int r = mount_device(device, type, options, &root_fd);

        judge_mount(r, root_fd, attempt);
}
