/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"
#include "csi/daemon/providers.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Every recorded machine of tests/data/hosts. */
static const struct {
        const char *host, *provider;
} hosts[] = {
        {"alibaba", "alibaba"},
        {"aws-nitro-eks", "aws"},
        {"aws-xen", "aws"},
        {"azure-aks", "azure"},
        {"bottlerocket", "aws"},
        {"dell-flatcar-unlucky-uuid", "local"},
        {"digitalocean", "digitalocean"},
        {"docker-desktop-kind", "local"},
        {"gce-gke-cos", "gcp"},
        {"hetzner-arm64-k3s", "hetzner"},
        {"k0s-private", "scaleway"},
        {"microk8s", "local"},
        {"minikube-docker", "local"},
        {"openshift-ppc64le-64k", "local"},
        {"openstack-kubeadm", "openstack"},
        {"openstack-otc-arm64-64k", "openstack"},
        {"oracle-uek", "local"},
        {"outscale-lookalike", "local"},
        {"raspberrypi-armv7", "local"},
        {"raspberrypi5-k3s", "local"},
        {"s390x-zvm", "local"},
        {"talos", "local"},
        {"vmware-rke2-el8", "vsphere"},
        {"wsl2", "local"},
};

/* Clouds without a recorded machine: what their firmware says, by the facts of common/platform. */
static const struct {
        FactId fact;
        const char *text, *provider;
} firmware[] = {
        {FACT_SYS_VENDOR, "DigitalOcean", "digitalocean"},
        {FACT_SYS_VENDOR, "Hetzner", "hetzner"},
        {FACT_SYS_VENDOR, "Linode", "linode"},
        {FACT_SYS_VENDOR, "Akamai", "linode"},
        {FACT_SYS_VENDOR, "Scaleway", "scaleway"},
        {FACT_SYS_VENDOR, "Vultr", "vultr"},
        {FACT_SYS_VENDOR, "UpCloud", "upcloud"},
        {FACT_PRODUCT_NAME, "Exoscale Compute Platform", "exoscale"},
        {FACT_PRODUCT_NAME, "OpenStack Nova", "openstack"},
        {FACT_PRODUCT_NAME, "Alibaba Cloud ECS", "alibaba"},
        {FACT_PRODUCT_NAME, "Google Compute Engine", "gcp"},
        {FACT_PRODUCT_NAME, "PowerEdge R640", "local"},
};

static void test_recorded(void **state) {
        const char *data = getenv("BERTH_TEST_DATA");

        assert_non_null(data);
        for (size_t i = 0; i < N_ELEMENTS(hosts); i++) {
                cleanup(freep) char *path = str_printf("%s/hosts/%s", data, hosts[i].host);
                cleanup(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                Platform *platform;

                print_message("%s\n", hosts[i].host);
                assert_true(fd >= 0);
                assert_int_equal(platform_read(fd, false, &platform), 0);
                assert_string_equal(provider_detect(platform)->name, hosts[i].provider);
                platform_free(platform);
        }
}

static void test_firmware(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(firmware); i++) {
                Facts *facts = calloc(1, sizeof(*facts));
                Platform *platform;

                print_message("%s\n", firmware[i].text);
                assert_non_null(facts);
                assert_int_equal(facts_set(facts, firmware[i].fact, firmware[i].text), 0);
                assert_int_equal(platform_classify(facts, &platform), 0);
                assert_string_equal(provider_detect(platform)->name, firmware[i].provider);
                platform_free(platform);
        }
}

/* A name is one provider's, also as a driver name, and nobody's machine is claimed by two. */
static void test_names(void **state) {
        for (size_t i = 0; providers[i]; i++) {
                assert_ptr_equal(provider_find(providers[i]->name), providers[i]);
                if (providers[i]->driver_name)
                        assert_ptr_equal(provider_find(providers[i]->driver_name), providers[i]);
        }
        assert_null(provider_find("nobody"));
        assert_string_equal(provider_detect(NULL)->name, "local");
        for (int cloud = 0; cloud < _PLATFORM_CLOUD_N; cloud++) {
                Platform *platform = calloc(1, sizeof(*platform));
                size_t n = 0;

                assert_non_null(platform);
                platform->cloud = (PlatformCloud)cloud;
                platform->cloud_variant = "";
                for (size_t i = 0; providers[i]; i++)
                        n += providers[i]->match && providers[i]->match(platform);
                assert_true(n <= 1);
                free(platform);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_recorded),
                cmocka_unit_test(test_firmware),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
