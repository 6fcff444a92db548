/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#include "cni/ipam/lease.h"
#include "common/base/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char root[64];

static int setup(void **state) {
        (void)snprintf(root, sizeof(root), "%s/berth-lease-XXXXXX", "/tmp");
        return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at) {
        return remove(path);
}

static int teardown(void **state) {
        return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void path_of(const char *name, char path[256]) {
        (void)snprintf(path, 256, "%s/net/%s", root, name);
}

static void put(const char *name, const char *text) {
        char path[256];
        int fd;

        path_of(name, path);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
        close(fd);
}

static bool is_there(const char *name) {
        struct stat status;
        char path[256];

        path_of(name, path);
        return lstat(path, &status) == 0;
}

static void open_store(LeaseStore *store) {
        Error err = {0};

        *store = (LeaseStore)LEASE_STORE_NULL;
        if (lease_store_open(store, root, "net", true, &err) != 0)
                fail_msg("%s", err.message);
}

static void close_store(LeaseStore *store) {
        lease_store_commit(store);
        lease_store_close(store);
}

/* Takes one address for one interface, as ADD does. */
static void take(const char *address, const char *id, const char *ifname) {
        IpPrefix one = {.address = ip(address), .length = 24};
        LeaseStore store;
        Error err = {0};

        open_store(&store);
        assert_int_equal(lease_take(&store, &one.address, id, ifname, &err), 0);
        assert_int_equal(lease_record(&store, id, ifname, &one, 1, &err), 0);
        close_store(&store);
}

static size_t n_found(const char *id, const char *ifname) {
        IpPrefix ips[LEASE_IPS_MAX];
        LeaseStore store;
        size_t n = 99;
        Error err = {0};

        open_store(&store);
        assert_int_equal(lease_find(&store, id, ifname, true, ips, &n, &err), 0);
        close_store(&store);
        return n;
}

static void release(const char *id, const char *ifname) {
        LeaseStore store;
        Error err = {0};

        open_store(&store);
        assert_int_equal(lease_release(&store, id, ifname, &err), 0);
        close_store(&store);
}

static void test_layout(void **state) {
        cleanup(freep) char *text = NULL;
        IpAddress one = ip("fd00::5"), last;
        LeaseStore store;
        char path[256];
        size_t n;
        Error err = {0};

        take("fd00::5", "c1", "eth0");
        path_of("fd00::5", path);
        assert_int_equal(file_read_at(AT_FDCWD, path, 100, &text, &n), 0);
        assert_int_equal(n, 8);
        assert_memory_equal(text, "c1\r\neth0", 8);
        open_store(&store);
        assert_int_equal(lease_take(&store, &one, "c2", "eth0", &err), LEASE_E_TAKEN);
        assert_int_equal(lease_write_last(&store, 3, &one, &err), 0);
        lease_read_last(&store, 3, &last);
        assert_true(ip_equal(&one, &last));
        lease_read_last(&store, 4, &last);
        assert_false(ip_is_set(&last));
        close_store(&store);
        assert_true(is_there("last_reserved_ip.3"));
        assert_int_equal(n_found("c1", "eth0"), 1);
        assert_int_equal(n_found("c1", "eth1"), 0);
        release("c1", "eth1");
        assert_true(is_there("fd00::5"));
        release("c1", "eth0");
        assert_false(is_there("fd00::5"));
        assert_false(is_there(".berth/c1@eth0"));
        release("c1", "eth0");
}

/* The subnet is remembered; not in what is made anew from the leases, or was written before. */
static void test_subnet(void **state) {
        char path[256], text[64] = "";
        IpPrefix ips[LEASE_IPS_MAX];
        LeaseStore store;
        Error err = {0};
        size_t n = 0;

        take("10.0.0.7", "c1", "eth0");
        /* 0.1.0 reads addresses only: what is none makes it keep the lease. */
        path_of(".berth/c1@eth0", path);
        assert_true(readlink(path, text, sizeof(text) - 1) > 0);
        assert_string_equal(text, "10.0.0.7,0.0.0.24");
        open_store(&store);
        assert_int_equal(lease_find(&store, "c1", "eth0", false, ips, &n, &err), 0);
        close_store(&store);
        assert_int_equal(n, 1);
        assert_int_equal(ips[0].length, 24);
        release("c1", "eth0");
        put("10.0.0.8", "c2\r\neth0");
        open_store(&store);
        assert_int_equal(lease_find(&store, "c2", "eth0", false, ips, &n, &err), 0);
        close_store(&store);
        assert_int_equal(n, 1);
        assert_int_equal(ips[0].length, 0);
        release("c2", "eth0");
        assert_int_equal(lease_entry_parse("10.0.0.1,fd00::5/64", ips, 2), 2);
        assert_int_equal(ips[0].length, 0);
        assert_int_equal(ips[1].length, 64);
        assert_int_equal(lease_entry_parse("10.0.0.1,fd00::5,0.0.0.0,0.0.0.64", ips, 2), 2);
        assert_int_equal(ips[0].length, 0);
        assert_int_equal(ips[1].length, 64);
        /* 0.1.0 appends to what it finds. */
        assert_int_equal(lease_entry_parse("10.0.0.1,0.0.0.24,fd00::5", ips, 2), 2);
        assert_int_equal(ips[0].length, 24);
        assert_int_equal(ips[1].length, 0);
        assert_true(lease_entry_parse("10.0.0.1,0.0.0.33", ips, 2) < 0);
        assert_true(lease_entry_parse("10.0.0.1,0.0.0.24,0.0.0.24", ips, 2) < 0);
        assert_true(lease_entry_parse("0.0.0.24", ips, 2) < 0);
        assert_true(lease_entry_parse("10.0.0.1/33", ips, 2) < 0);
        assert_true(lease_entry_parse("10.0.0.1/", ips, 2) < 0);
}

static void test_absent_directory(void **state) {
        LeaseStore store = LEASE_STORE_NULL;
        Error err = {0};

        assert_int_equal(lease_store_open(&store, root, "other", false, &err), LEASE_E_NONE);
}

/* What host-local made and removed in between is known afterwards. */
static void test_foreign_hand(void **state) {
        char path[256];

        take("10.0.0.2", "ours", "eth0");
        put("10.0.0.3", "theirs\r\neth0");
        put("10.0.0.4", "theirs\r\neth0");
        put("10.0.0.5", "ancient");
        assert_int_equal(n_found("theirs", "eth0"), 2);
        assert_int_equal(n_found("ancient", "eth7"), 1);
        path_of("10.0.0.2", path);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(n_found("ours", "eth0"), 0);
        assert_false(is_there(".berth/ours@eth0"));
        release("theirs", "eth0");
        assert_false(is_there("10.0.0.3"));
        assert_false(is_there("10.0.0.4"));
        release("ancient", "eth0");
        assert_false(is_there("10.0.0.5"));
}

/* An entry is a hint: the address may be another one's by now, and the entry not yet pruned. */
static void test_stale_entry(void **state) {
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 0x42455254}};
        char path[256];

        take("10.0.0.2", "old", "eth0");
        put("10.0.0.2", "new\r\neth0");
        path_of("", path);
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        assert_int_equal(n_found("old", "eth0"), 0);
        release("old", "eth0");
        assert_true(is_there("10.0.0.2"));
}

/* The index is used while the directory is untouched, and not made anew. */
static void test_index_is_used(void **state) {
        char path[256];
        struct stat status;
        ino_t inode;

        take("10.0.0.2", "a", "eth0");
        path_of(".berth/a@eth0", path);
        assert_int_equal(lstat(path, &status), 0);
        inode = status.st_ino;
        for (int i = 0; i < 3; i++)
                assert_int_equal(n_found("a", "eth0"), 1);
        assert_int_equal(lstat(path, &status), 0);
        assert_int_equal(status.st_ino, inode);
        path_of("", path);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mtim.tv_sec, 0x42455254);
}

static void test_torn(void **state) {
        take("10.0.0.2", "a", "eth0");
        put("10.0.0.3", "");
        put("10.0.0.4", " \r\n");
        put("notes.txt", "");
        assert_int_equal(n_found("a", "eth0"), 1);
        assert_false(is_there("10.0.0.3"));
        assert_false(is_there("10.0.0.4"));
        assert_true(is_there("notes.txt"));
}

static void set_boot(const char *text) {
        char path[256];

        path_of(".berth/boot", path);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(symlink(text, path), 0);
}

/* A lease recorded under another boot has no container; one that host-local made since may. */
static void test_boot(void **state) {
        take("10.0.0.2", "before", "eth0");
        take("10.0.0.3", "before2", "eth0");
        set_boot("11111111-2222-3333-4444-555555555555");
        put("10.0.0.3", "since\r\neth0");
        put("10.0.0.4", "since\r\neth0");
        assert_int_equal(n_found("before", "eth0"), 0);
        assert_false(is_there("10.0.0.2"));
        assert_true(is_there("10.0.0.3"));
        assert_int_equal(n_found("since", "eth0"), 2);
        /* And not again. */
        take("10.0.0.5", "now", "eth0");
        assert_int_equal(n_found("now", "eth0"), 1);
}

static void test_long_id(void **state) {
        char id[301];

        memset(id, 'a', sizeof(id) - 1);
        id[300] = '\0';
        take("10.0.0.2", id, "eth0");
        assert_int_equal(n_found(id, "eth0"), 1);
        set_boot("x");
        assert_int_equal(n_found(id, "eth0"), 0);
        assert_false(is_there("10.0.0.2"));
}

static int name_owner(const char *id, const char *ifname, void *userdata, Error *err) {
        strbuf_printf(userdata, "%s/%s ", id, ifname);
        return 0;
}

static int count_ip(const IpAddress *one, void *userdata) {
        (*(size_t *)userdata)++;
        return 0;
}

static void test_walks(void **state) {
        cleanup(strbuf_deinit) StrBuf names = {0};
        LeaseStore store;
        size_t n = 0;
        Error err = {0};

        take("10.0.0.2", "a", "eth0");
        take("10.0.0.3", "b", "net1");
        open_store(&store);
        assert_int_equal(lease_each_ip(&store, count_ip, &n, &err), 0);
        assert_int_equal(n, 2);
        assert_int_equal(lease_each_owner(&store, name_owner, &names, &err), 0);
        assert_contains(strbuf_text(&names), "a/eth0 ");
        assert_contains(strbuf_text(&names), "b/net1 ");
        close_store(&store);
}

static void test_content(void **state) {
        static const struct {
                const char *text;
                int r;
                const char *id, *ifname;
        } cases[] = {
                {"abc\r\neth0", 0, "abc", "eth0"},
                {"abc\r\neth0\n", 0, "abc", "eth0"},
                {"abc", 0, "abc", ""},
                {" abc\n", 0, "abc", ""},
                {"", -EBADMSG, NULL, NULL},
                {"\r\n", -EBADMSG, NULL, NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char text[64];
                const char *id = NULL, *ifname = NULL;

                (void)snprintf(text, sizeof(text), "%s", cases[i].text);
                assert_int_equal(lease_content_parse(text, &id, &ifname), cases[i].r);
                if (cases[i].r < 0)
                        continue;
                assert_string_equal(id, cases[i].id);
                assert_string_equal(ifname, cases[i].ifname);
        }
}

/* A lock that is given back in time is waited for. */
static void test_lock_waits(void **state) {
        LeaseStore store;
        char path[256];
        pid_t child;
        int ready[2], status;
        char byte;

        take("10.0.0.2", "a", "eth0");
        path_of("lock", path);
        assert_int_equal(pipe(ready), 0);
        child = fork();
        if (child == 0) {
                int fd = open(path, O_RDONLY | O_CLOEXEC);

                if (fd < 0 || flock(fd, LOCK_EX) < 0 || write(ready[1], "x", 1) != 1)
                        _exit(1);
                usleep(50000);
                _exit(0);
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        open_store(&store);
        close_store(&store);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        close(ready[0]);
        close(ready[1]);
}

int main(void) {
#define WITH_ROOT(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
        const struct CMUnitTest tests[] = {
                WITH_ROOT(test_layout),      WITH_ROOT(test_absent_directory),
                WITH_ROOT(test_subnet),      WITH_ROOT(test_foreign_hand),
                WITH_ROOT(test_stale_entry), WITH_ROOT(test_index_is_used),
                WITH_ROOT(test_torn),        WITH_ROOT(test_boot),
                WITH_ROOT(test_long_id),     WITH_ROOT(test_walks),
                WITH_ROOT(test_lock_waits),  cmocka_unit_test(test_content),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
