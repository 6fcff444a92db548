/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of hosts: from a release, from a tree that stands for /, from JSON and back. */

#undef NDEBUG
#include "fs/formats/format.h"
#include "fs/hosts/hosts_internal.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/lib/data.h"

static FsHost host;
static char root[] = "/tmp/berth-hosts-XXXXXX";

static void put(const char *path, const char *text) {
        char full[512], *slash;
        int fd;

        (void)snprintf(full, sizeof(full), "%s/%s", root, path);
        slash = strrchr(full, '/');
        *slash = '\0';
        assert_int_equal(file_make_directories(full, 0755), 0);
        *slash = '/';
        fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
        close(fd);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *where) {
        (void)st;
        (void)flag;
        (void)where;
        return remove(path);
}

static int clean(void **state) {
        (void)state;
        return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void read_root(const char *release) {
        cleanup(closep) int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        FsHostRead how = {.root_fd = fd, .release = release};
        Error err = {0};

        assert_true(fd >= 0);
        assert_int_equal(fs_host_read(&host, &how, &err), 0);
}

static bool has(FsKind kind, FsClass class, uint64_t bit, FsEvidence wanted) {
        FsEvidence evidence;
        bool yes = fs_host_has(&host, kind, class, bit, &evidence);

        assert_int_equal(evidence, wanted);
        return yes;
}

static void test_release(void **state) {
        FsConfidence confidence;
        Error err = {0};

        (void)state;
        assert_int_equal(fs_host_from_release(&host, "5.4", 4096, FS_BYTE_ORDER_UNKNOWN, &err), 0);
        assert_int_equal(host.byte_order, FS_BYTE_ORDER_LITTLE);
        assert_true(has(FS_KIND_XFS, FS_CLASS_RO_COMPAT, 0x4, FS_EVIDENCE_TABLE));
        assert_false(has(FS_KIND_XFS, FS_CLASS_INCOMPAT, 0x8, FS_EVIDENCE_TABLE));
        assert_int_equal(host.drivers[FS_KIND_NTFS], FS_TRI_NO);
        assert_int_equal(host.drivers[FS_KIND_EXT], FS_TRI_UNKNOWN);

        /* V4 needs no option before 5.10, has it by default after, and not since 6.17. */
        assert_true(fs_host_gate(&host, FS_GATE_XFS_V4, &confidence));
        assert_int_equal(confidence, FS_CONFIDENCE_HIGH);
        assert_int_equal(fs_host_from_release(&host, "6.1", 4096, FS_BYTE_ORDER_LITTLE, &err), 0);
        assert_true(fs_host_gate(&host, FS_GATE_XFS_V4, &confidence));
        assert_int_equal(confidence, FS_CONFIDENCE_LOW);
        assert_int_equal(fs_host_from_release(&host, "6.18", 4096, FS_BYTE_ORDER_LITTLE, &err), 0);
        assert_false(fs_host_gate(&host, FS_GATE_XFS_V4, &confidence));

        assert_int_equal(fs_host_from_release(&host, "3.10.0-1160.el7.x86_64", 4096, 0, &err), 0);
        assert_true(has(FS_KIND_XFS, FS_CLASS_INCOMPAT, 0x2, FS_EVIDENCE_BACKPORT));
        assert_int_equal(fs_host_from_release(&host, "4.18.0-553.el8uek.x86_64", 4096, 0, &err), 0);
        assert_int_equal(host.drivers[FS_KIND_BTRFS], FS_TRI_UNKNOWN);
        assert_int_equal(host.confidence, FS_CONFIDENCE_LOW);
        assert_int_equal(fs_host_from_release(&host, "4.18.0-553.el8_10.x86_64", 4096, 0, &err), 0);
        assert_int_equal(host.drivers[FS_KIND_BTRFS], FS_TRI_NO);

        assert_true(fs_host_from_release(&host, "5.4", 5000, 0, &err) < 0);
        assert_true(fs_host_from_release(&host, "linux", 4096, 0, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
}

static void test_tree(void **state) {
        (void)state;
        put("proc/filesystems", "nodev\tsysfs\n\text4\n\txfs\n");
        put("proc/version", "Linux version 5.15.0-test (gcc (Debian 12.2.0-14)) #1 SMP\n");
        put("proc/version_signature", "Ubuntu 5.15.0-91.101-generic 5.15.131\n");
        put("boot/config-5.15.0-test",
            "#\n# Automatically generated\nCONFIG_EXT4_FS=y\nCONFIG_XFS_FS=m\n"
            "# CONFIG_XFS_SUPPORT_V4 is not set\nCONFIG_BTRFS_FS=m\n# CONFIG_F2FS_FS is not set\n"
            "CONFIG_QUOTA=y\n# CONFIG_QFMT_V2 is not set\nCONFIG_UNICODE=y\n"
            "CONFIG_TRANSPARENT_HUGEPAGE=y\n");
        put("sys/fs/ext4/features/metadata_csum_seed", "supported\n");
        put("sys/fs/ext4/features/fast_commit", "supported\n");
        put("sys/fs/btrfs/features/free_space_tree", "0\n");
        put("sys/fs/btrfs/features/simple_quota", "0\n");
        put("sys/fs/btrfs/features/supported_sectorsizes", "4096 65536\n");
        read_root("5.15.0-test");
        assert_string_equal(host.name, "this node");
        assert_int_equal(host.kernel, FS_VERSION(5, 15, 131));
        assert_int_equal(host.drivers[FS_KIND_XFS], FS_TRI_YES);
        assert_int_equal(host.drivers[FS_KIND_F2FS], FS_TRI_NO);
        assert_int_equal(host.gates[FS_GATE_XFS_V4], FS_TRI_NO);
        assert_int_equal(host.gates[FS_GATE_QUOTA], FS_TRI_NO);
        assert_int_equal(host.gate_evidence[FS_GATE_QUOTA], FS_EVIDENCE_CONFIG);
        /* sysfs knows better than the configuration: no casefold file, no Unicode for ext4. */
        assert_int_equal(host.gates[FS_GATE_UNICODE], FS_TRI_NO);
        assert_int_equal(host.gate_evidence[FS_GATE_UNICODE], FS_EVIDENCE_SYSFS);
        /* A backport shows itself, and so does a feature that was taken out. */
        assert_true(has(FS_KIND_BTRFS, FS_CLASS_INCOMPAT, 0x10000, FS_EVIDENCE_SYSFS));
        assert_false(has(FS_KIND_BTRFS, FS_CLASS_INCOMPAT, 0x200, FS_EVIDENCE_SYSFS));
        assert_true(has(FS_KIND_EXT, FS_CLASS_LOG_INCOMPAT, 0x20, FS_EVIDENCE_SYSFS));
        assert_int_equal(host.btrfs_sector_sizes, 4096 | 65536);
}

static void test_stable_number(void **state) {
        (void)state;
        (void)snprintf(root, sizeof(root), "/tmp/berth-hosts-XXXXXX");
        assert_non_null(mkdtemp(root));
        put("proc/version",
            "Linux version 6.1.0-50-amd64 (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP "
            "PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-05)\n");
        put("proc/version_signature", "Ubuntu 6.8.0-31.31-generic 6.8.1\n");
        read_root("6.1.0-50-amd64");
        assert_int_equal(host.kernel, FS_VERSION(6, 1, 176));
        assert_string_equal(host.release, "6.1.0-50-amd64");
        /* Of another series: not this kernel's. */
        read_root("6.6.0-1-amd64");
        assert_int_equal(host.kernel, FS_VERSION(6, 6, 0));
        /* And older than what the release says: of an image beside it. */
        read_root("6.1.180-1-amd64");
        assert_int_equal(host.kernel, FS_VERSION(6, 1, 180));
}

static void test_bare_tree(void **state) {
        (void)state;
        (void)snprintf(root, sizeof(root), "/tmp/berth-hosts-XXXXXX");
        assert_non_null(mkdtemp(root));
        read_root("5.4.0");
        assert_int_equal(host.gates[FS_GATE_QUOTA], FS_TRI_UNKNOWN);
        assert_int_equal(host.drivers[FS_KIND_EXT], FS_TRI_UNKNOWN);
        assert_true(has(FS_KIND_EXT, FS_CLASS_INCOMPAT, 0x20000, FS_EVIDENCE_TABLE));
        /* A release that is no file name leads nowhere. */
        read_root("5.4/../../../etc");
        assert_int_equal(host.kernel, FS_VERSION(5, 4, 0));
}

static void test_real(void **state) {
        FsHostRead how = {.root_fd = -1};
        Error err = {0};

        (void)state;
        assert_int_equal(fs_host_read(&host, &how, &err), 0);
        assert_true(host.kernel >= FS_VERSION(3, 10, 0));
        assert_int_equal(host.page_bytes, (uint32_t)sysconf(_SC_PAGESIZE));
        assert_true(host.is_this_node);
        assert_true(host.architecture[0] != '\0');
}

static void test_json(void **state) {
        cleanup(freep) FsHost *hosts = NULL;
        cleanup(freep) char *text = NULL;
        json_t *object;
        size_t n = 0;
        Error err = {0};

        (void)state;
        assert_int_equal(fs_host_from_release(&host, "5.14.0-503.el9.aarch64", 65536, 0, &err), 0);
        host.gates[FS_GATE_XFS_V4] = FS_TRI_NO;
        host.gate_evidence[FS_GATE_XFS_V4] = FS_EVIDENCE_CONFIG;
        host.drivers[FS_KIND_XFS] = FS_TRI_YES;
        host.tools[FS_TOOLS_E2FSPROGS] = FS_VERSION(1, 46, 5);
        host.tools[FS_TOOLS_BTRFS] = FS_TOOLS_ABSENT;
        host.masks[FS_KIND_XFS][FS_CLASS_INCOMPAT].have |= 0x20;
        host.btrfs_sector_sizes = 4096;
        host.kernel++;
        host.ext_large_blocks = FS_TRI_NO;
        host.btrfs_temp_fsid = FS_TRI_YES;
        host.masks[FS_KIND_XFS][FS_CLASS_RO_COMPAT] = (FsMask){.probed = 0xf};
        (void)snprintf(host.name, sizeof(host.name), "node-7");
        object = fs_host_to_json(&host);
        text = json_dumps(object, 0);
        json_decref(object);
        assert_int_equal(fs_hosts_from_json(text, strlen(text), &hosts, &n, &err), 0);
        assert_int_equal(n, 1);
        assert_string_equal(hosts[0].name, "node-7");
        assert_int_equal(hosts[0].kernel, host.kernel);
        assert_int_equal(hosts[0].page_bytes, 65536);
        assert_int_equal(hosts[0].gates[FS_GATE_XFS_V4], FS_TRI_NO);
        assert_int_equal(hosts[0].gate_evidence[FS_GATE_XFS_V4], FS_EVIDENCE_CONFIG);
        assert_int_equal(hosts[0].gates[FS_GATE_SQUASHFS_LZ4], FS_TRI_UNKNOWN);
        /* What the name tells does not become what was found. */
        assert_int_equal(hosts[0].gates[FS_GATE_UNICODE], FS_TRI_NO);
        assert_int_equal(hosts[0].gate_evidence[FS_GATE_UNICODE], FS_EVIDENCE_BACKPORT);
        assert_int_equal(hosts[0].drivers[FS_KIND_XFS], FS_TRI_YES);
        assert_int_equal(hosts[0].tools[FS_TOOLS_E2FSPROGS], FS_VERSION(1, 46, 5));
        assert_int_equal(hosts[0].tools[FS_TOOLS_BTRFS], FS_TOOLS_ABSENT);
        assert_int_equal(hosts[0].btrfs_sector_sizes, 4096);
        assert_int_equal(hosts[0].ext_large_blocks, FS_TRI_NO);
        assert_int_equal(hosts[0].btrfs_temp_fsid, FS_TRI_YES);
        assert_false(hosts[0].is_this_node);
        for (FsClass class = 0; class < _FS_CLASS_N; class ++)
                assert_int_equal(hosts[0].masks[FS_KIND_XFS][class].have,
                                 host.masks[FS_KIND_XFS][class].have);
}

/* What hand or an older program wrote of a node of this year. */
static void test_json_of_another(void **state) {
        static const char text[] =
                "{\"kernel\": \"7.2.1\", \"features\": {\"erofs\": {\"incompat\": \"0x2\"}},"
                " \"btrfs_sector_sizes\": [4096, 65536], \"drivers\": {\"ntfs3\": true},"
                " \"ntfs_driver\": \"ntfs\"}"
                "{\"kernel\": \"6.12.1\", \"features\": {\"erofs\": {\"incompat\": \"0x2\"}},"
                " \"btrfs_sector_sizes\": 4096, \"ntfs_driver\": \"ntfs4\"}";
        FsHost *hosts = NULL;
        size_t n = 0;
        Error err = {0};

        (void)state;
        assert_int_equal(fs_hosts_from_json(text, strlen(text), &hosts, &n, &err), 0);
        assert_int_equal(n, 2);
        assert_int_equal(hosts[0].masks[FS_KIND_EROFS][FS_CLASS_INCOMPAT].have, 0x3);
        assert_int_equal(hosts[1].masks[FS_KIND_EROFS][FS_CLASS_INCOMPAT].have, 0x2);
        assert_int_equal(hosts[0].btrfs_sector_sizes, 4096 | 65536);
        assert_int_equal(hosts[1].btrfs_sector_sizes, 4096);
        assert_string_equal(hosts[0].ntfs_driver, "ntfs");
        assert_null(hosts[1].ntfs_driver);
        free(hosts);
}

static void test_json_bad(void **state) {
        static const char *const bad[] = {
                "",
                "[]",
                "{",
                "7",
                "\"x\"",
                "{\"kernel\": 5}",
                "{\"kernel\": \"x\"}",
                "[{\"kernel\": \"5.4\"}, {}]",
                "{\"kernel\": \"5.4\", \"page_size\": 4097}",
                "{\"kernel\": \"5.4\", \"page_size\": 131072}",
                "{\"kernel\": \"5.4\", \"page_size\": \"4K\"}",
                "{\"kernel\": \"5.4\", \"page_size\": 4294971392}",
        };
        static const char fine[] =
                "[{\"kernel\": \"5.4\", \"name\": \"a\", \"drivers\": 7, \"features\": {\"xfs\": "
                "{\"incompat\": \"zz\", \"ro_compat\": 5}}, \"later\": {}}, {\"name\": \"b\", "
                "\"filesystems\": {\"kernel\": \"6.1\", \"page_size\": 16384}}]";
        FsHost *hosts = NULL;
        size_t n = 0;
        Error err = {0};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                err = (Error){0};
                assert_true(fs_hosts_from_json(bad[i], strlen(bad[i]), &hosts, &n, &err) < 0);
                assert_int_equal(err.code, ERROR_INVALID);
                assert_null(hosts);
        }
        assert_int_equal(fs_hosts_from_json(fine, strlen(fine), &hosts, &n, &err), 0);
        assert_int_equal(n, 2);
        assert_string_equal(hosts[1].name, "b");
        assert_int_equal(hosts[1].page_bytes, 16384);
        free(hosts);
}

/* cat node-1.json node-2.json: what the guide tells people to do. */
static void test_json_one_behind_the_other(void **state) {
        static const char text[] = "{\"kernel\": \"5.4\"}\n{\n\"kernel\": \"5.10\"}"
                                   "[{\"kernel\": \"6.1\"}, {\"kernel\": \"6.6\"}]\n\n";
        static const char bad[] = "{\"kernel\": \"5.4\"}\n{\n\"kernel\": x}\n";
        FsHost *hosts = NULL;
        size_t n = 0;
        Error err = {0};

        (void)state;
        assert_int_equal(fs_hosts_from_json(text, strlen(text), &hosts, &n, &err), 0);
        assert_int_equal(n, 4);
        assert_string_equal(hosts[3].release, "6.6");
        free(hosts);
        hosts = NULL;
        assert_true(fs_hosts_from_json(bad, strlen(bad), &hosts, &n, &err) < 0);
        assert_non_null(strstr(err.message, "line 3, column "));
        assert_null(hosts);
}

static void test_tool_versions(void **state) {
        (void)state;
        assert_int_equal(fs_tool_version("mke2fs 1.47.0 (5-Feb-2023)\n"), FS_VERSION(1, 47, 0));
        assert_int_equal(fs_tool_version("mkfs.xfs version 6.1.0\n"), FS_VERSION(6, 1, 0));
        assert_int_equal(fs_tool_version("mkfs.btrfs, part of btrfs-progs v6.2\n"),
                         FS_VERSION(6, 2, 0));
        assert_int_equal(fs_tool_version("mkfs.f2fs 1.15.0 (2022-05-13)\n"), FS_VERSION(1, 15, 0));
        assert_int_equal(fs_tool_version("BusyBox\n"), FS_TOOLS_ABSENT);
        assert_int_equal(fs_tool_version(""), FS_TOOLS_ABSENT);
}

/* --- hosts by release, against configurations that were read --- */

#define OPTIONS_MAX 48

typedef struct Config {
        char release[96];
        char values[OPTIONS_MAX]; /* 'y', 'm', 'n', '-' */
} Config;

static char option_names[OPTIONS_MAX][40];
static size_t n_options;

static void take_header(char *line) {
        n_options = 0;
        (void)strtok(line, ",\n");
        for (char *name; (name = strtok(NULL, ",\n"));) {
                assert_true(n_options < OPTIONS_MAX);
                (void)snprintf(option_names[n_options++], sizeof(option_names[0]), "%s", name);
        }
}

static void take_row(char *line, Config *config) {
        size_t n = 0;
        char *value = strtok(line, ",\n");

        (void)snprintf(config->release, sizeof(config->release), "%s", value);
        while ((value = strtok(NULL, ",\n")))
                config->values[n++] = *value;
        assert_int_equal(n, n_options);
}

static bool is_set(const Config *config, const char *option) {
        for (size_t i = 0; i < n_options; i++) {
                if (str_equal(option_names[i], option))
                        return config->values[i] == 'y' || config->values[i] == 'm';
        }
        print_error("%s is not in kernel-configs.csv\n", option);
        fail();
        return false;
}

static bool gate_is_set(const Config *config, FsGate gate) {
        for (size_t i = 0; i < N_ELEMENTS(fs_gates[gate].options); i++) {
                if (fs_gates[gate].options[i] && !is_set(config, fs_gates[gate].options[i]))
                        return false;
        }
        return true;
}

static bool driver_is_set(const Config *config, FsKind kind) {
        for (size_t i = 0; i < fs_n_drivers; i++) {
                if (fs_drivers[i].kind == kind && host.kernel >= fs_drivers[i].since &&
                    is_set(config, fs_drivers[i].option))
                        return true;
        }
        return false;
}

/* What is said of a release, other than as a guess, is what its kernel was built with. */
static unsigned int compare_gates(const Config *config) {
        unsigned int n_guessed = 0;

        for (FsGate gate = FS_GATE_NONE + 1; gate < _FS_GATE_N; gate++) {
                FsConfidence confidence;
                bool on = fs_host_gate(&host, gate, &confidence);

                if (host.kernel < fs_gates[gate].exists_since)
                        continue;
                if (confidence == FS_CONFIDENCE_LOW) {
                        n_guessed++;
                        continue;
                }
                if (on != gate_is_set(config, gate))
                        print_error("%s: %s\n", config->release, fs_gate_text(gate));
                assert_int_equal(on, gate_is_set(config, gate));
        }
        return n_guessed;
}

static void compare_drivers(const Config *config) {
        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                FsTri built = driver_is_set(config, kind) ? FS_TRI_YES : FS_TRI_NO;

                if (host.drivers[kind] != FS_TRI_UNKNOWN && host.drivers[kind] != built)
                        print_error("%s: %s\n", config->release, fs_kind_name(kind));
                assert_true(host.drivers[kind] == FS_TRI_UNKNOWN || host.drivers[kind] == built);
        }
}

/* The same by the configuration itself: every driver and gate is then known. */
static void compare_by_config(const Config *config) {
        char text[4096] = "\n";
        size_t n = 1;

        for (size_t i = 0; i < n_options; i++) {
                if (config->values[i] == 'y' || config->values[i] == 'm')
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s=%c\n",
                                              option_names[i], config->values[i]);
                else if (config->values[i] == 'n')
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "# %s is not set\n",
                                              option_names[i]);
        }
        host_apply_config(&host, text);
        assert_int_equal(compare_gates(config), 0);
        compare_drivers(config);
}

static void test_configs(void **state) {
        cleanup(fclosep) FILE *file = open_data("kernel-configs.csv");
        char line[1024];
        unsigned int n = 0;
        Error err = {0};

        (void)state;
        while (fgets(line, sizeof(line), file)) {
                Config config = {0};

                if (line[0] == '#')
                        continue;
                if (str_has_prefix(line, "release,")) {
                        take_header(line);
                        continue;
                }
                take_row(line, &config);
                assert_int_equal(fs_host_from_release(&host, config.release, 4096, 0, &err), 0);
                /* Of Debian's kernels what can be read is known. */
                if (compare_gates(&config) > (strstr(config.release, "+deb13-") ? 1 : 4))
                        assert_true(!strstr(config.release, "+deb13-"));
                compare_drivers(&config);
                compare_by_config(&config);
                n++;
        }
        assert_true(n > 50);
}

/* What a kernel has and does not list is not taken from it: lists as the kernels' sources have
 * them. */
static void compare_listed(const char *kernel, const char *fs, char *names) {
        FsHost by_number;
        Error err = {0};

        (void)snprintf(root, sizeof(root), "/tmp/berth-hosts-XXXXXX");
        assert_non_null(mkdtemp(root));
        for (char *name = strtok(names, " \n"); name; name = strtok(NULL, " \n")) {
                char path[128];

                (void)snprintf(path, sizeof(path), "sys/fs/%s/features/%s", fs, name);
                put(path, "supported\n");
        }
        read_root(kernel);
        assert_int_equal(fs_host_from_release(&by_number, kernel, 4096, 0, &err), 0);
        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                        uint64_t lost =
                                by_number.masks[kind][class].have & ~host.masks[kind][class].have;

                        if (lost)
                                print_error("%s %s: 0x%llx is not listed, and taken for a no\n",
                                            kernel, fs, (unsigned long long)lost);
                        assert_int_equal(lost, 0);
                }
        }
}

static void test_listed(void **state) {
        cleanup(fclosep) FILE *file = open_data("sysfs-features.csv");
        char line[1024], kernel[32], fs[16];
        unsigned int n_lists = 0;
        int n;

        (void)state;
        while (fgets(line, sizeof(line), file)) {
                if (line[0] == '#' || sscanf(line, "%31[^,],%15[^,],%n", kernel, fs, &n) != 2)
                        continue;
                compare_listed(kernel, fs, line + n);
                (void)clean(state);
                n_lists++;
        }
        assert_true(n_lists >= 19);
        (void)snprintf(root, sizeof(root), "/tmp/berth-hosts-XXXXXX");
        assert_non_null(mkdtemp(root));
}

static void test_page_of_release(void **state) {
        static const struct {
                const char *release;
                uint32_t page_bytes;
        } rows[] = {
                {"6.12.118+deb13-arm64", 4096},
                {"6.12.118+deb13-arm64-16k", 16384},
                {"6.12.118+deb13-cloud-arm64", 4096},
                {"6.1.0-50-powerpc64le", 65536},
                {"4.18.0-513.18.1.el8_9.aarch64", 65536},
                {"4.18.0-513.18.1.el8_9.ppc64le", 65536},
                {"4.18.0-513.18.1.el8_9.x86_64", 4096},
                {"5.14.0-362.24.1.el9_3.aarch64", 4096},
                {"5.14.0-362.24.1.el9_3.aarch64+64k", 65536},
                {"6.12.0-55.el10.aarch64+64k", 65536},
                {"6.6.20+rpt-rpi-2712", 16384},
                {"6.6.74+rpt-rpi-v8", 4096},
                {"6.8.0-1021-nvidia-64k", 65536},
                {"7.1.13-402.asahi.fc44.aarch64+16k", 16384},
                {"5.10.226-214.880.amzn2.aarch64", 4096},
                {"6.18.45-talos", 0},
                {"6.12", 0},
                {"6.12.0-160000.5-default", 0},
                {"6.1.0-x16k", 0},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                if (fs_release_page_bytes(rows[i].release) != rows[i].page_bytes)
                        print_error("%s\n", rows[i].release);
                assert_int_equal(fs_release_page_bytes(rows[i].release), rows[i].page_bytes);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_release),
                cmocka_unit_test_teardown(test_tree, clean),
                cmocka_unit_test_teardown(test_stable_number, clean),
                cmocka_unit_test_teardown(test_bare_tree, clean),
                cmocka_unit_test(test_real),
                cmocka_unit_test(test_json),
                cmocka_unit_test(test_json_of_another),
                cmocka_unit_test(test_json_bad),
                cmocka_unit_test(test_json_one_behind_the_other),
                cmocka_unit_test(test_tool_versions),
                cmocka_unit_test(test_configs),
                cmocka_unit_test_teardown(test_listed, clean),
                cmocka_unit_test(test_page_of_release),
        };

        assert_non_null(mkdtemp(root));
        return cmocka_run_group_tests(tests, NULL, NULL);
}
