/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Plans as text, held against tests/data/cni/plan/<name>.plan: each file is a configuration, the
 * facts, what IPAM answered, and the plan that follows. And carried out on a kernel that fails at
 * each step in turn.
 */

#include "cni/spec/test-support.h"

#include "cni/link/plan.h"
#include "common/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>

static const uint8_t macs[3][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}};

/* A case file: "--- conf", "--- facts", "--- result", "--- plan" or "--- error". */
typedef struct Case {
        char *text; /* owned */
        const char *conf, *facts, *result, *plan, *error;
} Case;

static void case_deinit(Case *one) {
        free(one->text);
}

static void case_read(const char *path, Case *one) {
        const struct {
                const char *title, **partp;
        } parts[] = {{"conf\n", &one->conf},
                     {"facts\n", &one->facts},
                     {"result\n", &one->result},
                     {"plan\n", &one->plan},
                     {"error\n", &one->error}};
        char *at;

        assert_int_equal(file_read_at(AT_FDCWD, path, 65536, &one->text, NULL), 0);
        for (at = strstr(one->text, "--- "); at; at = strstr(at, "--- ")) {
                *at = '\0';
                at += 4;
                for (size_t i = 0; i < N_ELEMENTS(parts); i++)
                        if (str_has_prefix(at, parts[i].title))
                                *parts[i].partp = at + strlen(parts[i].title);
        }
        assert_non_null(one->conf);
        assert_true(one->plan || one->error);
}

static void facts_address(HostFacts *facts, const char *text) {
        IpPrefix one = prefix(text);
        LinkAddress *address = &facts->addresses[facts->n_addresses++];

        address->family = one.address.family;
        address->prefix = one.length;
        memcpy(address->bytes, one.address.bytes, sizeof(address->bytes));
}

/* {"bridge": kind, "up", "idle", "mtu", "filters", "promisc", "foreign", "vlan_link", "addresses",
 * "forwards", "uplink", "advertised"}. foreign: no switch of the bridge is as ours. */
static void facts_read_text(const char *text, HostFacts *facts) {
        json_t *json = json_value(text ? text : "{}");
        const json_t *bridge = json_object_get(json, "bridge");
        const json_t *item;
        size_t i;

        facts->has_bridge = bridge != NULL;
        if (bridge)
                (void)snprintf(facts->bridge.kind, sizeof(facts->bridge.kind), "%s",
                               json_string_value(bridge));
        facts->bridge.flags = json_is_false(json_object_get(json, "up")) ? 0 : IFF_UP;
        if (!json_is_true(json_object_get(json, "idle")))
                facts->bridge.flags |= LINK_FLAG_LOWER_UP;
        facts->bridge.has_inet6 = true;
        facts->bridge.accept_ra = json_is_true(json_object_get(json, "foreign"));
        facts->bridge.accept_dad = json_is_true(json_object_get(json, "foreign"));
        facts->bridge.inet6_is_off = json_is_true(json_object_get(json, "foreign"));
        facts->bridge.mtu_bytes = (uint32_t)json_integer_value(json_object_get(json, "mtu"));
        facts->bridge.vlan_filtering = json_is_true(json_object_get(json, "filters"));
        facts->bridge.n_promiscuous = json_is_true(json_object_get(json, "promisc"));
        memcpy(facts->bridge.mac, macs[0], sizeof(facts->bridge.mac));
        facts->has_vlan_link = json_is_true(json_object_get(json, "vlan_link"));
        if (facts->has_vlan_link) {
                facts->vlan_link = facts->bridge;
                facts->vlan_link.accept_ra = facts->vlan_link.accept_dad = 0;
        }
        facts->forwards_v4 = facts->forwards_v6 = json_is_true(json_object_get(json, "forwards"));
        facts->uplink_mtu_bytes = (uint32_t)json_integer_value(json_object_get(json, "uplink"));
        json_array_foreach(json_object_get(json, "addresses"), i, item)
                facts_address(facts, json_string_value(item));
        json_array_foreach(json_object_get(json, "advertised"), i, item)(void) snprintf(
                facts->advertised[facts->n_advertised++], IFNAMSIZ, "%s", json_string_value(item));
        json_decref(json);
}

/* Everything a plan is made of, alive together. */
typedef struct World {
        Case one;
        NetConf conf;
        HostFacts facts;
        CniResult result;
        Plan plan;
        Error err;
        int r;
} World;

static void world_deinit(World *world) {
        plan_deinit(&world->plan);
        result_deinit(&world->result);
        conf_deinit(&world->conf);
        case_deinit(&world->one);
}

static void world_make(const char *path, World *world) {
        PluginRole role = strstr(path, "ptp-")     ? ROLE_PTP
                          : strstr(path, "berth-") ? ROLE_BERTH
                                                   : ROLE_BRIDGE;

        case_read(path, &world->one);
        if (conf_from(&world->conf, role, world->one.conf, &world->err) != 0)
                fail_msg("%s: %s", path, world->err.message);
        facts_read_text(world->one.facts, &world->facts);
        if (world->one.result) {
                json_t *json = json_value(world->one.result);

                assert_int_equal(result_parse(json, CNI_1_0_0, &world->result, &world->err), 0);
                json_decref(json);
        }
        world->r = plan_gateways(&world->conf, &world->result, &world->err);
        if (world->r == 0)
                world->r = plan_add(&(PlanInput){.conf = &world->conf,
                                                 .facts = &world->facts,
                                                 .result = &world->result,
                                                 .ifname = "eth0",
                                                 .host_name = "veth00112233",
                                                 .alias = "berth/net/c1/eth0",
                                                 .macs = macs,
                                                 .has_before_up = true},
                                    &world->plan, &world->err);
}

static void each_case(void (*check)(const char *path)) {
        DIR *dir = opendir(PLAN_DATA);
        struct dirent *entry;
        size_t n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                char path[512];

                if (!str_has_suffix(entry->d_name, ".plan"))
                        continue;
                (void)snprintf(path, sizeof(path), "%s/%s", PLAN_DATA, entry->d_name);
                check(path);
                n++;
        }
        closedir(dir);
        assert_true(n >= 15);
}

static void check_text(const char *path) {
        cleanup(world_deinit) World world = {0};
        cleanup(strbuf_deinit) StrBuf text = {0};

        world_make(path, &world);
        if (world.one.error) {
                assert_true(world.r < 0);
                strbuf_printf(&text, "%s\n", world.err.message);
        } else {
                if (world.r < 0)
                        fail_msg("%s: %s", path, world.err.message);
                plan_format(&world.plan, &text);
        }
        if (str_equal(strbuf_text(&text), world.one.error ? world.one.error : world.one.plan))
                return;
        /* cmocka cuts its own messages. */
        fputs(strbuf_text(&text), stderr);
        fail_msg("%s: got the above", path);
}

static void test_text(void **state) {
        each_case(check_text);
}

/* --- a kernel that fails ------------------------------------------------------------------- */

typedef struct FakeKernel {
        size_t fail_at; /* the step, counted over the whole plan */
        size_t n_done;
        bool has_pair; /* host's end made and not taken away */
        size_t n_undone;
        bool in_order; /* no step of the pod before the pair */
} FakeKernel;

static int fake_run(void *userdata, const Plan *plan, const PlanStep *steps, size_t n,
                    size_t *donep, Error *err) {
        FakeKernel *kernel = userdata;

        for (size_t i = 0; i < n; i++) {
                assert_int_equal(step_is_in_pod(&steps[i]), step_is_in_pod(&steps[0]));
                if (kernel->n_done == kernel->fail_at) {
                        *donep = i;
                        return error_set(err, ERROR_INTERNAL, "step %zu", kernel->n_done);
                }
                if (steps[i].kind == STEP_VETH_CREATE)
                        kernel->has_pair = true;
                else if (steps[i].link == LINK_POD || steps[i].link == LINK_HOST)
                        kernel->in_order = kernel->in_order && kernel->has_pair;
                kernel->n_done++;
        }
        *donep = n;
        return 0;
}

static int fake_undo(void *userdata, const Plan *plan, Error *err) {
        FakeKernel *kernel = userdata;

        kernel->n_undone++;
        kernel->has_pair = false;
        return 0;
}

/* Fails at step k, for every k: nothing of the pod is left, and undo is not asked for in vain. */
static void check_failures(const char *path) {
        cleanup(world_deinit) World world = {0};

        world_make(path, &world);
        if (world.one.error)
                return;
        for (size_t k = 0; k <= world.plan.n_steps; k++) {
                FakeKernel kernel = {.fail_at = k, .in_order = true};
                const PlanKernel ops = {.run = fake_run, .undo = fake_undo, .userdata = &kernel};
                Error err = {0};
                int r = plan_apply(&world.plan, PLAN_OWN, &ops, &err);

                r = r < 0 ? r : plan_apply(&world.plan, PLAN_SHARED, &ops, &err);

                assert_true(kernel.in_order);
                assert_int_equal(kernel.n_done, k);
                assert_int_equal(r < 0, k < world.plan.n_steps);
                assert_int_equal(error_is_set(&err), k < world.plan.n_steps);
                assert_int_equal(kernel.has_pair, k == world.plan.n_steps);
                assert_true(kernel.n_undone <= 1);
        }
}

static void test_failures(void **state) {
        each_case(check_failures);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_failures),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
