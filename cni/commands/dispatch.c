/* SPDX-License-Identifier: Apache-2.0 */

/* One call by what stdin says: parse, then the verb of that kind of plugin. */

#include "cni/commands/request.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum VerbSet {
        SET_LINK,
        SET_LOOPBACK,
        SET_ADDRESS,
        SET_CHAIN,
        SET_FLANNEL,
        _SET_N,
} VerbSet;

static const VerbSet set_of_role[_ROLE_N] = {
        [ROLE_BERTH] = SET_LINK,         [ROLE_BRIDGE] = SET_LINK,
        [ROLE_PTP] = SET_LINK,           [ROLE_LOOPBACK] = SET_LOOPBACK,
        [ROLE_HOST_LOCAL] = SET_ADDRESS, [ROLE_STATIC] = SET_ADDRESS,
        [ROLE_PORTMAP] = SET_CHAIN,      [ROLE_BANDWIDTH] = SET_CHAIN,
        [ROLE_FIREWALL] = SET_CHAIN,     [ROLE_TUNING] = SET_CHAIN,
        [ROLE_FLANNEL] = SET_FLANNEL,
};

/* NULL: nothing to do, and it is done. */
static const RequestVerb verbs[_SET_N][_VERB_N] = {
        [SET_LINK] = {[VERB_ADD] = link_add,
                      [VERB_DEL] = link_del,
                      [VERB_CHECK] = link_check,
                      [VERB_GC] = link_gc,
                      [VERB_STATUS] = link_status},
        [SET_LOOPBACK] = {[VERB_ADD] = loopback_add,
                          [VERB_DEL] = loopback_del,
                          [VERB_CHECK] = loopback_check},
        [SET_ADDRESS] = {[VERB_ADD] = address_add,
                         [VERB_DEL] = address_del,
                         [VERB_CHECK] = address_check,
                         [VERB_GC] = address_gc,
                         [VERB_STATUS] = address_status},
        [SET_CHAIN] = {[VERB_ADD] = chain_add,
                       [VERB_DEL] = chain_del,
                       [VERB_CHECK] = chain_check,
                       [VERB_GC] = chain_gc,
                       [VERB_STATUS] = chain_status},
        [SET_FLANNEL] = {[VERB_ADD] = flannel_add,
                         [VERB_DEL] = flannel_del,
                         [VERB_CHECK] = flannel_check,
                         [VERB_GC] = flannel_gc,
                         [VERB_STATUS] = flannel_status},
};

static int parse_conf(Request *request, Error *err) {
        Failure *failure = &request->failure;
        char text[160];
        int r;

        request->conf.is_undo = request->env.verb == VERB_DEL;
        r = conf_parse(&request->conf, request->input, request->n_input, err);

        switch (r) {
        case CONF_E_NOT_JSON:
                return failure_set(failure, CNI_CODE_DECODE, "error unmarshall network config",
                                   err->message);
        case CONF_E_NAME:
                if (request->conf.name[0] == '\0')
                        return failure_set(failure, CNI_CODE_CONFIG, "missing network name", NULL);
                return failure_set(failure, CNI_CODE_CONFIG,
                                   "invalid characters found in network name", err->message);
        case CONF_E_VERSION:
                (void)snprintf(
                        text, sizeof(text),
                        "config is \"%.40s\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" "
                        "\"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]",
                        err->message);
                return failure_set(failure, CNI_CODE_VERSION, "incompatible CNI versions", text);
        default:
                return r < 0 ? failure_from_error(failure, err) : 0;
        }
}

/* CHECK came with 0.4.0, GC and STATUS with 1.1.0. */
static int check_verb(Request *request) {
        CniVerb verb = request->env.verb;
        CniVersion since = verb == VERB_CHECK                       ? CNI_0_4_0
                           : verb == VERB_GC || verb == VERB_STATUS ? CNI_1_1_0
                                                                    : CNI_0_1_0;
        char text[64];

        if (request->conf.version >= since)
                return 0;
        (void)snprintf(text, sizeof(text), "config version does not allow %s", verb_name(verb));
        return failure_set(&request->failure, CNI_CODE_VERSION, text, NULL);
}

static int check_names(Request *request, Error *err) {
        const char *detail = NULL;

        if (env_check_names(&request->env, &detail, err) == 0)
                return 0;
        return failure_set(&request->failure, CNI_CODE_ENVIRONMENT, err->message, detail);
}

/* Only plugins that take a key of it look at CNI_ARGS, and refuse what they do not know. */
static bool takes_args(const NetConf *conf) {
        switch (conf->role) {
        case ROLE_BERTH:
        case ROLE_BRIDGE:
        case ROLE_HOST_LOCAL:
        case ROLE_STATIC:
        case ROLE_TUNING:
                return true;
        case ROLE_PTP:
                return str_equal(conf->ipam_type, "host-local") ||
                       str_equal(conf->ipam_type, "static");
        case ROLE_LOOPBACK:
        case ROLE_PORTMAP:
        case ROLE_BANDWIDTH:
        case ROLE_FIREWALL:
        case ROLE_FLANNEL: /* what it delegates to reads them */
        case _ROLE_N:
                break;
        }
        return false;
}

static int parse_args(Request *request, Error *err) {
        LinkConf *link = &request->conf.link;
        int r;

        if (!takes_args(&request->conf))
                return 0;
        r = cni_args_parse(request->env.args, &request->args, err);

        if (r == 0 && !link->has_mac && !str_is_empty(request->args.mac)) {
                link->has_mac = conf_mac_parse(request->args.mac, link->mac) == 0 &&
                                conf_mac_is_unicast(link->mac);
                if (!link->has_mac)
                        r = error_set(
                                err, ERROR_INVALID,
                                "CNI_ARGS: MAC \"%s\" is not the MAC address of one interface",
                                request->args.mac);
        }
        if (r < 0 && request->conf.is_undo) {
                *err = (Error){0};
                return 0;
        }
        if (r < 0)
                return failure_set(&request->failure, CNI_CODE_ENVIRONMENT,
                                   "invalid environment variable CNI_ARGS", err->message);
        if (!request->conf.is_undo && request->conf.role == ROLE_BERTH &&
            conf_take_mac(request->conf.json, link, err) < 0)
                return failure_from_error(&request->failure, err);
        return 0;
}

static int parse(Request *request, Error *err) {
        int r = parse_conf(request, err);

        r = r ? r : check_names(request, err);
        r = r ? r : check_verb(request);
        return r ? r : parse_args(request, err);
}

int request_serve(Request *request) {
        RequestVerb verb = NULL;
        Error err = {0};

        if (parse(request, &err))
                return 1;
        if (request->conf.role < _ROLE_N)
                verb = verbs[set_of_role[request->conf.role]][request->env.verb];
        request->ipam = (Ipam){
                .conf = &request->conf,
                .env = &request->env,
                .args = &request->args,
                .rtnl = &request->rtnl,
                .input = request->input,
                .n_input = request->n_input,
        };
        if (!verb || verb(request, &err) == 0)
                return 0;
        if (request->failure.code)
                return 1;
        if (request->ipam.passed.code) {
                request->failure = request->ipam.passed;
                return 1;
        }
        return failure_from_error(&request->failure, &err);
}

int request_serve_again(Request *request, PluginRole role, char *text) {
        bool is_undo = request->conf.is_undo;

        conf_deinit(&request->conf);
        cni_args_deinit(&request->args);
        free(request->input);
        request->input = text;
        request->n_input = strlen(text);
        request->conf.role = role;
        request->conf.is_undo = is_undo;
        request->conf.name = "";
        return request_serve(request) ? -EIO : 0;
}
