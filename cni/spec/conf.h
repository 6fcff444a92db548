/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_CONF_H
#define BERTH_CNI_SPEC_CONF_H

/*
 * The network configuration from stdin. NetConf has what every part needs and the keys of the link
 * itself; each module (cni/spec/module.h) parses its own keys out of NetConf.json. Pure.
 */

#include "cni/spec/json.h"
#include "cni/spec/result.h"

#include <net/if.h>

/* Which plugin we are, by the name we are called (argv[0]). */
typedef enum PluginRole {
        ROLE_BERTH, /* "berth-cni": all of it in one */
        ROLE_BRIDGE,
        ROLE_PTP,
        ROLE_LOOPBACK,
        ROLE_HOST_LOCAL,
        ROLE_STATIC,
        ROLE_PORTMAP,
        ROLE_BANDWIDTH,
        ROLE_FIREWALL,
        ROLE_TUNING,
        ROLE_FLANNEL,
        _ROLE_N,
} PluginRole;

#define ROLE_BIT(role) (1U << (role))

/* The roles that make a link. */
#define ROLES_LINK (ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_BRIDGE) | ROLE_BIT(ROLE_PTP))

/* "bridge". Static. */
const char *role_name(PluginRole role);

/* By the last component of @path; what is unknown is ROLE_BERTH. */
PluginRole role_from_path(const char *path);

/* 4094 VLANs, each its own entry. */
#define CONF_TRUNKS_MAX 4094

typedef struct VlanRange {
        uint16_t first, last; /* 1..4094 */
} VlanRange;

/* "linkRemoval": does DEL answer before the kernel has removed the link? */
typedef enum LinkRemoval {
        REMOVAL_BY_RUNTIME, /* no such key: detached for a pod of Kubernetes */
        REMOVAL_WAIT,
        REMOVAL_DETACHED,
} LinkRemoval;

/* Keys of upstream's bridge, and of ptp where it has them. */
typedef struct LinkConf {
        char bridge[IFNAMSIZ];
        bool is_gateway; /* also set by isDefaultGateway */
        bool is_default_gateway;
        bool force_address;
        bool hairpin;
        bool promisc;
        bool preserve_default_vlan;
        bool enable_dad;
        bool disable_container_interface;
        bool port_isolation;
        uint32_t mtu_bytes; /* 0: the bridge's, and a new bridge takes the uplink's */
        uint16_t vlan;      /* 0: none */
        VlanRange *trunks;  /* owned */
        size_t n_trunks;
        bool has_trunks; /* the key is there, be it empty: the bridge filters VLANs */
        bool has_mac;    /* from runtimeConfig, args or CNI_ARGS, in that order */
        uint8_t mac[6];
        LinkRemoval removal;
        uint32_t gso_max_bytes; /* "gsoMaxSize", of our own type; 0: the kernel's */
        bool routed; /* "mode": "routed", of our own type: no bridge, the host routes to each pod */
} LinkConf;

/* Starts as (NetConf){0}. */
typedef struct NetConf {
        PluginRole role;
        bool is_undo;     /* DEL: keys that cannot be read are passed over */
        json_t *json;     /* owned: the whole configuration */
        const char *text; /* borrowed: what json was made from, n_text bytes */
        size_t n_text;
        CniVersion version;
        const char *name;      /* borrowed from json; "" is possible for STATUS and GC only */
        const char *type;      /* borrowed; "" if absent */
        const json_t *runtime; /* borrowed: runtimeConfig; NULL if absent */
        const json_t *args;    /* borrowed: args.cni; NULL if absent */
        const json_t *ipam;    /* borrowed; NULL if absent */
        const char *ipam_type; /* borrowed; "" if there is no IPAM */
        const json_t *dns;     /* borrowed; NULL when absent or without content */
        bool ip_masq;          /* the masquerade module's; here because bridge and ptp share it */
        LinkConf link;
        bool has_prev;
        CniResult prev; /* prevResult */
} NetConf;

/* Outcomes of conf_parse() that the specification gives a code of their own. */
#define CONF_E_NOT_JSON 1 /* @err: line, column, what */
#define CONF_E_NAME     2 /* @err: the name with invalid characters, or that it is missing */
#define CONF_E_VERSION  3 /* @err: the version that we do not speak */

/**
 * conf_parse() - stdin to NetConf
 * @conf: (NetConf){0} with role and is_undo set; conf_deinit() frees it, also after a failure
 *
 * Keys are checked in the order of upstream's skeleton: JSON, name, version, the rest.
 *
 * Return: 0; CONF_E_*; negative with @err filled. INVALID with the words upstream uses where it
 * has some.
 */
int conf_parse(NetConf *conf, const char *text, size_t n, Error *err);
void conf_deinit(NetConf *conf);

/* No bridge: the host's end of the pair is where the pod is reached. */
static inline bool conf_is_pair(const NetConf *conf) {
        return conf->role == ROLE_PTP || conf->link.routed;
}

/* What routed pods send to: 169.254.1.1 and fe80::1, which no link has, at a MAC address that both
 * sides know. */
IpAddress conf_routed_gateway(uint8_t family);

/* Container ids and network names: a letter or digit, then letters, digits, "_", "." and "-". */
bool conf_name_is_valid(const char *name);

/* "aa:bb:cc:dd:ee:ff", also with "-". Return: 0; -EINVAL. */
int conf_mac_parse(const char *text, uint8_t mac[6]);

/* Takes the key "mac" of @object, unless there is an address already. */
int conf_take_mac(const json_t *object, LinkConf *link, Error *err);

/* One that an interface can have: no group, not zero. */
bool conf_mac_is_unicast(const uint8_t mac[6]);

#endif
