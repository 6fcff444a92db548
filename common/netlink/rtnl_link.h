/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_RTNL_LINK_H
#define BERTH_NETLINK_RTNL_LINK_H

/*
 * Links: builders that append one request to a batch, and readers of what the kernel answers.
 * Names are 1..15 bytes; MAC addresses are 6 bytes. A builder that cannot fit its message breaks
 * the batch, and nl_batch_run() then returns why.
 */

#include "common/netlink/nl_socket.h"

#include <net/if.h>

#define LINK_ALIAS_MAX 256 /* IFALIASZ, with the NUL */
#define LINK_MAC_SIZE  6
#define LINK_KIND_MAX  16
/* Of linux/if.h, which does not go with net/if.h. */
#define LINK_OPER_UP       6          /* IF_OPER_UP */
#define LINK_FLAG_LOWER_UP (1U << 16) /* IFF_LOWER_UP: there is a carrier */

/* What RTM_NEWLINK tells of a link. 0, "" or -1 (netnsid) where it tells nothing. */
typedef struct Link {
        unsigned int index;
        unsigned int flags; /* IFF_* */
        char name[IFNAMSIZ];
        char kind[LINK_KIND_MAX]; /* "veth", "bridge", "" for hardware */
        char alias[LINK_ALIAS_MAX];
        uint8_t mac[LINK_MAC_SIZE];
        bool has_mac; /* 6 bytes; false for other hardware types */
        uint32_t mtu_bytes;
        uint32_t gso_max_bytes; /* for IPv6 */
        uint32_t txqlen;        /* packets */
        uint32_t group;
        unsigned int master;    /* index, 0 if none */
        unsigned int peer;      /* IFLA_LINK: the other end of a veth, in the namespace of... */
        int32_t peer_netnsid;   /* ...this id; -1: the same namespace */
        uint8_t operstate;      /* LINK_OPER_UP, or less */
        uint32_t n_promiscuous; /* how many asked for it; IFF_PROMISC of the user is in flags */
        bool vlan_filtering;    /* bridge */
        bool has_port;          /* the members below are told: the master is a bridge */
        bool hairpin;           /* IFLA_BRPORT_MODE */
        bool isolated;          /* IFLA_BRPORT_ISOLATED, Linux 4.18 */
        uint8_t port_state;     /* BR_STATE_* */
        bool has_inet6;         /* the switches below are told: the link speaks IPv6 */
        int32_t accept_ra;      /* 2: also while forwarding */
        int32_t accept_dad;
        bool inet6_is_off; /* disable_ipv6 */
        /* The link's own switch of forwarding is told, and off. */
        bool keeps_v4, keeps_v6;
} Link;

/**
 * link_parse() - read an RTM_NEWLINK message
 *
 * Return: 0; -EBADMSG.
 */
int link_parse(const struct nlmsghdr *message, Link *link);

/* Asks for one link by index (then @name may be NULL) or by name. Extended VF data is not asked
 * for. */
void link_get(NlBatch *batch, unsigned int index, const char *name);

/* The same by index, in the namespace that the socket's calls @netnsid (Link.peer_netnsid). */
void link_get_in(NlBatch *batch, int32_t netnsid, unsigned int index);

/**
 * link_find_in() - a link of another namespace, by what the socket's calls that one
 * @netnsid: as in Link.peer_netnsid (IFLA_TARGET_NETNSID, Linux 4.20)
 *
 * A namespace that nobody uses any more is none, though its links still wait to be removed.
 *
 * An older kernel looks in the socket's own namespace.
 *
 * Return: 0; -ENODEV; -EINVAL: there is no such namespace; another -errno.
 */
int link_find_in(NlSocket *sock, int32_t netnsid, unsigned int index, Link *link);

/* In the namespace of the calling thread, and without the lock of all links, which link_get() waits
 * for while any namespace's are removed (SIOCGIFINDEX). Return: false when there is none; true also
 * when it cannot be told. */
bool link_may_be_there(const char *name);

/**
 * link_find() - link_get() as one round trip
 *
 * Return: 0; -ENODEV; another -errno.
 */
int link_find(NlSocket *sock, unsigned int index, const char *name, Link *link);

/* A dump of all links of @kind (NULL: of every kind) below @master (0: any). */
typedef int (*LinkEach)(const Link *link, void *userdata);

/**
 * link_dump() - @each for every link, after the dump is complete and consistent
 *
 * Return: 0; what @each returned below 0; -errno.
 */
int link_dump(NlSocket *sock, const char *kind, unsigned int master, LinkEach each, void *userdata);

/* --- making ------------------------------------------------------------------------------- */

/* Zero or NULL: the kernel's default. */
typedef struct BridgeSpec {
        const char *name;
        const uint8_t *mac; /* fixing it keeps the bridge from following its ports' addresses */
        bool vlan_filtering;
        bool up;
} BridgeSpec;

/* -EEXIST when the name is taken, by whatever kind. An MTU is for link_set() afterwards: given here
 * the kernel takes it as its own choice, and follows the ports' smallest (Linux 4.17). */
void link_add_bridge(NlBatch *batch, const BridgeSpec *spec);

typedef struct VethSpec {
        const char *name;
        const uint8_t *mac;
        const char *alias; /* not taken by the kernel on creation: see link_set() */
        unsigned int master;
        const char *peer_name;
        const uint8_t *peer_mac;
        int peer_netns_fd; /* -1: the socket's own namespace */
        uint32_t mtu_bytes;
        uint32_t n_queues; /* of each kind and end; 0: the kernel's default, one per possible CPU */
        bool up;           /* this end; the kernel refuses to bring the peer up here */
        bool echo;         /* NLM_F_ECHO: the answer is the new link (Linux 6.2; nothing before) */
} VethSpec;

void link_add_veth(NlBatch *batch, const VethSpec *spec);

/* ifb, for shaping what comes in. */
typedef struct IfbSpec {
        const char *name;
        uint32_t mtu_bytes;
        bool up;
        bool echo;
} IfbSpec;

void link_add_ifb(NlBatch *batch, const IfbSpec *spec);

/* --- changing ------------------------------------------------------------------------------ */

#define LINK_SET_MASTER         (1U << 0) /* master; 0 takes it out */
#define LINK_SET_UP             (1U << 1)
#define LINK_SET_DOWN           (1U << 2)
#define LINK_SET_MTU            (1U << 3)
#define LINK_SET_MAC            (1U << 4)
#define LINK_SET_ALIAS          (1U << 5)
#define LINK_SET_HAIRPIN        (1U << 6)
#define LINK_SET_ISOLATED       (1U << 7)
#define LINK_SET_PROMISC        (1U << 8)
#define LINK_SET_ALLMULTI       (1U << 9)
#define LINK_SET_TXQLEN         (1U << 10)
#define LINK_SET_VLAN_FILTERING (1U << 11) /* bridge */
#define LINK_SET_ARP_NOTIFY     (1U << 12) /* IPv4 devconf, by IFLA_INET_CONF */
#define LINK_SET_NO_LINKLOCAL   (1U << 13) /* IPv6 addr_gen_mode none; before the link is up */
#define LINK_SET_GROUP          (1U << 14)
#define LINK_SET_NAME           (1U << 15) /* before Linux 6.2 of a link that is down only */
#define LINK_SET_GSO            (1U << 16) /* of both families: Linux 6.3; of IPv6 alone: 5.19 */

typedef struct LinkChange {
        unsigned int set;   /* which members below are meant */
        unsigned int index; /* or, if 0, */
        const char *name;
        const char *new_name; /* wants the index */
        unsigned int master;
        uint32_t mtu_bytes;
        uint32_t txqlen;
        uint32_t group;
        uint32_t gso_max_bytes;
        const uint8_t *mac;
        const char *alias; /* cut by the kernel beyond 255 bytes: refused */
        bool hairpin, isolated, promisc, allmulti, vlan_filtering, arp_notify;
} LinkChange;

/* One RTM_NEWLINK without NLM_F_CREATE. Port members before flags, flags before devconf: what must
 * precede LINK_SET_UP wants a message of its own. */
void link_set(NlBatch *batch, const LinkChange *change);

void link_delete(NlBatch *batch, unsigned int index, const char *name);

/* Every link of the group in one go. -ENODEV when it is empty. */
void link_delete_group(NlBatch *batch, uint32_t group);

/* --- VLANs of a bridge port (or of the bridge itself) ------------------------------------ */

typedef struct PortVlan {
        unsigned int index;
        bool on_bridge;       /* @index is the bridge: its own membership */
        uint16_t first, last; /* 1..4094 */
        bool pvid, untagged;
} PortVlan;

void link_vlan_add(NlBatch *batch, const PortVlan *vlan);
void link_vlan_delete(NlBatch *batch, const PortVlan *vlan);

#endif
