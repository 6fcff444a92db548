/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host by its kernel's number: the feature tables, distributions' backports, and what such
 * kernels are usually built with. host_read.c replaces these answers by better evidence.
 */

#include "fs/hosts/hosts_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

static bool release_has(const char *release, const char *part, size_t n) {
        for (const char *at = release; *at; at++) {
                char after;

                if (strncmp(at, part, n) != 0)
                        continue;
                after = at[n];
                /* ".el8" is neither ".el80" nor ".el8uek". */
                if (!((after >= '0' && after <= '9') || (after >= 'a' && after <= 'z')))
                        return true;
        }
        return false;
}

/* @parts: "-amd64|-arm64" */
static bool release_is(const char *release, const char *parts) {
        while (*parts) {
                size_t n = strcspn(parts, "|");

                if (release_has(release, parts, n))
                        return true;
                parts += n;
                parts += *parts == '|';
        }
        return false;
}

uint32_t fs_release_page_bytes(const char *release) {
        static const struct {
                const char *part, *and_part; /* and_part NULL: nothing more */
                uint32_t bytes;
        } rows[] = {
                {"64k", NULL, 65536},         {"16k", NULL, 16384},      {"rpi-2712", NULL, 16384},
                {"asahi", "fc", 16384},       {"el7", "aarch64", 65536}, {"el7a", "aarch64", 65536},
                {"el8", "aarch64", 65536},    {"el8", "ppc64le", 65536}, {"ppc64le", NULL, 65536},
                {"powerpc64le", NULL, 65536}, {"x86_64", NULL, 4096},    {"amd64", NULL, 4096},
                {"s390x", NULL, 4096},        {"686", NULL, 4096},       {"armv7", NULL, 4096},
                {"armmp", NULL, 4096},        {"arm64", NULL, 4096},     {"el9", "aarch64", 4096},
                {"el9uek", "aarch64", 4096},  {"el10", "aarch64", 4096}, {"amzn", "aarch64", 4096},
                {"rpi-v8", NULL, 4096},
        };

        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                const char *at = strstr(release, rows[i].part);

                if (at && at != release && strchr("-+._", at[-1]) &&
                    (!rows[i].and_part || strstr(at, rows[i].and_part)))
                        return rows[i].bytes;
        }
        return 0;
}

static void masks_from_table(FsHost *host) {
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];

                if (f->rw_since != FS_VERSION_NEVER && f->rw_since <= host->kernel)
                        host->masks[f->kind][f->class].have |= f->bit;
        }
        for (size_t i = 0; i < fs_n_backports; i++) {
                const FsBackport *b = &fs_backports[i];
                FsMask *mask = &host->masks[b->kind][b->class];

                if (host->kernel < b->from || host->kernel >= b->before ||
                    !release_is(host->release, b->release_part))
                        continue;
                mask->have |= b->bits;
                mask->backport |= b->bits;
        }
}

void host_set_driver(FsHost *host, FsKind kind, FsTri tri, FsEvidence evidence) {
        host->drivers[kind] = tri;
        host->driver_evidence[kind] = evidence;
}

static bool is_of(const FsHost *host, const char *parts, uint32_t from, uint32_t before) {
        return host->kernel >= from && host->kernel < before && release_is(host->release, parts);
}

static void gates_from_table(FsHost *host) {
        for (size_t i = 0; i < fs_n_distribution_gates; i++) {
                const FsDistributionGate *row = &fs_distribution_gates[i];

                if (!is_of(host, row->release_part, row->from, row->before))
                        continue;
                for (FsGate gate = FS_GATE_NONE + 1; gate < _FS_GATE_N; gate++) {
                        if (!(row->gates & 1U << gate))
                                continue;
                        host->gates[gate] = row->on ? FS_TRI_YES : FS_TRI_NO;
                        host->gate_evidence[gate] = FS_EVIDENCE_BACKPORT;
                }
        }
}

static void drivers_from_table(FsHost *host) {
        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                if (host->kernel < fs_driver_since(kind))
                        host->drivers[kind] = FS_TRI_NO;
        }
        for (size_t i = 0; i < fs_n_distribution_drivers; i++) {
                const FsDistributionDriver *row = &fs_distribution_drivers[i];

                if (!is_of(host, row->release_part, row->from, row->before))
                        continue;
                host_set_driver(host, row->kind, row->built ? FS_TRI_YES : FS_TRI_NO,
                                FS_EVIDENCE_BACKPORT);
                if (row->kind == FS_KIND_NTFS)
                        host->ntfs_driver = row->name;
        }
}

/* Kernels whose number does not tell what is in them, and whose sources were not read. */
static FsConfidence release_confidence(const char *release) {
        static const char *const vendors[] = {".el9", ".el10", "uek", "-default"};

        for (size_t i = 0; i < N_ELEMENTS(vendors); i++) {
                if (strstr(release, vendors[i]))
                        return FS_CONFIDENCE_LOW;
        }
        if (release_is(release, ".el7") || release_is(release, ".el8"))
                return FS_CONFIDENCE_MEDIUM;
        return FS_CONFIDENCE_HIGH;
}

int fs_host_from_release(FsHost *host, const char *release, uint32_t page_bytes,
                         FsByteOrder byte_order, Error *err) {
        FsHost made = {.page_bytes = page_bytes, .byte_order = byte_order};

        if (page_bytes < 4096 || page_bytes > 65536 || (page_bytes & (page_bytes - 1)))
                return error_set(err, ERROR_INVALID,
                                 "page size %u is none of 4096, 8192, 16384, 32768, 65536",
                                 page_bytes);
        if (fs_version_parse(release, &made.kernel) < 0)
                return error_set(
                        err, ERROR_INVALID,
                        "\"%.60s\" is not a kernel release (expected one that starts like 5.10)",
                        release);
        if (made.byte_order == FS_BYTE_ORDER_UNKNOWN)
                made.byte_order = FS_BYTE_ORDER_LITTLE;
        snprintf(made.release, sizeof(made.release), "%s", release);
        snprintf(made.name, sizeof(made.name), "Linux %.56s", release);
        made.confidence = release_confidence(made.release);
        masks_from_table(&made);
        gates_from_table(&made);
        drivers_from_table(&made);
        *host = made;
        return 0;
}

void host_apply_stable(FsHost *host, const char *text) {
        uint32_t version;

        if (text && fs_version_parse(text, &version) == 0 && version > host->kernel &&
            FS_VERSION_MAJOR(version) == FS_VERSION_MAJOR(host->kernel) &&
            FS_VERSION_MINOR(version) == FS_VERSION_MINOR(host->kernel))
                host->kernel = version;
}

bool fs_host_has(const FsHost *host, FsKind kind, FsClass class, uint64_t bit,
                 FsEvidence *evidencep) {
        const FsMask *mask = &host->masks[kind][class];

        if (evidencep)
                *evidencep = mask->probed & bit     ? FS_EVIDENCE_PROBE
                             : mask->sysfs & bit    ? FS_EVIDENCE_SYSFS
                             : mask->backport & bit ? FS_EVIDENCE_BACKPORT
                                                    : FS_EVIDENCE_TABLE;
        return (mask->have & bit) == bit;
}

bool fs_host_gate(const FsHost *host, FsGate gate, FsConfidence *confidencep) {
        const FsGateInfo *info = &fs_gates[gate];

        if (confidencep)
                *confidencep = FS_CONFIDENCE_HIGH;
        if (gate == FS_GATE_NONE)
                return true;
        if (host->gates[gate] != FS_TRI_UNKNOWN) {
                /* The name of a release tells how that is usually built, not how this one was. */
                if (confidencep && host->gate_evidence[gate] == FS_EVIDENCE_BACKPORT)
                        *confidencep = FS_CONFIDENCE_MEDIUM;
                return host->gates[gate] == FS_TRI_YES;
        }
        if (host->kernel < info->exists_since)
                return true;
        if (confidencep)
                *confidencep = FS_CONFIDENCE_LOW;
        if (host->kernel >= info->default_n_since)
                return false;
        return info->usually_on;
}

const char *fs_evidence_name(FsEvidence evidence) {
        static const char *const names[_FS_EVIDENCE_N] = {
                "table", "backport", "config", "sysfs", "probe",
        };

        return evidence < _FS_EVIDENCE_N ? names[evidence] : "table";
}
