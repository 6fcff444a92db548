/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PLATFORM_CLASSIFY_INTERNAL_H
#define BERTH_PLATFORM_CLASSIFY_INTERNAL_H

/* What the tables of rules are made of, and the parts of the judgement. All pure. */

#include "common/platform/platform.h"

typedef enum MatchKind {
        MATCH_END = 0,
        MATCH_EQUAL,
        MATCH_PREFIX,
        MATCH_SUFFIX,
        MATCH_CONTAINS,
        MATCH_WORD,       /* one of the words between spaces */
        MATCH_EXISTS,     /* the fact is present */
        MATCH_EC2_UUID,   /* EC2's UUIDs, in either byte order */
        MATCH_OS_RELEASE, /* text "KEY=value" */
} MatchKind;

typedef struct Match {
        MatchKind kind;
        FactId fact;
        const char *text;
} Match;

/* Conditions that must hold together; the rest is MATCH_END. */
#define MATCHES_MAX 3

/**
 * match_all() - whether all @matches hold
 * @unknown_factp: written with UNKNOWN: the first fact that would have to be read; may be NULL
 *
 * UNKNOWN only if no condition is false and some fact could not be read.
 */
PlatformTri match_all(const Facts *facts, const Match matches[MATCHES_MAX], FactId *unknown_factp);

/* "sys_vendor is \"Amazon EC2\"", "/var/lib/k0s exists": the first of @matches, in words. */
void match_evidence(const Facts *facts, const Match *match, char *buffer, size_t n_buffer);

/**
 * os_release_get() - one value of an os-release file
 *
 * Quotes and backslashes are undone as a shell would. Source: os-release(5).
 *
 * Return: whether @key is there; else @buffer is "".
 */
bool os_release_get(const char *text, const char *key, char *buffer, size_t n_buffer);

/* The os-release that counts. */
const char *os_release_text(const Facts *facts);

/**
 * mounts_covering() - the mount that a path is on
 * @mountinfo: proc_pid_mountinfo(5); lines that are not of that form are skipped
 * @path:      absolute, without "//", "." and links
 * @is_sharedp: written when found: whether it has a peer group ("shared:N")
 *
 * A purpose-made scan: common/mount has the full parser, and rooms do not know each other.
 *
 * Return: whether a mount was found; its mount point is copied to @point if that is not NULL.
 */
bool mounts_covering(const char *mountinfo, const char *path, bool *is_sharedp, char *point,
                     size_t n_point);

/* The type of the filesystem at @path exactly. Return: whether there is a mount. */
bool mounts_type_at(const char *mountinfo, const char *path, char *type, size_t n_type);

/* Whether / is the whole filesystem of a block device, as a machine's is and a container's is not:
 * that has an overlay, or a part of the host's filesystem. */
bool mounts_root_is_disk(const char *mountinfo);

void classify_machine(Platform *platform);
void classify_virtual(Platform *platform);
void classify_cloud(Platform *platform);
void classify_container(Platform *platform);
void classify_kubernetes(Platform *platform); /* after classify_container() */

/**
 * auxv_parse() - page size and byte order of the machine that wrote /proc/self/auxv
 *
 * Pairs of native words up to AT_NULL; AT_PAGESZ is in each. Only one of the four forms (32 or 64
 * bits, little or big) makes sense of it.
 *
 * Return: 0; -EINVAL.
 */
int auxv_parse(const void *data, size_t n, uint32_t *page_bytesp, PlatformByteOrder *orderp);

#endif
