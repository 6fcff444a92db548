/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_MODULE_H
#define BERTH_CNI_SPEC_MODULE_H

/*
 * What comes after the link and the addresses: masquerade, host ports, firewall, bandwidth, MAC
 * check, sysctls. A module is one file with one table of functions; cni/commands/features.c lists
 * them in the order of ADD. DEL runs the list backwards.
 *
 * A chained call ("portmap" after somebody's bridge) and our own one-exec ADD look the same to a
 * module: an Attachment, filled from prevResult or from what was just made.
 */

#include "cni/spec/attachment.h"
#include "common/base/str.h"

/* A NULL member: nothing to do. Nothing here prints. */
typedef struct Module {
        const char *name;   /* "portmap" */
        unsigned int roles; /* ROLE_BIT()s in which it takes part */

        /* Own keys into own state, for every verb; *@statep stays NULL when this configuration
         * asks nothing of the module, and then only del and gc are called. Pure. */
        int (*parse)(const NetConf *conf, void **statep, Error *err);
        void (*free)(void *state);

        /* One line per step for the printed plan. Pure. */
        void (*plan)(const void *state, const Attachment *at, StrBuf *text);

        /* In the pod's namespace, its interface made and not up yet: what must precede traffic.
         * Undone with the interface. */
        int (*before_up)(void *state, Attachment *at, Error *err);

        /* All or nothing: on failure it has undone its own part. It may add interfaces to @result
         * (bandwidth's ifb). */
        int (*add)(void *state, Attachment *at, CniResult *result, Error *err);

        /* Missing things are done things. Errors are returned, and the caller goes on. @state is of
         * today's configuration, which need not be that of ADD; it may be NULL. Also called to roll
         * back an ADD that failed later. */
        int (*del)(void *state, Attachment *at, Error *err);

        int (*check)(void *state, Attachment *at, const CniResult *result, Error *err);
        int (*gc)(void *state, const GcRequest *gc, Error *err);

        /* UNAVAILABLE with the reason: answered as code 50. */
        int (*status)(void *state, Error *err);

        /* A pod that is attached: what is missing is told, a line each, and with @doing put back;
         * what is right is not touched. NULL: check() alone. */
        int (*repair)(void *state, Attachment *at, const CniResult *result, bool doing,
                      StrBuf *done, Error *err);
} Module;

/* NULL-terminated, in the order of ADD. */
extern const Module *const modules[];

#endif
