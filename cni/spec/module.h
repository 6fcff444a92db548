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

#include "cni/spec/conf.h"
#include "cni/spec/sysctl.h"
#include "common/base/str.h"
#include "common/netlink/nl_socket.h"

/* SHA-256 of "network\0container\0ifname", cut. */
#define OWNER_SIZE 16

#define LINK_LIST_MAX 48

/* Indices of links of the host. */
typedef struct LinkList {
        unsigned int indices[LINK_LIST_MAX];
        size_t n; /* what is beyond LINK_LIST_MAX is left out */
} LinkList;

/* The pod's interface, while it is attached or taken away. All members are borrowed. */
typedef struct Attachment {
        const char *network; /* conf->name */
        const char *container_id;
        const char *ifname;        /* in the pod */
        const char *netns_path;    /* NULL: not told, or gone (DEL) */
        int netns_fd;              /* -1: likewise */
        int own_netns_fd;          /* the host's: the way back of netns_call() */
        uint8_t owner[OWNER_SIZE]; /* tag of every rule, link and element that belongs to it */
        NlSocket *rtnl;            /* NETLINK_ROUTE in the host's namespace, open */
        Sysctls *sysctls;
        char bridge[IFNAMSIZ]; /* "" if there is none, or it is not known (DEL, chained) */
        unsigned int bridge_index;
        /* The link whose other side the pod is on: the bridge, its VLAN link, the pair. "": ask for
         * the route. ADD knows it before there is one. */
        char gate[IFNAMSIZ];
        char host_link[IFNAMSIZ]; /* the host's end of the pair; "" when not known */
        unsigned int host_index;  /* 0 when not known or gone */
        bool is_ours;             /* DEL: host_link has our alias */
        uint32_t host_mtu_bytes;  /* 0 when not known */
        unsigned int pod_index;   /* index of ifname in the pod; 0 when not known */
        bool has_pod_mac;
        uint8_t pod_mac[6];  /* of ifname; on DEL from prevResult, if that tells it */
        const ResultIp *ips; /* the pod's addresses with their gateways, both families */
        size_t n_ips;        /* 0 on DEL when nobody knows them any more: search by owner */
        bool knows_ips;      /* DEL: those, with their subnets, are what ADD was given */
        /* DEL: links that go together after all modules, because each removal alone waits 20 ms in
         * the kernel. NULL: a module removes its own itself. */
        LinkList *doomed;
        /* DEL: of the rules, borrowed, -1 when none was needed: see request_leave(). */
        int netfilter_fd;
} Attachment;

void link_list_add(LinkList *list, unsigned int index);

/* Sets them down, and gives them names and a group that nobody else has: what had their names
 * before can be made anew. Up to 32. Return: 0, also of links that are gone; -errno. */
int link_list_doom(NlSocket *rtnl, const LinkList *list);

/* Removes what link_list_doom() left, whoever called it. */
int link_doomed_remove(NlSocket *rtnl);

/* Whom GC must keep. @owners is sorted. */
typedef struct GcRequest {
        const char *network;
        const uint8_t (*owners)[OWNER_SIZE];
        size_t n_owners;
        NlSocket *rtnl;
        json_t *told; /* what would go, a sentence each, in place of removing it; NULL: it goes */
} GcRequest;

/* Adds a sentence, unless it is there. Return: whether nothing is to be removed. */
bool gc_tells(const GcRequest *gc, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool gc_keeps(const GcRequest *gc, const uint8_t owner[OWNER_SIZE]);

void owner_of(const char *network, const char *container_id, const char *ifname,
              uint8_t owner[OWNER_SIZE]);

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
