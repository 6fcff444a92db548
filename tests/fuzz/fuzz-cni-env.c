/* SPDX-License-Identifier: Apache-2.0 */

/* The environment: six values, a line each. */

#include "cni/spec/conf.h"
#include "cni/spec/env.h"
#include "cni/spec/failure.h"
#include "common/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        cleanup(freep) char *text = malloc(n + 1), *answer = NULL;
        cleanup(cni_args_deinit) CniArgs args = {0};
        char *rest = text, *values[6] = {NULL};
        const char *detail = NULL;
        uint8_t mac[6];
        Failure failure;
        CniEnv env;
        Error err = {0};

        assert(text);
        if (n)
                memcpy(text, data, n);
        text[n] = '\0';
        for (size_t i = 0; i < N_ELEMENTS(values); i++)
                values[i] = strsep(&rest, "\n");
        env = (CniEnv){.command = values[0],
                       .container_id = values[1],
                       .netns = values[2],
                       .ifname = values[3],
                       .args = values[4],
                       .path = values[5]};
        if (env_check(&env, &err) == 0 && env_check_names(&env, &detail, &err) == 0)
                (void)cni_args_parse(env.args, &args, &err);
        if (args.mac)
                (void)conf_mac_parse(args.mac, mac);
        (void)role_from_path(values[0]);
        if (err.code == ERROR_NONE)
                return 0;
        failure_set(&failure, 4, err.message, detail);
        answer = failure_format(&failure, CNI_1_0_0);
        assert(answer);
        return 0;
}
