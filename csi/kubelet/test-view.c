/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/kubelet/view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UID "8f1c-22"
#define LOG "/pods/" UID "/containers/berth/0f3a9c11"

/* What is mounted in a pod; PLACE has kubelet's files. */
typedef struct Case {
        const char *mounts; /* lines */
        const char *wanted, *detected;
        const char *place; /* where this container shows kubelet's directory; NULL: nowhere */
        const char *name, *here;
        bool is_proven;
} Case;

static bool is_in_place(void *userdata, const char *a, const char *b) {
        const Case *one = userdata;
        size_t n = one->place ? strlen(one->place) : 0;

        assert_true(str_equal(b, "/dev/termination-log") || str_equal(b, "/etc/hosts"));
        return one->place && strncmp(a, one->place, n) == 0 &&
               (str_equal(a + n, LOG) || str_equal(a + n, "/pods/" UID "/etc-hosts"));
}

static int find(const Case *one, KubeletView *view, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        Case copy = *one;
        KubeletViewQuery query = {one->wanted, one->detected, NULL, is_in_place, &copy};

        assert_int_equal(mountinfo_parse(one->mounts, strlen(one->mounts), &table, NULL), 0);
        query.mounts = table;
        return kubelet_view_find(&query, view, err);
}

#define OVERLAY         "1 0 0:90 / / rw - overlay overlay rw\n"
#define LOG_OF(root)    "2 1 8:1 " root LOG " /dev/termination-log rw - ext4 /dev/sda1 rw\n"
#define HOSTS_OF(root)  "3 1 8:1 " root "/pods/" UID "/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
#define SHOWN(root, at) "4 1 8:1 " root " " at " rw shared:1 - ext4 /dev/sda1 rw\n"
#define MICROK8S        "/var/snap/microk8s/common/var/lib/kubelet"
#define USUAL           "/var/lib/kubelet"
#define K0S             "/var/lib/k0s/kubelet"

/* clang-format off */
static const Case good[] = {
        /* On the node itself nothing is proven. */
        {OVERLAY, NULL, NULL, NULL, USUAL, USUAL, false},
        {OVERLAY, NULL, K0S, NULL, K0S, K0S, false},
        {OVERLAY, "/x//", K0S, NULL, "/x", "/x", false},
        /* As manifests have it. */
        {OVERLAY LOG_OF(USUAL) SHOWN(USUAL, USUAL), NULL, NULL, USUAL, USUAL, USUAL, true},
        {OVERLAY HOSTS_OF(K0S) SHOWN(K0S, K0S), NULL, K0S, K0S, K0S, K0S, true},
        {OVERLAY LOG_OF(MICROK8S) SHOWN(MICROK8S, MICROK8S), NULL, MICROK8S, MICROK8S, MICROK8S, MICROK8S, true},
        /* Nothing said, and another place than the usual one is mounted. */
        {OVERLAY LOG_OF("/data/kubelet") SHOWN("/data/kubelet", "/data/kubelet"), NULL, NULL, "/data/kubelet",
         "/data/kubelet", "/data/kubelet", true},
        /* Shown at the usual place; kubelet has its own name for it. */
        {OVERLAY LOG_OF(MICROK8S) SHOWN(MICROK8S, USUAL), NULL, USUAL, USUAL, MICROK8S, USUAL, true},
        {OVERLAY LOG_OF(MICROK8S) SHOWN(MICROK8S, USUAL), USUAL, USUAL, USUAL, MICROK8S, USUAL, true},
        {OVERLAY LOG_OF(K0S) SHOWN(K0S, "/kubelet"), NULL, NULL, "/kubelet", K0S, "/kubelet", true},
        {OVERLAY LOG_OF("/data/kubelet") SHOWN("/data/kubelet", USUAL), "/data/kubelet", USUAL, USUAL,
         "/data/kubelet", USUAL, true},
        /* The snap's is a bind mount of the usual one. */
        {OVERLAY LOG_OF("/var/snap/k8s/common/var/lib/kubelet") SHOWN("/var/snap/k8s/common/var/lib/kubelet", USUAL),
         NULL, NULL, USUAL, USUAL, USUAL, true},
        /* Filesystems of their own, subvolumes, and ostree. */
        {OVERLAY LOG_OF("") SHOWN("/", USUAL), NULL, USUAL, USUAL, USUAL, USUAL, true},
        {OVERLAY LOG_OF("/lib/kubelet") SHOWN("/lib/kubelet", USUAL), NULL, USUAL, USUAL, USUAL, USUAL, true},
        {OVERLAY LOG_OF("/ostree/deploy/x/var/lib/kubelet") SHOWN("/ostree/deploy/x/var/lib/kubelet", USUAL), NULL,
         USUAL, USUAL, USUAL, USUAL, true},
        {OVERLAY LOG_OF("/@/var/lib/k0s/kubelet") SHOWN("/@/var/lib/k0s/kubelet", "/k"), NULL, NULL, "/k", K0S, "/k",
         true},
        /* More than it, or less: the manifests of azure and gcp mount two parts. */
        {OVERLAY LOG_OF(USUAL) SHOWN("/var/lib", "/host"), USUAL, NULL, "/host/kubelet", USUAL, "/host/kubelet", true},
        {OVERLAY LOG_OF(USUAL) SHOWN("/", "/host"), NULL, NULL, "/host" USUAL, USUAL, "/host" USUAL, true},
        {OVERLAY LOG_OF(USUAL) SHOWN(USUAL "/pods", USUAL "/pods"), NULL, NULL, USUAL, USUAL, USUAL, true},
        {OVERLAY LOG_OF(K0S) SHOWN(K0S "/pods", "/k/pods"), NULL, NULL, "/k", K0S, "/k", true},
        /* Not kubelet's: another runtime's files. */
        {OVERLAY "2 1 8:1 /docker/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n", NULL, NULL, NULL, USUAL, USUAL, false},
        {OVERLAY "2 1 8:1 /k/pods/u/etc-hosts//deleted /etc/hosts rw - ext4 /dev/sda1 rw\n", NULL, NULL, NULL, USUAL,
         USUAL, false},
};

static const Case bad[] = {
        /* The DaemonSet's directory was made by kubelet, since it was not there: nobody looks at it. */
        {OVERLAY LOG_OF(MICROK8S) SHOWN(USUAL, USUAL), NULL, USUAL, NULL, MICROK8S, NULL, false},
        {OVERLAY LOG_OF(K0S) SHOWN(USUAL, USUAL), USUAL, USUAL, NULL, K0S, NULL, false},
        {OVERLAY LOG_OF(K0S), K0S, USUAL, NULL, K0S, NULL, false},
        /* The same path of another filesystem. */
        {OVERLAY LOG_OF(USUAL) "4 1 8:2 " USUAL " " USUAL " rw shared:1 - ext4 /dev/sdb1 rw\n", NULL, NULL, NULL, USUAL,
         NULL, false},
};
/* clang-format on */

static void test_found(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                KubeletView view;
                Error err = {0};

                print_message("%zu\n", i);
                assert_int_equal(find(&good[i], &view, &err), 0);
                assert_string_equal(view.name, good[i].name);
                assert_string_equal(view.here, good[i].here);
                assert_int_equal(view.is_proven, good[i].is_proven);
        }
}

static void test_refused(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                KubeletView view;
                Error err = {0};

                print_message("%zu\n", i);
                assert_true(find(&bad[i], &view, &err) < 0);
                assert_int_equal(err.code, ERROR_PRECONDITION);
                assert_non_null(strstr(err.message, bad[i].name));
                assert_non_null(strstr(err.message, "--kubelet-root"));
                assert_non_null(strstr(err.message, "Bidirectional"));
        }
}

static void test_no_path(void **state) {
        const Case one = {OVERLAY, "kubelet", NULL, NULL, NULL, NULL, false};
        KubeletView view;
        Error err = {0};

        assert_true(find(&one, &view, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
}

static void test_root_of(void **state) {
        static const struct {
                const char *path;
                size_t n;
        } cases[] = {
                {K0S "/plugins/kubernetes.io/csi/x/0123/globalmount", sizeof(K0S) - 1},
                {K0S "/pods/u/volumes/kubernetes.io~csi/pvc-1/mount", sizeof(K0S) - 1},
                {"/pods/pods/u/volumes/kubernetes.io~csi/pvc-1/mount", strlen("/pods")},
                {K0S "/plugins/x/csi.sock", 0},
                {"pods/u/volumes/kubernetes.io~csi/pvc-1/mount", 0},
                {"", 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                size_t n = 0;

                assert_int_equal(kubelet_view_root_of(cases[i].path, &n), cases[i].n != 0);
                assert_int_equal(n, cases[i].n);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_found),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_no_path),
                cmocka_unit_test(test_root_of),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
