/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host by its kernel's number: the feature tables, distributions' backports, and what such
 * kernels are usually built with. host_read.c replaces these answers by better evidence.
 */

#include "csi/fs/hosts_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

static bool release_is(const char *release, const char *part) {
        size_t n = strlen(part);

        for (const char *at = release; (at = strstr(at, part)); at++) {
                char after = at[n];

                /* ".el8" is neither ".el80" nor ".el8uek". */
                if (!((after >= '0' && after <= '9') || (after >= 'a' && after <= 'z')))
                        return true;
        }
        return false;
}

uint32_t fs_release_page_bytes(const char *release) {
        static const struct {
                const char *part;
                uint32_t bytes;
        } rows[] = {
                {"64k", 65536},           {"16k", 16384},         {"rpi-2712", 16384},
                {"+rpt-rpi-2712", 16384}, {"x86_64", 4096},       {"-amd64", 4096},
                {"s390x", 4096},          {"-686", 4096},         {"armv7", 4096},
                {"ppc64le", 65536},       {"powerpc64le", 65536},
        };

        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                const char *at = strstr(release, rows[i].part);

                if (at && at != release && (rows[i].part[0] == '-' || strchr("-+._", at[-1])))
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

static void gates_from_table(FsHost *host) {
        for (size_t i = 0; i < fs_n_distribution_gates; i++) {
                const FsDistributionGate *g = &fs_distribution_gates[i];

                if (host->kernel < g->from || host->kernel >= g->before ||
                    !release_is(host->release, g->release_part))
                        continue;
                host->gates[g->gate] = g->on ? FS_TRI_YES : FS_TRI_NO;
                host->gate_evidence[g->gate] = FS_EVIDENCE_BACKPORT;
        }
}

static void drivers_from_table(FsHost *host) {
        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++) {
                if (host->kernel < fs_driver_since[kind])
                        host->drivers[kind] = FS_TRI_NO;
        }
        for (size_t i = 0; i < fs_n_not_shipped; i++) {
                if (release_is(host->release, fs_not_shipped[i].release_part))
                        host->drivers[fs_not_shipped[i].kind] = FS_TRI_NO;
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
                return error_set(err, ERROR_INVALID,
                                 "\"%.60s\" is no kernel release, which starts like 5.10", release);
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
        if (host->gates[gate] != FS_TRI_UNKNOWN)
                return host->gates[gate] == FS_TRI_YES;
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
