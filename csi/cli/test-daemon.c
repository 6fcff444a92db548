/* SPDX-License-Identifier: Apache-2.0 */

/* The daemon with the double of test-double.h behind it and the flags of `berth-csi serve`, for
 * tests of what is on the wire. BERTH_TEST_READY: the ErrorCode that Probe and the registration
 * see. */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/cli/args.h"
#include "csi/daemon/daemon.h"
#include "csi/metrics/metrics.h"
#include "csi/service/test-double.h"

static const char *get_environment(const char *name) {
        return getenv(name);
}

int main(int argc, char **argv) {
        const char *ready = getenv("BERTH_TEST_READY");
        char buffer[128];
        ServeArgs args;
        Error err = {0};
        uint64_t code;
        int r;
        Service service = {
                .provider = &double_provider,
                .node = double_node(),
                .driver_name = "double.csi.test",
        };
        DaemonConfig config = {.service = &service};

        daemon_block_signals();
        if (args_parse_serve(argc, argv, get_environment, &args, &err) != 0 ||
            args_socket_path(args.endpoint, buffer, sizeof(buffer), &config.socket_path, &err) <
                    0) {
                (void)fprintf(stderr, "%s\n", err.message);
                return 64;
        }
        if (ready && str_parse_u64(ready, _ERROR_N - 1, &code) == 0)
                double_ready = (ErrorCode)code;
        log_setup(args.log_level, args.log_format);
        if (args.driver_name)
                service.driver_name = args.driver_name;
        config.registration_dir = args.registration ? args.registration_dir : NULL;
        config.registration_endpoint =
                args.registration_endpoint ? args.registration_endpoint : config.socket_path;
        config.health_address = args.health_address ? args.health_address : "";
        config.health_port = (uint16_t)args.health_port;
        config.serves_metrics = args.metrics;
        config.max_workers = (unsigned int)args.workers;
        config.drain_timeout_msecs = args.drain_timeout_msecs;
        r = metrics_new(&service.metrics, service.driver_name);
        if (r == 0)
                r = daemon_run(&config, &err);
        if (r < 0)
                log_error("%s", err.message);
        metrics_free(service.metrics);
        return r < 0 ? 1 : 0;
}
