/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_PODS_H
#define BERTH_CNI_SPEC_PODS_H

/* What runtimes note of the pods that they attached: libcni's cache, pkg "libcni", api.go. */

#include "cni/spec/host_link.h"
#include "cni/spec/json.h"

/* Where runtimes keep them. */
#define PODS_DIRECTORY "/var/lib/cni"

/* One attachment. Strings are owned by @note. */
typedef struct PodNote {
        json_t *note; /* owned: the file */
        json_t *list; /* owned: the configuration list it was attached with; NULL if unreadable */
        const char *network, *container, *ifname;
        const char *netns; /* "" when nobody says */
        bool lives;        /* as pod_note_lives() found */
} PodNote;

typedef struct PodNotes {
        PodNote *items; /* owned */
        size_t n;
} PodNotes;

/**
 * pod_note_lives() - is the pod there that the note is about?
 * @rtnl: the host's
 *
 * Its namespace is, or nobody says where that is. And what is under the path is the pod's: paths
 * are used again (/proc/PID/ns/net, names of "ip netns"). The alias of the host's end says whose an
 * interface is; where it has none, the pair is the pod's if the note names that end.
 *
 * Return: also true when it cannot be told.
 */
bool pod_note_lives(const PodNote *note, NlSocket *rtnl);

/* Is @host, the other end of the note's interface, the note's? */
bool pod_note_has_link(const PodNote *note, const Link *host);

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
