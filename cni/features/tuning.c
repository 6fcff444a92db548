/* SPDX-License-Identifier: Apache-2.0 */

/* tuning: sysctls and properties of the pod's link, set inside the pod's namespace. */

#include "cni/features/feature.h"
#include "cni/features/tuning_backup.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/netns/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define ALLOWLIST_MAX (256U * 1024)
#define VALUE_MAX     4096U

/* What runs inside the pod's namespace. */
typedef struct Inside {
        const TuningConf *conf;
        const Attachment *at;
        NlSocket sock;
        TuningBackup backup;
        Error *err;
} Inside;

static void inside_deinit(Inside *inside) {
        nl_socket_close(&inside->sock);
}

static void batch_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

static int tuning_parse(const NetConf *conf, void **statep, Error *err) {
        TuningConf *tuning;
        int r = tuning_conf_parse(conf, &tuning, err);

        if (r == 0)
                *statep = tuning;
        return r;
}

static void tuning_free(void *state) {
        tuning_conf_free(state);
}

/* --- links -------------------------------------------------------------------------------- */

static int open_socket(Inside *inside) {
        int r = inside->sock.fd >= 0 ? 0 : nl_socket_open(&inside->sock, NETLINK_ROUTE);

        return r < 0 ? error_set_errno(inside->err, r, "tuning: open a socket in the namespace")
                     : 0;
}

static int find_link(Inside *inside, Link *link) {
        int r = open_socket(inside);

        if (r < 0)
                return r;
        r = link_find(&inside->sock, 0, inside->at->ifname, link);
        return r < 0 ? error_set_errno(inside->err, r, "failed to get \"%s\"", inside->at->ifname)
                     : 0;
}

/* A message each, so that the error tells which property the link refused. */
static int apply_change(Inside *inside, const LinkChange *change) {
        static const struct {
                unsigned int set;
                const char *name;
        } properties[] = {
                {LINK_SET_MAC, "MAC address"},
                {LINK_SET_PROMISC, "promiscuous mode"},
                {LINK_SET_MTU, "MTU"},
                {LINK_SET_ALLMULTI, "all-multicast mode"},
                {LINK_SET_TXQLEN, "transmit queue length"},
        };
        cleanup(batch_deinit) NlBatch batch = {0};
        const char *names[N_ELEMENTS(properties)];
        size_t n = 0;
        int r;

        for (size_t i = 0; i < N_ELEMENTS(properties); i++) {
                LinkChange one = *change;

                if (!(change->set & properties[i].set))
                        continue;
                one.set = properties[i].set;
                one.name = inside->at->ifname;
                link_set(&batch, &one);
                names[n++] = properties[i].name;
        }
        r = nl_batch_run(&inside->sock, &batch, NULL, NULL);
        if (r < 0)
                return error_set_errno(inside->err, r, "tuning: set the %s of %s%s%s",
                                       batch.failed < n ? names[batch.failed] : "properties",
                                       inside->at->ifname, inside->sock.text[0] ? ": " : "",
                                       inside->sock.text);
        return 0;
}

static LinkChange change_of(const TuningConf *conf) {
        return (LinkChange){
                .set = (conf->mac_text ? LINK_SET_MAC : 0) |
                       (conf->promisc ? LINK_SET_PROMISC : 0) |
                       (conf->mtu_bytes > 0 ? LINK_SET_MTU : 0) |
                       (conf->has_allmulti ? LINK_SET_ALLMULTI : 0) |
                       (conf->has_txqlen ? LINK_SET_TXQLEN : 0),
                .mac = conf->mac,
                .promisc = true,
                .mtu_bytes = conf->mtu_bytes,
                .allmulti = conf->allmulti,
                .txqlen = conf->txqlen,
        };
}

static LinkChange change_back(const TuningBackup *backup) {
        return (LinkChange){
                .set = (backup->has_mac ? LINK_SET_MAC : 0) |
                       (backup->has_promisc ? LINK_SET_PROMISC : 0) |
                       (backup->has_mtu ? LINK_SET_MTU : 0) |
                       (backup->has_allmulti ? LINK_SET_ALLMULTI : 0) |
                       (backup->has_txqlen ? LINK_SET_TXQLEN : 0),
                .mac = backup->mac,
                .promisc = backup->promisc,
                .mtu_bytes = backup->mtu_bytes,
                .allmulti = backup->allmulti,
                .txqlen = backup->txqlen,
        };
}

static int tune_link(Inside *inside) {
        const TuningConf *conf = inside->conf;
        LinkChange change = change_of(conf);
        TuningBackup backup;
        Link link;
        int r = find_link(inside, &link);

        if (r < 0)
                return r;
        /* In one entry with the link, DEL takes the link away as a whole. */
        if (conf->chained) {
                backup = tuning_backup_of(conf, &link);
                r = tuning_backup_write(conf->data_dir, inside->at, &backup);
        }
        if (r < 0)
                return error_set_errno(inside->err, r, "failed to create backup in %s",
                                       conf->data_dir);
        return apply_change(inside, &change);
}

/* --- sysctls ------------------------------------------------------------------------------ */

static int write_sysctl(Inside *inside, const TuningSysctl *sysctl) {
        char path[TUNING_PATH_MAX];
        int r = tuning_sysctl_path(sysctl->key, inside->at->ifname, path, inside->err);

        if (r < 0)
                return r;
        r = sysctl_write(inside->at->sysctls, path, sysctl->value);
        return r < 0 ? error_set_errno(inside->err, r, "write \"%s\" to %s", sysctl->value, path)
                     : 0;
}

/* Several numbers are told with tabs between them, however they were written. */
static bool is_same_value(const char *a, const char *b) {
        static const char blanks[] = " \t\n";

        for (;;) {
                size_t n;

                a += strspn(a, blanks);
                b += strspn(b, blanks);
                n = strcspn(a, blanks);
                if (n != strcspn(b, blanks) || memcmp(a, b, n) != 0)
                        return false;
                if (n == 0)
                        return true;
                a += n;
                b += n;
        }
}

static int check_sysctl(Inside *inside, const TuningSysctl *sysctl) {
        cleanup(freep) char *text = NULL;
        char path[TUNING_PATH_MAX];
        int r = tuning_sysctl_path(sysctl->key, inside->at->ifname, path, inside->err);

        if (r < 0)
                return r;
        r = sysctl_read(inside->at->sysctls, path, VALUE_MAX, &text);
        if (r < 0)
                return error_set_errno(inside->err, r, "read %s", path);
        if (!is_same_value(text, sysctl->value))
                return error_set(inside->err, ERROR_CONFLICT,
                                 "Error: Tuning configured value of %s is %s, current value is %s",
                                 path, sysctl->value, text);
        return 0;
}

/* Without that file everything below net is allowed. */
static int check_allowed(const TuningConf *conf, Error *err) {
        cleanup(freep) char *list = NULL;
        int r;

        if (conf->n_sysctls == 0)
                return 0;
        r = file_read_at(AT_FDCWD, TUNING_ALLOWLIST, ALLOWLIST_MAX, &list, NULL);
        if (r < 0)
                return r == -ENOENT || r == -ENOTDIR
                               ? 0
                               : error_set_errno(err, r, "read %s", TUNING_ALLOWLIST);
        for (size_t i = 0; i < conf->n_sysctls && r == 0; i++)
                r = tuning_is_allowed(conf->sysctls[i].key, list, err);
        return r;
}

/* --- verbs -------------------------------------------------------------------------------- */

static int add_inside(void *userdata) {
        Inside *inside = userdata;
        int r = 0;

        for (size_t i = 0; i < inside->conf->n_sysctls && r == 0; i++)
                r = write_sysctl(inside, &inside->conf->sysctls[i]);
        return r == 0 && tuning_changes_link(inside->conf) ? tune_link(inside) : r;
}

/* In one entry with the link: a switch that came later would miss the first router advertisement.
 * ADD writes them again, for the keys that were set in between. */
static int tuning_before_up(void *state, Attachment *at, Error *err) {
        Inside inside = {.conf = state, .at = at, .sock = NL_SOCKET_NULL, .err = err};
        int r = check_allowed(state, err);

        for (size_t i = 0; i < inside.conf->n_sysctls && r == 0; i++)
                r = write_sysctl(&inside, &inside.conf->sysctls[i]);
        return r;
}

static int restore_inside(void *userdata) {
        Inside *inside = userdata;
        LinkChange change = change_back(&inside->backup);
        Link link;

        if (find_link(inside, &link) < 0) {
                *inside->err = (Error){0};
                return 0; /* the link is gone, and what was changed with it */
        }
        return change.set ? apply_change(inside, &change) : 0;
}

static int enter(Inside *inside, int (*function)(void *userdata)) {
        int r = netns_call(inside->at->netns_fd, inside->at->own_netns_fd, function, inside);

        if (r < 0 && !error_is_set(inside->err))
                return error_set_errno(inside->err, r, "tuning: enter the namespace");
        return r;
}

static int tuning_del(void *state, Attachment *at, RulesSocket *sock, Error *err) {
        Error local = {0};
        cleanup(inside_deinit)
                Inside inside = {.conf = state, .at = at, .sock = NL_SOCKET_NULL, .err = &local};
        int r;

        if (!state || !inside.conf->chained)
                return 0;
        r = tuning_backup_read(inside.conf->data_dir, at, &inside.backup);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        r = r == 0 && at->netns_fd >= 0 ? enter(&inside, restore_inside) : 0;
        if (r < 0) {
                if (err)
                        *err = local;
                return r;
        }
        r = tuning_backup_remove(inside.conf->data_dir, at);
        return r < 0 ? error_set_errno(err, r, "remove the backup in %s", inside.conf->data_dir)
                     : 0;
}

static int report_mac(const TuningConf *conf, Attachment *at, CniResult *result) {
        char text[18];

        memcpy(at->pod_mac, conf->mac, sizeof(at->pod_mac));
        at->has_pod_mac = true;
        snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", conf->mac[0], conf->mac[1],
                 conf->mac[2], conf->mac[3], conf->mac[4], conf->mac[5]);
        for (size_t i = 0; i < result->n_interfaces; i++) {
                char *mac;

                if (!str_equal(result->interfaces[i].name, at->ifname))
                        continue;
                mac = strdup(conf->mac_text[0] ? conf->mac_text : text);
                if (!mac)
                        return -ENOMEM;
                free(result->interfaces[i].mac);
                result->interfaces[i].mac = mac;
        }
        return 0;
}

static int tuning_add(void *state, Attachment *at, CniResult *result, Error *err) {
        Error local = {0};
        cleanup(inside_deinit)
                Inside inside = {.conf = state, .at = at, .sock = NL_SOCKET_NULL, .err = &local};
        int r;

        if (!state)
                return 0;
        r = check_allowed(state, &local);
        if (r == 0 && (inside.conf->n_sysctls > 0 || tuning_changes_link(state)))
                r = enter(&inside, add_inside);
        if (r == 0 && inside.conf->mac_text)
                r = report_mac(state, at, result);
        if (r < 0) {
                (void)tuning_del(state, at, NULL, NULL);
                if (err)
                        *err = local;
        }
        return r < 0 && !error_is_set(&local) ? error_set_errno(err, r, "tuning") : r;
}

static int differs(Inside *inside, const char *what, long long wanted, long long found) {
        return error_set(inside->err, ERROR_CONFLICT,
                         "Error: Tuning configured %s of %s is %lld, current value is %lld", what,
                         inside->at->ifname, wanted, found);
}

static int check_inside(void *userdata) {
        Inside *inside = userdata;
        const TuningConf *conf = inside->conf;
        Link link;
        int r = 0;

        for (size_t i = 0; i < conf->n_sysctls && r == 0; i++)
                r = check_sysctl(inside, &conf->sysctls[i]);
        if (r < 0 || (!conf->chained && !tuning_changes_link(conf)))
                return r;
        r = find_link(inside, &link);
        if (r < 0)
                return r;
        if (conf->mac_text && memcmp(conf->mac, link.mac, sizeof(conf->mac)) != 0)
                return error_set(inside->err, ERROR_CONFLICT,
                                 "Error: Tuning configured Ethernet of %s is %s, current value is "
                                 "another",
                                 inside->at->ifname, conf->mac_text);
        if ((conf->chained || conf->promisc) && conf->promisc != (link.n_promiscuous > 0))
                return differs(inside, "promisc", conf->promisc, link.n_promiscuous);
        if (conf->mtu_bytes > 0 && conf->mtu_bytes != link.mtu_bytes)
                return differs(inside, "MTU", conf->mtu_bytes, link.mtu_bytes);
        if (conf->has_allmulti && conf->allmulti != !!(link.flags & IFF_ALLMULTI))
                return differs(inside, "all-multicast mode", conf->allmulti,
                               !!(link.flags & IFF_ALLMULTI));
        if (conf->has_txqlen && conf->txqlen != link.txqlen)
                return differs(inside, "Transmit Queue Length", conf->txqlen, link.txqlen);
        return 0;
}

static int tuning_check(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        Error local = {0};
        cleanup(inside_deinit)
                Inside inside = {.conf = state, .at = at, .sock = NL_SOCKET_NULL, .err = &local};
        int r = state ? enter(&inside, check_inside) : 0;

        if (r < 0 && err)
                *err = local;
        return r;
}

/* --- repair ------------------------------------------------------------------------------- */

typedef struct Mending {
        Inside inside;
        bool doing;
        StrBuf *done;
} Mending;

/* What is asked for and is not so. Promiscuous mode is also who listens in the pod's: it is never
 * taken away. */
static LinkChange change_missing(const TuningConf *conf, const Link *link) {
        LinkChange change = change_of(conf);

        if (memcmp(conf->mac, link->mac, sizeof(conf->mac)) == 0)
                change.set &= ~LINK_SET_MAC;
        if (link->n_promiscuous > 0)
                change.set &= ~LINK_SET_PROMISC;
        if (conf->mtu_bytes == link->mtu_bytes)
                change.set &= ~LINK_SET_MTU;
        if (conf->allmulti == !!(link->flags & IFF_ALLMULTI))
                change.set &= ~LINK_SET_ALLMULTI;
        if (conf->txqlen == link->txqlen)
                change.set &= ~LINK_SET_TXQLEN;
        return change;
}

static int mend_link(Mending *mending) {
        Inside *inside = &mending->inside;
        LinkChange change;
        Link link;
        int r;

        if (!tuning_changes_link(inside->conf))
                return 0;
        r = find_link(inside, &link);
        if (r < 0)
                return r;
        change = change_missing(inside->conf, &link);
        if (!change.set)
                return 0;
        strbuf_printf(mending->done, "tuning: %s is not as configured\n", inside->at->ifname);
        return mending->doing ? apply_change(inside, &change) : 0;
}

static int mend_inside(void *userdata) {
        Mending *mending = userdata;
        Inside *inside = &mending->inside;
        int r = 0;

        for (size_t i = 0; i < inside->conf->n_sysctls && r == 0; i++) {
                if (check_sysctl(inside, &inside->conf->sysctls[i]) == 0)
                        continue;
                strbuf_printf(mending->done, "%s\n", inside->err->message);
                *inside->err = (Error){0};
                if (mending->doing)
                        r = write_sysctl(inside, &inside->conf->sysctls[i]);
        }
        return r < 0 ? r : mend_link(mending);
}

static int tuning_repair(void *state, Attachment *at, bool doing, StrBuf *done, Error *err) {
        Mending mending = {
                .inside = {.conf = state, .at = at, .sock = NL_SOCKET_NULL, .err = err},
                .doing = doing,
                .done = done,
        };
        int r = state ? check_allowed(state, err) : 0;

        if (state && r == 0)
                r = enter(&mending.inside, mend_inside);
        inside_deinit(&mending.inside);
        return r;
}

const Feature feature_tuning = {
        .name = "tuning",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_TUNING),
        .parse = tuning_parse,
        .free = tuning_free,
        .before_up = tuning_before_up,
        .add = tuning_add,
        .del = tuning_del,
        .check = tuning_check,
        .repair = tuning_repair,
};
