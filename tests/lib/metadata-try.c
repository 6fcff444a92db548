/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests/integration/test_metadata.py: asks a metadata service as a provider would and prints
 * what came, one line of JSON for each command on stdin:
 *
 *     node | fresh-node | get PATH | fresh-get PATH | sleep MSECS
 *
 * metadata-try SERVICE [--base URL] [--total MSECS] [--request MSECS] [--connect MSECS]
 *              [--tries N] [--cache MSECS] [--cancel MSECS]
 */

#include "csi/cloud/metadata_internal.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

static uint64_t cancel_at_msecs = UINT64_MAX;

static bool is_cancelled(void *userdata) {
        return clock_msecs() >= cancel_at_msecs;
}

static json_t *node_json(const MetadataNode *node) {
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", node->instance_id, "name",
                         node->name, "region", node->region, "zone", node->zone, "type",
                         node->instance_type, "project", node->project);
}

static void run(MetadataClient *client, const Call *call, char *command) {
        unsigned int flags = str_has_prefix(command, "fresh-") ? METADATA_FRESH : 0U;
        char *path = strchr(command, ' ');
        json_t *line = json_object();
        cleanup(freep) char *text = NULL;
        MetadataNode node;
        Error err = {0};
        uint64_t started = clock_msecs();
        size_t n = 0;
        int r;

        if (path)
                *path++ = '\0';
        if (str_has_suffix(command, "node")) {
                r = metadata_read_node(client, call, flags, &node, &err);
                if (r == 0)
                        json_object_set_new(line, "node", node_json(&node));
        } else {
                r = metadata_get(client, call, path, flags, &text, &n, &err);
                if (r == 0)
                        json_object_set_new(line, "text", json_stringn_nocheck(text, n));
        }
        if (r != 0) {
                json_object_set_new(line, "code", json_string(error_code_name(err.code)));
                json_object_set_new(line, "message", json_string(err.message));
                json_object_set_new(line, "negative", json_boolean(r < 0));
        }
        json_object_set_new(line, "msecs", json_integer((json_int_t)(clock_msecs() - started)));
        json_dumpf(line, stdout, 0);
        putchar('\n');
        fflush(stdout);
        json_decref(line);
}

static uint64_t number(const char *text) {
        uint64_t value = 0;

        if (str_parse_u64(text, UINT32_MAX, &value) < 0)
                exit(64);
        return value;
}

static void parse(int argc, char **argv, MetadataConfig *config) {
        static const struct option options[] = {
                {"base", required_argument, NULL, 'b'},
                {"total", required_argument, NULL, 't'},
                {"request", required_argument, NULL, 'r'},
                {"connect", required_argument, NULL, 'c'},
                {"tries", required_argument, NULL, 'n'},
                {"cache", required_argument, NULL, 'k'},
                {"cancel", required_argument, NULL, 'x'},
                {NULL, 0, NULL, 0},
        };
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (option == 'b')
                        config->base_url = optarg;
                else if (option == 't')
                        config->total_timeout_msecs = number(optarg);
                else if (option == 'r')
                        config->request_timeout_msecs = number(optarg);
                else if (option == 'c')
                        config->connect_timeout_msecs = number(optarg);
                else if (option == 'n')
                        config->max_tries = (unsigned int)number(optarg);
                else if (option == 'k')
                        config->cache_msecs = number(optarg);
                else if (option == 'x')
                        cancel_at_msecs = clock_msecs() + number(optarg);
                else
                        exit(64);
        }
        config->service = optind < argc ? metadata_service_find(argv[optind]) : NULL;
        if (!config->service)
                exit(64);
}

int main(int argc, char **argv) {
        MetadataConfig config = {0};
        MetadataClient *client;
        Call call = {.deadline_msecs = UINT64_MAX, .cancelled = is_cancelled};
        char command[256];
        Error err = {0};

        parse(argc, argv, &config);
        if (metadata_client_new(&client, &config, &err) < 0) {
                fprintf(stderr, "%s\n", err.message);
                return 1;
        }
        while (fgets(command, sizeof(command), stdin)) {
                str_trim_end(command);
                if (str_has_prefix(command, "sleep ")) {
                        uint64_t msecs = number(command + 6);

                        nanosleep(&(struct timespec){.tv_sec = (time_t)(msecs / 1000),
                                                     .tv_nsec = (long)(msecs % 1000) * 1000000},
                                  NULL);
                } else {
                        run(client, &call, command);
                }
        }
        metadata_client_free(client);
        return 0;
}
