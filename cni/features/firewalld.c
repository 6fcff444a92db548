/* SPDX-License-Identifier: Apache-2.0 */

/* Questions to firewalld, all of one pod's addresses in one go. */

#include "cni/features/firewalld.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/dbus/dbus.h"

#include <errno.h>
#include <stdlib.h>

/* firewalld answers one after the other, and is silent for a second or two while it reloads. Who
 * waited longer would hold up every pod of the node: the runtime tries again. */
#define TIMEOUT_SECS 5U

_Static_assert(FIREWALLD_IPS_MAX <= DBUS_CALLS_MAX, "a call for each");

/* The calls of one question; the texts of addresses are its own. */
typedef struct Batch {
        DbusCall calls[DBUS_CALLS_MAX];
        DbusReply replies[DBUS_CALLS_MAX];
        char texts[DBUS_CALLS_MAX][IP_TEXT_MAX];
        size_t n;
} Batch;

static DbusCall *add_call(Batch *batch, const char *member) {
        DbusCall *call = &batch->calls[batch->n++];

        *call = (DbusCall){
                .destination = "org.fedoraproject.FirewallD1",
                .path = "/org/fedoraproject/FirewallD1",
                .interface = "org.fedoraproject.FirewallD1.zone",
                .member = member,
        };
        return call;
}

/* "10.1.0.5/32": as upstream writes a pod's address. */
static const char *host_text(Batch *batch, const ResultIp *ip) {
        const IpPrefix prefix = {.address = ip->address.address,
                                 .length = (uint8_t)(ip_size(&ip->address.address) * 8)};

        return ip_prefix_format(&prefix, batch->texts[batch->n]);
}

static int run(Batch *batch, Error *err) {
        int r = dbus_call(DBUS_SYSTEM_SOCKET, batch->calls, batch->replies, batch->n,
                          TIMEOUT_SECS * 1000);

        if (r == -ENOENT || r == -ECONNREFUSED)
                return FIREWALLD_E_ABSENT;
        if (r == -ETIMEDOUT)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "firewalld: no answer over " DBUS_SYSTEM_SOCKET
                                 " within %u s: see \"firewall-cmd --state\", or set \"backend\": "
                                 "\"iptables\" in the list to go without it",
                                 TIMEOUT_SECS);
        if (r < 0)
                return error_set_errno(err, r, "firewalld: ask over " DBUS_SYSTEM_SOCKET);
        for (size_t i = 0; i < batch->n; i++)
                if (dbus_is_absent(&batch->replies[i]))
                        return FIREWALLD_E_ABSENT;
        return 0;
}

/* @member of each address, with @zone before it. */
static int ask_each(Batch **batchp, const char *member, const char *zone, const ResultIp *ips,
                    size_t n, Error *err) {
        Batch *batch;

        if (n > FIREWALLD_IPS_MAX)
                return error_set(err, ERROR_RANGE, "firewalld: more than %d addresses of one pod",
                                 FIREWALLD_IPS_MAX);
        batch = calloc(1, sizeof(*batch));
        if (!batch)
                return error_set_errno(err, ENOMEM, "firewalld");
        *batchp = batch;
        for (size_t i = 0; i < n; i++) {
                const char *text = host_text(batch, &ips[i]);
                DbusCall *call = add_call(batch, member);

                call->arguments[0] = zone;
                call->arguments[1] = text;
        }
        return run(batch, err);
}

static void freep_batch(Batch **batchp) {
        free(*batchp);
}

/* The error's text begins with firewalld's own code: "ZONE_ALREADY_SET: ...". */
static bool is_code(const DbusReply *reply, const char *code) {
        return str_has_prefix(reply->text, code);
}

static int refused(const Batch *batch, size_t i, const char *zone, Error *err) {
        const DbusReply *reply = &batch->replies[i];

        return error_set(err, ERROR_PRECONDITION,
                         "firewalld refuses %s as a source of zone %.64s: %s", batch->texts[i],
                         zone, reply->text[0] ? reply->text : reply->error);
}

int firewalld_add(const char *zone, const ResultIp *ips, size_t n, Error *err) {
        cleanup(freep_batch) Batch *batch = NULL;
        int r = ask_each(&batch, "addSource", zone, ips, n, err);

        for (size_t i = 0; r == 0 && i < n; i++)
                if (batch->replies[i].error[0] && !is_code(&batch->replies[i], "ZONE_ALREADY_SET"))
                        r = refused(batch, i, zone, err);
        return r;
}

int firewalld_remove(const char *zone, const ResultIp *ips, size_t n, Error *err) {
        cleanup(freep_batch) Batch *batch = NULL;

        /* What it does not take away it does not have. */
        return ask_each(&batch, "removeSource", zone, ips, n, err);
}

bool firewalld_runs(void) {
        cleanup(freep_batch) Batch *batch = calloc(1, sizeof(*batch));
        DbusCall *call = batch ? add_call(batch, "getActiveZones") : NULL;

        return call && run(batch, NULL) == 0;
}

int firewalld_check(const char *zone, const ResultIp *ips, size_t n, Error *err) {
        cleanup(freep_batch) Batch *batch = NULL;
        int r = ask_each(&batch, "querySource", zone, ips, n, err);

        for (size_t i = 0; r == 0 && i < n; i++) {
                if (batch->replies[i].error[0])
                        return refused(batch, i, zone, err);
                if (!batch->replies[i].truth)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "firewalld does not have %s as a source of zone %.64s",
                                         batch->texts[i], zone);
        }
        return r;
}
