/* SPDX-License-Identifier: Apache-2.0 */

/* The mount room against the running kernel, in a mount namespace of its own. */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/mount/mount_api.h"
#include "common/mount/mount_internal.h"
#include "common/mount/mount_query.h"
#include "common/mount/mount_syscall.h"
#include "common/mount/mountinfo.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define BASE "/run/t"

static int open_path(const char *path) {
        int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

        assert(fd >= 0);
        return fd;
}

/* A place below BASE; closed by place_close(). */
static MountPlace place_open(const char *name) {
        char path[128];

        snprintf(path, sizeof(path), BASE "/%s", name);
        return (MountPlace){open_path(path), open_path(BASE), name};
}

static void place_close(MountPlace *place) {
        close(place->fd);
        close(place->parent_fd);
}

static MountStatus query(const char *path) {
        cleanup(closep) int fd = open_path(path);
        MountStatus status = {0};

        assert(mount_query(fd, MOUNT_QUERY_FULL, &status) == 0);
        return status;
}

static void check_against_mountinfo(const char *path) {
        cleanup(mount_status_deinit) MountStatus status = query(path);
        cleanup(mount_table_freep) MountTable *table = NULL;
        const Mount *mount;

        assert(mountinfo_read(&table) == 0);
        mount = mount_table_find_target(table, path);
        assert(status.is_root == (mount != NULL));
        if (!mount)
                mount = mount_table_find_id(table, status.id);
        assert(mount && status.id == mount->id);
        assert(status.dev == mount->dev);
        assert(str_equal(status.root, mount->root));
        assert(str_equal(status.fs_type, mount->fs_type));
        assert(str_equal(status.source, mount->source));
        assert(status.is_shared == (mount->shared_group != 0));
        assert(status.is_super_read_only == mount_options_have(mount->super_options, "ro"));
        assert(((status.flags & MOUNT_FLAG_READ_ONLY) != 0) ==
               mount_options_have(mount->options, "ro"));
        assert(((status.flags & MOUNT_FLAG_NO_ATIME) != 0) ==
               mount_options_have(mount->options, "noatime"));
}

static void mount_loop(const char *device, const char *name, const char *words) {
        cleanup(freep) MountOptions *options = calloc(1, sizeof(*options));
        MountSpec spec = {"ext4", device, options};
        MountPlace place = place_open(name);
        MountContext context = {0};
        int r;

        assert(mount_options_add(options, words) == 0);
        r = mount_new(&spec, &place, &context);
        if (r < 0)
                printf("mount: %s: %s: %s\n", mount_step_name(context.step), context.log,
                       strerror(-r));
        assert(r == 0);
        place_close(&place);
}

static void test_new(const char *device) {
        cleanup(mount_status_deinit) MountStatus status = {0};

        mount_loop(device, "a", "ro,nosuid,nodev,noatime,errors=continue");
        check_against_mountinfo(BASE "/a");
        check_against_mountinfo(BASE "/a/lost+found");
        status = query(BASE "/a");
        assert(status.flags == (MOUNT_FLAG_READ_ONLY | MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV |
                                MOUNT_FLAG_NO_ATIME));
        assert(status.is_super_read_only);
        assert(str_equal(status.source, device));
        assert(mount_detach(AT_FDCWD, "x", 0) == -ENOENT);
        assert(umount(BASE "/a") == 0);
        check_against_mountinfo(BASE "/a");
}

static void test_errors(const char *device) {
        cleanup(freep) MountOptions *options = calloc(1, sizeof(*options));
        MountSpec spec = {"ext4", device, options};
        MountPlace place = place_open("a");
        MountContext context = {0};
        int parent = open_path(BASE);

        assert(mount_options_add(options, "no_such_option=secret") == 0);
        assert(mount_new(&spec, &place, &context) == -EINVAL);
        assert(context.step == MOUNT_STEP_OPTION);
        assert(str_equal(context.option, "no_such_option"));
        assert(strstr(context.log, "Unknown parameter 'no_such_option'"));
        assert(!strstr(context.log, "secret"));

        *options = (MountOptions){0};
        spec.fs_type = "nosuchfs";
        assert(mount_new(&spec, &place, &context) == -ENODEV);
        assert(context.step == MOUNT_STEP_TYPE);

        spec.fs_type = "xfs";
        assert(mount_new(&spec, &place, &context) == -EINVAL);
        assert(context.step == MOUNT_STEP_CREATE);

        /* What the filesystem has to say to a mount that works is kept as well. */
        spec.fs_type = "ext4";
        spec.source = BASE "/none";
        assert(mount_new(&spec, &place, &context) == -ENOENT);
        assert(context.step == MOUNT_STEP_CREATE);

        assert(mount_detach(parent, "a", 0) == -EINVAL);
        assert(mount_detach(parent, "../run", 0) == -EINVAL);
        assert(mount_detach(parent, "none", 0) == -ENOENT);
        close(parent);
        place_close(&place);
}

static void test_bind(const char *device) {
        cleanup(mount_status_deinit) MountStatus status = {0}, source = {0};
        MountPlace place = place_open("b");
        MountContext context = {0};
        int fd;

        mount_loop(device, "a", "nosuid");
        assert(mkdir(BASE "/a/dir", 0755) == 0 || errno == EEXIST);
        fd = open_path(BASE "/a");
        assert(mount_bind(fd, &place, MOUNT_FLAG_READ_ONLY | MOUNT_FLAG_NO_EXEC, MOUNT_FLAG_NO_SUID,
                          &context) == 0);
        close(fd);
        check_against_mountinfo(BASE "/b");
        status = query(BASE "/b");
        source = query(BASE "/a");
        assert(status.flags == (MOUNT_FLAG_READ_ONLY | MOUNT_FLAG_NO_EXEC));
        assert(!status.is_super_read_only);
        assert(source.flags == MOUNT_FLAG_NO_SUID);
        assert(status.dev == source.dev && str_equal(status.root, "/"));
        assert(mkdir(BASE "/b/x", 0755) < 0 && errno == EROFS);

        /* The filesystem itself, below the mount. */
        assert(mount(NULL, BASE "/a", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
        mount_status_deinit(&source);
        source = query(BASE "/a");
        assert(source.is_super_read_only);
        assert(mount(NULL, BASE "/a", NULL, MS_REMOUNT, NULL) == 0);
        place_close(&place);

        assert(mount_detach(AT_FDCWD, "b", 0) == -ENOENT);
        fd = open_path(BASE);
        assert(mount_detach(fd, "b", 0) == 0);
        assert(mount_detach(fd, "b", 0) == -EINVAL);
        close(fd);
        assert(umount(BASE "/a") == 0);
}

static void test_bind_file(const char *device) {
        cleanup(mount_status_deinit) MountStatus status = {0};
        MountPlace place;
        MountContext context = {0};
        struct stat a, b;
        int fd;

        close(open(BASE "/file", O_CREAT | O_CLOEXEC, 0600));
        place = place_open("file");
        fd = open_path(device);
        assert(mount_bind(fd, &place, MOUNT_FLAG_NO_EXEC, 0, &context) == 0);
        close(fd);
        place_close(&place);
        check_against_mountinfo(BASE "/file");
        status = query(BASE "/file");
        assert(status.is_root && str_equal(status.root, device + strlen("/dev")));
        assert(stat(device, &a) == 0 && stat(BASE "/file", &b) == 0);
        assert(S_ISBLK(b.st_mode) && a.st_rdev == b.st_rdev);
        assert(umount(BASE "/file") == 0);
}

/* A mount seen below a shared directory is shared; a bind of a shared mount is no peer of it. */
static void test_propagation(const char *device) {
        MountPlace place = place_open("b");
        MountContext context = {0};
        int fd = open_path(BASE);

        assert(mount_is_shared(fd) == 0);
        assert(mount(NULL, BASE, NULL, MS_SHARED, NULL) == 0);
        assert(mount_is_shared(fd) == 1);
        close(fd);
        mount_loop(device, "a", "");
        fd = open_path(BASE "/a");
        assert(mount_is_shared(fd) == 1);
        assert(mount_bind(fd, &place, 0, 0, &context) == 0);
        close(fd);
        check_against_mountinfo(BASE "/b");
        assert(mount("tmpfs", BASE "/a/dir", "tmpfs", 0, NULL) == 0);
        check_against_mountinfo(BASE "/b/dir");
        assert(umount(BASE "/a/dir") == 0);
        place_close(&place);
        assert(umount(BASE "/b") == 0 && umount(BASE "/a") == 0);
        assert(mount(NULL, BASE, NULL, MS_PRIVATE, NULL) == 0);
}

/* The target was opened; that its name is something else since does not matter. */
static void test_race(const char *device) {
        MountSpec spec = {"ext4", device, NULL};
        MountPlace place;
        MountContext context = {0};

        assert(mkdir(BASE "/race", 0755) == 0);
        place = place_open("race");
        assert(rename(BASE "/race", BASE "/moved") == 0);
        assert(symlink("/etc", BASE "/race") == 0);
        assert(mount_new(&spec, &place, &context) == 0);
        check_against_mountinfo(BASE "/moved");
        check_against_mountinfo("/etc");
        assert(mount_detach(place.parent_fd, "race", 0) == -EINVAL);
        assert(mount_detach(place.parent_fd, "moved", 0) == 0);
        place_close(&place);
        assert(unlink(BASE "/race") == 0 && rmdir(BASE "/moved") == 0);
}

static void test_busy_and_lazy(const char *device) {
        int fd, parent = open_path(BASE);

        mount_loop(device, "a", "");
        fd = open(BASE "/a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(fd >= 0);
        assert(mount_detach(parent, "a", 0) == -EBUSY);
        assert(mount_detach(parent, "a", MOUNT_DETACH_LAZY) == 0);
        check_against_mountinfo(BASE "/a");
        close(fd);
        close(parent);
}

/* mount(2), as kernels before 5.2 and 5.12 must use. */
static void test_legacy(const char *device) {
        cleanup(freep) MountOptions *options = calloc(1, sizeof(*options));
        cleanup(mount_status_deinit) MountStatus status = {0};
        MountSpec spec = {"ext4", device, options};
        MountPlace a = place_open("a"), b = place_open("b");
        MountContext context = {0};
        int fd;

        assert(mount_options_add(options, "nosuid,sync,errors=continue") == 0);
        assert(mount_legacy_new(&spec, &a, &context) == 0);
        assert(context.is_legacy);
        check_against_mountinfo(BASE "/a");
        fd = open_path(BASE "/a");
        assert(mount_legacy_bind(fd, &b, MOUNT_FLAG_READ_ONLY | MOUNT_FLAG_STRICT_ATIME, 0,
                                 &context) == 0);
        status = query(BASE "/b");
        assert(status.flags ==
               (MOUNT_FLAG_READ_ONLY | MOUNT_FLAG_NO_SUID | MOUNT_FLAG_STRICT_ATIME));
        check_against_mountinfo(BASE "/b");
        close(fd);
        place_close(&b);
        assert(umount(BASE "/b") == 0 && umount(BASE "/a") == 0);
        assert(mount_options_add(options, "nonsense") == 0);
        assert(mount_legacy_new(&spec, &a, &context) == -EINVAL);
        assert(context.step == MOUNT_STEP_CREATE);
        check_against_mountinfo(BASE "/a");
        place_close(&a);
}

/* From here on the kernel is one without the new mount API: the calls answer ENOSYS. */
static void become_old(void) {
        static const unsigned int calls[] = {MOUNT_NR_OPEN_TREE, MOUNT_NR_FSOPEN,
                                             MOUNT_NR_MOUNT_SETATTR, MOUNT_NR_STATMOUNT};
        struct sock_filter code[2 * N_ELEMENTS(calls) + 2];
        struct sock_fprog program = {.filter = code};
        unsigned short n = 0;

        code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                 offsetof(struct seccomp_data, nr));
        for (size_t i = 0; i < N_ELEMENTS(calls); i++) {
                code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
                code[n++] =
                        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
        }
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        program.len = n;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
                test_skip("no seccomp filter: %m");
}

int main(int argc, char **argv) {
        bool is_old = argc > 1 && str_equal(argv[1], "old");
        static const struct {
                const char *name;
                void (*run)(const char *device);
        } tests[] = {
                {"new", test_new},
                {"errors", test_errors},
                {"bind", test_bind},
                {"bind_file", test_bind_file},
                {"propagation", test_propagation},
                {"race", test_race},
                {"busy_and_lazy", test_busy_and_lazy},
                {"legacy", test_legacy},
        };
        char device[32];
        int fd;

        test_require_root();
        test_private_namespaces(0);
        assert(mkdir(BASE, 0755) == 0 && mount("tmpfs", BASE, "tmpfs", 0, "mode=755") == 0);
        assert(mkdir(BASE "/a", 0755) == 0 && mkdir(BASE "/b", 0755) == 0);
        fd = test_loop_open(16UL << 20, device);
        if (test_run("mkfs.ext4", "-q", device, NULL) != 0)
                test_skip("no mkfs.ext4");
        if (is_old)
                become_old();
        for (size_t i = 0; i < N_ELEMENTS(tests); i++) {
                /* mount(2) has no words of its own. */
                if (is_old && tests[i].run == test_errors)
                        continue;
                printf("%s\n", tests[i].name);
                fflush(stdout);
                tests[i].run(device);
        }
        close(fd);
        return 0;
}
