/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_ATTACHMENT_H
#define BERTH_CNI_SPEC_ATTACHMENT_H

/* One interface of one pod: whose it is, the names that follow from that, so that DEL finds it
 * whatever got lost, and whom GC keeps. Pure; what asks the kernel is in cni/spec/host_link.h. */

#include "cni/spec/conf.h"
#include "cni/spec/sysctl.h"
#include "common/base/str.h"
#include "common/netlink/nl_socket.h"
#include "common/netlink/rtnl_link.h"

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
        LinkList *removed;
        /* DEL: of the rules, borrowed, -1 when none was needed: see request_leave(). */
        int netfilter_fd;
} Attachment;

void link_list_add(LinkList *list, unsigned int index);

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

/* --- names -------------------------------------------------------------------------------- */

/* The host's end: "veth" and 8 hex digits of the owner; @attempt 0.. for when a name is taken. */
#define HOST_NAME_ATTEMPTS 10
void host_link_name(const uint8_t owner[OWNER_SIZE], unsigned int attempt, char name[IFNAMSIZ]);

/* The MAC address of the host's end follows from its name: a pair that was made by a killed ADD
 * before it had an alias shows by this whose it is. */
void host_link_mac(const char *name, uint8_t mac[6]);

/* What the alias of each pair of ours begins with. */
#define LINK_ALIAS_PREFIX "berth/"

/* "berth/<network>/<container>/<ifname>"; a name that is too long is hashed. */
void host_link_alias(const char *network, const char *container_id, const char *ifname,
                     char alias[LINK_ALIAS_MAX]);

/* The container and the interface of an alias, in place. Return: false for another one's. */
bool host_link_alias_split(char *alias, const char *network, const char **idp,
                           const char **ifnamep);

/* Is @link, found under a name of host_link_name(), the host's end of this attachment? */
bool host_link_is_ours(const Link *link, const char *alias);

#endif
