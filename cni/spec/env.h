/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_ENV_H
#define BERTH_CNI_SPEC_ENV_H

/* The environment a runtime calls us with: verbs, their variables, CNI_ARGS. Pure: values in. */

#include "common/base/error.h"

#include <stdbool.h>

typedef enum CniVerb {
        VERB_ADD,
        VERB_DEL,
        VERB_CHECK,
        VERB_GC,
        VERB_STATUS,
        VERB_VERSION,
        _VERB_N,
} CniVerb;

const char *verb_name(CniVerb verb);

/* Set by our own commands for people; a runtime does not know it. */
#define ENV_TELL "BERTH_TELL"

/* As they stand in the environment; NULL or "" when unset. All borrowed. */
typedef struct CniEnv {
        const char *command;
        const char *container_id;
        const char *netns;
        const char *ifname;
        const char *args;
        const char *path;
        const char *netns_override; /* CNI_NETNS_OVERRIDE */
        CniVerb verb;               /* set by env_check() */
        bool tell; /* ENV_TELL: GC says what it would remove, STATUS what the next pod would get */
} CniEnv;

/* getenv() for each. */
void env_read(CniEnv *env);

#define ENV_E_INVALID 1 /* code 4; @err: the message as upstream words it */

/**
 * env_check() - verb, and what that verb needs
 *
 * Return: 0 with @env->verb set; ENV_E_INVALID.
 */
int env_check(CniEnv *env, Error *err);

/* Container id and interface name, checked apart because upstream does so after the network's name.
 * @detailp: the offending value, borrowed from @env, or NULL. Return: 0; ENV_E_INVALID. */
int env_check_names(const CniEnv *env, const char **detailp, Error *err);

/* CNI_NETNS_OVERRIDE says that the target may be our own namespace. */
bool env_allows_own_netns(const CniEnv *env);

/* CNI_ARGS are those of a pod of Kubernetes: K8S_POD_NAME is among them. */
bool env_is_kubernetes(const CniEnv *env);

/* CNI_ARGS: "K=V;K2=V2". Keys are matched exactly; lists and addresses stay text. */
typedef struct CniArgs {
        char *text;          /* owned: the split copy */
        const char *ip;      /* "a" or "a/b", separated by commas; NULL if absent */
        const char *gateway; /* separated by commas */
        const char *mac;
} CniArgs;

/* Return: 0; negative with @err filled (INVALID): a pair without "=", an unknown key unless
 * IgnoreUnknown is true. */
int cni_args_parse(const char *text, CniArgs *args, Error *err);
void cni_args_deinit(CniArgs *args);

#endif
