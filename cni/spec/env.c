/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/spec/env.h"

#include "cni/spec/conf.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const verb_names[_VERB_N] = {
        [VERB_ADD] = "ADD", [VERB_DEL] = "DEL",       [VERB_CHECK] = "CHECK",
        [VERB_GC] = "GC",   [VERB_STATUS] = "STATUS", [VERB_VERSION] = "VERSION",
};

#define VERB_BIT(verb) (1U << (verb))
#define WITH_CONTAINER (VERB_BIT(VERB_ADD) | VERB_BIT(VERB_DEL) | VERB_BIT(VERB_CHECK))
#define WITH_NETNS     (VERB_BIT(VERB_ADD) | VERB_BIT(VERB_CHECK))
#define WITH_PATH      (WITH_CONTAINER | VERB_BIT(VERB_GC) | VERB_BIT(VERB_STATUS))

const char *verb_name(CniVerb verb) {
        return verb_names[verb];
}

void env_read(CniEnv *env) {
        *env = (CniEnv){
                .command = getenv("CNI_COMMAND"),
                .container_id = getenv("CNI_CONTAINERID"),
                .netns = getenv("CNI_NETNS"),
                .ifname = getenv("CNI_IFNAME"),
                .args = getenv("CNI_ARGS"),
                .path = getenv("CNI_PATH"),
                .netns_override = getenv("CNI_NETNS_OVERRIDE"),
                .tell = getenv(ENV_TELL) != NULL,
        };
}

static int verb_find(const char *name, CniVerb *verbp) {
        for (unsigned int i = 0; i < _VERB_N; i++)
                if (str_equal(name, verb_names[i])) {
                        *verbp = (CniVerb)i;
                        return 0;
                }
        return -EINVAL;
}

int env_check(CniEnv *env, Error *err) {
        const struct {
                const char *name, *value;
                unsigned int verbs;
        } needed[] = {
                {"CNI_CONTAINERID", env->container_id, WITH_CONTAINER},
                {"CNI_NETNS", env->netns, WITH_NETNS},
                {"CNI_IFNAME", env->ifname, WITH_CONTAINER},
                {"CNI_PATH", env->path, WITH_PATH},
        };
        char missing[128] = "";
        size_t n = 0;

        if (str_is_empty(env->command)) {
                (void)error_set(err, ERROR_INVALID, "required env variables [CNI_COMMAND] missing");
                return ENV_E_INVALID;
        }
        if (verb_find(env->command, &env->verb) < 0) {
                (void)error_set(err, ERROR_INVALID, "unknown CNI_COMMAND: %s", env->command);
                return ENV_E_INVALID;
        }
        for (size_t i = 0; i < N_ELEMENTS(needed); i++)
                if ((needed[i].verbs & VERB_BIT(env->verb)) && str_is_empty(needed[i].value))
                        n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s",
                                              n > 0 ? "," : "", needed[i].name);
        if (n > 0) {
                (void)error_set(err, ERROR_INVALID, "required env variables [%s] missing", missing);
                return ENV_E_INVALID;
        }
        return 0;
}

static int bad_name(Error *err, const char *text, const char **detailp, const char *detail) {
        *detailp = detail;
        (void)error_set(err, ERROR_INVALID, "%s", text);
        return ENV_E_INVALID;
}

int env_check_names(const CniEnv *env, const char **detailp, Error *err) {
        const char *name = env->ifname;

        *detailp = NULL;
        if (!(WITH_CONTAINER & VERB_BIT(env->verb)))
                return 0;
        if (!conf_name_is_valid(env->container_id))
                return bad_name(err, "invalid characters in containerID", detailp,
                                env->container_id);
        if (strlen(name) >= IFNAMSIZ)
                return bad_name(err, "interface name is too long", detailp,
                                "interface name should be less than 16 characters");
        if (str_equal(name, ".") || str_equal(name, ".."))
                return bad_name(err, "interface name is . or ..", detailp, NULL);
        /* Of "eth%d" the kernel makes eth0. */
        if (env->verb == VERB_ADD && strchr(name, '%'))
                return bad_name(err, "interface name contains %", detailp, env->ifname);
        for (; *name; name++)
                if (*name == '/' || *name == ':' || isspace((unsigned char)*name))
                        return bad_name(err,
                                        "interface name contains / or : or whitespace characters",
                                        detailp, env->ifname);
        return 0;
}

static bool is_true(const char *text) {
        return text && (str_equal(text, "1") || strcasecmp(text, "true") == 0);
}

bool env_allows_own_netns(const CniEnv *env) {
        return is_true(env->netns_override);
}

bool env_is_kubernetes(const CniEnv *env) {
        static const char key[] = "K8S_POD_NAME=";
        const char *at = env->args ? strstr(env->args, key) : NULL;

        return at && (at == env->args || at[-1] == ';');
}

static int args_pair(char *pair, CniArgs *args, bool *ignorep, const char **unknownp, Error *err) {
        char *value = strchr(pair, '=');

        if (!value || strchr(value + 1, '='))
                return error_set(err, ERROR_INVALID, "ARGS: invalid pair \"%s\"", pair);
        *value++ = '\0';
        if (str_equal(pair, "IP"))
                args->ip = value;
        else if (str_equal(pair, "GATEWAY"))
                args->gateway = value;
        else if (str_equal(pair, "MAC"))
                args->mac = value;
        else if (!str_equal(pair, "IgnoreUnknown"))
                *unknownp = pair;
        else if (is_true(value) || str_equal(value, "0") || strcasecmp(value, "false") == 0)
                *ignorep = is_true(value);
        else
                return error_set(err, ERROR_INVALID,
                                 "ARGS: IgnoreUnknown is \"%s\", must be true or false", value);
        return 0;
}

int cni_args_parse(const char *text, CniArgs *args, Error *err) {
        const char *unknown = NULL;
        bool ignore = false;
        char *rest, *pair;

        if (str_is_empty(text))
                return 0;
        rest = args->text = strdup(text);
        if (!args->text)
                return error_set_errno(err, ENOMEM, "ARGS");
        while ((pair = strsep(&rest, ";"))) {
                int r = args_pair(pair, args, &ignore, &unknown, err);

                if (r < 0)
                        return r;
        }
        if (unknown && !ignore)
                return error_set(err, ERROR_INVALID, "ARGS: unknown args [\"%s\"]", unknown);
        return 0;
}

void cni_args_deinit(CniArgs *args) {
        free(args->text);
        *args = (CniArgs){0};
}
