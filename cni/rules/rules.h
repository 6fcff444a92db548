/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_RULES_RULES_H
#define BERTH_CNI_RULES_RULES_H

/*
 * Everything of an attachment that is an nftables element, as one list and one transaction.
 *
 * The ruleset is one table "berth" per family (ip, ip6, bridge) with a few groups of chains, rules
 * and sets. A group is made whole when the first attachment needs it and never changes afterwards;
 * an attachment only adds elements, so its cost does not grow with the pods. Each element's comment
 * says whose it is, and it is deleted only for that owner: the transaction carries the generation
 * of the ruleset at the time the owner was read, and the kernel refuses it when anything changed in
 * between. That is the one lock, and the kernel holds it.
 *
 * A feature (masquerade, host ports, ...) turns its configuration and an attachment into elements;
 * that is pure. rules_add(), rules_del(), rules_check() and rules_scan() do the rest for all of
 * them.
 */

#include "cni/spec/attachment.h"
#include "common/nft/nft_query.h"

#define RULES_TABLE "berth"

/* Ports of one pod: a list that is longer is a mistake. Each costs up to 4 elements a family. */
#define RULES_PORTS_MAX 1024

/* Of the mark that a packet carries through FORWARD; taken away again behind it. */
#define RULES_FORWARD_MARK 0x10000000U

/* In a configuration for STATUS: does any plugin of the list open FORWARD? */
#define RULES_KEY_FIREWALL "berth.dev/list-has-firewall"

/* ct state established and related, in the kernel's bits. */
#define RULES_CT_ANSWERS (1U << 1 | 1U << 2)

/* Elements of one list. */
#define RULES_ELEMENTS_MAX (RULES_PORTS_MAX * 10)

/* --- groups: what is made once ------------------------------------------------------------- */

typedef enum RuleGroupKind {
        RULE_GROUP_MASQ,      /* pods of one subnet are masqueraded outside of it */
        RULE_GROUP_PORTS,     /* host ports under one set of conditions */
        RULE_GROUP_SNAT,      /* the way back of host ports, for one subnet */
        RULE_GROUP_SNAT_ALL,  /* the same for every source (masqAll) */
        RULE_GROUP_SPOOF,     /* MAC addresses that a link may send from */
        RULE_GROUP_ARP,       /* IPv4 addresses that a link may claim */
        RULE_GROUP_ND,        /* IPv6 addresses that a link may claim */
        RULE_GROUP_PROTOCOL,  /* links that carry IP and ARP, of hosts and not of servers */
        RULE_GROUP_SOURCE,    /* addresses that a link of a routed pod may send from */
        RULE_GROUP_ISOLATION, /* bridges that do not talk to each other */
        RULE_GROUP_NODE,      /* what of this host is not for host ports, and comes before them */
        RULE_GROUP_LOCALNET,  /* who may send to 127.0.0.0/8 */
        RULE_GROUP_FIREWALL,  /* pods that pass FORWARD (cni/features/forward.h) */
        _RULE_GROUP_N,
} RuleGroupKind;

/* A condition on packets that come to a host port, of portmap's conditionsV4 and conditionsV6. */
typedef enum ConditionKind {
        CONDITION_SOURCE,
        CONDITION_DESTINATION,
        CONDITION_IN_LINK,
} ConditionKind;

typedef struct RuleCondition {
        ConditionKind kind;
        bool differs;
        IpPrefix prefix;
        char link[IFNAMSIZ];
        uint32_t n_link; /* bytes that count: without a NUL it is a prefix ("eth+") */
} RuleCondition;

#define RULE_CONDITIONS_MAX 16

typedef struct RuleConditions {
        RuleCondition items[RULE_CONDITIONS_MAX];
        size_t n;
} RuleConditions;

/* How pods are masqueraded, beside the subnet. */
#define RULE_INSIDE_MAX 16
typedef struct RuleMasq {
        IpPrefix inside[RULE_INSIDE_MAX]; /* further networks that see the pod's own address */
        size_t n_inside;
        IpAddress egress; /* the address that pods leave under; family 0: the outgoing link's */
        bool randomly;    /* the source port */
} RuleMasq;

/* "masq-10.1.0.0-16", "snat-fd00_1__-64", "ports-1f2e3d4c5b6a7988". */
#define RULE_SET_NAME_MAX 64

typedef struct RuleGroup {
        RuleGroupKind kind;
        uint8_t family;                   /* NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE */
        IpPrefix subnet;                  /* MASQ, SNAT; a full-length one is "no subnet" */
        const RuleMasq *masq;             /* MASQ; borrowed; NULL: the defaults */
        const RuleConditions *conditions; /* PORTS; borrowed; NULL or none: unconditional */
        char suffix[48]; /* behind the names of its sets, "" if there is one only */
} RuleGroup;

/* Sets of the groups. The first of a group exists if and only if the group does. */
typedef enum RuleSet {
        RULE_SET_MASQ,           /* MASQ: pod address */
        RULE_SET_PORTS,          /* PORTS: protocol . host port -> pod address . port */
        RULE_SET_PORTS_AT,       /* PORTS: host address . protocol . host port -> likewise */
        RULE_SET_PORT_PODS,      /* PORTS: pod address -> how many elements its ports have
                                  */
        RULE_SET_SNAT,           /* SNAT: pod address . protocol . port */
        RULE_SET_HAIRPIN,        /* SNAT without a subnet: pod address . itself . protocol . port */
        RULE_SET_SNAT_ALL,       /* SNAT_ALL: pod address . protocol . port */
        RULE_SET_SPOOF_LINKS,    /* SPOOF: host link that is looked at */
        RULE_SET_SPOOF_MACS,     /* SPOOF: host link . MAC address that it may send from */
        RULE_SET_ARP_LINKS,      /* ARP: host link that is looked at */
        RULE_SET_ARP_SENDERS,    /* ARP: host link . MAC address . address that it may claim */
        RULE_SET_ND_LINKS,       /* ND: host link that is looked at */
        RULE_SET_ND_SENDERS,     /* ND: host link . address that it may claim, as a source */
        RULE_SET_ND_TARGETS,     /* ND: likewise, as a target */
        RULE_SET_PROTOCOL_LINKS, /* PROTOCOL: host link that is looked at */
        RULE_SET_SOURCE_LINKS,   /* SOURCE: host link that is looked at */
        RULE_SET_SOURCES,        /* SOURCE: host link . address that it may send from */
        RULE_SET_ISOLATED,       /* ISOLATION: bridge */
        RULE_SET_SAME_BRIDGE,    /* ISOLATION: bridge . bridge that may talk among themselves */
        RULE_SET_SERVICES,       /* NODE: address of this host that stands for a Service */
        RULE_SET_HELD,           /* NODE: host address . protocol . port of a program of the host */
        RULE_SET_LOCALNET,       /* LOCALNET: link, which is the loopback */
        RULE_SET_FIREWALL,       /* FIREWALL: pod address */
        _RULE_SET_N,
} RuleSet;

/* Name of @set in @group. Return: @name, which has RULE_SET_NAME_MAX bytes. */
const char *rule_set_name(const RuleGroup *group, RuleSet set, char *name);

/* Which set a name is about. Return: 0; -EINVAL when it is none of ours. */
int rule_set_parse(const char *name, RuleSet *setp);

/* Name of a chain whose rules look into @group's sets; as rule_set_name(). */
const char *rule_group_chain(const RuleGroup *group, char *name);

/* The messages that make @group: table, chains, sets, rules. Its first set is made exclusively, so
 * that a group that appeared in between fails the transaction instead of having its rules twice. */
void rule_group_make(NftBatch *batch, const RuleGroup *group);

/**
 * rule_group_move() - copies a rule of an earlier version's chain to where host ports come today
 *
 * Return: is @rule's chain one of those? Then it is to be deleted.
 */
bool rule_group_move(NftBatch *batch, uint8_t family, const NftRule *rule);

/* --- the list ----------------------------------------------------------------------------- */

typedef enum RuleClaim {
        RULE_CLAIM_ADDRESS, /* whoever got the address or the link: an older owner is gone */
        RULE_CLAIM_FIRST,   /* whoever came first, while it lives */
        RULE_CLAIM_NOBODY,  /* of the node: never deleted with a pod */
} RuleClaim;

typedef struct Rule {
        NftElement element; /* its set is @set_name */
        char set_name[RULE_SET_NAME_MAX];
        RuleSet set;
        RuleClaim claim;
        size_t group;   /* index */
        char label[96]; /* "hostPort 8080/tcp to 10.1.0.5:80" */
} Rule;

/* Starts as (RuleList){0}. */
typedef struct RuleList {
        RuleGroup *groups; /* owned */
        size_t n_groups;
        Rule *rules; /* owned */
        size_t n_rules;
        char comment[NFT_COMMENT_MAX]; /* for every element that has an owner */
        bool restores; /* its pod had all of it before: one that came later is in nobody's way */
} RuleList;

void rules_deinit(RuleList *list);

/* The index of @group, which is appended if the list lacks it. Return: >= 0; -ENOMEM. */
int rules_group(RuleList *list, const RuleGroup *group);

/* The group of @kind for the subnet of @address: whatever the host bits are. */
int rules_subnet_group(RuleList *list, RuleGroupKind kind, const IpPrefix *address);

/* The group of RULE_GROUP_MASQ for it, with @masq, which @options names (".1f2e3d4c"; "":
 * defaults).
 */
int rules_masq_group(RuleList *list, const IpPrefix *address, const RuleMasq *masq,
                     const char *options);

static inline uint8_t rules_family(const IpAddress *address) {
        return address->family; /* NFPROTO_IPV4 and NFPROTO_IPV6 are AF_INET and AF_INET6 */
}

/* Appends an element with an empty key. NULL without memory or beyond RULES_ELEMENTS_MAX. */
Rule *rules_append(RuleList *list, size_t group, RuleSet set, RuleClaim claim);

/* Writes the next part of a key or of data, padded to 4 bytes. */
void rule_key(Rule *rule, const void *part, size_t n);
void rule_data(Rule *rule, const void *part, size_t n);

/* --- whose ------------------------------------------------------------------------------- */

/* What an element's comment says: "<owner in hex> <network> <host link> <ifname> <container>".
 * A network's name that is too long is replaced by a hash, an ID is cut. */
typedef struct RuleOwner {
        uint8_t owner[OWNER_SIZE];
        char network[40];
        char host_link[IFNAMSIZ]; /* "-" when not known */
        char container[NFT_COMMENT_MAX];
} RuleOwner;

void rule_owner_format(const Attachment *at, char comment[NFT_COMMENT_MAX]);

/* Return: 0; -EINVAL when @comment is none of ours. */
int rule_owner_parse(const char *comment, RuleOwner *owner);

/* Is it of network @name, as rule_owner_format() writes that? */
bool rule_owner_is_of(const RuleOwner *owner, const char *network);

/* --- in the kernel ----------------------------------------------------------------------- */

/* Starts as RULES_SOCKET_NULL; opened when it is first needed. */
typedef struct RulesSocket {
        NlSocket netfilter;
        ResultIp *shut; /* owned: whose element of the firewall rules_scan() took away; only */
        size_t n_shut;  /* @shut[].address.address counts */
} RulesSocket;

#define RULES_SOCKET_NULL                                                                          \
        { .netfilter = NL_SOCKET_NULL }

/* Return: 0; UNSUPPORTED when the kernel has no nftables. */
int rules_open(RulesSocket *sock, Error *err);
void rules_close(RulesSocket *sock);

/**
 * rules_add() - make every element of @list, and the groups that are missing
 * @rtnl: to find out whether the owner of a host port still lives
 *
 * One transaction when nothing is in the way; else the owners are read first. Elements of ours that
 * are there already are kept.
 *
 * Return: 0; CONFLICT naming the port and its owner; another.
 */
int rules_add(RulesSocket *sock, RuleList *list, NlSocket *rtnl, Error *err);

/**
 * rules_probe() - could this kernel make @groups, which are of one family? (cni/rules/probe.c)
 *
 * Nothing is made. Return: 1; 0: it lacks something of nftables; negative: nobody can tell, as
 * without CAP_NET_ADMIN.
 */
int rules_probe(RulesSocket *sock, const RuleGroup *groups, size_t n, Error *err);

/* What macspoofchk needs of it on a bridge (CONFIG_NF_TABLES_BRIDGE); true when nobody can tell. */
bool rules_can_check_claims(void);

/* What DEL found. */
typedef enum RuleFound {
        RULE_FOUND_NOT,   /* missing, or of another owner */
        RULE_FOUND_OTHER, /* ours, with another value than in the list */
        RULE_FOUND_SAME,
} RuleFound;

/* Does @found, about the rules of a list, tell of elements that have to go before these? */
typedef bool (*RuleBefore)(const RuleFound *found, void *userdata);

#define RULES_E_BEFORE 1 /* nothing was deleted: what @before tells of goes first */

/**
 * rules_del() - delete the elements of @list that belong to @owner
 * @found: may be NULL; found[i] is about rule i
 * @before: may be NULL. Who is killed after what tells of other elements is gone leaves those
 *
 * Return: 0; RULES_E_BEFORE; negative.
 */
int rules_del(RulesSocket *sock, const RuleList *list, const uint8_t owner[OWNER_SIZE],
              RuleFound *found, RuleBefore before, void *userdata, Error *err);

/* Every element is there, of @owner, with its value, and there are rules that look for them.
 * @all: NULL, or a line for each element that is missing. Return: 0; NOT_FOUND naming the first. */
int rules_check(RulesSocket *sock, const RuleList *list, const uint8_t owner[OWNER_SIZE],
                StrBuf *all, Error *err);

/* Is this element, in a set of a part in question, to be deleted? */
typedef bool (*RuleFilter)(const RuleOwner *owner, const NftFound *found, void *userdata);

/**
 * rules_scan() - look through whole sets, for GC and for DEL when nobody knows the keys
 * @sets: bits 1 << RuleSet
 *
 * The cost grows with the pods on the node.
 */
int rules_scan(RulesSocket *sock, unsigned int sets, RuleFilter filter, void *userdata, Error *err);

/**
 * rules_reclaim() - what a dead pod left for the addresses that @at was given
 *
 * Host ports lead to an address, and masquerade and firewall are about it, whoever's they are. When
 * an element of another owner is about one of them, whose link is gone or whose network is the same
 * (which gives an address to one pod at a time), all that point to it are deleted.
 *
 * Return: 1 when something was; 0; negative.
 */
int rules_reclaim(RulesSocket *sock, const Attachment *at, Error *err);

/* Has @at's owner any element about its addresses? Asked by key, in one round trip, of host ports,
 * masquerade and firewall. */
bool rules_remain(RulesSocket *sock, const Attachment *at);

/**
 * rules_move() - goes before rule_group_make() of a RULE_GROUP_NODE that is missing: earlier
 * versions have host ports at kube-proxy's own priority (cni/rules/move.c)
 * @batch: has the generation of before this call
 *
 * Return: 0, also when there is nothing to move; negative errno.
 */
int rules_move(NlSocket *sock, NftBatch *batch, uint8_t family);

/* --- the node (cni/rules/node.c) --------------------------------------------------------- */

/* The link that leads to @pod: the bridge, a VLAN link on it, the pair. Return: 0; -ENETUNREACH
 * when a router does, or nobody; another -errno. */
int rules_link_to(const Attachment *at, const IpAddress *pod, char name[IFNAMSIZ]);

/* Brings the set "service-addresses" in step with the addresses on kube-ipvs0, where kube-proxy in
 * IPVS mode makes every Service's address one of this host; nothing without that link. */
int rules_services_sync(RulesSocket *sock, NlSocket *rtnl, Error *err);

#endif
