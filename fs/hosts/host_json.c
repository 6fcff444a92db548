/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts to and from JSON. What one node prints, another one judges by. Unknown keys are skipped, so
 * that nodes of two versions of Berth understand each other; a missing key leaves the answer to the
 * tables.
 */

#include "fs/formats/format.h"
#include "fs/hosts/hosts_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <jansson.h>
#include <stdio.h>

/* Nodes of the largest clusters; 100 KiB each would be 1.6 GB, which the reader's limit forbids. */
#define HOSTS_MAX 16384

static json_t *masks_to_json(const FsHost *host) {
        json_t *all = json_object();

        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                json_t *classes = json_object();

                for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                        const FsMask *mask = &host->masks[kind][class];

                        if (mask->have || mask->sysfs || mask->probed)
                                json_object_set_new(
                                        classes, fs_class_name(kind, class),
                                        json_sprintf("0x%llx", (unsigned long long)mask->have));
                }
                if (json_object_size(classes))
                        json_object_set_new(all, fs_kind_name(kind), classes);
                else
                        json_decref(classes);
        }
        return all;
}

static json_t *tri_to_json(FsTri tri) {
        return json_boolean(tri == FS_TRI_YES);
}

static const char *const tools_names[_FS_TOOLS_N] = {"e2fsprogs", "xfsprogs", "btrfs-progs",
                                                     "f2fs-tools"};

/* What only some hosts tell. */
static void details_to_json(json_t *object, const FsHost *host) {
        char version[24];
        uint32_t named;

        if (fs_version_parse(host->release, &named) == 0 && named != host->kernel)
                json_object_set_new(object, "kernel_stable",
                                    json_string(fs_version_format(host->kernel, version)));
        if (host->ext_large_blocks != FS_TRI_UNKNOWN)
                json_object_set_new(object, "ext4_large_blocks",
                                    tri_to_json(host->ext_large_blocks));
        if (host->btrfs_temp_fsid != FS_TRI_UNKNOWN)
                json_object_set_new(object, "btrfs_temp_fsid", tri_to_json(host->btrfs_temp_fsid));
        if (host->ntfs_driver && host->driver_evidence[FS_KIND_NTFS] != FS_EVIDENCE_BACKPORT)
                json_object_set_new(object, "ntfs_driver", json_string(host->ntfs_driver));
}

/* What the release's name alone tells is left out: the reader's tables tell it as well, and what is
 * in the object counts as found. */
struct json_t *fs_host_to_json(const FsHost *host) {
        json_t *drivers = json_object(), *config = json_object(), *tools = json_object();
        json_t *object;
        char version[24];

        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                if (host->drivers[kind] != FS_TRI_UNKNOWN &&
                    host->driver_evidence[kind] != FS_EVIDENCE_BACKPORT)
                        json_object_set_new(drivers, fs_kind_name(kind),
                                            tri_to_json(host->drivers[kind]));
        }
        for (FsGate gate = FS_GATE_NONE + 1; gate < _FS_GATE_N; gate++) {
                if (host->gates[gate] != FS_TRI_UNKNOWN &&
                    host->gate_evidence[gate] != FS_EVIDENCE_BACKPORT)
                        json_object_set_new(config, fs_gates[gate].options[0],
                                            tri_to_json(host->gates[gate]));
        }
        for (FsTools i = 0; i < _FS_TOOLS_N; i++) {
                if (host->tools[i] == FS_TOOLS_ABSENT)
                        json_object_set_new(tools, tools_names[i], json_null());
                else if (host->tools[i] != FS_TOOLS_UNKNOWN)
                        json_object_set_new(
                                tools, tools_names[i],
                                json_string(fs_version_format(host->tools[i], version)));
        }
        object =
                json_pack("{s:s, s:s, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:i}", "name", host->name,
                          "kernel", host->release, "architecture", host->architecture, "page_size",
                          (int)host->page_bytes, "byte_order",
                          host->byte_order == FS_BYTE_ORDER_BIG ? "big" : "little", "drivers",
                          drivers, "config", config, "tools", tools, "features",
                          masks_to_json(host), "btrfs_sector_sizes", (int)host->btrfs_sector_sizes);
        if (object)
                details_to_json(object, host);
        return object;
}

static FsTri tri_from_json(const json_t *value) {
        if (!json_is_boolean(value))
                return FS_TRI_UNKNOWN;
        return json_is_true(value) ? FS_TRI_YES : FS_TRI_NO;
}

/* What the node found replaces the table's answer, and counts as found. */
static void masks_from_json(FsHost *host, const json_t *all) {
        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                const json_t *classes = json_object_get(all, fs_kind_name(kind));

                for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                        const char *text = json_string_value(
                                json_object_get(classes, fs_class_name(kind, class)));
                        FsMask *mask = &host->masks[kind][class];
                        uint64_t have;

                        if (!text || !str_has_prefix(text, "0x") ||
                            str_parse_hex_u64(text + 2, UINT64_MAX, &have) < 0)
                                continue;
                        mask->sysfs |= mask->have ^ have;
                        mask->have = have;
                }
        }
}

/* One of the drivers that the table has, or NULL. */
static const char *ntfs_driver_from_json(const json_t *value) {
        for (size_t i = 0; i < fs_n_drivers; i++) {
                if (fs_drivers[i].kind == FS_KIND_NTFS &&
                    str_equal(fs_drivers[i].name, json_string_value(value)))
                        return fs_drivers[i].name;
        }
        return NULL;
}

/* The sum of the sizes, or a list of them, as `berth-csi host` shows them beside it. */
static uint32_t sizes_from_json(const json_t *value) {
        json_int_t sum = json_integer_value(value);

        for (size_t i = 0; i < json_array_size(value); i++)
                sum |= json_integer_value(json_array_get(value, i));
        return sum > 0 && sum <= UINT32_MAX ? (uint32_t)sum : 0;
}

static void details_from_json(FsHost *host, const json_t *object) {
        const json_t *drivers = json_object_get(object, "drivers");
        const json_t *config = json_object_get(object, "config");
        const json_t *tools = json_object_get(object, "tools");

        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                FsTri tri = tri_from_json(json_object_get(drivers, fs_kind_name(kind)));

                if (tri == FS_TRI_UNKNOWN)
                        continue;
                host->drivers[kind] = tri;
                host->driver_evidence[kind] = FS_EVIDENCE_CONFIG;
        }
        for (FsGate gate = FS_GATE_NONE + 1; gate < _FS_GATE_N; gate++) {
                FsTri tri = tri_from_json(json_object_get(config, fs_gates[gate].options[0]));

                if (tri == FS_TRI_UNKNOWN)
                        continue;
                host->gates[gate] = tri;
                host->gate_evidence[gate] = FS_EVIDENCE_CONFIG;
        }
        for (FsTools i = 0; i < _FS_TOOLS_N; i++) {
                const json_t *value = json_object_get(tools, tools_names[i]);
                const char *text = json_string_value(value);

                if (json_is_null(value))
                        host->tools[i] = FS_TOOLS_ABSENT;
                else if (text && fs_version_parse(text, &host->tools[i]) < 0)
                        host->tools[i] = FS_TOOLS_UNKNOWN;
        }
        host->btrfs_sector_sizes = sizes_from_json(json_object_get(object, "btrfs_sector_sizes"));
        if (json_object_get(object, "ntfs_driver"))
                host->ntfs_driver = ntfs_driver_from_json(json_object_get(object, "ntfs_driver"));
        host->ext_large_blocks = tri_from_json(json_object_get(object, "ext4_large_blocks"));
        host->btrfs_temp_fsid = tri_from_json(json_object_get(object, "btrfs_temp_fsid"));
        masks_from_json(host, json_object_get(object, "features"));
        /* A node that took an absence for "no" may have printed the object. */
        host_apply_always(host);
}

static int host_from_json(FsHost *host, const json_t *object, size_t index, Error *err) {
        const json_t *inner = json_object_get(object, "filesystems");
        const json_t *from = json_is_object(inner) ? inner : object;
        const char *kernel = json_string_value(json_object_get(from, "kernel"));
        const char *order = json_string_value(json_object_get(from, "byte_order"));
        const char *name = json_string_value(json_object_get(object, "name"));
        const json_t *page = json_object_get(from, "page_size");
        uint32_t told = kernel ? fs_release_page_bytes(kernel) : 0;
        json_int_t page_bytes = page ? json_integer_value(page) : told ? told : 4096;
        char safe[sizeof(host->name)];
        int r;

        if (!kernel)
                return error_set(err, ERROR_INVALID,
                                 "host %zu has no \"kernel\", a release like 5.10", index);
        r = fs_host_from_release(
                host, kernel, page_bytes > 0 && page_bytes <= 65536 ? (uint32_t)page_bytes : 0,
                str_equal(order, "big") ? FS_BYTE_ORDER_BIG : FS_BYTE_ORDER_LITTLE, err);
        if (r < 0)
                return error_wrap(err, r, "host %zu", index);
        host->page_assumed = !page && !told;
        if (name && !str_equal(name, "this node")) {
                snprintf(safe, sizeof(safe), "%s", name);
                str_make_utf8(safe);
                snprintf(host->name, sizeof(host->name), "%s", safe);
        }
        host_apply_stable(host, json_string_value(json_object_get(from, "kernel_stable")));
        details_from_json(host, from);
        return 0;
}

/* Objects one behind the other, as `cat` leaves them, and arrays: all in one array. */
static int load_all(const char *text, size_t n, json_t **allp, Error *err) {
        cleanup(json_decrefp) json_t *all = json_array();
        json_error_t where;
        int lines = 0, r = all ? 0 : -1;

        for (size_t at = 0; r == 0;) {
                cleanup(json_decrefp) json_t *value =
                        json_loadb(text + at, n - at, JSON_DISABLE_EOF_CHECK, &where);

                if (!value)
                        return error_set(err, ERROR_INVALID, "line %d, column %d: %s",
                                         lines + where.line, where.column, where.text);
                r = json_is_array(value) ? json_array_extend(all, value)
                                         : json_array_append(all, value);
                /* To the end of the value, and of the blanks behind it. */
                for (size_t end = at + (size_t)where.position;
                     at < n && (at < end || (text[at] && strchr(" \t\r\n", text[at]))); at++)
                        lines += text[at] == '\n';
                if (at == n)
                        break;
        }
        if (r < 0)
                return error_set(err, ERROR_EXHAUSTED, "no memory for hosts");
        *allp = ptr_steal(&all);
        return 0;
}

int fs_hosts_from_json(const char *text, size_t n, FsHost **hostsp, size_t *n_hostsp, Error *err) {
        cleanup(freep) FsHost *hosts = NULL;
        cleanup(json_decrefp) json_t *all = NULL;
        size_t n_hosts;
        int r = load_all(text, n, &all, err);

        if (r < 0)
                return r;
        n_hosts = json_array_size(all);
        if (n_hosts == 0 || n_hosts > HOSTS_MAX)
                return error_set(err, ERROR_INVALID, "%zu hosts; 1 to %d are possible", n_hosts,
                                 HOSTS_MAX);
        hosts = calloc(n_hosts, sizeof(*hosts));
        if (!hosts)
                return error_set(err, ERROR_EXHAUSTED, "no memory for %zu hosts", n_hosts);
        for (size_t i = 0; r == 0 && i < n_hosts; i++)
                r = host_from_json(&hosts[i], json_array_get(all, i), i, err);
        if (r < 0)
                return r;
        *hostsp = ptr_steal(&hosts);
        *n_hostsp = n_hosts;
        return 0;
}
