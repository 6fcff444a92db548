/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_HOSTS_HOSTS_H
#define BERTH_FS_HOSTS_HOSTS_H

/*
 * What a host can mount: this node, another node by its facts, or a kernel by its number. The
 * release alone is not enough (distributions backport, kernels are built with options off), so
 * every answer has its evidence, and better evidence replaces worse:
 * table < backport < config < sysfs < probe.
 */

#include "common/base/error.h"
#include "fs/features/feature.h"
#include "fs/tools/tools.h"

typedef enum FsTri {
        FS_TRI_UNKNOWN = 0,
        FS_TRI_NO,
        FS_TRI_YES,
} FsTri;

typedef enum FsEvidence {
        FS_EVIDENCE_TABLE = 0, /* release number against the table */
        FS_EVIDENCE_BACKPORT,  /* tables of distributions: backports, configurations */
        FS_EVIDENCE_CONFIG,    /* kernel configuration */
        FS_EVIDENCE_SYSFS,     /* /sys/fs, /proc/filesystems */
        FS_EVIDENCE_PROBE,     /* the kernel was asked */
        _FS_EVIDENCE_N,
} FsEvidence;

const char *fs_evidence_name(FsEvidence evidence);

typedef struct FsMask {
        uint64_t have;     /* bits this host mounts read-write */
        uint64_t backport; /* bits whose answer came from there; the rest from the table */
        uint64_t sysfs;
        uint64_t probed;
} FsMask;

typedef struct FsHost {
        char name[64];         /* for messages: "this node", "kernel 5.4", a node's name */
        char release[96];      /* "6.1.0-18-amd64" */
        uint32_t kernel;       /* with the stable series' number where the host tells it */
        char architecture[24]; /* "x86_64"; "" unknown */
        uint32_t page_bytes;
        bool page_assumed; /* nobody told it, nor did the release's name */
        FsByteOrder byte_order;
        FsMask masks[_FS_KIND_N][_FS_CLASS_N];
        FsTri drivers[_FS_KIND_N];              /* NO only when it was found missing */
        FsEvidence driver_evidence[_FS_KIND_N]; /* where it is known */
        const char *ntfs_driver; /* which of the two this node has; NULL: not known. Static */
        FsTri gates[_FS_GATE_N];
        FsEvidence gate_evidence[_FS_GATE_N];
        uint32_t btrfs_sector_sizes; /* bits of log2: 1 << 12 = 4K; 0 = not told by sysfs */
        FsTri ext_large_blocks;      /* sysfs blocksize_gt_pagesize */
        FsTri btrfs_temp_fsid;       /* a clone mounts beside its origin */
        uint32_t tools[_FS_TOOLS_N];
        bool is_this_node;
        FsConfidence confidence; /* of the whole: LOW for a vendor kernel judged by number */
} FsHost;

/* Where fs_host_read() looks, and how hard. */
typedef struct FsHostRead {
        int root_fd;           /* the directory that stands for /; -1: the real one */
        const char *release;   /* NULL: uname(2) */
        bool tools;            /* run mkfs -V for the versions: four execs */
        bool probe;            /* ask the kernel about XFS; needs CAP_SYS_ADMIN and a loop device */
        const char *cache_dir; /* where the probe's answer is kept for this boot; NULL: not kept */
} FsHostRead;

#define FS_HOST_CACHE_DIRECTORY "/run/berth"

/* This node. Return: 0; negative with @err. What cannot be read is left unknown and is no error. */
int fs_host_read(FsHost *host, const FsHostRead *how, Error *err);

/**
 * fs_host_from_release() - a kernel by its number, upstream or a distribution's release string
 * @page_bytes: 4096, 16384, 65536
 * @byte_order: UNKNOWN is taken as little
 */
int fs_host_from_release(FsHost *host, const char *release, uint32_t page_bytes,
                         FsByteOrder byte_order, Error *err);

/* What a release's name tells of the page size ("6.12.48-16k", "rpi-2712", "x86_64"); 0: nothing.
 */
uint32_t fs_release_page_bytes(const char *release);

/**
 * fs_hosts_from_json() - nodes from what `berth-csi host --json` printed on them
 * @text: objects one behind the other, or arrays of them
 * @hostsp: new array, caller frees with free()
 */
int fs_hosts_from_json(const char *text, size_t n, FsHost **hostsp, size_t *n_hostsp, Error *err);

/* The filesystem part of that object, as jansson's json_t * (new reference), NULL without memory.
 */
struct json_t *fs_host_to_json(const FsHost *host);

/* Whether @host mounts @bit of that class read-write, and how we know. */
bool fs_host_has(const FsHost *host, FsKind kind, FsClass class, uint64_t bit,
                 FsEvidence *evidencep);

/* Whether @gate is on; UNKNOWN is resolved by what such kernels usually have, with LOW confidence.
 */
bool fs_host_gate(const FsHost *host, FsGate gate, FsConfidence *confidencep);

#endif
