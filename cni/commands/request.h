/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_COMMANDS_REQUEST_H
#define BERTH_CNI_COMMANDS_REQUEST_H

/* One call by a runtime, from stdin to stdout, and the functions of its verbs. */

#include "cni/commands/feature_table.h"
#include "cni/ipam/ipam.h"
#include "cni/link/apply.h"
#include "cni/spec/conf.h"
#include "cni/spec/env.h"
#include "cni/spec/failure.h"
#include "cni/spec/host_link.h"

typedef struct Request {
        CniEnv env;
        CniArgs args; /* owned */
        NetConf conf; /* owned */
        char *input;  /* owned: stdin */
        size_t n_input;
        Ipam ipam;
        NlSocket rtnl;     /* owned; open after request_open() */
        Sysctls sysctls;   /* owned */
        int netns_fd;      /* owned; -1 */
        int own_netns_fd;  /* owned; -1 */
        Features features; /* owned; after request_prepare() */
        Attachment at;
        ResultIp *ips;      /* owned; of request_attach() */
        char *output;       /* owned: what goes to stdout on success; NULL: nothing */
        Failure failure;    /* code 0: none yet */
        int held_fd;        /* owned: request_hold(); -1 */
        uint8_t random[24]; /* seed, bridge's and pod's MAC */
} Request;

#define REQUEST_NULL                                                                               \
        {                                                                                          \
                .rtnl = NL_SOCKET_NULL, .sysctls = SYSCTLS_NULL, .netns_fd = -1,                   \
                .own_netns_fd = -1, .features = FEATURES_NULL, .held_fd = -1                       \
        }

void request_deinit(Request *request);

/**
 * request_serve() - one call, once the environment and stdin are read
 * @request: conf.role, env, random and input are set; what it parses replaces what was there
 *
 * Return: 0 with @request->output; 1 with @request->failure.
 */
int request_serve(Request *request);

/* The same call with another configuration and role; @text becomes the request's. Return: 0;
 * negative with @request->failure. */
int request_serve_again(Request *request, PluginRole role, char *text);

/* A verb of one kind of plugin. Return: 0; negative with @err filled, or with request->failure
 * filled where the specification has a code of its own. */
typedef int (*RequestVerb)(Request *request, Error *err);

/* --- what the verbs share (cni/commands/request.c)
 * -------------------------------------------------- */

#define REQUEST_E_GONE 1 /* the namespace does not exist any more */

/* Opens the host's netlink socket and our own namespace. */
int request_open(Request *request, Error *err);

/**
 * request_open_netns() - CNI_NETNS
 *
 * Return: 0; REQUEST_E_GONE when it is empty or names nothing that is a namespace; negative.
 * That it is our own is a failure with code 8.
 */
int request_open_netns(Request *request, Error *err);

/* As above; gone is a failure (code 3). */
int request_need_netns(Request *request, Error *err);

/* Fills request->at with what the environment tells, and what it asks of the features. */
int request_prepare(Request *request, Error *err);

/* Opens everything and fills request->at from prevResult, for a pod that is attached. Return: 0;
 * REQUEST_E_GONE; negative. */
int request_attach(Request *request, Error *err);

/* No other process adds, takes away or repairs the attachment until this one ends; after
 * request_prepare(). Where no name can be held, nothing is. Return: 0; AGAIN. */
int request_hold(Request *request, Error *err);

/* Does DEL answer before the kernel has removed links? */
bool request_is_detached(const Request *request);

/**
 * request_leave() - the end of a DEL: what the kernel makes somebody wait for is left to a child
 * @links: link_list_mark_removed() has set links aside
 *
 * Closing a netfilter socket waits as well, up to 16 ms and with the lock of all transactions, for
 * what any of them took away, another process's too (nft_rcv_nl_event, Linux 5.18): the child keeps
 * it until that is done.
 * Without a child, links are removed here.
 */
void request_leave(Request *request, bool links);

/* The answer in the version of the configuration. */
int request_print(Request *request, const CniResult *result, Error *err);

/* {@key: @value} is the answer, for our own commands; borrows @value. */
void request_tell(Request *request, const char *key, json_t *value);

/* --- verbs --------------------------------------------------------------------------------- */

int link_add(Request *request, Error *err);
int link_del(Request *request, Error *err);
int link_check(Request *request, Error *err);
int link_gc(Request *request, Error *err);
int link_status(Request *request, Error *err);

int loopback_add(Request *request, Error *err);
int loopback_del(Request *request, Error *err);
int loopback_check(Request *request, Error *err);

int address_add(Request *request, Error *err);
int address_del(Request *request, Error *err);
int address_check(Request *request, Error *err);
int address_gc(Request *request, Error *err);
int address_status(Request *request, Error *err);

int chain_add(Request *request, Error *err);
int chain_del(Request *request, Error *err);
int chain_check(Request *request, Error *err);
int chain_gc(Request *request, Error *err);
int chain_status(Request *request, Error *err);

/* Its delegate does the work (cni/commands/flannel.h). */
int flannel_add(Request *request, Error *err);
int flannel_del(Request *request, Error *err);
int flannel_check(Request *request, Error *err);
int flannel_gc(Request *request, Error *err);
int flannel_status(Request *request, Error *err);

/* --- GC (cni/commands/gc.c)
 * -------------------------------------------------------------------------- */

/**
 * gc_parse() - "cni.dev/valid-attachments"
 * @ownersp: sorted; caller frees
 *
 * Return: 0; GC_E_NO_LIST when the key is absent: then nothing may be removed; negative.
 */
#define GC_E_NO_LIST 1
int gc_parse(const NetConf *conf, uint8_t (**ownersp)[OWNER_SIZE], size_t *np, Error *err);

#endif
