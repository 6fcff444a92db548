/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Recorded trees of other machines, tests/data/hosts/NAME/, against what was learned of them,
 * NAME.json. With BERTH_UPDATE=1 in the environment the files are written instead; the table below
 * says by hand what must be in them.
 */

#undef NDEBUG
#include "csi/cli/host.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "fs/hosts/hosts.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* clang-format off */
static const struct {
        const char *name, *goarch;
        int page_size;
        const char *cloud; /* NULL: must not be known */
        const char *kubernetes, *kubelet_root, *cni_bin;
        PlatformTri is_shared;
        const char *confidence;
} hosts[] = {
        {"alibaba", "amd64", 4096, "alibaba", "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"aws-nitro-eks", "amd64", 4096, "aws", "eks", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"aws-xen", "amd64", 4096, "aws", "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"azure-aks", "amd64", 4096, "azure", "aks", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"bottlerocket", "arm64", 4096, "aws", "bottlerocket", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"dell-flatcar-unlucky-uuid", "amd64", 4096, "none", "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"digitalocean", "amd64", 4096, "digitalocean", "kubeadm", "/mnt/data/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"docker-desktop-kind", "arm64", 4096, "none", "kind", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"gce-gke-cos", "amd64", 4096, "gce", "gke", "/var/lib/kubelet", "/home/kubernetes/bin", PLATFORM_YES, "high"},
        {"hetzner-arm64-k3s", "arm64", 4096, "hetzner", "k3s", "/var/lib/kubelet", "/var/lib/rancher/k3s/data/cni", PLATFORM_YES, "high"},
        {"k0s-private", "amd64", 4096, "scaleway", "k0s", "/var/lib/k0s/kubelet", "/opt/cni/bin", PLATFORM_NO, "high"},
        {"microk8s", "amd64", 4096, "none", "microk8s", "/var/snap/microk8s/common/var/lib/kubelet",
         "/var/snap/microk8s/current/opt/cni/bin", PLATFORM_YES, "high"},
        {"minikube-docker", "amd64", 4096, "none", "minikube", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_NO, "high"},
        {"openshift-ppc64le-64k", "ppc64le", 65536, NULL, "openshift", "/var/lib/kubelet", "/var/lib/cni/bin", PLATFORM_YES, "low"},
        {"openstack-kubeadm", "amd64", 4096, "openstack", "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"openstack-otc-arm64-64k", "arm64", 65536, "openstack", "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "low"},
        {"oracle-uek", "arm64", 4096, "oracle", "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "low"},
        {"outscale-lookalike", "amd64", 4096, "ec2-compatible", "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"raspberrypi-armv7", "arm", 4096, "none", "none", NULL, NULL, PLATFORM_UNKNOWN, "high"},
        {"raspberrypi5-k3s", "arm64", 16384, "none", "k3s", "/var/lib/kubelet", "/var/lib/rancher/k3s/data/current/bin", PLATFORM_YES, "high"},
        {"s390x-zvm", "s390x", 4096, NULL, "kubeadm", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"talos", "amd64", 4096, "none", "talos", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "high"},
        {"vmware-rke2-el8", "amd64", 4096, "vmware", "rke2", "/var/lib/kubelet", "/opt/cni/bin", PLATFORM_YES, "low"},
        {"wsl2", "amd64", 4096, "none", "none", NULL, NULL, PLATFORM_UNKNOWN, "high"},
};
/* clang-format on */

static const char *data_directory(void) {
        const char *data = getenv("BERTH_TEST_DATA");

        assert_non_null(data);
        return data;
}

static Platform *read_host(const char *name) {
        cleanup(freep) char *path = str_printf("%s/hosts/%s", data_directory(), name);
        cleanup(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Platform *platform = NULL;

        assert_true(fd >= 0);
        assert_int_equal(platform_read(fd, false, &platform), 0);
        return platform;
}

static json_t *learn_host(const char *name) {
        Platform *platform = read_host(name);
        json_t *learned = host_to_json(platform);

        platform_free(platform);
        assert_non_null(learned);
        assert_string_equal(json_string_value(json_object_get(learned, "berth")), BERTH_VERSION);
        json_object_del(learned, "berth"); /* changes with each release */
        return learned;
}

static void assert_text(const json_t *object, const char *key, const char *expected) {
        const json_t *value = json_object_get(object, key);

        assert_non_null(value);
        if (expected)
                assert_string_equal(json_string_value(value), expected);
        else
                assert_true(json_is_null(value));
}

static void test_table(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(hosts); i++) {
                json_t *learned = learn_host(hosts[i].name);
                const json_t *kubernetes = json_object_get(learned, "kubernetes");
                const json_t *shared = json_object_get(kubernetes, "kubelet_root_shared");

                print_message("%s\n", hosts[i].name);
                assert_int_equal(json_integer_value(json_object_get(learned, "schema")), 1);
                assert_text(learned, "goarch", hosts[i].goarch);
                assert_int_equal(json_integer_value(json_object_get(learned, "page_size")),
                                 hosts[i].page_size);
                assert_text(learned, "byte_order",
                            str_equal(hosts[i].goarch, "s390x") ? "big" : "little");
                assert_text(json_object_get(learned, "cloud"), "name", hosts[i].cloud);
                assert_text(kubernetes, "distribution", hosts[i].kubernetes);
                assert_text(kubernetes, "kubelet_root", hosts[i].kubelet_root);
                assert_text(kubernetes, "cni_bin_dir", hosts[i].cni_bin);
                assert_int_equal(json_is_true(shared), hosts[i].is_shared == PLATFORM_YES);
                assert_int_equal(json_is_null(shared), hosts[i].is_shared == PLATFORM_UNKNOWN);
                assert_text(learned, "confidence", hosts[i].confidence);
                /* The recorded trees have all that is read for sure. */
                assert_int_equal(json_array_size(json_object_get(learned, "unknown")), 0);
                json_decref(learned);
        }
}

static void test_expected(void **state) {
        bool is_update = str_equal(getenv("BERTH_UPDATE"), "1");
        size_t n_different = 0;

        for (size_t i = 0; i < N_ELEMENTS(hosts); i++) {
                cleanup(freep) char *path =
                        str_printf("%s/hosts/%s.json", data_directory(), hosts[i].name);
                json_t *learned = learn_host(hosts[i].name), *expected;
                json_error_t where;

                if (is_update)
                        assert_int_equal(json_dump_file(learned, path, JSON_INDENT(1)), 0);
                expected = json_load_file(path, 0, &where);
                if (!expected || !json_equal(expected, learned)) {
                        n_different++;
                        print_message("%s differs; learned:\n", path);
                        json_dumpf(learned, stdout, JSON_INDENT(1));
                        putchar('\n');
                }
                json_decref(expected);
                json_decref(learned);
        }
        assert_int_equal(n_different, 0);
}

/* Each tree has its line above. */
static void test_none_forgotten(void **state) {
        cleanup(freep) char *path = str_printf("%s/hosts", data_directory());
        cleanup(closedirp) DIR *dir = opendir(path);
        const struct dirent *entry;
        size_t n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.' && !str_has_suffix(entry->d_name, ".json");
        assert_int_equal(n, N_ELEMENTS(hosts));
}

/* What a person sees: no line is empty or breaks a terminal, and nothing unknown looks known. */
static void test_text(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(hosts); i++) {
                Platform *platform = read_host(hosts[i].name);
                cleanup(freep) char *text = NULL;
                size_t n = 0;
                FILE *file = open_memstream(&text, &n);

                assert_non_null(file);
                host_print(platform, file);
                fclose(file);
                assert_non_null(strstr(text, hosts[i].goarch));
                assert_null(strstr(text, "(null)"));
                assert_null(strstr(text, "\n\n"));
                if (!hosts[i].cloud)
                        assert_non_null(strstr(text, "\n  cloud             unknown"));
                if (hosts[i].is_shared == PLATFORM_NO)
                        assert_non_null(strstr(text, "NO: volumes mounted there"));
                for (size_t c = 0; c < n; c++)
                        assert_true(text[c] == '\n' || (unsigned char)text[c] >= ' ');
                platform_free(platform);
        }
}

/* The other end: the filesystem engine judges a machine by what it printed. */
static void test_read_by_engine(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(hosts); i++) {
                json_t *learned = learn_host(hosts[i].name);
                cleanup(freep) char *text = json_dumps(learned, 0);
                cleanup(freep) FsHost *parsed = NULL;
                Error err = {0};
                size_t n = 0;

                assert_non_null(text);
                assert_int_equal(fs_hosts_from_json(text, strlen(text), &parsed, &n, &err), 0);
                assert_int_equal(n, 1);
                assert_int_equal(parsed->page_bytes, hosts[i].page_size);
                assert_int_equal(parsed->byte_order, str_equal(hosts[i].goarch, "s390x")
                                                             ? FS_BYTE_ORDER_BIG
                                                             : FS_BYTE_ORDER_LITTLE);
                assert_string_equal(parsed->release,
                                    json_string_value(json_object_get(learned, "kernel")));
                json_decref(learned);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),          cmocka_unit_test(test_expected),
                cmocka_unit_test(test_none_forgotten), cmocka_unit_test(test_text),
                cmocka_unit_test(test_read_by_engine),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
