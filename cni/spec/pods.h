/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_PODS_H
#define BERTH_CNI_SPEC_PODS_H

/* What runtimes note of the pods that they attached: libcni's cache, pkg "libcni", api.go. */

#include "cni/spec/json.h"

/* Where runtimes keep them. */
#define PODS_DIRECTORY "/var/lib/cni"

/* One attachment. Strings are owned by @note. */
typedef struct PodNote {
        json_t *note; /* owned: the file */
        json_t *list; /* owned: the configuration list it was attached with; NULL if unreadable */
        const char *network, *container, *ifname;
        const char *netns; /* "" when nobody says */
        bool lives;        /* its namespace is there, or nobody says where it is */
} PodNote;

typedef struct PodNotes {
        PodNote *items; /* owned */
        size_t n;
} PodNotes;

/* The bytes of one note, whose @lives stays as it is. Freed by pod_note_deinit(), also after a
 * failure. Return: 0; negative. */
int pod_note_parse(const char *text, size_t n, PodNote *note, Error *err);
void pod_note_deinit(PodNote *note);

/**
 * pods_read() - the notes in @directory/results
 * @network: NULL: of all networks
 *
 * A directory that is not there has none. A note that cannot be read is an error, not a pod that is
 * gone. Return: 0; negative.
 */
int pods_read(const char *directory, const char *network, PodNotes *notes, Error *err);
void pods_deinit(PodNotes *notes);

/* The configuration of plugin @i of the note's list, as the runtime built it, with prevResult and
 * runtimeConfig. NULL without memory, or when there is no such plugin. */
json_t *pod_plugin_conf(const PodNote *note, size_t i);

#endif
