/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_IPAM_IPAM_H
#define BERTH_CNI_IPAM_IPAM_H

/*
 * Addresses: host-local and static in this process, any other type by executing its plugin from
 * CNI_PATH as the specification says ("Plugin Delegation").
 */

#include "cni/spec/attachment.h"
#include "cni/spec/conf.h"
#include "cni/spec/env.h"
#include "cni/spec/failure.h"

typedef struct Ipam {
        const NetConf *conf; /* borrowed, as all below */
        const CniEnv *env;
        const CniArgs *args;
        NlSocket *rtnl;    /* the host's; may still be to open */
        const char *input; /* stdin as it came, for a plugin that is executed */
        size_t n_input;

        /* A lease that is there already for this interface is left by an ADD that was killed: the
         * caller has the link in hand and would know of a live one. Without this it is the error
         * of host-local. */
        bool reuse;

        bool kept;        /* out: ADD gave an address that was held before; undo must leave it */
        bool found_whole; /* out: what ipam_find() told are the addresses of ADD with their subnets
                           */
        Failure passed;   /* out: what an executed plugin said; code 0 if it said nothing */
} Ipam;

/* @result: gets ips, routes and dns; empty before. Return: 0; negative with @err filled, and
 * nothing held. */
int ipam_add(Ipam *ipam, CniResult *result, Error *err);
int ipam_del(Ipam *ipam, Error *err);
int ipam_check(Ipam *ipam, Error *err);
int ipam_gc(Ipam *ipam, const GcRequest *gc, Error *err);

#define IPAM_E_UNKNOWN 1 /* the plugin is executed: only its ADD tells */

/* What ADD would answer, with some address of each range; nothing is taken. Return: 0;
 * IPAM_E_UNKNOWN; negative. */
int ipam_preview(Ipam *ipam, CniResult *result, Error *err);

/* UNAVAILABLE with the reason. */
int ipam_status(Ipam *ipam, Error *err);

/* After ipam_add(): takes back what it gave, unless it was held before. */
void ipam_undo(Ipam *ipam);

/**
 * ipam_restore() - the leases of a pod that runs (host-local only)
 * @ips:   what it was given
 * @doing: takes those that are missing
 * @done:  a line for each that is
 *
 * Return: 0; CONFLICT: another pod has one of them; another.
 */
int ipam_restore(Ipam *ipam, const ResultIp *ips, size_t n_ips, bool doing, StrBuf *done,
                 Error *err);

/* Which addresses this interface holds, when nobody else remembers (host-local only). */
int ipam_find(Ipam *ipam, CniResult *result, Error *err);

/* --- the parts --------------------------------------------------------------------------- */

int host_local_add(Ipam *ipam, CniResult *result, Error *err);
int host_local_del(Ipam *ipam, Error *err);
int host_local_check(Ipam *ipam, Error *err);
int host_local_gc(Ipam *ipam, const GcRequest *gc, Error *err);
int host_local_status(Ipam *ipam, Error *err);
int host_local_preview(Ipam *ipam, CniResult *result, Error *err);
int host_local_find(Ipam *ipam, CniResult *result, Error *err);
int host_local_restore(Ipam *ipam, const ResultIp *ips, size_t n_ips, bool doing, StrBuf *done,
                       Error *err);

/**
 * delegate_run() - execute the IPAM plugin
 * @verb:    the CNI_COMMAND it gets
 * @outputp: its stdout, owned by the caller; may be NULL
 *
 * Return: 0; negative, with @ipam->passed filled if it answered with an error object.
 */
int delegate_run(Ipam *ipam, const char *verb, char **outputp, Error *err);

/* Another plugin, by name. All borrowed. */
typedef struct Delegate {
        const char *what; /* "IPAM ", or "", before the word "plugin" in messages */
        const char *type;
        const char *cni_path; /* NULL: none */
        const char *input;    /* its stdin */
        size_t n_input;
        Failure *passed; /* out: its error object; code 0 if it gave none */
} Delegate;

/* As delegate_run(), of any plugin. */
int delegate_exec(const Delegate *delegate, const char *verb, char **outputp, Error *err);

/* The path of @type in the colon separated @cni_path: a regular file, links followed. Caller
 * frees. */
int delegate_find(const char *cni_path, const char *type, char **pathp, Error *err);

#endif
