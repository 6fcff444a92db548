/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test-local-crash POOL OPERATION FIRST EVERY: kill -9 at step FIRST and at each EVERY-th after it.
 *
 * The operation runs in a child that is traced. It is killed when it enters a system call that
 * changes anything, then a later one, and so on until it gets through. After each death the
 * pool is opened as the next process would: nothing half-made may be left, the same call must come
 * to its end, and undoing it must leave an empty pool.
 */

#include "common/base/str.h"
#include "tests/lib/local.h"

#include <dirent.h>
#include <linux/loop.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

/* No operation has so many steps; more is a loop. */
#define STEPS_MAX 2000

typedef struct Operation {
        const char *name;
        void (*prepare)(Bed *bed); /* before each try, in this process */
        void (*run)(Bed *bed);     /* in the child, and again after its death */
        void (*check)(Bed *bed);   /* what must be then */
        void (*undo)(Bed *bed);    /* back to an empty pool */
} Operation;

static bool is_traced; /* this is the process that is killed */

/* --- The operations --- */

static const Want blank = {.name = "a", .required = 8 * MIB, .fs_type = "ext4"};
static const Want thick = {
        .name = "a", .required = 8 * MIB, .fs_type = "ext4", .provisioning = "thick"};

/* What a sidecar does before it asks again, while the answer is "again" or the disk is slow. */
static void wait_to_ask(const char *what, const Error *err, unsigned int *n_asked) {
        if ((err->code != ERROR_AGAIN && err->code != ERROR_UNAVAILABLE) || ++*n_asked > 600) {
                printf("%s: %s\n", what, err->message);
                abort();
        }
        usleep(err->code == ERROR_AGAIN ? 10000 : 100000);
}

static const char *create_again(Bed *bed, const Want *want) {
        unsigned int n_asked = 0;
        VolumeInfo info = {0};
        Error err = {0};

        while (bed_create(bed, want, &info, &err) != 0)
                wait_to_ask(want->name, &err, &n_asked);
        return info.volume_id;
}

static Want from_source(const char *name, ContentSourceKind kind, const char *source_id,
                        const char *provisioning) {
        return (Want){.name = name,
                      .fs_type = "ext4",
                      .provisioning = provisioning,
                      .source = kind,
                      .source_id = source_id};
}

static const char *stem_of(const char *prefix, const char *name) {
        static char stems[8][LOCAL_STEM_MAX + 1];
        static unsigned int next;
        char *stem = stems[next++ % 8];

        local_stem(prefix, "node-1", name, stem);
        return stem;
}

static void delete_a(Bed *bed) {
        EXPECT(ERROR_NONE, bed_delete, bed, stem_of("vol", "a"));
}

static void nothing(Bed *bed) {
}

static void create_run(Bed *bed) {
        (void)create_again(bed, &blank);
}

static void create_check(Bed *bed) {
        volume_put(bed, stem_of("vol", "a"), 4096, "usable");
}

static void thick_run(Bed *bed) {
        (void)create_again(bed, &thick);
}

static void filled_prepare(Bed *bed) {
        (void)create_again(bed, &blank);
        volume_put(bed, stem_of("vol", "a"), 0, "first");
        volume_put(bed, stem_of("vol", "a"), 5 * MIB, "second");
}

static void clone_run(Bed *bed) {
        Want want = from_source("b", CONTENT_SOURCE_VOLUME, stem_of("vol", "a"), NULL);

        (void)create_again(bed, &want);
}

static void clone_thick_run(Bed *bed) {
        Want want = from_source("b", CONTENT_SOURCE_VOLUME, stem_of("vol", "a"), "thick");

        (void)create_again(bed, &want);
}

static void clone_check(Bed *bed) {
        volume_has(bed, stem_of("vol", "b"), 0, "first");
        volume_has(bed, stem_of("vol", "b"), 5 * MIB, "second");
}

static void clone_undo(Bed *bed) {
        delete_a(bed);
        EXPECT(ERROR_NONE, bed_delete, bed, stem_of("vol", "b"));
}

static void snapshot_run(Bed *bed) {
        unsigned int n_asked = 0;
        SnapshotInfo info;
        Error err = {0};

        while (bed_snapshot(bed, "s", stem_of("vol", "a"), &info, &err) != 0)
                wait_to_ask("snapshot", &err, &n_asked);
}

static void snapshot_check(Bed *bed) {
        Want want = from_source("b", CONTENT_SOURCE_SNAPSHOT, stem_of("snap", "s"), NULL);

        (void)create_again(bed, &want);
        clone_check(bed);
        EXPECT(ERROR_NONE, bed_delete, bed, stem_of("vol", "b"));
}

static void snapshot_undo(Bed *bed) {
        EXPECT(ERROR_NONE, bed->ops->delete_snapshot, bed->pool, &bed->call, stem_of("snap", "s"));
        delete_a(bed);
}

/* Mounted all the time: the death of the plugin must leave no pod frozen. */
static void mounted_prepare(Bed *bed) {
        Device device;

        (void)create_again(bed, &blank);
        EXPECT(ERROR_NONE, bed_find, bed, stem_of("vol", "a"), &device);
        assert(test_run("mkfs.ext4", "-q", "-F", device.path, NULL) == 0);
        (void)mkdir("/run/m", 0755);
        assert(mount(device.path, "/run/m", "ext4", 0, NULL) == 0);
}

static void mounted_check(Bed *bed) {
        int fd = open("/run/m/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        assert(fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0);
        close(fd);
        assert(umount("/run/m") == 0);
        EXPECT(ERROR_NONE, bed_release, bed, stem_of("vol", "a"));
}

static void restore_prepare(Bed *bed) {
        filled_prepare(bed);
        snapshot_run(bed);
}

static void restore_run(Bed *bed) {
        Want want = from_source("b", CONTENT_SOURCE_SNAPSHOT, stem_of("snap", "s"), NULL);

        want.required = 16 * MIB;
        (void)create_again(bed, &want);
}

static void restore_undo(Bed *bed) {
        EXPECT(ERROR_NONE, bed_delete, bed, stem_of("vol", "b"));
        snapshot_undo(bed);
}

static void expand_run(Bed *bed) {
        VolumeRef ref = {.volume_id = stem_of("vol", "a")};
        Device device;

        EXPECT(ERROR_NONE, bed_expand, bed, ref.volume_id, 24 * MIB, 0);
        EXPECT(ERROR_NONE, bed_find, bed, ref.volume_id, &device);
        EXPECT(ERROR_NONE, provider_local.rescan_device, bed->pool, &bed->call, &ref, &device);
}

static void thick_prepare(Bed *bed) {
        (void)create_again(bed, &thick);
}

static void expand_check(Bed *bed) {
        Device device;

        EXPECT(ERROR_NONE, bed_find, bed, stem_of("vol", "a"), &device);
        assert(device.size_bytes == 24 * MIB);
        device_put(&device, 24 * MIB - 4, "end!");
        EXPECT(ERROR_NONE, bed_release, bed, stem_of("vol", "a"));
}

static void delete_check(Bed *bed) {
        assert(provider_local.has_volume(bed->pool, &bed->call, stem_of("vol", "a"), NULL) == 0);
}

static void snapshot_delete_run(Bed *bed) {
        EXPECT(ERROR_NONE, bed->ops->delete_snapshot, bed->pool, &bed->call, stem_of("snap", "s"));
}

static void modify_run(Bed *bed) {
        StringPair pair = {"provisioning", "thick"};
        StringMap map = {.pairs = &pair, .n_pairs = 1};

        EXPECT(ERROR_NONE, bed->ops->modify_volume, bed->pool, &bed->call, stem_of("vol", "a"),
               &map);
}

static void modify_check(Bed *bed) {
        volume_has(bed, stem_of("vol", "a"), 5 * MIB, "second");
}

static void group_prepare(Bed *bed) {
        Want want = blank;

        filled_prepare(bed);
        want.name = "b";
        (void)create_again(bed, &want);
}

static void group_run(Bed *bed) {
        const char *ids[] = {stem_of("vol", "a"), stem_of("vol", "b")};
        CreateGroupRequest request = {
                .name = "g", .source_volume_ids = ids, .n_source_volume_ids = 2};
        unsigned int n_asked = 0;
        SnapshotGroup group;
        Error err = {0};

        while (bed->ops->create_group(bed->pool, &bed->call, &request, &group, &err) != 0)
                wait_to_ask("group", &err, &n_asked);
        assert(group.n_snapshots == 2 && group.ready);
}

static void group_delete_run(Bed *bed) {
        EXPECT(ERROR_NONE, bed->ops->delete_group, bed->pool, &bed->call, stem_of("grp", "g"), NULL,
               0);
}

static void group_undo(Bed *bed) {
        group_delete_run(bed);
        clone_undo(bed);
}

static void group_delete_prepare(Bed *bed) {
        group_prepare(bed);
        group_run(bed);
}

static void attach_run(Bed *bed) {
        Device device;

        EXPECT(ERROR_NONE, bed_find, bed, stem_of("vol", "a"), &device);
}

static void release_prepare(Bed *bed) {
        create_run(bed);
        attach_run(bed);
}

static void release_run(Bed *bed) {
        EXPECT(ERROR_NONE, bed_release, bed, stem_of("vol", "a"));
}

static void inline_run(Bed *bed) {
        NodePublishRequest request = {.volume_id = "csi-77",
                                      .capability = {.fs_type = "", .access_mode = 7}};
        Device device;

        EXPECT(ERROR_NONE, provider_local.create_ephemeral, bed->pool, &bed->call, &request);
        EXPECT(ERROR_NONE, bed_find, bed, "csi-77", &device);
}

static void inline_delete_run(Bed *bed) {
        EXPECT(ERROR_NONE, provider_local.delete_ephemeral, bed->pool, &bed->call, "csi-77");
}

/* --- a tool works on a copy --- */

static bool volume_is(Bed *bed, const char *text) {
        char found[16] = {0};
        Device device;
        int fd;

        EXPECT(ERROR_NONE, bed_find, bed, stem_of("vol", "a"), &device);
        fd = open(device.path, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && pread(fd, found, strlen(text), 5 * MIB) == (ssize_t)strlen(text));
        close(fd);
        return strcmp(found, text) == 0;
}

static void work_prepare(Bed *bed) {
        filled_prepare(bed);
        attach_run(bed);
}

static int count_ours(void *userdata, unsigned int number) {
        const Bed *bed = userdata;
        char path[PATH_MAX];

        return loop_get_path(number, path, sizeof(path)) == 0 && strstr(path, bed->pool_path) &&
               strstr(path, "/volumes/");
}

static void work_run(Bed *bed) {
        VolumeRef ref = {.volume_id = stem_of("vol", "a")};
        bool is_copy;
        DiskCopy copy = DISK_COPY_INIT;
        Error err = {0};
        int r;

        /* All of it or nothing, whatever happened before. */
        if (!is_traced)
                assert(volume_is(bed, "second") || volume_is(bed, "worked"));
        r = provider_local.begin_copy(bed->pool, &bed->call, &ref, &copy, &err);
        is_copy = r == 0;
        if (r == PROVIDER_E_IN_PLACE)
                EXPECT(ERROR_NONE, bed_find, bed, ref.volume_id, &copy.device);
        else
                assert(r == 0);
        device_put(&copy.device, 5 * MIB, "worked");
        if (is_copy)
                EXPECT(ERROR_NONE, provider_local.end_copy, bed->pool, &bed->call, &ref, &copy,
                       true);
        disk_copy_deinit(&copy);
}

static void work_check(Bed *bed) {
        assert(volume_is(bed, "worked"));
        volume_has(bed, stem_of("vol", "a"), 0, "first");
        /* Whoever looks through all loop devices of the machine has them open for a moment. */
        for (unsigned int i = 0; loop_each(count_ours, bed) != 0; i++) {
                assert(i < 500);
                (void)usleep(10000);
        }
}

static const Operation operations[] = {
        {"create", nothing, create_run, create_check, delete_a},
        {"create_thick", nothing, thick_run, create_check, delete_a},
        {"clone", filled_prepare, clone_run, clone_check, clone_undo},
        {"clone_thick", filled_prepare, clone_thick_run, clone_check, clone_undo},
        {"snapshot", filled_prepare, snapshot_run, snapshot_check, snapshot_undo},
        {"snapshot_mounted", mounted_prepare, snapshot_run, mounted_check, snapshot_undo},
        {"restore", restore_prepare, restore_run, clone_check, restore_undo},
        {"expand", create_run, expand_run, expand_check, delete_a},
        {"expand_thick", thick_prepare, expand_run, expand_check, delete_a},
        {"delete", release_prepare, delete_a, delete_check, nothing},
        {"delete_snapshot", restore_prepare, snapshot_delete_run, nothing, delete_a},
        {"modify", filled_prepare, modify_run, modify_check, delete_a},
        {"group", group_prepare, group_run, nothing, group_undo},
        {"group_delete", group_delete_prepare, group_delete_run, nothing, clone_undo},
        {"attach", create_run, attach_run, release_run, delete_a},
        {"release", release_prepare, release_run, nothing, delete_a},
        {"work", work_prepare, work_run, work_check, delete_a},
        {"inline", nothing, inline_run, nothing, inline_delete_run},
        {"inline_delete", inline_run, inline_delete_run, nothing, nothing},
};

/* --- What must be true of a pool that was just opened --- */

static void check_directory(Bed *bed, const char *name) {
        cleanup(freep) char *path = str_printf("%s/%s", bed->pool_path, name);
        DIR *dir = opendir(path);
        struct dirent *item;

        assert(dir);
        while ((item = readdir(dir))) {
                cleanup(freep) char *other = NULL;
                char *dot = strrchr(item->d_name, '.');

                if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
                        continue;
                if (item->d_name[0] == '.' || !dot || strcmp(dot, ".work") == 0) {
                        printf("left: %s/%s\n", name, item->d_name);
                        abort();
                }
                if (strcmp(name, "groups") == 0)
                        continue;
                other = str_printf("%s/%.*s%s", path, (int)(dot - item->d_name), item->d_name,
                                   strcmp(dot, ".img") == 0 ? ".json" : ".img");
                if (access(other, F_OK) != 0) {
                        printf("alone: %s/%s\n", name, item->d_name);
                        abort();
                }
        }
        closedir(dir);
}

static void check_pool(Bed *bed) {
        check_directory(bed, "volumes");
        check_directory(bed, "snapshots");
        check_directory(bed, "groups");
        for (size_t kind = 0; kind < _LOCAL_KIND_N; kind++)
                for (size_t i = 0; i < bed->pool->tables[kind].n_entries; i++) {
                        const Entry *entry = bed->pool->tables[kind].entries[i];

                        assert(!entry->damaged && !entry->busy);
                        assert(entry->meta.state == LOCAL_STATE_READY ||
                               entry->meta.state == LOCAL_STATE_COPYING);
                }
}

/* --- Killing --- */

/* To look is no step. */
static bool only_looks(uint64_t number, const uint64_t arguments[6]) {
        if (number == SYS_openat)
                return (arguments[2] & (O_CREAT | O_ACCMODE)) == 0;
        return number == SYS_ioctl &&
               (_IOC_DIR(arguments[1]) == _IOC_READ || arguments[1] == LOOP_GET_STATUS64);
}

static bool changes_something(uint64_t number, const uint64_t arguments[6]) {
        static const long numbers[] = {
                SYS_openat,    SYS_write,           SYS_pwrite64, SYS_fsync,   SYS_fdatasync,
                SYS_renameat2, SYS_ftruncate,       SYS_fchmod,   SYS_ioctl,   SYS_unlinkat,
                SYS_fallocate, SYS_copy_file_range, SYS_mkdirat,  SYS_openat2,
#ifdef SYS_renameat
                SYS_renameat,
#endif
        };

        for (size_t i = 0; i < N_ELEMENTS(numbers); i++)
                if ((uint64_t)numbers[i] == number)
                        return !only_looks(number, arguments);
        return false;
}

static void child_main(Bed *bed, const Operation *operation) {
        is_traced = true;
        assert(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        assert(raise(SIGSTOP) == 0);
        bed_open(bed);
        (void)syscall(SYS_getppid);
        operation->run(bed);
        _exit(0);
}

/* Whether this stop is the entry of a step. To open the pool takes the same steps for each
 * operation: one of them counts those, too. */
static bool is_step(pid_t pid, bool *is_openp) {
        struct __ptrace_syscall_info info = {0};

        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
            info.op != PTRACE_SYSCALL_INFO_ENTRY)
                return false;
        if (info.entry.nr == SYS_getppid)
                *is_openp = true;
        return *is_openp && changes_something(info.entry.nr, (const uint64_t *)info.entry.args);
}

/* Runs the operation and kills it at its @step. Return: false when it got through. */
static bool run_and_kill(Bed *bed, const Operation *operation, unsigned int step) {
        bool is_open = operation == &operations[0];
        unsigned int n = 0;
        int status;
        pid_t child = test_fork(), pid;

        if (child == 0)
                child_main(bed, operation);
        assert(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
        assert(ptrace(PTRACE_SETOPTIONS, child, NULL,
                      PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) == 0);
        assert(ptrace(PTRACE_SYSCALL, child, NULL, NULL) == 0);
        for (;;) {
                long signal = 0;

                pid = waitpid(-1, &status, __WALL);
                assert(pid > 0);
                if (pid == child && WIFEXITED(status)) {
                        if (WEXITSTATUS(status) != 0)
                                abort();
                        return false;
                }
                if (pid == child && WIFSIGNALED(status)) {
                        /* Of its own: an assertion. */
                        assert(WTERMSIG(status) == SIGKILL);
                        return true;
                }
                if (!WIFSTOPPED(status))
                        continue;
                if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
                        if (is_step(pid, &is_open) && ++n == step)
                                assert(kill(child, SIGKILL) == 0);
                } else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
                        signal = WSTOPSIG(status);
                }
                (void)ptrace(PTRACE_SYSCALL, pid, NULL, signal);
        }
}

/* Kills at step @first and at each @every-th after it. */
static void run_all(Bed *bed, const Operation *operation, unsigned int first, unsigned int every) {
        unsigned int step = first, n = 0;
        bool killed = true;

        for (; killed && step < STEPS_MAX; step += every) {
                bed_open(bed);
                operation->prepare(bed);
                bed_close(bed);
                killed = run_and_kill(bed, operation, step);
                n += killed;
                alarm(20); /* a filesystem that was left frozen */
                bed_open(bed);
                check_pool(bed);
                operation->run(bed);
                operation->check(bed);
                operation->undo(bed);
                alarm(0);
                if (count_files(bed->pool_path) != 0) {
                        printf("step %u: %zu files are left\n", step, count_files(bed->pool_path));
                        abort();
                }
                bed_close(bed);
        }
        assert(!killed);
        printf("%s: killed at %u steps\n", operation->name, n);
}

static unsigned int number(const char *text) {
        uint64_t value = 0;

        assert(str_parse_u64(text, STEPS_MAX, &value) == 0 && value > 0);
        return (unsigned int)value;
}

int main(int argc, char **argv) {
        Bed bed = {0};

        setvbuf(stdout, NULL, _IOLBF, 0);
        log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
        if (argc != 5) {
                for (size_t i = 0; i < N_ELEMENTS(operations); i++)
                        puts(operations[i].name);
                return argc == 1 ? 0 : 64;
        }
        bed.pool_path = argv[1];
        for (size_t i = 0; i < N_ELEMENTS(operations); i++)
                if (strcmp(operations[i].name, argv[2]) == 0) {
                        run_all(&bed, &operations[i], number(argv[3]), number(argv[4]));
                        arena_free(bed.arena);
                        return 0;
                }
        return 64;
}
