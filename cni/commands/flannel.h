/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_COMMANDS_FLANNEL_H
#define BERTH_CNI_COMMANDS_FLANNEL_H

/*
 * The type "flannel": a node's part of flannel's network, from the file that flanneld writes, made
 * by another plugin, the delegate. Keys, defaults and files are those of flannel-io/cni-plugin
 * 1.8: a pod that one of the two attached is detached by the other. A delegate that makes pairs
 * ("bridge", "ptp", "berth-cni") is this program, in the same process; any other type is executed.
 */

#include "common/base/error.h"
#include "common/ip/address.h"

#include <jansson.h>
#include <stdbool.h>

#define FLANNEL_SUBNET_FILE    "/run/flannel/subnet.env"
#define FLANNEL_DATA_DIRECTORY "/var/lib/cni/flannel"

/* Networks of one family; flanneld has one, and a comma more since 0.25. */
#define FLANNEL_NETWORKS_MAX 16

/* One family in the file; lengths and families of prefixes are as written. */
typedef struct FlannelFamily {
        IpPrefix networks[FLANNEL_NETWORKS_MAX]; /* in order, none twice, host bits zero */
        size_t n_networks;
        IpPrefix subnet; /* of this node, host bits zero */
        bool has_subnet;
} FlannelFamily;

typedef struct FlannelSubnet {
        FlannelFamily v4, v6;
        bool has_mtu, has_masquerade;
        uint32_t mtu_bytes;
        bool masquerade; /* flanneld does it */
} FlannelSubnet;

/**
 * flannel_subnet_parse() - the text of subnet.env
 * @text: is cut up
 * @path: for messages
 *
 * Unknown keys are ignored. Pure. Return: 0; INVALID: a value is none; AGAIN: something is missing.
 */
int flannel_subnet_parse(FlannelSubnet *subnet, char *text, const char *path, Error *err);

/**
 * flannel_delegate() - what the delegate gets
 * @conf:   of type flannel
 * @subnet: NULL: not known any more; the delegate is good for taking a pod away then
 *
 * Pure. Return: 0 with *@delegatep to be freed by json_decref(); INVALID naming the key.
 */
int flannel_delegate(const json_t *conf, const FlannelSubnet *subnet, json_t **delegatep,
                     Error *err);

/* Likewise for DEL, where nothing was kept: keys that are refused are left out. Return: 0; -ENOMEM.
 */
int flannel_delegate_undo(const json_t *conf, json_t **delegatep, Error *err);

/**
 * flannel_recall() - the delegate's configuration as ADD kept it for @container
 *
 * What is not there, cannot be read, or is another network's, is made anew of @conf and what the
 * subnet file says now.
 *
 * Return: 0, *@keptp: it was kept; negative with @err filled.
 */
int flannel_recall(const json_t *conf, const char *container, json_t **delegatep, bool *keptp,
                   Error *err);

/* Is a delegate of this type run in this process? */
bool flannel_runs(const char *type);

#endif
