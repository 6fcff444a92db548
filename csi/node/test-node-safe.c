/* SPDX-License-Identifier: Apache-2.0 */

/* What must not happen: another's data lost, another's mounts touched, something left behind. */

#include "csi/node/test-node.h"

static const Ask ext4 = {.fs_type = "ext4"};

/* --- failures: at every step, and everything is as before --- */

typedef struct Failing {
        Node *node;
        size_t at, n_run; /* fails the @at-th step, counted from 0 */
        bool after;       /* when it was done */
        bool dies;        /* instead of failing */
} Failing;

static int failing_run(void *userdata, StepKind kind, Work *work, Error *err) {
        Failing *failing = userdata;
        bool now = failing->n_run++ == failing->at;
        int r;

        if (now && failing->dies && !failing->after)
                _exit(42);
        if (now && !failing->after)
                return error_set(err, ERROR_INTERNAL, "injected before %s", step_name(kind));
        r = kernel_run(failing->node, kind, work, err);
        if (now && failing->dies)
                _exit(42);
        return r;
}

static int failing_undo(void *userdata, StepKind kind, Work *work, Error *err) {
        Failing *failing = userdata;

        return kernel_undo(failing->node, kind, work, err);
}

static Failing failing;

static Node *node_failing(size_t at, bool after, bool dies) {
        const NodeKernel kernel = {failing_run, failing_undo, &failing};

        failing = (Failing){.at = at, .after = after, .dies = dies};
        failing.node = node_open(&kernel);
        return failing.node;
}

/* A blank disk to a staging path that is not there yet has all the steps of a stage. */
static void test_fail_stage(void) {
        const Ask ask = {.fs_type = "ext4", .staging = KUBELET "/plugins/new"};

        for (size_t at = 0; at < 3; at++) {
                char id[16];
                Disk *disk;
                Node *node = node_failing(at, false, false);

                (void)snprintf(id, sizeof(id), "fail-%zu", at);
                disk = disk_new(id, 64 * MIB);
                expect(ERROR_INTERNAL, stage(node, id, &ask));
                assert(strstr(last_error.message, "injected"));
                assert(count_mounts(ask.staging) == 0 && !exists(ask.staging));
                assert(!disk_is_attached(disk) && disk->n_released == 1);
                node_free(node);
                /* And the same call again does it. */
                node = node_open(NULL);
                expect_ok(stage(node, id, &ask));
                expect_ok(unstage(node, id, ask.staging));
                assert(rmdir(ask.staging) == 0);
                node_free(node);
        }
}

static void test_fail_publish(void) {
        Node *plain = node_open(NULL);

        disk_new("fail-p", 64 * MIB);
        expect_ok(stage(plain, "fail-p", &ext4));
        for (size_t at = 0; at < 2; at++) {
                Node *node = node_failing(at, false, false);

                expect(ERROR_INTERNAL, publish(node, "fail-p", TARGET, &ext4));
                assert(count_mounts(TARGET) == 0 && !exists(TARGET));
                /* It is staged, and stays so. */
                assert(count_mounts(STAGING) == 1 && disk_is_attached(disk_find("fail-p")));
                node_free(node);
        }
        expect_ok(publish(plain, "fail-p", TARGET, &ext4));
        expect_ok(unpublish(plain, "fail-p", TARGET));
        expect_ok(unstage(plain, "fail-p", STAGING));
        node_free(plain);
}

static void test_fail_block(void) {
        const Ask block = {.fs_type = "block"};
        Node *node;

        disk_new("fail-b", 16 * MIB);
        for (size_t at = 0; at < 2; at++) {
                node = node_failing(at, false, false);
                expect_ok(stage(node, "fail-b", &block));
                expect(ERROR_INTERNAL, publish(node, "fail-b", TARGET, &block));
                assert(count_mounts(TARGET) == 0 && !exists(TARGET));
                node_free(node);
        }
        node = node_open(NULL);
        expect_ok(publish(node, "fail-b", TARGET, &block));
        expect_ok(unpublish(node, "fail-b", TARGET));
        expect_ok(unstage(node, "fail-b", STAGING));
        node_free(node);
}

static void test_fail_ephemeral(void) {
        const Ask ask = {.fs_type = "ext4", .ephemeral = true};
        Node *node;

        for (size_t at = 0; at < 3; at++) {
                node = node_failing(at, false, false);
                expect(ERROR_UNAVAILABLE, publish(node, "csi-f", TARGET, &ask));
                assert(count_mounts(TARGET) == 0 && !exists(TARGET));
                node_free(node);
        }
        node = node_open(NULL);
        expect_ok(publish(node, "csi-f", TARGET, &ask));
        expect_ok(unpublish(node, "csi-f", TARGET));
        assert(!disk_find("csi-f"));
        node_free(node);
}

/* --- crashes: before and after every step, and the same call converges --- */

static int in_child(void (*run)(Node *node, const char *id), Node *node, const char *id) {
        pid_t pid = test_fork();
        int status;

        if (pid == 0) {
                run(node, id);
                _exit(0);
        }
        assert(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void crash_stage(Node *node, const char *id) {
        (void)stage(node, id, &ext4);
}

static void crash_publish(Node *node, const char *id) {
        (void)publish(node, id, TARGET, &ext4);
}

static void crash_publish_block(Node *node, const char *id) {
        (void)publish(node, id, TARGET, &(Ask){.fs_type = "block"});
}

/* The device is attached before, so that it lives on as it does when a provider keeps it. */
static void test_crash_stage(void) {
        for (size_t i = 0; i < 4; i++) {
                char id[16];
                Node *node = node_failing(i / 2, i % 2, true);
                Disk *disk;

                (void)snprintf(id, sizeof(id), "crash-%zu", i);
                disk = disk_new(id, 64 * MIB);
                assert(disk_attach(disk) == 0);
                assert(in_child(crash_stage, node, id) == 42);
                node_free(node);
                node = node_open(NULL);
                expect_ok(stage(node, id, &ext4));
                assert(count_mounts(STAGING) == 1);
                make_file(STAGING "/file", "kept");
                expect_ok(stage(node, id, &ext4));
                assert(file_is(STAGING "/file", "kept"));
                expect_ok(unstage(node, id, STAGING));
                node_free(node);
        }
}

/* Either kubelet asks again, or it takes it back. */
static void recover_publish(Node *node, bool again) {
        if (again) {
                expect_ok(publish(node, "crash-p", TARGET, &ext4));
                assert(count_mounts(TARGET) == 1);
        }
        expect_ok(unpublish(node, "crash-p", TARGET));
        assert(!exists(TARGET));
}

static void test_crash_publish(void) {
        Node *plain = node_open(NULL);

        disk_new("crash-p", 64 * MIB);
        expect_ok(stage(plain, "crash-p", &ext4));
        for (size_t i = 0; i < 8; i++) {
                Node *node = node_failing(i / 4, i / 2 % 2, true);

                assert(in_child(crash_publish, node, "crash-p") == 42);
                node_free(node);
                recover_publish(plain, i % 2);
        }
        expect_ok(unstage(plain, "crash-p", STAGING));
        node_free(plain);
}

static void test_crash_block(void) {
        Node *plain = node_open(NULL);
        Disk *disk = disk_new("crash-b", 16 * MIB);
        int r = disk_attach(disk);

        assert(r == 0);
        for (size_t i = 0; i < 4; i++) {
                Node *node = node_failing(i / 2, i % 2, true);

                assert(in_child(crash_publish_block, node, "crash-b") == 42);
                node_free(node);
                expect_ok(publish(plain, "crash-b", TARGET, &(Ask){.fs_type = "block"}));
                assert(count_mounts(TARGET) == 1);
                expect_ok(unpublish(plain, "crash-b", TARGET));
                assert(!exists(TARGET));
        }
        expect_ok(unstage(plain, "crash-b", STAGING));
        node_free(plain);
}

/*
 * kill -9 in the middle of mkfs. A mke2fs that writes, and then kills who started it, is found
 * first in PATH; when asked for its version it is the real one.
 */
static void put_deadly_mkfs(void) {
        char path[256];

        assert(mkdir("/run/deadly", 0755) == 0 || errno == EEXIST);
        make_file("/run/deadly/mke2fs",
                  "#!/bin/sh\n"
                  "for last; do :; done\n"
                  "case \"$*\" in *-V*) exec /sbin/mke2fs \"$@\";; esac\n"
                  "/sbin/mke2fs \"$@\"\n"
                  "[ ! -e /run/foreign ] || /sbin/mke2fs -q -F $last\n"
                  "dd if=/dev/zero of=$last bs=1024 seek=1 count=1 conv=notrunc 2>/dev/null\n"
                  "kill -9 $PPID\n");
        assert(chmod("/run/deadly/mke2fs", 0755) == 0);
        (void)snprintf(path, sizeof(path), "/run/deadly:%s", getenv("PATH"));
        assert(setenv("PATH", path, 1) == 0);
}

static void test_crash_in_mkfs(void) {
        const char *given = getenv("PATH");
        cleanup(freep) char *path = strdup(given ? given : "/usr/sbin:/usr/bin:/sbin:/bin");
        Node *node = node_open(NULL);
        Disk *disk = disk_new("mkfs-1", 64 * MIB);

        assert(disk_attach(disk) == 0);
        put_deadly_mkfs();
        assert(in_child(crash_stage, node, "mkfs-1") == -1);
        assert(setenv("PATH", path, 1) == 0);
        assert(exists(STAGING "/.berth-format"));
        node_free(node);

        /* Another volume does not profit from it, and this one on another disk neither. */
        node = node_open(NULL);
        disk_detach(disk);
        expect(ERROR_PRECONDITION, stage(node, "mkfs-1", &ext4));
        /* Only the disk that never went away is ours to format: here it did. */
        assert(exists(STAGING "/.berth-format"));
        expect_ok(unstage(node, "mkfs-1", STAGING));
        assert(!exists(STAGING "/.berth-format"));
        assert(rmdir(STAGING) == 0 && mkdir(STAGING, 0750) == 0);

        disk = disk_new("mkfs-2", 64 * MIB);
        assert(disk_attach(disk) == 0);
        put_deadly_mkfs();
        assert(in_child(crash_stage, node, "mkfs-2") == -1);
        assert(setenv("PATH", path, 1) == 0);
        assert(exists(STAGING "/.berth-format"));
        expect_ok(stage(node, "mkfs-2", &ext4));
        assert(!exists(STAGING "/.berth-format"));
        expect_ok(unstage(node, "mkfs-2", STAGING));
        expect_ok(stage(node, "mkfs-2", &ext4));
        expect_ok(unstage(node, "mkfs-2", STAGING));

        /* Somebody else formats the disk before we come back: it is theirs. */
        disk = disk_new("mkfs-3", 64 * MIB);
        assert(disk_attach(disk) == 0);
        put_deadly_mkfs();
        make_file("/run/foreign", "");
        assert(in_child(crash_stage, node, "mkfs-3") == -1);
        assert(setenv("PATH", path, 1) == 0 && unlink("/run/foreign") == 0);
        assert(exists(STAGING "/.berth-format"));
        expect(ERROR_PRECONDITION, stage(node, "mkfs-3", &ext4));
        assert(exists(STAGING "/.berth-format"));
        expect_ok(unstage(node, "mkfs-3", STAGING));
        expect(ERROR_PRECONDITION, stage(node, "mkfs-3", &ext4));
        expect_ok(unstage(node, "mkfs-3", STAGING));
        node_free(node);
}

#define VOLUME_DIR KUBELET "/plugins/kubernetes.io/csi/test.csi.berth.dev/0123"

static const Ask ext4_there = {.fs_type = "ext4", .staging = VOLUME_DIR "/globalmount"};

static void crash_stage_there(Node *node, const char *id) {
        (void)stage(node, id, &ext4_there);
}

/* What a killed mkfs left is ours until a pod gets the disk raw: then it is the pod's, all of it.
 */
static void test_crash_in_mkfs_and_raw(void) {
        const Ask raw = {.fs_type = "block", .staging = KUBELET "/plugins/raw"};
        const char *given = getenv("PATH");
        cleanup(freep) char *path = strdup(given ? given : "/usr/sbin:/usr/bin:/sbin:/bin");
        char copy[] = "the only copy", found[sizeof(copy)];
        Node *node = node_open(NULL);
        Disk *disk = disk_new("mkfs-raw", 64 * MIB);
        cleanup(closep) int fd = -1;

        assert(system("mkdir -p " KUBELET "/plugins/raw " VOLUME_DIR /* NOLINT(cert-env33-c) */
                      "/globalmount") == 0);
        assert(disk_attach(disk) == 0);
        put_deadly_mkfs();
        assert(in_child(crash_stage_there, node, "mkfs-raw") == -1);
        assert(setenv("PATH", path, 1) == 0);
        assert(exists(VOLUME_DIR "/globalmount/.berth-format"));
        expect_ok(stage(node, "mkfs-raw", &raw));
        expect_ok(publish(node, "mkfs-raw", TARGET, &raw));
        assert(!exists(VOLUME_DIR "/globalmount/.berth-format"));
        fd = open(TARGET, O_WRONLY | O_CLOEXEC);
        assert(pwrite(fd, copy, sizeof(copy), 40 * MIB) == sizeof(copy) && fsync(fd) == 0);
        closep(&fd);
        expect_ok(unpublish(node, "mkfs-raw", TARGET));
        expect(ERROR_PRECONDITION, stage(node, "mkfs-raw", &ext4_there));
        assert(pread(disk->backing_fd, found, sizeof(found), 40 * MIB) == sizeof(found) &&
               memcmp(found, copy, sizeof(copy)) == 0);
        expect_ok(unstage(node, "mkfs-raw", KUBELET "/plugins/raw"));
        node_free(node);
}

/* --- what is on the disk --- */

static void put_bytes(Disk *disk, off_t offset, const char *bytes, size_t n) {
        assert(pwrite(disk->backing_fd, bytes, n, offset) == (ssize_t)n);
        assert(fsync(disk->backing_fd) == 0);
}

static void test_not_blank(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("luks-1", 64 * MIB);
        char now[8];

        put_bytes(disk, 0, "LUKS\xba\xbe\0\1", 8);
        expect(ERROR_PRECONDITION, stage(node, "luks-1", &ext4));
        printf("  %s\n", last_error.message);
        assert(strstr(last_error.message, "LUKS"));
        assert(pread(disk->backing_fd, now, 8, 0) == 8 && memcmp(now, "LUKS\xba\xbe\0\1", 8) == 0);
        assert(!disk_is_attached(disk));

        disk = disk_new("byte-1", 64 * MIB);
        put_bytes(disk, 4096, "x", 1);
        expect(ERROR_PRECONDITION, stage(node, "byte-1", &ext4));
        printf("  %s\n", last_error.message);
        assert(pread(disk->backing_fd, now, 1, 4096) == 1 && now[0] == 'x');
        node_free(node);
}

/* The file behind the device became shorter: it cannot be read, which is not "blank". */
static void test_unreadable(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("short-1", 64 * MIB);

        assert(disk_attach(disk) == 0);
        assert(ftruncate(disk->backing_fd, (off_t)(2 * MIB)) == 0);
        expect(ERROR_UNAVAILABLE, stage(node, "short-1", &ext4));
        printf("  %s\n", last_error.message);
        /* Where the provider does not know the size, the reads themselves must tell. */
        disk->hides_size = true;
        assert(ftruncate(disk->backing_fd, (off_t)(64 * MIB)) == 0 && disk_attach(disk) == 0);
        assert(ftruncate(disk->backing_fd, (off_t)(2 * MIB)) == 0);
        expect(ERROR_UNAVAILABLE, stage(node, "short-1", &ext4));
        printf("  %s\n", last_error.message);
        node_free(node);
}

static void test_other_type(void) {
        Node *node = node_open(NULL);

        disk_new("type-1", 512 * MIB);
        expect_ok(stage(node, "type-1", &(Ask){.fs_type = "xfs"}));
        expect(ERROR_CONFLICT, stage(node, "type-1", &ext4));
        expect_ok(unstage(node, "type-1", STAGING));
        expect(ERROR_PRECONDITION, stage(node, "type-1", &ext4));
        printf("  %s\n", last_error.message);
        assert(strstr(last_error.message, "xfs") && strstr(last_error.message, "ext4"));
        expect_ok(stage(node, "type-1", &(Ask){0}));
        expect_ok(unstage(node, "type-1", STAGING));
        node_free(node);
}

/* e2fsck -p corrects what the filesystem recorded, before it is mounted. */
static void test_check(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("check-1", 64 * MIB);
        uint16_t state;

        expect_ok(stage(node, "check-1", &ext4));
        expect_ok(unstage(node, "check-1", STAGING));
        /* s_state at 0x3a of the superblock: "has errors". Without a checksum it is a plain flag.
         */
        assert(disk_attach(disk) == 0);
        /* Mounted in a later second than made: tune2fs wants a check before. */
        assert(test_run("e2fsck", "-fp", disk->path, NULL) == 0);
        assert(test_run("tune2fs", "-O", "^metadata_csum", disk->path, NULL) == 0);
        assert(test_run("debugfs", "-w", "-R", "ssv state 3", disk->path, NULL) == 0);
        disk_detach(disk);
        assert(pread(disk->backing_fd, &state, 2, 1024 + 0x3a) == 2 && (state & 2));
        expect_ok(stage(node, "check-1", &ext4));
        expect_ok(unstage(node, "check-1", STAGING));
        assert(pread(disk->backing_fd, &state, 2, 1024 + 0x3a) == 2 && !(state & 2));
        node_free(node);
}

/* --- what is at the path --- */

/* As another driver of the cloud leaves it: its own options, fs_type of its own choice. */
static void test_upstream(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("up-1", 64 * MIB);

        assert(disk_attach(disk) == 0);
        assert(test_run("mkfs.ext4", "-q", disk->path, NULL) == 0);
        assert(mount(disk->path, STAGING, "ext4", 0, "errors=continue") == 0);
        expect_ok(stage(node, "up-1", &ext4));
        assert(count_mounts(STAGING) == 1);
        assert(mkdir(TARGET, 0750) == 0 && mount(STAGING, TARGET, NULL, MS_BIND, NULL) == 0);
        expect_ok(publish(node, "up-1", TARGET, &ext4));
        assert(count_mounts(TARGET) == 1);
        expect_ok(publish(node, "up-1", TARGET2, &ext4));
        expect_ok(unpublish(node, "up-1", TARGET2));
        expect_ok(unpublish(node, "up-1", TARGET));
        expect_ok(unstage(node, "up-1", STAGING));
        assert(!disk_is_attached(disk));
        node_free(node);
}

static void test_taken(void) {
        Node *node = node_open(NULL);

        disk_new("taken-1", 64 * MIB);
        disk_new("taken-2", 64 * MIB);
        expect_ok(stage(node, "taken-1", &ext4));
        expect(ERROR_CONFLICT, stage(node, "taken-2", &ext4));
        printf("  %s\n", last_error.message);
        assert(!disk_is_attached(disk_find("taken-2")));
        assert(mkdir(TARGET, 0750) == 0 && mount("tmpfs", TARGET, "tmpfs", 0, NULL) == 0);
        expect(ERROR_CONFLICT, publish(node, "taken-1", TARGET, &ext4));
        assert(count_mounts(TARGET) == 1);
        assert(umount(TARGET) == 0 && rmdir(TARGET) == 0);
        make_file(TARGET, "");
        expect(ERROR_CONFLICT, publish(node, "taken-1", TARGET, &ext4));
        assert(unlink(TARGET) == 0);
        expect_ok(unstage(node, "taken-1", STAGING));
        node_free(node);
}

/* Mounts that a driver stacked, one for each restart of kubelet. */
static void test_stacked(void) {
        Node *node = node_open(NULL);

        disk_new("stack-1", 64 * MIB);
        expect_ok(stage(node, "stack-1", &ext4));
        expect_ok(publish(node, "stack-1", TARGET, &ext4));
        /* Private: as peers of each other they would be doubled by every one. */
        for (int i = 0; i < 40; i++) {
                assert(mount(NULL, TARGET, NULL, MS_PRIVATE, NULL) == 0);
                assert(mount(STAGING, TARGET, NULL, MS_BIND, NULL) == 0);
        }
        assert(count_mounts(TARGET) == 41);
        expect_ok(unpublish(node, "stack-1", TARGET));
        assert(!exists(TARGET) && count_mounts(TARGET) == 0);
        expect_ok(unstage(node, "stack-1", STAGING));
        node_free(node);
}

/* A pod that ran while nothing was mounted wrote there. */
static void test_keeps_files(void) {
        Node *node = node_open(NULL);

        assert(mkdir(TARGET, 0750) == 0);
        make_file(TARGET "/data", "precious");
        expect(ERROR_PRECONDITION, unpublish(node, "keep-1", TARGET));
        assert(file_is(TARGET "/data", "precious"));
        assert(unlink(TARGET "/data") == 0);
        expect_ok(unpublish(node, "keep-1", TARGET));
        make_file(TARGET, "precious");
        expect(ERROR_PRECONDITION, unpublish(node, "keep-1", TARGET));
        assert(file_is(TARGET, "precious"));
        assert(unlink(TARGET) == 0);
        node_free(node);
}

static void test_links(void) {
        Node *node = node_open(NULL);

        disk_new("link-1", 64 * MIB);
        assert(mkdir("/run/outside", 0755) == 0);
        assert(symlink("/run/outside", KUBELET "/pods/link") == 0);
        expect(ERROR_PRECONDITION,
               stage(node, "link-1",
                     &(Ask){.fs_type = "ext4", .staging = KUBELET "/pods/link/globalmount"}));
        expect(ERROR_PRECONDITION,
               stage(node, "link-1", &(Ask){.fs_type = "ext4", .staging = KUBELET "/pods/link"}));
        expect(ERROR_INVALID,
               stage(node, "link-1",
                     &(Ask){.fs_type = "ext4", .staging = KUBELET "/pods/../../outside"}));
        expect(ERROR_INVALID,
               stage(node, "link-1", &(Ask){.fs_type = "ext4", .staging = "/run/outside"}));
        assert(count_mounts("/run/outside") == 0);
        expect(ERROR_PRECONDITION, unpublish(node, "link-1", KUBELET "/pods/link"));
        assert(exists("/run/outside"));
        assert(unlink(KUBELET "/pods/link") == 0 && rmdir("/run/outside") == 0);
        node_free(node);
}

static void test_busy(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("use-1", 64 * MIB);
        int fd;

        expect_ok(stage(node, "use-1", &ext4));
        expect_ok(publish(node, "use-1", TARGET, &ext4));
        fd = open(TARGET, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        expect(ERROR_UNAVAILABLE, unpublish(node, "use-1", TARGET));
        assert(count_mounts(TARGET) == 1);
        close(fd);
        expect_ok(unpublish(node, "use-1", TARGET));
        fd = open(STAGING, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        expect(ERROR_UNAVAILABLE, unstage(node, "use-1", STAGING));
        assert(disk_is_attached(disk));
        close(fd);
        expect_ok(unstage(node, "use-1", STAGING));
        node_free(node);
}

/* A process of its own that has @path open until it is told to end. */
static pid_t hold(const char *path, int flags) {
        int ready[2];
        pid_t pid;
        char byte;

        assert(pipe2(ready, O_CLOEXEC) == 0);
        pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
                if (open(path, flags | O_CLOEXEC) < 0 || write(ready[1], "x", 1) != 1)
                        _exit(1);
                pause();
                _exit(0);
        }
        close(ready[1]);
        assert(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
        return pid;
}

static void let_go(pid_t pid) {
        assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void expect_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void expect_text(const char *format, ...) {
        char wanted[200];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(wanted, sizeof(wanted), format, ap);
        va_end(ap);
        if (!strstr(last_error.message, wanted))
                printf("\"%s\" is not in: %s\n", wanted, last_error.message);
        assert(strstr(last_error.message, wanted));
}

/* "Busy" says who: a process, a mount, a mount that only another namespace has, device mapper. */
static void test_busy_says_who(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("who-1", 64 * MIB);
        char command[200];
        pid_t pid;

        assert(disk_attach(disk) == 0);
        pid = hold(disk->path, O_RDONLY | O_EXCL);
        expect(ERROR_UNAVAILABLE, stage(node, "who-1", &ext4));
        expect_text("process %d (test-node-safe) has it open", (int)pid);
        let_go(pid);

        expect_ok(stage(node, "who-1", &ext4));
        expect_ok(publish(node, "who-1", TARGET, &ext4));
        pid = hold(TARGET, O_RDONLY | O_DIRECTORY);
        expect(ERROR_UNAVAILABLE, unpublish(node, "who-1", TARGET));
        expect_text("process %d (test-node-safe) has files open there", (int)pid);
        let_go(pid);
        assert(mkdir(TARGET "/below", 0755) == 0);
        assert(mount("tmpfs", TARGET "/below", "tmpfs", 0, NULL) == 0);
        expect(ERROR_UNAVAILABLE, unpublish(node, "who-1", TARGET));
        expect_text("something is mounted at " TARGET "/below");
        assert(umount(TARGET "/below") == 0);
        expect_ok(unpublish(node, "who-1", TARGET));
        expect_ok(unstage(node, "who-1", STAGING));

        assert(disk_attach(disk) == 0 && mkdir("/run/other", 0755) == 0);
        assert(mount(disk->path, "/run/other", "ext4", MS_RDONLY, NULL) == 0);
        expect(ERROR_UNAVAILABLE, stage(node, "who-1", &ext4));
        expect_text("it is mounted at /run/other");
        assert(umount("/run/other") == 0 && rmdir("/run/other") == 0);

        (void)snprintf(command, sizeof(command),
                       "dmsetup create --noudevsync berth-who --table "
                       "'0 1024 linear %s 0' 2>/dev/null",
                       disk->path);
        /* NOLINTBEGIN(cert-env33-c): the test's own words */
        if (system(command) == 0) {
                expect(ERROR_UNAVAILABLE, stage(node, "who-1", &ext4));
                expect_text("(berth-who) lies on it");
                assert(system("dmsetup remove --noudevsync berth-who") == 0);
                /* NOLINTEND(cert-env33-c) */
        } else {
                printf("  no device mapper\n");
        }
        disk_detach(disk);
        node_free(node);
}

/* --- before Linux 5.15: no number of the disk --- */

static struct {
        Node *node;
        StepKind step;
        Disk *disk;
        unsigned int n_steps;
} moving;

/* The volume's disk goes, and comes back at another number. */
static void move_disk(void) {
        Disk *disk = moving.disk;

        moving.n_steps++;
        /* The old one stays for whoever has it open. */
        (void)fcntl(disk->loop_fd, F_DUPFD_CLOEXEC, 0);
        closep(&disk->loop_fd);
        assert(disk_attach(disk) == 0);
}

static int moving_run(void *userdata, StepKind kind, Work *work, Error *err) {
        if (kind == moving.step)
                move_disk();
        return kernel_run(moving.node, kind, work, err);
}

static int moving_undo(void *userdata, StepKind kind, Work *work, Error *err) {
        return kernel_undo(moving.node, kind, work, err);
}

static bool is_zero(const Disk *disk) {
        char *block = calloc(1, MIB), *zeros = calloc(1, MIB);
        bool zero;

        assert(block && zeros && pread(disk->backing_fd, block, MIB, 0) == (ssize_t)MIB);
        zero = memcmp(block, zeros, MIB) == 0;
        free(block);
        free(zeros);
        return zero;
}

static void test_proven_again(void) {
        static const StepKind steps[] = {STEP_FORMAT, STEP_MOUNT};
        const NodeKernel kernel = {moving_run, moving_undo, &moving};
        Node *node = node_open(&kernel);

        node->has_no_sequence = true;
        moving.node = node;
        for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
                char id[32];

                (void)snprintf(id, sizeof(id), "moves-%zu", i);
                moving.disk = disk_new(id, 64 * MIB);
                moving.step = steps[i];
                moving.n_steps = 0;
                expect(ERROR_UNAVAILABLE, stage(node, id, &ext4));
                assert(moving.n_steps == 1 && count_mounts(STAGING) == 0);
                assert(strstr(last_error.message, "is not the device any more"));
                assert(is_zero(moving.disk) == (steps[i] == STEP_FORMAT));
                moving.step = _STEP_N;
                expect_ok(stage(node, id, &ext4));
                expect_ok(unstage(node, id, STAGING));
        }
        node_free(node);
}

static struct {
        Node *node;
        StepKind step;
        ErrorCode code;
} second;

static int second_run(void *userdata, StepKind kind, Work *work, Error *err) {
        const Ask ask = {.fs_type = "ext4", .staging = STAGING "-2"};
        Error outer = last_error;

        if (kind == second.step)
                second.code = stage(second.node, "second-id", &ask);
        last_error = outer;
        return kernel_run(second.node, kind, work, err);
}

static int second_undo(void *userdata, StepKind kind, Work *work, Error *err) {
        return kernel_undo(second.node, kind, work, err);
}

/* Two names lead to one disk: while it is formatted or mounted by one, the other waits. */
static void test_two_ids(void) {
        static const StepKind steps[] = {STEP_FORMAT, STEP_MOUNT};
        const NodeKernel kernel = {second_run, second_undo, NULL};
        Node *node = node_open(&kernel);

        second.node = node;
        disk_new("first-id", 64 * MIB)->other_id = "second-id";
        for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
                second.step = steps[i];
                second.code = ERROR_NONE;
                expect_ok(stage(node, "first-id", &ext4));
                assert(second.code == ERROR_AGAIN);
                assert(count_mounts(STAGING) == 1 && count_mounts(STAGING "-2") == 0);
                expect_ok(unstage(node, "first-id", STAGING));
        }
        node_free(node);
}

/* A mount whose server is gone: FUSE without its daemon answers ENOTCONN to everything. */
static void mount_dead(const char *path) {
        char options[96];
        int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

        if (fd < 0)
                test_skip("no /dev/fuse: %m");
        (void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
        assert(mount("dead", path, "fuse", MS_NOSUID | MS_NODEV, options) == 0);
        close(fd);
        assert(access(path, F_OK) < 0 && errno == ENOTCONN);
}

static void test_dead(void) {
        Node *node = node_open(NULL);
        NodeStatsResult result;

        disk_new("dead-1", 64 * MIB);
        assert(mkdir(TARGET, 0750) == 0);
        mount_dead(TARGET);
        expect_ok(stats(node, "dead-1", TARGET, &result));
        assert(result.has_condition && result.abnormal && result.has_bytes);
        printf("  %s\n", result.condition_message);
        expect_ok(unpublish(node, "dead-1", TARGET));
        assert(!exists(TARGET));

        mount_dead(STAGING);
        expect(ERROR_UNAVAILABLE, publish(node, "dead-1", TARGET, &ext4));
        assert(!exists(TARGET));
        expect_ok(unstage(node, "dead-1", STAGING));
        assert(count_mounts(STAGING) == 0);

        /* Over a dead mount the volume is staged and published anew. */
        mount_dead(STAGING);
        expect_ok(stage(node, "dead-1", &ext4));
        assert(count_mounts(STAGING) == 1);
        assert(mkdir(TARGET, 0750) == 0);
        mount_dead(TARGET);
        expect_ok(publish(node, "dead-1", TARGET, &ext4));
        assert(count_mounts(TARGET) == 1);
        expect_ok(unpublish(node, "dead-1", TARGET));
        expect_ok(unstage(node, "dead-1", STAGING));
        node_free(node);
}

int main(int argc, char **argv) {
        static const TestCase tests[] = {
                {"fail_stage", test_fail_stage},
                {"fail_publish", test_fail_publish},
                {"fail_block", test_fail_block},
                {"fail_ephemeral", test_fail_ephemeral},
                {"crash_stage", test_crash_stage},
                {"crash_publish", test_crash_publish},
                {"crash_block", test_crash_block},
                {"crash_in_mkfs", test_crash_in_mkfs},
                {"crash_in_mkfs_and_raw", test_crash_in_mkfs_and_raw},
                {"not_blank", test_not_blank},
                {"unreadable", test_unreadable},
                {"other_type", test_other_type},
                {"check", test_check},
                {"upstream", test_upstream},
                {"taken", test_taken},
                {"stacked", test_stacked},
                {"keeps_files", test_keeps_files},
                {"links", test_links},
                {"busy", test_busy},
                {"busy_says_who", test_busy_says_who},
                {"two_ids", test_two_ids},
                {"proven_again", test_proven_again},
                {"dead", test_dead},
        };

        return run_tests(tests, N_ELEMENTS(tests), argc > 1 ? argv[1] : NULL);
}
