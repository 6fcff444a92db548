/* SPDX-License-Identifier: Apache-2.0 */

/* host-local's allocation on the leases of cni/ipam/lease.h. The error texts are upstream's. */

#include "cni/ipam/ipam.h"

#include "cni/ipam/conf.h"
#include "cni/ipam/lease.h"
#include "cni/spec/host_link.h"
#include "cni/spec/pods.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>

/* /etc/resolv.conf and the like. */
#define RESOLV_CONF_MAX (64U * 1024)

typedef struct Allocation {
        Ipam *ipam;
        HostLocalConf conf;
        LeaseStore store;
        IpAddress ips[LEASE_IPS_MAX]; /* one per range set, in order */
        const IpamRange *ranges[LEASE_IPS_MAX];
        size_t n;
        bool reclaimed; /* leases of another boot were looked for */
} Allocation;

static void allocation_deinit(Allocation *allocation) {
        lease_store_close(&allocation->store);
        host_local_conf_deinit(&allocation->conf);
}

static int count_in_set(const IpAddress *ip, void *userdata) {
        struct {
                const IpamSet *set;
                uint64_t n;
        } *count = userdata;

        if (ipam_set_find(count->set, ip))
                count->n++;
        return 0;
}

/* How many leases lie in @set. Only for messages and STATUS: it reads the whole directory. */
static uint64_t n_in_use(const LeaseStore *store, const IpamSet *set) {
        struct {
                const IpamSet *set;
                uint64_t n;
        } count = {.set = set};
        Error ignored = {0};

        (void)lease_each_ip(store, count_in_set, &count, &ignored);
        return count.n;
}

static int exhausted(const Allocation *allocation, const IpamSet *set, Error *err) {
        char text[256];

        ipam_set_format(set, text, sizeof(text));
        return error_set(err, ERROR_EXHAUSTED,
                         "no IP addresses available in range set: %s (%llu in use); berth-cni gc "
                         "gives back what no running pod holds",
                         text, (unsigned long long)n_in_use(&allocation->store, set));
}

typedef struct Living {
        const Ipam *ipam;
        PodNotes notes;
        bool can_tell;
} Living;

static bool has_note(const Living *living, const char *container_id) {
        for (size_t i = 0; i < living->notes.n; i++)
                if (living->notes.items[i].lives &&
                    str_equal(living->notes.items[i].container, container_id))
                        return true;
        return false;
}

/* Return: 0: a pair of ours is there; -ENODEV: it is not; another -errno. */
static int find_link(NlSocket *rtnl, const char *network, const char *container_id,
                     const char *ifname) {
        Attachment at = {
                .network = network, .container_id = container_id, .ifname = ifname, .rtnl = rtnl};
        Link link;

        owner_of(network, container_id, ifname, at.owner);
        return host_link_find(&at, &link);
}

/* A pair of ours, or a note of the runtime whose namespace is there. */
static bool is_living(const char *container_id, const char *ifname, void *userdata) {
        const Living *living = userdata;

        return !living->can_tell || has_note(living, container_id) ||
               find_link(living->ipam->rtnl, living->ipam->conf->name, container_id, ifname) !=
                       -ENODEV;
}

/* The set is full. Leases of another boot that our index did not know, host-local's or of a time
 * without an index, are of nobody, unless somebody is there. Return: how many were given back. */
static int reclaim(Allocation *allocation) {
        Living living = {.ipam = allocation->ipam};
        NlSocket *rtnl = allocation->ipam->rtnl;
        Error ignored = {0};
        int r = 0;

        if (allocation->reclaimed)
                return 0;
        allocation->reclaimed = true;
        if (rtnl->fd < 0)
                r = nl_socket_open(rtnl, NETLINK_ROUTE);
        living.can_tell = r == 0 && pods_read(PODS_DIRECTORY, living.ipam->conf->name,
                                              &living.notes, &ignored) == 0;
        r = lease_reclaim(&allocation->store, is_living, &living, &ignored);
        pods_deinit(&living.notes);
        return r < 0 ? 0 : r;
}

static int take_requested(Allocation *allocation, const IpamSet *set, const IpAddress *ip,
                          Error *err) {
        const IpamRange *range = ipam_set_find(set, ip);
        char text[IP_TEXT_MAX], range_text[256];
        int r;

        if (ip_equal(ip, &range->gateway))
                return error_set(err, ERROR_INVALID, "requested ip %s is subnet's gateway",
                                 ip_format(ip, text));
        r = lease_take(&allocation->store, ip, allocation->ipam->env->container_id,
                       allocation->ipam->env->ifname, err);
        if (r == LEASE_E_TAKEN) {
                ipam_set_format(set, range_text, sizeof(range_text));
                return error_set(err, ERROR_CONFLICT,
                                 "requested IP address %s is not available in range set %s",
                                 ip_format(ip, text), range_text);
        }
        if (r < 0)
                return r;
        allocation->ips[allocation->n] = *ip;
        allocation->ranges[allocation->n] = range;
        return 0;
}

static int take_next(Allocation *allocation, size_t i, Error *err) {
        const IpamSet *set = &allocation->conf.sets[i];
        const IpamRange *range;
        IpamCursor cursor;
        IpAddress last, ip;
        int r;

        lease_read_last(&allocation->store, i, &last);
        ipam_cursor_init(&cursor, set, ip_is_set(&last) ? &last : NULL);
        do {
                if (!ipam_cursor_next(&cursor, &ip, &range)) {
                        if (reclaim(allocation) == 0)
                                return exhausted(allocation, set, err);
                        ipam_cursor_init(&cursor, set, ip_is_set(&last) ? &last : NULL);
                        r = LEASE_E_TAKEN;
                        continue;
                }
                r = lease_take(&allocation->store, &ip, allocation->ipam->env->container_id,
                               allocation->ipam->env->ifname, err);
        } while (r == LEASE_E_TAKEN);
        if (r < 0)
                return r;
        allocation->ips[allocation->n] = ip;
        allocation->ranges[allocation->n] = range;
        return 0;
}

/* The first requested address that lies in @set and is not used yet; taken off the list. */
static bool requested_in(HostLocalConf *conf, const IpamSet *set, IpAddress *ip) {
        for (size_t i = 0; i < conf->n_requested; i++)
                if (ipam_set_find(set, &conf->requested[i])) {
                        *ip = conf->requested[i];
                        conf->requested[i] = conf->requested[--conf->n_requested];
                        return true;
                }
        return false;
}

static int take_set(Allocation *allocation, size_t i, Error *err) {
        const IpamSet *set = &allocation->conf.sets[i];
        IpAddress requested;
        int r;

        if (requested_in(&allocation->conf, set, &requested))
                r = take_requested(allocation, set, &requested, err);
        else
                r = take_next(allocation, i, err);
        if (r < 0)
                return error_wrap(err, r, "failed to allocate for range %zu", i);
        allocation->n++;
        return lease_write_last(&allocation->store, i, &allocation->ips[i], err);
}

static int requested_left(const HostLocalConf *conf, Error *err) {
        char text[IP_TEXT_MAX], list[256] = "";
        size_t n = 0;

        if (conf->n_requested == 0)
                return 0;
        for (size_t i = 0; i < conf->n_requested && n < sizeof(list); i++)
                n += (size_t)snprintf(list + n, sizeof(list) - n, " %s",
                                      ip_format(&conf->requested[i], text));
        return error_set(err, ERROR_INVALID, "failed to allocate all requested IPs:%s", list);
}

static int record(const Allocation *allocation, Error *err) {
        const CniEnv *env = allocation->ipam->env;
        IpPrefix ips[N_ELEMENTS(allocation->ips)];

        for (size_t i = 0; i < allocation->n; i++)
                ips[i] = (IpPrefix){.address = allocation->ips[i],
                                    .length = allocation->ranges[i]->subnet.length};
        return lease_record(&allocation->store, env->container_id, env->ifname, ips, allocation->n,
                            err);
}

static int take_all(Allocation *allocation, Error *err) {
        const CniEnv *env = allocation->ipam->env;
        Error ignored = {0};
        int r = 0;

        for (size_t i = 0; r == 0 && i < allocation->conf.n_sets; i++)
                r = take_set(allocation, i, err);
        if (r == 0)
                r = requested_left(&allocation->conf, err);
        if (r == 0)
                r = record(allocation, err);
        for (size_t i = 0; r < 0 && i < allocation->n; i++)
                (void)lease_drop(&allocation->store, &allocation->ips[i], env->container_id,
                                 env->ifname, &ignored);
        return r;
}

/*
 * Addresses that this interface holds already, one per set and, where some were requested, those.
 * Return: true when they serve as the answer.
 */
static bool take_over(Allocation *allocation, const IpPrefix *held, size_t n_held) {
        const HostLocalConf *conf = &allocation->conf;

        if (n_held != conf->n_sets)
                return false;
        for (size_t i = 0; i < conf->n_sets; i++) {
                const IpamRange *range = NULL;

                for (size_t j = 0; !range && j < n_held; j++) {
                        range = ipam_set_find(&conf->sets[i], &held[j].address);
                        allocation->ips[i] = held[j].address;
                        allocation->ranges[i] = range;
                }
                if (!range)
                        return false;
        }
        for (size_t i = 0; i < conf->n_requested; i++) {
                bool found = false;

                for (size_t j = 0; j < n_held; j++)
                        found = found || ip_equal(&conf->requested[i], &held[j].address);
                if (!found)
                        return false;
        }
        allocation->n = n_held;
        return true;
}

static int held_already(Allocation *allocation, Error *err) {
        const CniEnv *env = allocation->ipam->env;
        IpPrefix held[LEASE_IPS_MAX];
        char text[IP_TEXT_MAX];
        size_t n_held = 0;
        int r;

        r = lease_find(&allocation->store, env->container_id, env->ifname, false, held, &n_held,
                       err);
        if (r < 0 || n_held == 0)
                return r;
        if (!allocation->ipam->reuse)
                return error_set(err, ERROR_CONFLICT,
                                 "failed to allocate for range 0: %s has been allocated to %s, "
                                 "duplicate allocation is not allowed",
                                 ip_format(&held[0].address, text), env->container_id);
        allocation->ipam->kept = take_over(allocation, held, n_held);
        if (allocation->ipam->kept)
                return 0;
        return lease_release(&allocation->store, env->container_id, env->ifname, err);
}

static int answer(const Allocation *allocation, CniResult *result, Error *err) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < allocation->n; i++)
                r = result_add_ip(
                        result, &(ResultIp){
                                        .address = {.address = allocation->ips[i],
                                                    .length = allocation->ranges[i]->subnet.length},
                                        .gateway = allocation->ranges[i]->gateway,
                                        .interface = -1,
                                });
        for (size_t i = 0; r >= 0 && i < allocation->conf.extra.n_routes; i++)
                r = result_add_route(result, &allocation->conf.extra.routes[i]);
        return r < 0 ? error_set_errno(err, r, "host-local") : 0;
}

int host_local_preview(Ipam *ipam, CniResult *result, Error *err) {
        cleanup(allocation_deinit)
                Allocation allocation = {.ipam = ipam, .store = LEASE_STORE_NULL};
        int r = host_local_conf_parse(ipam->conf, ipam->args, &allocation.conf, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < allocation.conf.n_sets; i++) {
                allocation.ranges[i] = &allocation.conf.sets[i].ranges[0];
                allocation.ips[i] = allocation.ranges[i]->start;
        }
        allocation.n = allocation.conf.n_sets;
        return answer(&allocation, result, err);
}

static int read_resolv_conf(const char *path, CniResult *result, Error *err) {
        cleanup(freep) char *text = NULL;
        int r;

        if (path[0] == '\0')
                return 0;
        r = file_read_at(AT_FDCWD, path, RESOLV_CONF_MAX, &text, NULL);
        if (r == -EINVAL)
                return error_set(err, ERROR_INVALID, "resolvConf %s is not a regular file", path);
        r = r < 0 ? r : resolv_conf_parse(text, &result->dns);
        return r < 0 ? error_set_errno(err, r, "resolvConf %s", path) : 0;
}

/* --- leases that somebody removed ---------------------------------------------------------- */

static bool in_sets(const HostLocalConf *conf, const IpAddress *ip) {
        for (size_t i = 0; i < conf->n_sets; i++)
                if (ipam_set_find(&conf->sets[i], ip))
                        return true;
        return false;
}

/* The addresses of a note's result that are of these ranges. */
static size_t noted_ips(const HostLocalConf *conf, const PodNote *note, IpPrefix *ips) {
        static const char *const old[] = {"ip4", "ip6"};
        const json_t *result = json_find(note->note, "result"), *list = json_find(result, "ips");
        const char *text = "";
        size_t n = 0;

        for (size_t i = 0; i < json_array_size(list) && n < LEASE_IPS_MAX; i++)
                if (json_read_text(json_array_get(list, i), "address", &text, NULL) == 0 &&
                    ip_prefix_parse(text, &ips[n]) == 0 && in_sets(conf, &ips[n].address))
                        n++;
        for (size_t i = 0; i < N_ELEMENTS(old) && n < LEASE_IPS_MAX; i++)
                if (json_find(result, old[i]) &&
                    json_read_text(json_find(result, old[i]), "ip", &text, NULL) == 0 &&
                    ip_prefix_parse(text, &ips[n]) == 0 && in_sets(conf, &ips[n].address))
                        n++;
        return n;
}

/* Somebody was at the directory, and may have removed leases of pods that run: those are taken
 * again, or the next pod would get such an address. What the runtime noted is all there is to go
 * by; without it the leases are as they are. */
static void retake_noted(Allocation *allocation) {
        const Ipam *ipam = allocation->ipam;
        cleanup(pods_deinit) PodNotes notes = {0};
        Error ignored = {0};

        if (!allocation->store.foreign ||
            (ipam->rtnl->fd < 0 && nl_socket_open(ipam->rtnl, NETLINK_ROUTE) < 0) ||
            pods_read(PODS_DIRECTORY, ipam->conf->name, &notes, &ignored) < 0)
                return;
        for (size_t i = 0; i < notes.n; i++) {
                const PodNote *note = &notes.items[i];
                IpPrefix ips[LEASE_IPS_MAX];

                /* A DEL removes the link before the lease. */
                if (note->lives &&
                    find_link(ipam->rtnl, note->network, note->container, note->ifname) == 0)
                        (void)lease_retake(&allocation->store, note->container, note->ifname, ips,
                                           noted_ips(&allocation->conf, note, ips), &ignored);
        }
}

int host_local_restore(Ipam *ipam, const ResultIp *ips, size_t n_ips, bool doing, StrBuf *done,
                       Error *err) {
        cleanup(allocation_deinit)
                Allocation allocation = {.ipam = ipam, .store = LEASE_STORE_NULL};
        const CniEnv *env = ipam->env;
        IpPrefix wanted[LEASE_IPS_MAX];
        char text[IP_TEXT_MAX];
        size_t n = 0, n_missing = 0;
        int r = host_local_conf_parse(ipam->conf, ipam->args, &allocation.conf, err);

        r = r < 0 ? r
                  : lease_store_open(&allocation.store, allocation.conf.data_dir, ipam->conf->name,
                                     doing, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_ips && n < LEASE_IPS_MAX; i++) {
                const IpAddress *ip = &ips[i].address.address;

                if (!in_sets(&allocation.conf, ip))
                        continue;
                wanted[n++] = ips[i].address;
                if (r != LEASE_E_NONE &&
                    lease_has(&allocation.store, ip, env->container_id, env->ifname))
                        continue;
                n_missing++;
                strbuf_printf(done, "lease of %s\n", ip_format(ip, text));
        }
        if (!doing)
                return 0;
        r = n_missing == 0 ? 0
                           : lease_retake(&allocation.store, env->container_id, env->ifname, wanted,
                                          n, err);
        if (r == 0)
                lease_store_commit(&allocation.store);
        return r;
}

/* --- verbs -------------------------------------------------------------------------------- */

int host_local_add(Ipam *ipam, CniResult *result, Error *err) {
        cleanup(allocation_deinit)
                Allocation allocation = {.ipam = ipam, .store = LEASE_STORE_NULL};
        int r;

        ipam->kept = false;
        r = host_local_conf_parse(ipam->conf, ipam->args, &allocation.conf, err);
        r = r < 0 ? r : read_resolv_conf(allocation.conf.resolv_conf, result, err);
        r = r < 0 ? r
                  : lease_store_open(&allocation.store, allocation.conf.data_dir, ipam->conf->name,
                                     true, err);
        if (r == 0)
                retake_noted(&allocation);
        r = r < 0 ? r : held_already(&allocation, err);
        if (r == 0 && !ipam->kept)
                r = take_all(&allocation, err);
        if (r < 0)
                return r;
        lease_store_commit(&allocation.store);
        lease_store_close(&allocation.store);
        r = answer(&allocation, result, err);
        if (r < 0)
                ipam_undo(ipam);
        return r;
}

/* The directory alone: DEL and GC work whatever became of the ranges since ADD. */
static int open_existing(const Ipam *ipam, LeaseStore *store, Error *err) {
        const char *data_dir = "";
        int r;

        r = json_read_text(ipam->conf->ipam, "dataDir", &data_dir, err);
        if (r < 0 && ipam->conf->is_undo) {
                /* ADD has refused it, so no lease is there. */
                *err = (Error){0};
                r = 0;
        }
        return r < 0 ? r : lease_store_open(store, data_dir, ipam->conf->name, false, err);
}

int host_local_del(Ipam *ipam, Error *err) {
        cleanup(lease_store_close) LeaseStore store = LEASE_STORE_NULL;
        int r = open_existing(ipam, &store, err);

        if (r == LEASE_E_NONE)
                return 0;
        r = r < 0 ? r : lease_release(&store, ipam->env->container_id, ipam->env->ifname, err);
        if (r == 0)
                lease_store_commit(&store);
        return r;
}

int host_local_find(Ipam *ipam, CniResult *result, Error *err) {
        cleanup(lease_store_close) LeaseStore store = LEASE_STORE_NULL;
        IpPrefix ips[LEASE_IPS_MAX];
        size_t n = 0;
        int r = open_existing(ipam, &store, err);

        if (r == LEASE_E_NONE)
                return 0;
        r = r < 0 ? r
                  : lease_find(&store, ipam->env->container_id, ipam->env->ifname, true, ips, &n,
                               err);
        if (r < 0)
                return r;
        lease_store_commit(&store);
        ipam->found_whole = n > 0;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                ipam->found_whole = ipam->found_whole && ips[i].length > 0;
                if (ips[i].length == 0)
                        ips[i].length = (uint8_t)(ip_size(&ips[i].address) * 8);
                r = result_add_ip(result, &(ResultIp){.address = ips[i], .interface = -1});
        }
        return r < 0 ? error_set_errno(err, r, "host-local") : 0;
}

int host_local_check(Ipam *ipam, Error *err) {
        cleanup(result_deinit) CniResult found = {0};
        int r = host_local_find(ipam, &found, err);

        if (r < 0 || found.n_ips > 0)
                return r;
        return error_set(err, ERROR_NOT_FOUND,
                         "host-local: Failed to find address added by container %s",
                         ipam->env->container_id);
}

typedef struct Sweep {
        const LeaseStore *store;
        const GcRequest *gc;
        Error errors;
} Sweep;

/* While a link may still use it, an address is nobody else's: the removal failed, or GC leaves it
 * to its DEL. As a plugin of its own it has no links. */
static int release_unused(const Sweep *sweep, const char *container_id, const char *ifname,
                          Error *err) {
        int r = sweep->gc->rtnl
                        ? find_link(sweep->gc->rtnl, sweep->gc->network, container_id, ifname)
                        : -ENODEV;

        if (r == 0)
                return 0;
        if (r != -ENODEV)
                return error_set_errno(err, r, "look for the link of container %.64s",
                                       container_id);
        return lease_release(sweep->store, container_id, ifname, err);
}

static int sweep_owner(const char *container_id, const char *ifname, void *userdata, Error *err) {
        Sweep *sweep = userdata;
        uint8_t owner[OWNER_SIZE];
        Error failed = {0};

        owner_of(sweep->gc->network, container_id, ifname, owner);
        /* A lease of the oldest format does not say which interface: not ours to judge. */
        if (ifname[0] == '\0' || gc_keeps(sweep->gc, owner))
                return 0;
        if (gc_tells(sweep->gc, "lease of container %s, %s", container_id, ifname))
                return 0;
        if (release_unused(sweep, container_id, ifname, &failed) < 0)
                error_join(&sweep->errors, &failed);
        return 0;
}

int host_local_gc(Ipam *ipam, const GcRequest *gc, Error *err) {
        cleanup(lease_store_close) LeaseStore store = LEASE_STORE_NULL;
        Sweep sweep = {.store = &store, .gc = gc};
        int r = open_existing(ipam, &store, err);

        if (r == LEASE_E_NONE)
                return 0;
        r = r < 0 ? r : lease_each_owner(&store, sweep_owner, &sweep, err);
        if (r == 0 && error_is_set(&sweep.errors)) {
                *err = sweep.errors;
                return -EIO;
        }
        if (r == 0)
                lease_store_commit(&store);
        return r;
}

static int status_sets(const HostLocalConf *conf, const LeaseStore *store, Error *err) {
        for (size_t i = 0; i < conf->n_sets; i++) {
                uint64_t used = n_in_use(store, &conf->sets[i]);
                char text[256];

                if (used < ipam_set_size(&conf->sets[i]))
                        continue;
                ipam_set_format(&conf->sets[i], text, sizeof(text));
                return error_set(err, ERROR_UNAVAILABLE,
                                 "no IP addresses available in range set: %s (%llu in use)", text,
                                 (unsigned long long)used);
        }
        return 0;
}

/* Where a filesystem counts nothing, it says 0 of 0. */
static int status_space(const LeaseStore *store, Error *err) {
        struct statvfs status;

        if (fstatvfs(store->dir_fd, &status) < 0)
                return error_set_errno(err, errno, "look at the directory of leases");
        if ((status.f_blocks > 0 && status.f_bfree == 0) ||
            (status.f_files > 0 && status.f_ffree == 0))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the filesystem of the directory of leases is full");
        return 0;
}

int host_local_status(Ipam *ipam, Error *err) {
        cleanup(allocation_deinit)
                Allocation allocation = {.ipam = ipam, .store = LEASE_STORE_NULL};
        int r;

        r = host_local_conf_parse(ipam->conf, ipam->args, &allocation.conf, err);
        if (r < 0)
                return r;
        r = lease_store_open(&allocation.store, allocation.conf.data_dir, ipam->conf->name, true,
                             err);
        if (r == 0 && faccessat(allocation.store.dir_fd, ".", W_OK, 0) < 0)
                r = error_set_errno(err, errno, "the directory of leases is not writable");
        r = r < 0 ? r : status_space(&allocation.store, err);
        if (r < 0) {
                err->code = ERROR_UNAVAILABLE;
                return r;
        }
        lease_store_commit(&allocation.store);
        return status_sets(&allocation.conf, &allocation.store, err);
}
