/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/grpc/listener.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

typedef struct Place {
        char directory[64];
        char path[96];
} Place;

static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));

        (void)snprintf(place->directory, sizeof(place->directory), "/tmp/berth-listener-XXXXXX");
        if (!mkdtemp(place->directory))
                return -1;
        (void)snprintf(place->path, sizeof(place->path), "%s/csi.sock", place->directory);
        *state = place;
        return 0;
}

static int teardown(void **state) {
        Place *place = *state;

        (void)unlink(place->path);
        /* Also shows that nothing was left beside the socket. */
        if (rmdir(place->directory) < 0)
                return -1;
        free(place);
        return 0;
}

static int connect_to(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        memcpy(address.sun_path, path, strlen(path) + 1);
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
                return fd;
        (void)close(fd);
        return -1;
}

static void test_mode_and_accept(void **state) {
        Place *place = *state;
        mode_t umask_before = umask(0);
        Listener *listener;
        Error err = {0};
        uid_t uid = 12345;
        struct stat st;
        int client, fd;

        assert_int_equal(listener_open(&listener, place->path, NULL, &err), 0);
        (void)umask(umask_before);
        assert_int_equal(stat(place->path, &st), 0);
        assert_int_equal(st.st_mode, S_IFSOCK | 0600);
        assert_int_equal(listener_accept(listener, &uid), -EAGAIN);
        client = connect_to(place->path);
        assert_true(client >= 0);
        fd = listener_accept(listener, &uid);
        assert_true(fd >= 0);
        assert_int_equal(uid, geteuid());
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        (void)close(fd);
        (void)close(client);
        assert_true(listener_is_there(listener));
        listener_close(listener);
        assert_int_equal(access(place->path, F_OK), -1);
        listener_close(NULL);
}

static void test_living_instance_is_kept(void **state) {
        Place *place = *state;
        Listener *first, *second;
        Error err = {0};
        int client;

        assert_int_equal(listener_open(&first, place->path, NULL, &err), 0);
        assert_true(listener_open(&second, place->path, NULL, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        assert_non_null(strstr(err.message, "another instance already serves"));
        client = connect_to(place->path);
        assert_true(client >= 0);
        (void)close(client);
        listener_close(first);
}

static void test_stale_socket_is_replaced(void **state) {
        Place *place = *state;
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        Listener *listener;
        Error err = {0};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        memcpy(address.sun_path, place->path, strlen(place->path) + 1);
        assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        (void)close(fd);
        assert_int_equal(connect_to(place->path), -1);
        assert_int_equal(listener_open(&listener, place->path, NULL, &err), 0);
        listener_close(listener);
}

/* Whoever replaced our socket keeps his. */
static void test_successor_is_not_removed(void **state) {
        Place *place = *state;
        Listener *first, *second;
        Error err = {0};

        assert_int_equal(listener_open(&first, place->path, NULL, &err), 0);
        assert_int_equal(unlink(place->path), 0);
        assert_false(listener_is_there(first));
        assert_int_equal(listener_open(&second, place->path, NULL, &err), 0);
        listener_close(first);
        assert_true(listener_is_there(second));
        listener_close(second);
}

static void test_renamed_into_place(void **state) {
        Place *place = *state;
        Listener *listener;
        Error err = {0};
        int client;

        assert_int_equal(listener_open(&listener, place->path, ".csi.sock", &err), 0);
        assert_true(listener_is_there(listener));
        client = connect_to(place->path);
        assert_true(client >= 0);
        (void)close(client);
        listener_close(listener);
}

static void test_refused_paths(void **state) {
        Place *place = *state;
        char long_path[160];
        Listener *listener;
        Error err = {0};
        int fd;

        memset(long_path, 'a', sizeof(long_path));
        long_path[0] = '/';
        long_path[108] = '\0';
        assert_true(listener_open(&listener, long_path, NULL, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_true(listener_open(&listener, "csi.sock", NULL, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
        (void)snprintf(long_path, sizeof(long_path), "%s/none/csi.sock", place->directory);
        assert_true(listener_open(&listener, long_path, NULL, &err) < 0);
        assert_int_equal(err.code, ERROR_NOT_FOUND);
        fd = open(place->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        (void)close(fd);
        assert_true(listener_open(&listener, place->path, NULL, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        assert_non_null(strstr(err.message, "is not a socket"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_mode_and_accept, setup, teardown),
                cmocka_unit_test_setup_teardown(test_living_instance_is_kept, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stale_socket_is_replaced, setup, teardown),
                cmocka_unit_test_setup_teardown(test_successor_is_not_removed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_renamed_into_place, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refused_paths, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
