/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/kubelet/path.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[] = "/tmp/berth-path-XXXXXX";
static const NodeRoot node_root = {root, root};

static char *in_root(const char *below) {
        char *path = str_printf("%s/%s", root, below);

        assert_non_null(path);
        return path;
}

static int set_up(void **state) {
        cleanup(freep) char *a = NULL, *b = NULL, *link = NULL, *end = NULL, *file = NULL;

        assert_non_null(mkdtemp(root));
        a = in_root("pods");
        b = in_root("pods/a");
        link = in_root("link");
        end = in_root("pods/end");
        file = in_root("pods/file");
        assert_int_equal(mkdir(a, 0755), 0);
        assert_int_equal(mkdir(b, 0755), 0);
        assert_int_equal(symlink("pods", link), 0);
        assert_int_equal(symlink("/etc", end), 0);
        assert_int_equal(close(open(file, O_CREAT | O_CLOEXEC, 0600)), 0);
        return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at) {
        return remove(path);
}

static int tear_down(void **state) {
        return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int open_path(const char *below, NodePath *path, Error *err) {
        char *text = in_root(below);
        int r = node_path_open(path, &node_root, "target_path", text, err);

        /* The text is only for messages from here on. */
        free(text);
        path->text = "";
        return r;
}

static void test_opens(void **state) {
        static const struct {
                const char *below, *name;
                mode_t type;
        } good[] = {
                {"pods/a", "a", S_IFDIR},  {"pods//a", "a", S_IFDIR},
                {"pods/a/", "a", S_IFDIR}, {"pods", "pods", S_IFDIR},
                {"pods/none", "none", 0},  {"pods/file", "file", S_IFREG},
                {"pods/..a", "..a", 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                cleanup(node_path_close) NodePath path = NODE_PATH_INIT;
                Error err = {0};

                assert_int_equal(open_path(good[i].below, &path, &err), 0);
                assert_string_equal(path.name, good[i].name);
                assert_int_equal(path.type, good[i].type);
                assert_int_equal(path.fd >= 0, good[i].type != 0);
                assert_false(path.is_dead);
        }
}

static void test_no_parent(void **state) {
        cleanup(node_path_close) NodePath path = NODE_PATH_INIT;
        Error err = {0};

        assert_int_equal(open_path("none/a", &path, &err), NODE_PATH_E_NO_PARENT);
        assert_false(error_is_set(&err));
}

static void test_refused(void **state) {
        static const struct {
                const char *below;
                ErrorCode code;
        } bad[] = {
                {"", ERROR_INVALID},
                {"/", ERROR_INVALID},
                {"../x", ERROR_INVALID},
                {"pods/../../etc", ERROR_INVALID},
                {"pods/./a", ERROR_INVALID},
                {"pods/a/..", ERROR_INVALID},
                {"link/a", ERROR_PRECONDITION},
                {"pods/end", ERROR_PRECONDITION},
                {"pods/end/passwd", ERROR_PRECONDITION},
                {"pods/file/x", ERROR_PRECONDITION},
        };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                cleanup(node_path_close) NodePath path = NODE_PATH_INIT;
                Error err = {0};

                assert_true(open_path(bad[i].below, &path, &err) < 0);
                assert_int_equal(err.code, bad[i].code);
        }
}

static void test_outside(void **state) {
        static const char *const bad[] = {"/etc", "relative", "/", "/tmp"};
        cleanup(freep) char *beside = str_printf("%s-beside/x", root);
        const char *below;
        Error err = {0};

        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_true(node_path_check(&node_root, "target_path", bad[i], &below, &err) < 0);
        assert_true(node_path_check(&node_root, "target_path", beside, &below, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
}

/* One byte more than the kernel takes, below the root and without anything else that is wrong. */
static void test_too_long(void **state) {
        char text[PATH_MAX + 1];
        const char *below;
        Error err = {0};

        memset(text, 'x', PATH_MAX);
        text[PATH_MAX] = '\0';
        memcpy(text, root, strlen(root));
        for (size_t i = strlen(root); i < PATH_MAX; i += 200)
                text[i] = '/';
        assert_true(node_path_check(&node_root, "target_path", text, &below, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
        text[PATH_MAX - 1] = '\0';
        assert_int_equal(node_path_check(&node_root, "target_path", text, &below, NULL), 0);
}

/* Kubelet calls its root otherwise than this process. */
static void test_mapped(void **state) {
        const NodeRoot mapped = {"/var/snap/x/kubelet", root};
        static const struct {
                const char *text, *below;
        } cases[] = {
                {"/var/snap/x/kubelet/pods/a", "pods/a"},
                {"/var/snap/x/kubelet-2/pods/a", NULL},
                {"/var/lib/kubelet/pods/a", NULL},
        };
        cleanup(node_path_close) NodePath path = NODE_PATH_INIT;
        const char *below;
        Error err = {0};

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                int r = node_path_check(&mapped, "target_path", cases[i].text, &below, &err);

                assert_int_equal(r == 0, cases[i].below != NULL);
                if (r == 0)
                        assert_string_equal(below + strspn(below, "/"), cases[i].below);
        }
        assert_int_equal(node_path_open(&path, &mapped, "target_path", cases[0].text, &err), 0);
        assert_int_equal(path.type, S_IFDIR);
        /* The error names the root that the path is below. */
        err = (Error){0};
        assert_true(node_path_check(&mapped, "target_path",
                                    "/data/k/pods/u/volumes/kubernetes.io~csi/v/mount", &below,
                                    &err) < 0);
        assert_non_null(strstr(err.message, "\"/data/k\""));
        assert_non_null(strstr(err.message, "--kubelet-root"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mapped),    cmocka_unit_test(test_opens),
                cmocka_unit_test(test_no_parent), cmocka_unit_test(test_refused),
                cmocka_unit_test(test_outside),   cmocka_unit_test(test_too_long),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
