/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_IPAM_LEASE_H
#define BERTH_CNI_IPAM_LEASE_H

/*
 * The directory of leases of one network, in host-local's layout, so that host-local and we can
 * take turns on it:
 *
 *         <dataDir>/<network>/lock                  flock(2)
 *         <dataDir>/<network>/10.1.0.5              "<container id>\r\n<ifname>"
 *         <dataDir>/<network>/last_reserved_ip.0    "10.1.0.5", per range set
 *
 * and an index beside it, which host-local reads past because its entries are dangling links:
 *
 *         <dataDir>/<network>/.berth/<container id>@<ifname> -> 10.1.0.5,fd00::5,0.0.0.24,0.0.0.64
 *         <dataDir>/<network>/.berth/boot                    -> boot id under which they were made
 *
 * How we know that nobody else changed the leases since: we end every operation by setting the
 * directory's modification time to a fixed value of the past. A lease that host-local makes or
 * removes, and a crash of ours in the middle, leaves another time there; then the index is made
 * anew from the leases, once. An entry is a hint even so: a lease is ours only if its file says so.
 * The lengths of the subnets, 0.0.0.LENGTH for each address in turn, are there for a DEL that
 * nobody tells the result of ADD; entries made anew, and those of 0.1.0, have none.
 */

#include "common/base/error.h"
#include "common/ip/address.h"

#include <stdbool.h>
#include <stddef.h>

#define LEASE_DIRECTORY "/var/lib/cni/networks"

/* Addresses of one interface. */
#define LEASE_IPS_MAX 32

/* How long a lock held by somebody else is waited for. */
#define LEASE_LOCK_MSECS 10000

typedef struct LeaseStore {
        int dir_fd;
        int lock_fd;
        bool no_index; /* it could not be made: leases are read one by one */
        bool foreign;  /* somebody else changed the leases since our last lease_store_commit() */
} LeaseStore;

#define LEASE_STORE_NULL                                                                           \
        { .dir_fd = -1, .lock_fd = -1 }

#define LEASE_E_NONE  1 /* there is no such directory, hence no lease */
#define LEASE_E_TAKEN 2

/**
 * lease_store_open() - open, lock, and make sure that the index is complete
 * @data_dir: NULL or "": LEASE_DIRECTORY
 * @create:   make the directory (0755) if it is not there
 *
 * Empty and torn lease files are removed: under the lock nobody is writing one. Leases that our
 * index recorded under another boot id are removed: no container outlives a boot.
 *
 * Without @create nothing needs to be written: on a full disk a lease can be found and given back.
 *
 * Return: 0; LEASE_E_NONE without @create; negative: TIMEOUT when the lock stayed taken.
 */
int lease_store_open(LeaseStore *store, const char *data_dir, const char *network, bool create,
                     Error *err);

/* Marks the index as complete: every lease that was taken is recorded. After a failure it is left
 * out, and the next one who comes makes the index anew. */
void lease_store_commit(LeaseStore *store);

/* Unlocks. Safe on a store that is not open. */
void lease_store_close(LeaseStore *store);

/* The addresses of one interface, with length 0 where their subnet is not known. *@np is 0 if it
 * has none. @ancient: also look for a lease of the oldest format, which names no interface. Return:
 * 0; negative. */
int lease_find(const LeaseStore *store, const char *container_id, const char *ifname, bool ancient,
               IpPrefix *ips, size_t *np, Error *err);

/* Makes the lease file. Return: 0; LEASE_E_TAKEN; negative. */
int lease_take(const LeaseStore *store, const IpAddress *ip, const char *container_id,
               const char *ifname, Error *err);

/* Enters what lease_take() took into the index. */
int lease_record(const LeaseStore *store, const char *container_id, const char *ifname,
                 const IpPrefix *ips, size_t n, Error *err);

/* Has this interface the lease of @ip? */
bool lease_has(const LeaseStore *store, const IpAddress *ip, const char *container_id,
               const char *ifname);

/* Takes those of @ips that are missing, and enters them. Return: 0; CONFLICT: another interface has
 * one; another. */
int lease_retake(const LeaseStore *store, const char *container_id, const char *ifname,
                 const IpPrefix *ips, size_t n, Error *err);

/* Gives back one address if it is held by this interface; missing is done. */
int lease_drop(const LeaseStore *store, const IpAddress *ip, const char *container_id,
               const char *ifname, Error *err);

/* Gives back everything of one interface. */
int lease_release(const LeaseStore *store, const char *container_id, const char *ifname,
                  Error *err);

/* The last address that was given out of range set @set. Family 0 if there is none. */
void lease_read_last(const LeaseStore *store, size_t set, IpAddress *ip);
int lease_write_last(const LeaseStore *store, size_t set, const IpAddress *ip, Error *err);

/**
 * lease_reclaim() - leases whose file is older than this boot, unless @is_living
 *
 * By the clock, which may have been wrong when the file was written: hence @is_living.
 *
 * Return: how many were given back; negative.
 */
int lease_reclaim(const LeaseStore *store,
                  bool (*is_living)(const char *container_id, const char *ifname, void *userdata),
                  void *userdata, Error *err);

/* Every lease file, whoever holds it. @each returns negative to stop. */
int lease_each_ip(const LeaseStore *store, int (*each)(const IpAddress *ip, void *userdata),
                  void *userdata, Error *err);

/* Every interface in the index; @each may release it. @ifname is "" for a lease of the oldest
 * format. */
int lease_each_owner(const LeaseStore *store,
                     int (*each)(const char *container_id, const char *ifname, void *userdata,
                                 Error *err),
                     void *userdata, Error *err);

/**
 * lease_content_parse() - what a lease file says. Pure.
 * @text: modified: split in place
 *
 * Return: 0 with @idp and @ifnamep ("" in the oldest format) pointing into @text; -EBADMSG when it
 * is empty or torn.
 */
int lease_content_parse(char *text, const char **idp, const char **ifnamep);

/* "10.1.0.5,fd00::5,0.0.0.24,0.0.0.64" of an index entry, or "10.1.0.5/24,fd00::5/64". Pure.
 * Return: how many addresses; -EBADMSG. */
int lease_entry_parse(const char *text, IpPrefix *ips, size_t room);

#endif
