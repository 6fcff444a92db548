/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/spec/conf.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[_ROLE_N] = {
        [ROLE_BERTH] = "berth-cni",
        [ROLE_BRIDGE] = "bridge",
        [ROLE_PTP] = "ptp",
        [ROLE_LOOPBACK] = "loopback",
        [ROLE_HOST_LOCAL] = "host-local",
        [ROLE_STATIC] = "static",
        [ROLE_PORTMAP] = "portmap",
        [ROLE_BANDWIDTH] = "bandwidth",
        [ROLE_FIREWALL] = "firewall",
        [ROLE_TUNING] = "tuning",
        [ROLE_FLANNEL] = "flannel",
};

const char *role_name(PluginRole role) {
        return role_names[role];
}

PluginRole role_from_path(const char *path) {
        const char *slash = path ? strrchr(path, '/') : NULL;
        const char *name = slash ? slash + 1 : path;

        for (unsigned int i = 0; i < _ROLE_N; i++)
                if (str_equal(name, role_names[i]))
                        return (PluginRole)i;
        return ROLE_BERTH;
}

bool conf_name_is_valid(const char *name) {
        if (!isalnum((unsigned char)name[0]))
                return false;
        for (const char *at = name; *at; at++)
                if (!isalnum((unsigned char)*at) && !strchr("_.-", *at))
                        return false;
        return true;
}

/* "0200.0000.0001", which Go takes as well. */
static int mac_parse_dotted(const char *text, uint8_t bytes[6]) {
        for (size_t i = 0; i < 3; i++) {
                char part[5];
                uint64_t value;

                memcpy(part, text + i * 5, 4);
                part[4] = '\0';
                if ((i < 2 && text[i * 5 + 4] != '.') ||
                    str_parse_hex_u64(part, UINT16_MAX, &value) < 0)
                        return -EINVAL;
                bytes[i * 2] = (uint8_t)(value >> 8);
                bytes[i * 2 + 1] = (uint8_t)(value & 0xff);
        }
        return 0;
}

static int mac_parse_pairs(const char *text, uint8_t bytes[6]) {
        for (size_t i = 0; i < 6; i++) {
                char pair[3] = {text[i * 3], text[i * 3 + 1], '\0'};
                uint64_t value;

                if (i > 0 && text[i * 3 - 1] != ':' && text[i * 3 - 1] != '-')
                        return -EINVAL;
                if (str_parse_hex_u64(pair, UINT8_MAX, &value) < 0)
                        return -EINVAL;
                bytes[i] = (uint8_t)value;
        }
        return 0;
}

int conf_mac_parse(const char *text, uint8_t mac[6]) {
        size_t n = strlen(text);
        uint8_t bytes[6];
        int r = n == 17   ? mac_parse_pairs(text, bytes)
                : n == 14 ? mac_parse_dotted(text, bytes)
                          : -EINVAL;

        if (r == 0)
                memcpy(mac, bytes, sizeof(bytes));
        return r;
}

bool conf_mac_is_unicast(const uint8_t mac[6]) {
        static const uint8_t none[6];

        return !(mac[0] & 1) && memcmp(mac, none, sizeof(none)) != 0;
}

int conf_take_mac(const json_t *object, LinkConf *link, Error *err) {
        const char *text = NULL;
        int r = json_read_text(object, "mac", &text, err);

        if (r < 0 || str_is_empty(text) || link->has_mac)
                return r;
        if (conf_mac_parse(text, link->mac) < 0)
                return error_set(err, ERROR_INVALID, "\"mac\": \"%s\" is not a MAC address", text);
        if (!conf_mac_is_unicast(link->mac))
                return error_set(err, ERROR_INVALID,
                                 "\"mac\": \"%s\" is not the address of one interface", text);
        link->has_mac = true;
        return 0;
}

/* An entry of vlanTrunk. The texts are upstream's. */
static int trunk_parse(const json_t *item, LinkConf *link, Error *err) {
        int64_t first = -1, last = -1, id = -1;
        int r;

        r = json_read_number(item, "minID", INT64_MIN, INT64_MAX, &first, err);
        r = r < 0 ? r : json_read_number(item, "maxID", INT64_MIN, INT64_MAX, &last, err);
        r = r < 0 ? r : json_read_number(item, "id", INT64_MIN, INT64_MAX, &id, err);
        if (r < 0)
                return r;
        if (!json_find(item, "minID") != !json_find(item, "maxID"))
                return error_set(err, ERROR_INVALID,
                                 "minID and maxID should be configured simultaneously, %s is "
                                 "missing",
                                 json_find(item, "minID") ? "maxID" : "minID");
        if (json_find(item, "minID")) {
                if (first <= 0 || first > 4094)
                        return error_set(err, ERROR_INVALID, "incorrect trunk minID parameter");
                if (last <= 0 || last > 4094)
                        return error_set(err, ERROR_INVALID, "incorrect trunk maxID parameter");
                if (last < first)
                        return error_set(err, ERROR_INVALID,
                                         "minID is greater than maxID in trunk parameter");
                link->trunks[link->n_trunks++] =
                        (VlanRange){.first = (uint16_t)first, .last = (uint16_t)last};
        }
        if (json_find(item, "id")) {
                if (id <= 0 || id > 4094)
                        return error_set(err, ERROR_INVALID, "incorrect trunk id parameter");
                link->trunks[link->n_trunks++] =
                        (VlanRange){.first = (uint16_t)id, .last = (uint16_t)id};
        }
        return 0;
}

static int trunks_parse(const json_t *json, LinkConf *link, Error *err) {
        const json_t *list = NULL, *item;
        size_t n, i;
        int r = json_read_array(json, "vlanTrunk", &list, err);

        if (r < 0 || !list)
                return r;
        n = json_array_size(list);
        if (n > CONF_TRUNKS_MAX)
                return error_set(err, ERROR_INVALID, "vlanTrunk has more than %d entries",
                                 CONF_TRUNKS_MAX);
        link->has_trunks = true;
        if (n == 0)
                return 0;
        /* An entry may give a range and an id. */
        link->trunks = calloc(n * 2, sizeof(*link->trunks));
        if (!link->trunks)
                return error_set_errno(err, ENOMEM, "vlanTrunk");
        json_array_foreach(list, i, item) {
                if (!json_is_object(item))
                        return error_set(err, ERROR_INVALID, "vlanTrunk[%zu] must be an object", i);
                r = trunk_parse(item, link, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

typedef struct BoolKey {
        const char *key;
        bool *valuep;
} BoolKey;

static int switches_parse(NetConf *conf, Error *err) {
        LinkConf *link = &conf->link;
        const BoolKey keys[] = {
                {"isGateway", &link->is_gateway},
                {"isDefaultGateway", &link->is_default_gateway},
                {"forceAddress", &link->force_address},
                {"hairpinMode", &link->hairpin},
                {"promiscMode", &link->promisc},
                {"preserveDefaultVlan", &link->preserve_default_vlan},
                {"enabledad", &link->enable_dad},
                {"disableContainerInterface", &link->disable_container_interface},
                {"portIsolation", &link->port_isolation},
                {"ipMasq", &conf->ip_masq},
        };

        link->preserve_default_vlan = true; /* as upstream's bridge */
        for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
                int r = json_read_bool(conf->json, keys[i].key, keys[i].valuep, err);

                if (r < 0)
                        return r;
        }
        if (link->is_default_gateway)
                link->is_gateway = true;
        if (link->hairpin && link->promisc)
                return error_set(err, ERROR_INVALID,
                                 "cannot set hairpin mode and promiscuous mode at the same time");
        return 0;
}

static int removal_parse(NetConf *conf, Error *err) {
        const char *text = NULL;
        int r = json_read_text(conf->json, "linkRemoval", &text, err);

        if (r < 0 || !text)
                return r;
        if (!str_equal(text, "wait") && !str_equal(text, "detached"))
                return error_set(err, ERROR_INVALID,
                                 "\"linkRemoval\": \"%s\" must be \"wait\" or \"detached\"", text);
        conf->link.removal = str_equal(text, "detached") ? REMOVAL_DETACHED : REMOVAL_WAIT;
        return 0;
}

/* GSO_MAX_SIZE of Linux 5.19. */
#define GSO_MAX_BYTES 524280
/* What the kernel has without the key; TCP takes its headers off, and less than a packet wraps. */
#define GSO_MIN_BYTES 65536

IpAddress conf_routed_gateway(uint8_t family) {
        if (family == AF_INET)
                return (IpAddress){.family = AF_INET, .bytes = {169, 254, 1, 1}};
        return (IpAddress){.family = AF_INET6, .bytes = {0xfe, 0x80, [15] = 1}};
}

static int mode_parse(NetConf *conf, Error *err) {
        const char *text = "bridge";
        int r = conf->role == ROLE_BERTH ? json_read_text(conf->json, "mode", &text, err) : 0;

        if (r < 0)
                return r;
        if (!str_equal(text, "bridge") && !str_equal(text, "routed"))
                return error_set(err, ERROR_INVALID,
                                 "\"mode\": \"%s\" must be \"bridge\" or \"routed\"", text);
        conf->link.routed = str_equal(text, "routed");
        return 0;
}

/* Keys that are about a bridge's ports, so that nobody relies on what is not there. */
static int routed_check(const NetConf *conf, Error *err) {
        const LinkConf *link = &conf->link;
        const char *key = link->vlan                          ? "vlan"
                          : link->has_trunks                  ? "vlanTrunk"
                          : link->promisc                     ? "promiscMode"
                          : link->port_isolation              ? "portIsolation"
                          : link->disable_container_interface ? "disableContainerInterface"
                                                              : NULL;

        if (!link->routed || (!key && conf->ipam_type[0] != '\0'))
                return 0;
        if (key)
                return error_set(err, ERROR_INVALID,
                                 "\"mode\": \"routed\" has no bridge: leave \"%s\" out", key);
        return error_set(err, ERROR_INVALID, "\"mode\": \"routed\" needs an \"ipam\" with a type");
}

static int bridge_name_parse(NetConf *conf, Error *err) {
        const char *name = "cni0";
        int r = json_read_text(conf->json, "bridge", &name, err);

        if (r < 0)
                return r;
        /* Of "br%d" the kernel makes br0, br1, br2: one for each pod. */
        if (name[0] == '\0' || strlen(name) >= IFNAMSIZ || strpbrk(name, "/:% \t\r\n") ||
            str_equal(name, ".") || str_equal(name, ".."))
                return error_set(err, ERROR_INVALID,
                                 "\"bridge\": \"%s\" is not a link name, which has up to %d bytes "
                                 "and no \"/\", \":\", \"%%\" or space",
                                 name, IFNAMSIZ - 1);
        memcpy(conf->link.bridge, name, strlen(name) + 1);
        return 0;
}

static int link_parse_keys(NetConf *conf, Error *err) {
        LinkConf *link = &conf->link;
        int64_t vlan = 0, mtu = 0, gso = 0;
        int r;

        r = bridge_name_parse(conf, err);
        r = r < 0 ? r : switches_parse(conf, err);
        r = r < 0 ? r : json_read_number(conf->json, "mtu", 0, 65535, &mtu, err);
        r = r < 0 ? r : json_read_number(conf->json, "vlan", INT64_MIN, INT64_MAX, &vlan, err);
        if (r < 0)
                return r;
        if (vlan < 0 || vlan > 4094)
                return error_set(err, ERROR_INVALID,
                                 "invalid VLAN ID %lld (must be between 0 and 4094)",
                                 (long long)vlan);
        link->vlan = (uint16_t)vlan;
        link->mtu_bytes = (uint32_t)mtu;
        if (conf->role == ROLE_BERTH &&
            json_read_number(conf->json, "gsoMaxSize", 0, GSO_MAX_BYTES, &gso, err) < 0)
                return -EINVAL;
        if (gso > 0 && gso < GSO_MIN_BYTES)
                return error_set(err, ERROR_INVALID,
                                 "\"gsoMaxSize\": %lld must be between %d and %d, or 0",
                                 (long long)gso, GSO_MIN_BYTES, GSO_MAX_BYTES);
        link->gso_max_bytes = (uint32_t)gso;
        r = trunks_parse(conf->json, link, err);
        r = r < 0 ? r : removal_parse(conf, err);
        r = r < 0 ? r : mode_parse(conf, err);
        r = r < 0 ? r : routed_check(conf, err);
        if (r < 0)
                return r;
        if (link->disable_container_interface && conf->ipam_type[0] != '\0')
                return error_set(err, ERROR_INVALID,
                                 "cannot use IPAM when DisableContainerInterface flag is set");
        return 0;
}

/* args.cni, and runtimeConfig: both optional objects. */
static int extras_parse(NetConf *conf, Error *err) {
        const json_t *args = NULL;
        int r;

        r = json_read_object(conf->json, "runtimeConfig", &conf->runtime, err);
        r = r < 0 ? r : json_read_object(conf->json, "args", &args, err);
        r = r < 0 ? r : json_read_object(args, "cni", &conf->args, err);
        r = r < 0 ? r : conf_take_mac(conf->runtime, &conf->link, err);
        return r < 0 ? r : conf_take_mac(conf->args, &conf->link, err);
}

/* A plugin that makes links would wait for its own pod, which is held by then, and fail. */
static bool makes_links(const char *type) {
        PluginRole role = role_from_path(type);

        return str_equal(type, role_name(role)) &&
               ((ROLE_BIT(role) & ROLES_LINK) || role == ROLE_FLANNEL);
}

static int ipam_parse(NetConf *conf, Error *err) {
        int r;

        conf->ipam_type = "";
        r = json_read_object(conf->json, "ipam", &conf->ipam, err);
        r = r < 0 ? r : json_read_text(conf->ipam, "type", &conf->ipam_type, err);
        if (r < 0)
                return error_wrap(err, r, "ipam");
        if (!strchr(conf->ipam_type, '/') && !makes_links(conf->ipam_type))
                return 0;
        if (strchr(conf->ipam_type, '/'))
                (void)error_set(err, ERROR_INVALID, "ipam: \"type\": \"%s\" contains /",
                                conf->ipam_type);
        else
                (void)error_set(err, ERROR_INVALID,
                                "ipam: \"type\": \"%s\" makes links, not addresses",
                                conf->ipam_type);
        conf->ipam_type = "";
        return -EINVAL;
}

/* What a DEL can do without: today's keys need not be those of ADD, and a result that cannot be
 * read must not keep a pod's address for ever. */
static int tolerate(const NetConf *conf, int r, Error *err) {
        if (r >= 0 || !conf->is_undo)
                return r;
        *err = (Error){0};
        return 0;
}

static int prev_parse(NetConf *conf, Error *err) {
        const json_t *prev = json_find(conf->json, "prevResult");
        int r;

        if (!prev)
                return 0;
        r = result_parse(prev, conf->version, &conf->prev, err);
        if (r < 0)
                return error_wrap(err, r, "prevResult");
        conf->has_prev = true;
        return 0;
}

static int version_parse(NetConf *conf, Error *err) {
        const char *version = "0.1.0";
        int r = json_read_text(conf->json, "cniVersion", &version, err);

        if (r < 0)
                return CONF_E_NOT_JSON;
        /* Go's decoder leaves "" for an absent one, and reads "" as absent. */
        if (version[0] == '\0')
                version = "0.1.0";
        if (cni_version_parse(version, &conf->version) < 0) {
                (void)error_set(err, ERROR_UNSUPPORTED, "%s", version);
                return CONF_E_VERSION;
        }
        return 0;
}

static int name_parse(NetConf *conf, Error *err) {
        int r;

        conf->name = "";
        conf->type = "";
        r = json_read_text(conf->json, "name", &conf->name, err);
        r = r < 0 ? r : json_read_text(conf->json, "type", &conf->type, err);
        if (r < 0)
                return r;
        if (conf->name[0] == '\0') {
                (void)error_set(err, ERROR_INVALID, "missing network name");
                return CONF_E_NAME;
        }
        if (!conf_name_is_valid(conf->name)) {
                (void)error_set(err, ERROR_INVALID, "%s", conf->name);
                return CONF_E_NAME;
        }
        return 0;
}

int conf_parse(NetConf *conf, const char *text, size_t n, Error *err) {
        int r;

        conf->text = text;
        conf->n_text = n;
        r = json_text_parse(text, n, &conf->json, err);
        if (r < 0)
                return CONF_E_NOT_JSON;
        if (!json_is_object(conf->json)) {
                (void)error_set(err, ERROR_INVALID, "the configuration must be an object, not %s",
                                json_type_name(conf->json));
                return CONF_E_NOT_JSON;
        }
        r = name_parse(conf, err);
        r = r != 0 ? r : version_parse(conf, err);
        r = r != 0 ? r : tolerate(conf, ipam_parse(conf, err), err);
        r = r != 0 ? r : tolerate(conf, extras_parse(conf, err), err);
        r = r != 0 ? r : tolerate(conf, json_read_object(conf->json, "dns", &conf->dns, err), err);
        if (r == 0 && (ROLE_BIT(conf->role) & ROLES_LINK))
                r = tolerate(conf, link_parse_keys(conf, err), err);
        return r != 0 ? r : tolerate(conf, prev_parse(conf, err), err);
}

void conf_deinit(NetConf *conf) {
        result_deinit(&conf->prev);
        free(conf->link.trunks);
        json_decref(conf->json);
        *conf = (NetConf){0};
}
