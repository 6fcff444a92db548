/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/file.h"

#include "common/base/cleanup.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>

/* Instead of the library's: which directories were synced. */
static unsigned int n_synced_directories;
static ino_t synced_directory;

int fsync(int fd) {
        struct stat status;

        if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
                n_synced_directories++;
                synced_directory = status.st_ino;
        }
        return (int)syscall(SYS_fsync, fd);
}

/* Each test gets a directory of its own; *state is its descriptor. */
typedef struct Fixture {
        char path[64];
        int fd;
} Fixture;

static int setup(void **state) {
        Fixture *fixture = calloc(1, sizeof(*fixture));

        strcpy(fixture->path, "/tmp/berth-test-file.XXXXXX");
        if (!mkdtemp(fixture->path))
                return -1;
        fixture->fd = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        *state = fixture;
        return fixture->fd < 0 ? -1 : 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

static int teardown(void **state) {
        Fixture *fixture = *state;

        close(fixture->fd);
        (void)nftw(fixture->path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
        free(fixture);
        return 0;
}

static void test_write_atomic_replaces(void **state) {
        Fixture *f = *state;
        cleanup(freep) char *text = NULL;
        struct stat st;
        size_t n;

        assert_int_equal(file_write_atomic(f->fd, "a", "one", 3, 0644), 0);
        assert_int_equal(file_write_atomic(f->fd, "a", "two!", 4, 0600), 0);
        assert_int_equal(file_read_at(f->fd, "a", 100, &text, &n), 0);
        assert_int_equal(n, 4);
        assert_string_equal(text, "two!");
        assert_int_equal(fstatat(f->fd, "a", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(file_write_atomic(f->fd, "none/a", "x", 1, 0600), -ENOENT);
}

/* A name that came by a rename is on the disk when its directory is. */
static void test_write_atomic_syncs(void **state) {
        Fixture *f = *state;
        struct stat top, below;

        assert_int_equal(mkdirat(f->fd, "below", 0755), 0);
        assert_int_equal(fstat(f->fd, &top), 0);
        assert_int_equal(fstatat(f->fd, "below", &below, 0), 0);
        n_synced_directories = 0;
        assert_int_equal(file_write_atomic(f->fd, "a", "x", 1, 0600), 0);
        assert_int_equal(n_synced_directories, 1);
        assert_int_equal(synced_directory, top.st_ino);
        assert_int_equal(file_write_atomic(f->fd, "below/a", "x", 1, 0600), 0);
        assert_int_equal(n_synced_directories, 2);
        assert_int_equal(synced_directory, below.st_ino);
}

static void test_read_limit(void **state) {
        Fixture *f = *state;
        cleanup(freep) char *text = NULL;

        assert_int_equal(file_write_atomic(f->fd, "a", "12345", 5, 0600), 0);
        assert_int_equal(file_read_at(f->fd, "a", 4, &text, NULL), -EFBIG);
        assert_null(text);
        assert_int_equal(file_read_at(f->fd, "a", 5, &text, NULL), 0);
}

static void test_in_root_does_not_escape(void **state) {
        Fixture *f = *state;
        cleanup(freep) char *text = NULL;

        assert_int_equal(mkdirat(f->fd, "etc", 0755), 0);
        assert_int_equal(file_write_atomic(f->fd, "etc/real", "inside", 6, 0600), 0);
        assert_int_equal(symlinkat("/etc/real", f->fd, "etc/absolute"), 0);
        assert_int_equal(symlinkat("../../../../etc/real", f->fd, "etc/upward"), 0);
        assert_int_equal(file_read_in_root(f->fd, "/etc/absolute", 100, &text, NULL), 0);
        assert_string_equal(text, "inside");
        freep(&text);
        text = NULL;
        assert_int_equal(file_read_in_root(f->fd, "etc/upward", 100, &text, NULL), 0);
        assert_string_equal(text, "inside");
}

static void test_beneath_follows_nothing(void **state) {
        Fixture *f = *state;
        cleanup(closep) int fd = -1;

        assert_int_equal(mkdirat(f->fd, "d", 0755), 0);
        assert_int_equal(symlinkat("d", f->fd, "link"), 0);
        fd = file_open_beneath(f->fd, "d/x", O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        assert_int_equal(file_open_beneath(f->fd, "link/x", O_RDONLY, 0), -ELOOP);
        assert_int_equal(file_open_beneath(f->fd, "../x", O_RDONLY, 0), -EXDEV);
        assert_int_equal(file_open_beneath(f->fd, "/etc/passwd", O_RDONLY, 0), -EXDEV);
}

static void test_make_directories(void **state) {
        Fixture *f = *state;
        char path[128];

        (void)snprintf(path, sizeof(path), "%s/a/b/c", f->path);
        assert_int_equal(file_make_directories(path, 0755), 0);
        assert_int_equal(file_make_directories(path, 0755), 0);
        assert_int_equal(faccessat(f->fd, "a/b/c", F_OK, 0), 0);
        assert_int_equal(file_make_directories("", 0755), -ENOENT);
}

/* Renames make openat2(2) give up a walk over "..", with EAGAIN. */
typedef struct Renamer {
        int fd;
        atomic_bool stop;
} Renamer;

static void *rename_often(void *userdata) {
        Renamer *renamer = userdata;

        while (!atomic_load(&renamer->stop)) {
                (void)renameat(renamer->fd, "from", renamer->fd, "to");
                (void)renameat(renamer->fd, "to", renamer->fd, "from");
        }
        return NULL;
}

static void test_in_root_beside_renames(void **state) {
        Fixture *f = *state;
        Renamer renamer = {.fd = f->fd};
        pthread_t thread;

        assert_int_equal(mkdirat(f->fd, "from", 0755), 0);
        assert_int_equal(mkdirat(f->fd, "a", 0755), 0);
        assert_int_equal(mkdirat(f->fd, "a/b", 0755), 0);
        assert_int_equal(mkdirat(f->fd, "c", 0755), 0);
        assert_int_equal(symlinkat("../../c", f->fd, "a/b/link"), 0);
        assert_int_equal(pthread_create(&thread, NULL, rename_often, &renamer), 0);
        for (int i = 0; i < 20000; i++) {
                cleanup(closep) int fd = file_open_in_root(f->fd, "a/b/link", O_PATH);

                assert_true(fd >= 0);
        }
        atomic_store(&renamer.stop, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_in_root_follows_as_the_kernel_does(void **state) {
        static const struct {
                const char *path;
                int flags, r;
        } rows[] = {
                {"d/file", O_RDONLY, 0},
                {"//d/.//file", O_RDONLY, 0},
                {"d/", O_RDONLY, 0},
                {"d/..", O_RDONLY | O_DIRECTORY, 0},
                {"/", O_RDONLY | O_DIRECTORY, 0},
                {"../../..", O_RDONLY | O_DIRECTORY, 0},
                {"d/deep/../../d/file", O_RDONLY, 0},
                {"chain/file", O_RDONLY, 0},
                {"chain", O_RDONLY | O_NOFOLLOW, -ELOOP},
                {"chain", O_PATH | O_NOFOLLOW, 0},
                {"loop", O_RDONLY, -ELOOP},
                {"loop/x", O_RDONLY, -ELOOP},
                {"dangling", O_RDONLY, -ENOENT},
                {"none/x", O_RDONLY, -ENOENT},
                {"d/file/x", O_RDONLY, -ENOTDIR},
                {"d/file/..", O_RDONLY, -ENOTDIR},
        };
        Fixture *f = *state;

        assert_int_equal(mkdirat(f->fd, "d", 0755), 0);
        assert_int_equal(mkdirat(f->fd, "d/deep", 0755), 0);
        assert_int_equal(file_write_atomic(f->fd, "d/file", "x", 1, 0600), 0);
        assert_int_equal(symlinkat("/d", f->fd, "d/deep/up"), 0);
        assert_int_equal(symlinkat("d/deep/up", f->fd, "chain"), 0);
        assert_int_equal(symlinkat("loop", f->fd, "loop"), 0);
        assert_int_equal(symlinkat("/nothing", f->fd, "dangling"), 0);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                int fd = file_open_in_root(f->fd, rows[i].path, rows[i].flags);

                if (fd >= 0)
                        close(fd);
                if ((fd < 0 ? fd : 0) != rows[i].r)
                        fail_msg("%s: %d, expected %d", rows[i].path, fd, rows[i].r);
        }
}

/* Kernels before 5.6 have no openat2(2). False where filters cannot be set, as in an emulator. */
static bool forget_openat2(void) {
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* What somebody else put in the place of a file: nothing waits, nothing is read without end. */
static void test_read_no_file(void **state) {
        static const char *const devices[] = {"/dev/zero", "/dev/null", "/"};
        char directory[] = "/tmp/berth-file-XXXXXX";
        cleanup(closep) int dir_fd = -1;
        char *text = NULL;

        assert_non_null(mkdtemp(directory));
        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(dir_fd >= 0);
        assert_int_equal(mkfifoat(dir_fd, "fifo", 0600), 0);
        assert_int_equal(file_read_at(dir_fd, "fifo", 100, &text, NULL), -EINVAL);
        assert_int_equal(file_read_in_root(dir_fd, "fifo", 100, &text, NULL), -EINVAL);
        assert_int_equal(symlinkat("fifo", dir_fd, "link"), 0);
        assert_int_equal(file_read_at(dir_fd, "link", 100, &text, NULL), -EINVAL);
        for (size_t i = 0; i < N_ELEMENTS(devices); i++)
                assert_int_equal(file_read_at(AT_FDCWD, devices[i], 100, &text, NULL), -EINVAL);
        assert_null(text);
        (void)unlinkat(dir_fd, "link", 0);
        (void)unlinkat(dir_fd, "fifo", 0);
        (void)rmdir(directory);
}

/* Of each kind of access: nothing waits for another end, and nothing is followed. */
static void test_open_plain(void **state) {
        static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_CREAT | O_TRUNC};
        static const char *const names[] = {"fifo", "link", "dangling", "directory"};
        char directory[] = "/tmp/berth-file-XXXXXX";
        cleanup(closep) int dir_fd = -1, fd = -1;

        assert_non_null(mkdtemp(directory));
        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(dir_fd >= 0);
        assert_int_equal(mkfifoat(dir_fd, "fifo", 0600), 0);
        assert_int_equal(symlinkat("plain", dir_fd, "link"), 0);
        assert_int_equal(symlinkat("new", dir_fd, "dangling"), 0);
        assert_int_equal(mkdirat(dir_fd, "directory", 0700), 0);
        fd = file_open_plain_at(dir_fd, "plain", O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        for (size_t i = 0; i < N_ELEMENTS(flags); i++) {
                cleanup(closep) int plain_fd = file_open_plain_at(dir_fd, "plain", flags[i], 0600);

                assert_true(plain_fd >= 0);
                for (size_t j = 0; j < N_ELEMENTS(names); j++)
                        assert_int_equal(file_open_plain_at(dir_fd, names[j], flags[i], 0600),
                                         -EINVAL);
                assert_int_equal(file_open_plain_at(AT_FDCWD, "/dev/null", flags[i], 0600),
                                 -EINVAL);
        }
        assert_int_equal(file_open_plain_at(dir_fd, "new", O_RDONLY, 0), -ENOENT);
        for (size_t i = 0; i + 1 < N_ELEMENTS(names); i++)
                assert_int_equal(unlinkat(dir_fd, names[i], 0), 0);
        assert_int_equal(unlinkat(dir_fd, "directory", AT_REMOVEDIR), 0);
        assert_int_equal(unlinkat(dir_fd, "plain", 0), 0);
        assert_int_equal(rmdir(directory), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_write_atomic_replaces, setup, teardown),
                cmocka_unit_test_setup_teardown(test_write_atomic_syncs, setup, teardown),
                cmocka_unit_test_setup_teardown(test_read_limit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_in_root_does_not_escape, setup, teardown),
                cmocka_unit_test_setup_teardown(test_in_root_follows_as_the_kernel_does, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_in_root_beside_renames, setup, teardown),
                cmocka_unit_test_setup_teardown(test_beneath_follows_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_make_directories, setup, teardown),
                cmocka_unit_test(test_read_no_file),
                cmocka_unit_test(test_open_plain),
        };

        int n_failed = cmocka_run_group_tests(tests, NULL, NULL);

        if (forget_openat2())
                n_failed += cmocka_run_group_tests_name("without openat2", tests, NULL, NULL);
        return n_failed;
}
