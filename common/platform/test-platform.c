/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

typedef struct Setting {
        FactId fact;
        const char *text; /* NULL ends */
} Setting;

/* Facts of a machine whose every file was looked for, and which has only these. */
static Facts *facts_new(const Setting *settings) {
        Facts *facts = calloc(1, sizeof(*facts));

        assert_non_null(facts);
        for (FactId id = 0; id < _FACT_N; id++)
                assert_int_equal(facts_set(facts, id, NULL), 0);
        assert_int_equal(facts_set(facts, FACT_SYS_CLASS, ""), 0);
        for (; settings && settings->text; settings++) {
                assert_int_equal(facts_set(facts, settings->fact, settings->text), 0);
                if (settings->fact <= FACT_BIOS_VERSION)
                        assert_int_equal(facts_set(facts, FACT_DMI, ""), 0);
        }
        return facts;
}

static Platform *platform_new(const Setting *settings) {
        Platform *platform = NULL;

        assert_int_equal(platform_classify(facts_new(settings), &platform), 0);
        return platform;
}

static void test_clouds(void **state) {
        static const struct {
                Setting settings[4];
                PlatformCloud cloud;
                const char *variant;
        } cases[] = {
                {{{FACT_SYS_VENDOR, "Linode"}}, PLATFORM_CLOUD_LINODE, ""},
                {{{FACT_SYS_VENDOR, "Akamai"}}, PLATFORM_CLOUD_LINODE, ""},
                {{{FACT_SYS_VENDOR, "Vultr"}}, PLATFORM_CLOUD_VULTR, ""},
                {{{FACT_VULTR_ETC, ""}}, PLATFORM_CLOUD_VULTR, ""},
                {{{FACT_CMDLINE, "ro vultr quiet"}}, PLATFORM_CLOUD_VULTR, ""},
                {{{FACT_CMDLINE, "scaleway"}}, PLATFORM_CLOUD_SCALEWAY, ""},
                {{{FACT_CMDLINE, "noscaleway scaleway=1"}}, PLATFORM_CLOUD_UNKNOWN, ""},
                {{{FACT_SYS_VENDOR, "UpCloud"}}, PLATFORM_CLOUD_UPCLOUD, ""},
                {{{FACT_PRODUCT_NAME, "Exoscale Compute Platform"}}, PLATFORM_CLOUD_EXOSCALE, ""},
                {{{FACT_PRODUCT_NAME, "CloudStack KVM Hypervisor"}}, PLATFORM_CLOUD_CLOUDSTACK, ""},
                {{{FACT_PRODUCT_NAME, "Not CloudStack"}}, PLATFORM_CLOUD_NONE, ""},
                {{{FACT_PRODUCT_NAME, "OpenStack Compute"}}, PLATFORM_CLOUD_OPENSTACK, "compute"},
                {{{FACT_CHASSIS_ASSET_TAG, "OpenStack Nova"}}, PLATFORM_CLOUD_OPENSTACK, "nova"},
                {{{FACT_CHASSIS_ASSET_TAG, "SAP CCloud VM"}},
                 PLATFORM_CLOUD_OPENSTACK,
                 "sap-converged-cloud"},
                {{{FACT_CHASSIS_ASSET_TAG, "HUAWEICLOUD"}}, PLATFORM_CLOUD_OPENSTACK, "huawei"},
                {{{FACT_CHASSIS_ASSET_TAG, "Samsung Cloud Platform"}},
                 PLATFORM_CLOUD_OPENSTACK,
                 "samsung"},
                {{{FACT_PRODUCT_SERIAL, "GoogleCloud-8f2e88f"}}, PLATFORM_CLOUD_GCE, ""},
                /* A Hyper-V of one's own has another tag. */
                {{{FACT_SYS_VENDOR, "Microsoft Corporation"},
                  {FACT_PRODUCT_NAME, "Virtual Machine"},
                  {FACT_CHASSIS_ASSET_TAG, "5520-8142-2411-7019-8833-6160-03"}},
                 PLATFORM_CLOUD_NONE,
                 ""},
                /* Who speaks EC2's protocol and is not AWS. */
                {{{FACT_PRODUCT_SERIAL, "srv-otuxg.gb1.brightbox.com"},
                  {FACT_PRODUCT_UUID, "ec2c0d84-5e7b-6a7c-2a1f-0c1de2b1a0ef"}},
                 PLATFORM_CLOUD_EC2_COMPATIBLE,
                 "brightbox"},
                {{{FACT_PRODUCT_SERIAL, "tricky-host.bobrightbox.com"}}, PLATFORM_CLOUD_NONE, ""},
                {{{FACT_CHASSIS_ASSET_TAG, "123456.zstack.io"}},
                 PLATFORM_CLOUD_EC2_COMPATIBLE,
                 "zstack"},
                {{{FACT_SYS_VENDOR, "e24cloud"}}, PLATFORM_CLOUD_EC2_COMPATIBLE, "e24cloud"},
                {{{FACT_SYS_VENDOR, "e24cloudyday"}}, PLATFORM_CLOUD_NONE, ""},
                {{{FACT_SYS_VENDOR, "Tilaa"}}, PLATFORM_CLOUD_EC2_COMPATIBLE, "tilaa"},
                {{{FACT_SYS_VENDOR, "3DS Outscale"}, {FACT_PRODUCT_NAME, "Not 3DS Outscale VM"}},
                 PLATFORM_CLOUD_NONE,
                 ""},
                /* EC2's UUID in both byte orders needs a second sign. */
                {{{FACT_PRODUCT_UUID, "45e12aec-dcd1-b213-94ed-012345abcdef"},
                  {FACT_BIOS_VERSION, "4.2.amazon"}},
                 PLATFORM_CLOUD_AWS,
                 ""},
                {{{FACT_PRODUCT_UUID, "45e12aec-dcd1-b213-94ed-012345abcdef"},
                  {FACT_SYS_VENDOR, "QEMU"}},
                 PLATFORM_CLOUD_NONE,
                 ""},
                {{{FACT_HYPERVISOR_UUID, "ec2e1916-9099-7caf-fd21-012345abcdef"},
                  {FACT_HYPERVISOR_TYPE, "xen"}},
                 PLATFORM_CLOUD_AWS,
                 ""},
                {{{FACT_HYPERVISOR_UUID, "0c2e1916-9099-7caf-fd21-012345abcdef"},
                  {FACT_HYPERVISOR_TYPE, "xen"},
                  {FACT_SYS_VENDOR, "Xen"}},
                 PLATFORM_CLOUD_NONE,
                 ""},
                {{{FACT_SYS_VENDOR, "VMware, Inc."},
                  {FACT_PRODUCT_SERIAL, "VMware-56 4d 9a 2b 8c 31 5e 77-a1 b2 c3 d4 e5 f6 07 18"}},
                 PLATFORM_CLOUD_VMWARE,
                 ""},
                {{{FACT_SYS_VENDOR, ""}, {FACT_PRODUCT_NAME, ""}}, PLATFORM_CLOUD_NONE, ""},
                {{{FACT_CMDLINE, "quiet"}}, PLATFORM_CLOUD_UNKNOWN, ""},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Platform *platform = platform_new(cases[i].settings);

                print_message("%zu: %s (%s)\n", i, platform_cloud_name(platform->cloud),
                              platform->cloud_evidence);
                assert_int_equal(platform->cloud, cases[i].cloud);
                assert_string_equal(platform->cloud_variant, cases[i].variant);
                assert_string_not_equal(platform->cloud_evidence, "");
                platform_free(platform);
        }
}

/* What an unprivileged reader sees: a serial number and a UUID that might have told. */
static void test_unreadable_is_not_none(void **state) {
        static const Setting settings[] = {{FACT_SYS_VENDOR, "Dell Inc."}, {0}};
        static const Setting hetzner[] = {{FACT_SYS_VENDOR, "Hetzner"}, {0}};
        Facts *facts = facts_new(settings);
        Platform *platform;

        facts->facts[FACT_PRODUCT_SERIAL] = (Fact){.os_errno = EACCES};
        assert_int_equal(platform_classify(facts, &platform), 0);
        assert_int_equal(platform->cloud, PLATFORM_CLOUD_UNKNOWN);
        assert_string_equal(platform->cloud_evidence,
                            "/sys/class/dmi/id/product_serial: Permission denied; run as root");
        platform_free(platform);

        /* One that is sure wins over one that cannot be excluded. */
        facts = facts_new(hetzner);
        facts->facts[FACT_PRODUCT_SERIAL] = (Fact){.os_errno = EACCES};
        assert_int_equal(platform_classify(facts, &platform), 0);
        assert_int_equal(platform->cloud, PLATFORM_CLOUD_HETZNER);
        platform_free(platform);
}

static void test_nitro(void **state) {
        static const Setting settings[] = {{FACT_SYS_VENDOR, "Amazon EC2"},
                                           {FACT_PRODUCT_NAME, "m5.large"},
                                           {FACT_BOARD_ASSET_TAG, "i-0af01c0123456789a"},
                                           {0}};
        static const Setting odd[] = {{FACT_SYS_VENDOR, "Amazon EC2"},
                                      {FACT_PRODUCT_NAME, "Some Thing 2.0"},
                                      {FACT_BOARD_ASSET_TAG, "i-0af01c01; rm"},
                                      {0}};
        Platform *platform = platform_new(settings);

        assert_string_equal(platform->cloud_instance_type, "m5.large");
        assert_string_equal(platform->cloud_instance_id, "i-0af01c0123456789a");
        platform_free(platform);
        platform = platform_new(odd);
        assert_string_equal(platform->cloud_instance_type, "");
        assert_string_equal(platform->cloud_instance_id, "");
        platform_free(platform);
}

#define DISK_ROOT    "28 1 259:1 / / rw shared:1 - ext4 /dev/vda1 rw\n"
#define OVERLAY_ROOT "900 800 0:90 / / rw - overlay overlay rw\n"

static void test_containers(void **state) {
        static const struct {
                Setting settings[4];
                PlatformTri is_container;
                const char *kind;
        } cases[] = {
                {{{FACT_MOUNTINFO, DISK_ROOT}}, PLATFORM_NO, ""},
                /* A virtual machine made of a container image. */
                {{{FACT_MOUNTINFO, DISK_ROOT}, {FACT_DOCKERENV, ""}}, PLATFORM_NO, ""},
                {{{FACT_MOUNTINFO, OVERLAY_ROOT}, {FACT_DOCKERENV, ""}}, PLATFORM_YES, "docker"},
                {{{FACT_MOUNTINFO, OVERLAY_ROOT}, {FACT_CONTAINERENV, ""}}, PLATFORM_YES, "podman"},
                {{{FACT_MOUNTINFO, OVERLAY_ROOT}, {FACT_SERVICE_ACCOUNT, ""}},
                 PLATFORM_YES,
                 "kubernetes"},
                {{{FACT_MOUNTINFO,
                   OVERLAY_ROOT "9 900 8:1 /x /dev/termination-log rw - ext4 /dev/sda1 rw\n"}},
                 PLATFORM_YES,
                 "kubernetes"},
                {{{FACT_MOUNTINFO, OVERLAY_ROOT},
                  {FACT_CGROUP, "1:name=systemd:/kubepods/besteffort/pod1/2\n"}},
                 PLATFORM_YES,
                 "kubernetes"},
                {{{FACT_MOUNTINFO,
                   OVERLAY_ROOT "9 900 8:1 /x /etc/hosts rw - ext4 /dev/sda1 rw\n"}},
                 PLATFORM_YES,
                 ""},
                /* overlayroot, live systems: cannot be told from a container without more. */
                {{{FACT_MOUNTINFO, OVERLAY_ROOT}}, PLATFORM_UNKNOWN, ""},
                {{{FACT_SYSTEMD_CONTAINER, "lxc"}}, PLATFORM_YES, "systemd"},
        };
        Platform *platform;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                platform = platform_new(cases[i].settings);
                print_message("%zu: %s\n", i, platform->container_evidence);
                assert_int_equal(platform->is_container, cases[i].is_container);
                assert_string_equal(platform->container_kind, cases[i].kind);
                platform_free(platform);
        }
        platform = platform_new(NULL);
        assert_int_equal(platform->is_container, PLATFORM_UNKNOWN);
        platform_free(platform);
}

/* In a pod only what is mounted is seen: "no sign" is no answer, what is seen is one. */
static void test_blind_in_a_pod(void **state) {
        static const Setting pod[] = {{FACT_MOUNTINFO, OVERLAY_ROOT
                                       "9 900 8:1 /x /var/lib/k0s/kubelet rw shared:4 - ext4 "
                                       "/dev/sda1 rw\n"},
                                      {FACT_SERVICE_ACCOUNT, ""},
                                      {FACT_ROOT_K0S, ""},
                                      {0}};
        Facts *facts = facts_new(pod);
        Platform *platform;

        facts->is_live = true;
        assert_int_equal(platform_classify(facts, &platform), 0);
        assert_int_equal(platform->kubernetes.is_present, PLATFORM_UNKNOWN);
        assert_string_equal(platform->kubernetes.kubelet_root, "/var/lib/k0s/kubelet");
        assert_int_equal(platform->kubernetes.kubelet_root_exists, PLATFORM_YES);
        assert_int_equal(platform->kubernetes.kubelet_root_shared, PLATFORM_YES);
        assert_true(platform->distribution.is_image);
        platform_free(platform);

        facts = facts_new(pod);
        facts->is_live = true;
        assert_int_equal(facts_set(facts, FACT_ROOT_DEFAULT, ""), 0);
        assert_int_equal(platform_classify(facts, &platform), 0);
        assert_string_equal(platform->kubernetes.kubelet_root, "");
        assert_string_equal(platform->kubernetes.kubelet_evidence, "2 known places of it exist");
        platform_free(platform);
}

static void test_kubelet_root_dir(void **state) {
        static const struct {
                const char *arguments, *root;
        } cases[] = {
                {"kubelet\n--root-dir=/data/kubelet\n-v=2\n", "/data/kubelet"},
                {"kubelet\n--root-dir\n/data/kubelet//\n", "/data/kubelet"},
                {"kubelet\n--root-dir=/\n", "/"},
                {"kubelet\n--root-dir=relative\n", "/var/lib/kubelet"},
                {"kubelet\n--root-directory=/x\n", "/var/lib/kubelet"},
                {"kubelet\n--my--root-dir=/x\n", "/var/lib/kubelet"},
                {"kubelet\n--root-dir", "/var/lib/kubelet"},
                {"", "/var/lib/kubelet"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const Setting settings[] = {{FACT_KUBELET_PROCESS, cases[i].arguments}, {0}};
                Platform *platform = platform_new(settings);

                assert_string_equal(platform->kubernetes.distribution, "kubelet");
                assert_string_equal(platform->kubernetes.kubelet_root, cases[i].root);
                platform_free(platform);
        }
}

static void test_kernel_release(void **state) {
        static const struct {
                const char *text;
                int r;
                unsigned int major, minor, patch;
                const char *suffix, *family;
                bool has_backports;
        } cases[] = {
                {"6.12.9", 0, 6, 12, 9, "", "", false},
                {"4.18.0-553.el8", 0, 4, 18, 0, "-553.el8", "rhel8", true},
                {"3.10.0-1160.el7.x86_64", 0, 3, 10, 0, "-1160.el7.x86_64", "rhel7", true},
                {"5.15.0-207.156.6.el8uek.x86_64", 0, 5, 15, 0, "-207.156.6.el8uek.x86_64",
                 "oracle-uek", true},
                {"6.1.112-122.189.amzn2023.x86_64", 0, 6, 1, 112, "-122.189.amzn2023.x86_64",
                 "amazon", false},
                {"5.15.167.4-microsoft-standard-WSL2", 0, 5, 15, 167, ".4-microsoft-standard-WSL2",
                 "wsl2", false},
                {"6.1.0-26-amd64", 0, 6, 1, 0, "-26-amd64", "debian", false},
                {"5.3.18-150300.59.93-default", 0, 5, 3, 18, "-150300.59.93-default", "suse", true},
                {"6.1.58+", 0, 6, 1, 58, "+", "", false},
                {"6.12.0-rc1", 0, 6, 12, 0, "-rc1", "", false},
                {"5.4", 0, 5, 4, 0, "", "", false},
                {"7", 0, 7, 0, 0, "", "", false},
                {"6.1.", 0, 6, 1, 0, ".", "", false},
                {"", -EINVAL, 0, 0, 0, "", "", false},
                {"v6.1", -EINVAL, 0, 0, 0, "", "", false},
                {"-6.1", -EINVAL, 0, 0, 0, "", "", false},
                {"65536.1", -ERANGE, 0, 0, 0, "", "", false},
                {"99999999999999999999.1", -ERANGE, 0, 0, 0, "", "", false},
        };
        KernelRelease release = {.major = 77};
        char big[300];

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(kernel_release_parse(cases[i].text, &release), cases[i].r);
                if (cases[i].r < 0)
                        continue;
                assert_int_equal(release.major, cases[i].major);
                assert_int_equal(release.minor, cases[i].minor);
                assert_int_equal(release.patch, cases[i].patch);
                assert_string_equal(release.suffix, cases[i].suffix);
                assert_string_equal(release.family, cases[i].family);
                assert_int_equal(release.has_backports, cases[i].has_backports);
                assert_string_equal(release.text, cases[i].text);
        }
        memset(big, '1', sizeof(big) - 1);
        big[sizeof(big) - 1] = '\0';
        assert_int_equal(kernel_release_parse(big, &release), -ENAMETOOLONG);
}

static void test_auxv(void **state) {
        static const uint8_t big64[] = {0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0x10, 0,
                                        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0};
        static const uint8_t little32[] = {6, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
        PlatformByteOrder order;
        uint32_t page_bytes;

        assert_int_equal(auxv_parse(big64, sizeof(big64), &page_bytes, &order), 0);
        assert_int_equal(page_bytes, 4096);
        assert_int_equal(order, PLATFORM_BYTE_ORDER_BIG);
        assert_int_equal(auxv_parse(little32, sizeof(little32), &page_bytes, &order), 0);
        assert_int_equal(page_bytes, 16384);
        assert_int_equal(order, PLATFORM_BYTE_ORDER_LITTLE);
        for (size_t n = 0; n < sizeof(big64) - 16; n++)
                assert_int_equal(auxv_parse(big64, n, &page_bytes, &order), -EINVAL);
        assert_int_equal(
                auxv_parse("no auxv at all, but text of some length", 39, &page_bytes, &order),
                -EINVAL);
}

static void test_mounts(void **state) {
        static const char text[] =
                "garbage\n"
                "22 28 0:20\n"
                "28 1 259:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
                "30 28 259:2 / /var rw shared:2 master:9 - xfs /dev/vdb rw\n"
                "31 30 259:2 / /var/lib/my\\040kubelet rw shared:3 - xfs /dev/vdb rw\n"
                "32 30 0:9 / /var/lib/kubelet rw propagate_from:2 - tmpfs tmpfs rw\n"
                "33 32 0:9 / /var/lib/kubelet rw shared:7 - tmpfs tmpfs rw\n"
                "34 30 0:9 / /var/lib/kube rw - tmpfs unfinished";
        static const struct {
                const char *path;
                bool is_shared;
                const char *point;
        } cases[] = {
                {"/", false, "/"},
                {"/variable", false, "/"},
                {"/var", true, "/var"},
                {"/var/lib", true, "/var"},
                {"/var/lib/my kubelet/pods", true, "/var/lib/my kubelet"},
                {"/var/lib/kubelet", true, "/var/lib/kubelet"}, /* the upper of two */
                {"/var/lib/kubelet/pods", true, "/var/lib/kubelet"},
                {"/var/lib/kube", false, "/var/lib/kube"},
                {"/var/lib/kubelets", true, "/var"},
        };
        char point[64], type[16];
        bool is_shared;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_true(mounts_covering(text, cases[i].path, &is_shared, point, sizeof(point)));
                assert_string_equal(point, cases[i].point);
                assert_int_equal(is_shared, cases[i].is_shared);
        }
        assert_false(mounts_covering("", "/", &is_shared, NULL, 0));
        assert_false(mounts_covering("28 1 259:1 / / rw,relatime - ", "/", &is_shared, NULL, 0));
        assert_true(mounts_type_at(text, "/var", type, sizeof(type)));
        assert_string_equal(type, "xfs");
        assert_false(mounts_type_at(text, "/var/lib", type, sizeof(type)));
        assert_true(mounts_root_is_disk(text));
        assert_false(mounts_root_is_disk("28 1 0:1 / / rw - overlay overlay rw\n"));
        assert_false(mounts_root_is_disk("28 1 8:1 /rootfs / rw - ext4 /dev/sda1 rw\n"));
}

static void test_os_release(void **state) {
        static const char text[] = "# VERSION_ID=1\n"
                                   "NAME='single $quoted \\n'\n"
                                   "VERSION_ID=\"24.04\"\n"
                                   "ESCAPED=\"a \\\"b\\\" \\$c\"\n"
                                   "BARE=word and more\n"
                                   "EMPTY=\n"
                                   "OPEN=\"never closed\n"
                                   "BAD=\"\xff\x01\"\n"
                                   "LAST=\"x";
        static const struct {
                const char *key, *value; /* NULL: not there */
        } cases[] = {
                {"VERSION_ID", "24.04"},
                {"NAME", "single $quoted \\n"},
                {"ESCAPED", "a \"b\" $c"},
                {"BARE", "word"},
                {"EMPTY", ""},
                {"OPEN", "never closed"},
                {"BAD", "? "},
                {"LAST", "x"},
                {"VERSION", NULL},
                {"ID", NULL},
        };
        char value[32], tiny[4];

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(os_release_get(text, cases[i].key, value, sizeof(value)),
                                 cases[i].value != NULL);
                assert_string_equal(value, cases[i].value ? cases[i].value : "");
        }
        assert_true(os_release_get(text, "NAME", tiny, sizeof(tiny)));
        assert_string_equal(tiny, "sin");
}

/* --- files of strangers --- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

static int setup_tree(void **state) {
        char *path = str_printf("/tmp/berth-platform-XXXXXX");

        *state = path;
        return path && mkdtemp(path) ? 0 : -1;
}

static int teardown_tree(void **state) {
        int r = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);

        free(*state);
        return r;
}

/* The path below the tree, its directories made. */
static const char *place(void **state, const char *name) {
        static char path[256];

        snprintf(path, sizeof(path), "%s/%s", (const char *)*state, name);
        for (char *slash = path + strlen(*state) + 1; (slash = strchr(slash, '/')); slash++) {
                *slash = '\0';
                mkdir(path, 0755);
                *slash = '/';
        }
        return path;
}

static void put(void **state, const char *name, const void *data, size_t n) {
        FILE *file = fopen(place(state, name), "w");

        assert_non_null(file);
        assert_int_equal(fwrite(data, 1, n, file), n);
        fclose(file);
}

static Platform *read_tree(void **state) {
        cleanup(closep) int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Platform *platform = NULL;

        assert_true(fd >= 0);
        assert_int_equal(platform_read(fd, false, &platform), 0);
        return platform;
}

static void test_hostile_files(void **state) {
        cleanup(freep) char *huge = malloc(8U << 20);
        Platform *platform;
        const Fact *facts;

        assert_non_null(huge);
        memset(huge, 'A', 8U << 20);
        put(state, "sys/class/dmi/id/sys_vendor", huge, 5000);     /* too long a line */
        put(state, "sys/class/dmi/id/product_name", "Droplet", 7); /* no newline */
        put(state, "sys/class/dmi/id/board_name", "\x01\xff\xc3z\0hidden", 11);
        put(state, "sys/class/dmi/id/bios_vendor", "", 0);
        put(state, "proc/filesystems", huge, 65537);
        put(state, "proc/1/mountinfo", huge, 8U << 20);
        put(state, "proc/cpuinfo", huge, 8U << 20); /* only its start matters */
        put(state, "proc/self/auxv", "\0\0\0", 3);
        put(state, "proc/sys/kernel/osrelease", "\xff\xfe\n", 3);
        put(state, "etc/os-release", huge, 60000);
        assert_int_equal(mkfifo(place(state, "proc/cmdline"), 0644), 0); /* must not wait */
        put(state, "run/docker.sock/x", "", 0); /* left by a mount of a socket that was not there */
        assert_int_equal(symlink("loop", place(state, "proc/1/cgroup")), 0);
        assert_int_equal(symlink("cgroup", place(state, "proc/1/loop")), 0);

        platform = read_tree(state);
        facts = platform->facts->facts;
        assert_int_equal(facts[FACT_SYS_VENDOR].state, FACT_UNKNOWN);
        assert_int_equal(facts[FACT_SYS_VENDOR].os_errno, EFBIG);
        assert_string_equal(facts[FACT_PRODUCT_NAME].text, "Droplet");
        assert_string_equal(facts[FACT_BOARD_NAME].text, " \?\?z");
        assert_string_equal(facts[FACT_BIOS_VENDOR].text, "");
        assert_int_equal(facts[FACT_BIOS_VERSION].state, FACT_ABSENT);
        assert_int_equal(facts[FACT_FILESYSTEMS].os_errno, EFBIG);
        assert_int_equal(facts[FACT_MOUNTINFO].os_errno, EFBIG);
        assert_int_equal(facts[FACT_CPUINFO].state, FACT_PRESENT);
        assert_int_equal(facts[FACT_CMDLINE].os_errno, ENOTSUP);
        assert_int_equal(facts[FACT_CGROUP].os_errno, ELOOP);
        assert_int_equal(facts[FACT_SOCKET_DOCKER].state, FACT_ABSENT);
        assert_int_equal(platform->page_bytes, 0);
        assert_string_equal(platform->kernel.text, "");
        assert_int_equal(platform->block_filesystems.state, FACT_UNKNOWN);
        assert_int_equal(platform->cloud, PLATFORM_CLOUD_UNKNOWN);
        assert_int_equal(platform->n_runtimes, 0);
        platform_free(platform);
}

/* A link out of the tree must not show this machine's own files. */
static void test_links_stay_inside(void **state) {
        Platform *platform;

        put(state, "usr/lib/os-release", "ID=inside\n", 10);
        assert_int_equal(symlink("/usr/lib/os-release", place(state, "etc/os-release")), 0);
        assert_int_equal(symlink("../../../../../../../../proc/sys/kernel/osrelease",
                                 place(state, "sys/class/dmi/id/sys_vendor")),
                         0);
        platform = read_tree(state);
        assert_string_equal(platform->distribution.id, "inside");
        assert_int_equal(platform->facts->facts[FACT_SYS_VENDOR].state, FACT_ABSENT);
        platform_free(platform);
}

static void test_nothing_at_all(void **state) {
        Platform *platform = read_tree(state);

        assert_string_equal(platform->goarch, "");
        assert_int_equal(platform->page_bytes, 0);
        assert_int_equal(platform->byte_order, PLATFORM_BYTE_ORDER_UNKNOWN);
        assert_int_equal(platform->cloud, PLATFORM_CLOUD_UNKNOWN);
        assert_string_equal(platform->cloud_evidence, "/sys is not there to read");
        assert_int_equal(platform->is_virtual, PLATFORM_UNKNOWN);
        assert_int_equal(platform->is_container, PLATFORM_UNKNOWN);
        assert_int_equal(platform->block_filesystems.state, FACT_UNKNOWN);
        /* Without /sys, "no features" would be a guess. */
        assert_int_equal(platform->features[PLATFORM_FS_EXT4].state, FACT_UNKNOWN);
        platform_free(platform);
}

static void test_feature_names(void **state) {
        char path[64];
        Platform *platform;

        put(state, "sys/class/x", "", 0);
        put(state, "sys/fs/ext4/features/casefold", "", 0);
        put(state, "sys/fs/ext4/features/bad\nname", "", 0);
        put(state, "sys/fs/ext4/features/.hidden", "", 0);
        platform = read_tree(state);
        assert_int_equal(platform->features[PLATFORM_FS_EXT4].n, 1);
        assert_string_equal(platform->features[PLATFORM_FS_EXT4].names[0], "casefold");
        assert_int_equal(platform->features[PLATFORM_FS_BTRFS].state, FACT_ABSENT);
        platform_free(platform);

        for (int i = 0; i < 300; i++) {
                snprintf(path, sizeof(path), "sys/fs/btrfs/features/f%d", i);
                put(state, path, "", 0);
        }
        platform = read_tree(state);
        assert_int_equal(platform->features[PLATFORM_FS_BTRFS].state, FACT_UNKNOWN);
        platform_free(platform);
}

/* This machine: what the kernel says, not what a file says. */
static void test_self(void **state) {
        Platform *platform = NULL;

        /* User emulation shows the other architecture's directory in place of "/". */
        if (getenv("MESON_EXE_WRAPPER"))
                skip();
        assert_int_equal(platform_read_self(&platform), 0);
        assert_int_equal(platform->page_bytes, sysconf(_SC_PAGESIZE));
        assert_int_equal(platform->byte_order, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
                                                       ? PLATFORM_BYTE_ORDER_BIG
                                                       : PLATFORM_BYTE_ORDER_LITTLE);
        assert_true(platform->kernel.major >= 4);
        assert_string_not_equal(platform->machine, "");
        platform_free(platform);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_clouds),
                cmocka_unit_test(test_unreadable_is_not_none),
                cmocka_unit_test(test_nitro),
                cmocka_unit_test(test_containers),
                cmocka_unit_test(test_blind_in_a_pod),
                cmocka_unit_test(test_kubelet_root_dir),
                cmocka_unit_test(test_kernel_release),
                cmocka_unit_test(test_auxv),
                cmocka_unit_test(test_mounts),
                cmocka_unit_test(test_os_release),
                cmocka_unit_test_setup_teardown(test_hostile_files, setup_tree, teardown_tree),
                cmocka_unit_test_setup_teardown(test_links_stay_inside, setup_tree, teardown_tree),
                cmocka_unit_test_setup_teardown(test_nothing_at_all, setup_tree, teardown_tree),
                cmocka_unit_test_setup_teardown(test_feature_names, setup_tree, teardown_tree),
                cmocka_unit_test(test_self),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
