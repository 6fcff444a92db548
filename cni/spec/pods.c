/* SPDX-License-Identifier: Apache-2.0 */

/* Reads the notes of cni/spec/pods.h. */

#include "cni/spec/pods.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/netns/netns.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Attachments of one node. */
#define NOTES_MAX     65536U
#define NOTE_SIZE_MAX (8U * 1024 * 1024)

void pod_note_deinit(PodNote *note) {
        json_decref(note->note);
        json_decref(note->list);
}

void pods_deinit(PodNotes *notes) {
        for (size_t i = 0; i < notes->n; i++)
                pod_note_deinit(&notes->items[i]);
        free(notes->items);
        *notes = (PodNotes){0};
}

/* Where the pod is. libcni notes it since 1.2; before that, the result's interfaces tell. */
static int read_netns(const json_t *note, const char **netnsp, Error *err) {
        const json_t *result = NULL, *interfaces = NULL;
        int r;

        r = json_read_text(note, "netns", netnsp, err);
        r = r < 0 ? r : json_read_object(note, "result", &result, err);
        r = r < 0 ? r : json_read_array(result, "interfaces", &interfaces, err);
        for (size_t i = 0; i < json_array_size(interfaces) && r == 0 && str_is_empty(*netnsp); i++)
                r = json_read_text(json_array_get(interfaces, i), "sandbox", netnsp, err);
        return r;
}

/* --- whether it lives --------------------------------------------------------------------- */

/* An interface of a pod, read in its namespace. */
typedef struct PodLink {
        const char *name;
        Link link;
} PodLink;

static int read_pod_link(void *userdata) {
        PodLink *pod = userdata;
        NlSocket sock = NL_SOCKET_NULL;
        int r = nl_socket_open(&sock, NETLINK_ROUTE);

        r = r < 0 ? r : link_find(&sock, 0, pod->name, &pod->link);
        nl_socket_close(&sock);
        return r;
}

/* The result's interfaces of the host, if it tells any. */
static bool names_other_links(const PodNote *note, const char *name) {
        const json_t *interfaces = json_find(json_find(note->note, "result"), "interfaces");
        bool tells = false;

        for (size_t i = 0; i < json_array_size(interfaces); i++) {
                const json_t *one = json_array_get(interfaces, i);
                const char *sandbox = json_string_value(json_find(one, "sandbox"));

                if (!str_is_empty(sandbox))
                        continue;
                if (str_equal(json_string_value(json_find(one, "name")), name))
                        return false;
                tells = true;
        }
        return tells;
}

/* Does a plugin of the list make pairs, and name both ends? */
static bool makes_pairs(const PodNote *note) {
        const json_t *first = json_array_get(json_find(note->list, "plugins"), 0);
        const char *type = json_string_value(json_find(first, "type"));

        return type && ROLE_BIT(role_from_path(type)) & (ROLES_LINK | ROLE_BIT(ROLE_FLANNEL));
}

bool pod_note_has_link(const PodNote *note, const Link *host) {
        char alias[LINK_ALIAS_MAX];

        host_link_alias(note->network, note->container, note->ifname, alias);
        /* Behind "berth/<network>/": what delegates to a list of ours has a network of its own. */
        if (str_has_prefix(host->alias, LINK_ALIAS_PREFIX))
                return str_equal(strchr(host->alias + 6, '/'), strchr(alias + 6, '/'));
        return !makes_pairs(note) || !names_other_links(note, host->name);
}

static bool has_pair(const PodNote *note, NlSocket *rtnl) {
        Attachment at = {.network = note->network,
                         .container_id = note->container,
                         .ifname = note->ifname,
                         .rtnl = rtnl};
        Link link;

        owner_of(note->network, note->container, note->ifname, at.owner);
        return host_link_find(&at, &link) == 0;
}

/* The interface under the path, and whose its other end on the host says that it is. */
static bool is_anothers(const PodNote *note, int netns_fd, NlSocket *rtnl) {
        PodLink pod = {.name = note->ifname};
        cleanup(closep) int own_fd = -1;
        Link host;

        if (netns_open_own(&own_fd) < 0 || netns_call(netns_fd, own_fd, read_pod_link, &pod) < 0 ||
            !str_equal(pod.link.kind, "veth"))
                return false;
        return link_find(rtnl, pod.link.peer, NULL, &host) == 0 && str_equal(host.kind, "veth") &&
               host.peer == pod.link.index && !pod_note_has_link(note, &host);
}

bool pod_note_lives(const PodNote *note, NlSocket *rtnl) {
        cleanup(closep) int fd = -1;

        if (str_is_empty(note->netns))
                return true;
        return netns_open(note->netns, &fd) == 0 &&
               (rtnl->fd < 0 || has_pair(note, rtnl) || !is_anothers(note, fd, rtnl));
}

/* --- notes -------------------------------------------------------------------------------- */

static int base64_value(char c) {
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *at = c ? strchr(digits, c) : NULL;

        return at ? (int)(at - digits) : -1;
}

/* Return: the bytes with a NUL behind them, *@np of them, freed by the caller; NULL when @text is
 * no base64, or without memory. */
static char *base64_decode(const char *text, size_t *np) {
        char *bytes = malloc(strlen(text) / 4 * 3 + 4);
        uint32_t bits = 0;
        unsigned int n_bits = 0;
        size_t n = 0;

        for (; bytes && *text && *text != '='; text++) {
                int value = base64_value(*text);

                if (value < 0) {
                        free(bytes);
                        return NULL;
                }
                bits = bits << 6 | (uint32_t)value;
                n_bits += 6;
                if (n_bits >= 8) {
                        n_bits -= 8;
                        bytes[n++] = (char)(bits >> n_bits & 0xff);
                }
        }
        if (bytes)
                bytes[n] = '\0';
        *np = n;
        return bytes;
}

/* The list as it was when the pod was attached; of a single configuration a list of one. */
static json_t *read_list(const json_t *note) {
        cleanup(freep) char *text = NULL;
        const char *encoded = "";
        json_t *list = NULL;
        size_t n = 0;

        if (json_read_text(note, "config", &encoded, NULL) < 0 || encoded[0] == '\0')
                return NULL;
        text = base64_decode(encoded, &n);
        if (!text || json_text_parse(text, n, &list, NULL) < 0)
                return NULL;
        if (!json_find(list, "plugins")) {
                json_t *one = json_pack("{s:O*, s:O*, s:[o]}", "cniVersion",
                                        json_find(list, "cniVersion"), "name",
                                        json_find(list, "name"), "plugins", list);

                return one;
        }
        return list;
}

int pod_note_parse(const char *text, size_t n, PodNote *note, Error *err) {
        int r;

        note->network = note->container = note->ifname = note->netns = "";
        r = json_text_parse(text, n, &note->note, err);
        r = r < 0 ? r : json_read_text(note->note, "networkName", &note->network, err);
        r = r < 0 ? r : json_read_text(note->note, "containerId", &note->container, err);
        r = r < 0 ? r : json_read_text(note->note, "ifName", &note->ifname, err);
        r = r < 0 ? r : read_netns(note->note, &note->netns, err);
        if (r == 0)
                note->list = read_list(note->note);
        return r;
}

static int read_note(int dir_fd, const char *name, NlSocket *rtnl, PodNote *note, Error *err) {
        cleanup(freep) char *text = NULL;
        size_t n = 0;
        int r = file_read_at(dir_fd, name, NOTE_SIZE_MAX, &text, &n);

        if (r < 0)
                return error_set_errno(err, r, "read");
        r = pod_note_parse(text, n, note, err);
        if (r == 0)
                note->lives = pod_note_lives(note, rtnl);
        return r;
}

static int add_note(int dir_fd, const char *name, const char *network, NlSocket *rtnl,
                    PodNotes *notes, Error *err) {
        PodNote note = {0};
        PodNote *items;
        int r = read_note(dir_fd, name, rtnl, &note, err);

        if (r < 0 || (network && strcmp(note.network, network) != 0)) {
                pod_note_deinit(&note);
                return r;
        }
        items = reallocarray(notes->items, notes->n + 1, sizeof(*items));
        if (!items) {
                pod_note_deinit(&note);
                return error_set_errno(err, ENOMEM, "pods");
        }
        notes->items = items;
        items[notes->n++] = note;
        return 0;
}

static void socket_close(NlSocket *sock) {
        nl_socket_close(sock);
}

int pods_read(const char *directory, const char *network, PodNotes *notes, Error *err) {
        cleanup(freep) char *path = str_printf("%s/results", directory);
        cleanup(freep) char *prefix = network ? str_printf("%s-", network) : strdup("");
        cleanup(closedirp) DIR *dir = path ? opendir(path) : NULL;
        cleanup(socket_close) NlSocket rtnl = NL_SOCKET_NULL;
        const struct dirent *entry;

        if (!path || !prefix)
                return error_set_errno(err, ENOMEM, "pods");
        if (!dir)
                return errno == ENOENT ? 0 : error_set_errno(err, errno, "open %s", path);
        /* Without it, a namespace that can be opened is the pod's. */
        (void)nl_socket_open(&rtnl, NETLINK_ROUTE);
        while ((entry = readdir(dir))) {
                Error local = {0};

                if (entry->d_name[0] == '.' || !str_has_prefix(entry->d_name, prefix))
                        continue;
                if (notes->n >= NOTES_MAX)
                        return error_set(err, ERROR_RANGE, "%s: too many pods", path);
                if (add_note(dirfd(dir), entry->d_name, network, &rtnl, notes, &local) < 0)
                        return error_set(err, ERROR_INVALID, "%s/%s cannot be read: %.200s", path,
                                         entry->d_name, local.message);
        }
        return 0;
}

/* Of what the runtime gave, the capabilities that the plugin has. */
static json_t *runtime_config(const PodNote *note, const json_t *plugin) {
        const json_t *given = json_find(note->note, "capabilityArgs");
        const json_t *capabilities = json_find(plugin, "capabilities");
        json_t *config = json_object();
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)(uintptr_t)given, key, value) {
                if (json_is_true(json_find(capabilities, key)))
                        (void)json_object_set(config, key, value);
        }
        return config;
}

json_t *pod_plugin_conf(const PodNote *note, size_t i) {
        const json_t *plugin = json_array_get(json_find(note->list, "plugins"), i);
        json_t *conf = plugin ? json_copy((json_t *)(uintptr_t)plugin) : NULL;

        if (conf &&
            (json_object_set(conf, "name", json_find(note->list, "name")) < 0 ||
             json_object_set(conf, "cniVersion", json_find(note->list, "cniVersion")) < 0 ||
             json_object_set(conf, "prevResult", json_find(note->note, "result")) < 0 ||
             json_object_set_new(conf, "runtimeConfig", runtime_config(note, plugin)) < 0)) {
                json_decref(conf);
                return NULL;
        }
        return conf;
}
