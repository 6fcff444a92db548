/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/service/test-double.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

struct Node {
        int unused;
};

char double_asked[8192];
ErrorCode double_ready = ERROR_NONE;
bool double_waits = true;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

Node *double_node(void) {
        static Node node;

        return &node;
}

static void asked(const StrBuf *text) {
        (void)pthread_mutex_lock(&lock);
        (void)snprintf(double_asked, sizeof(double_asked), "%s", strbuf_text(text));
        (void)pthread_mutex_unlock(&lock);
}

static void add_map(StrBuf *text, const char *name, const StringMap *map) {
        if (map->n_pairs == 0)
                return;
        strbuf_printf(text, " %s={", name);
        for (size_t i = 0; i < map->n_pairs; i++)
                strbuf_printf(text, "%s%s:%s", i ? "," : "", map->pairs[i].key,
                              map->pairs[i].value);
        strbuf_append(text, "}");
}

static void add_capability(StrBuf *text, const VolumeCapability *capability) {
        strbuf_printf(text, " %s mode=%d", capability->is_block ? "block" : "mount",
                      (int)capability->access_mode);
        if (capability->fs_type[0])
                strbuf_printf(text, " fs=%s", capability->fs_type);
        for (size_t i = 0; i < capability->n_mount_flags; i++)
                strbuf_printf(text, " flag=%s", capability->mount_flags[i]);
        if (capability->volume_mount_group[0])
                strbuf_printf(text, " group=%s", capability->volume_mount_group);
}

static void add_range(StrBuf *text, const CapacityRange *range) {
        if (range->required_bytes || range->limit_bytes)
                strbuf_printf(text, " range=%llu-%llu", (unsigned long long)range->required_bytes,
                              (unsigned long long)range->limit_bytes);
}

/* What the id asks for. */
static int act(const Call *call, const char *id, Error *err) {
        bool deaf = str_has_prefix(id, "deaf-");
        uint64_t number = 0;
        const char *dash = strchr(id, '-');

        if (!dash || str_parse_u64(dash + 1, 1000000, &number) < 0)
                return 0;
        if (str_has_prefix(id, "error-") && number > ERROR_NONE && number < _ERROR_N)
                return error_set(err, (ErrorCode)number, "as asked \xff for %s", id);
        if (!double_waits || (!deaf && !str_has_prefix(id, "sleep-")))
                return 0;
        log_info("at work on %s", id);
        for (uint64_t waited = 0; waited < number; waited += 5) {
                (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
                if (!deaf && call->cancelled(call->userdata))
                        return error_set(err, ERROR_TIMEOUT, "cancelled after %llu ms",
                                         (unsigned long long)waited);
        }
        return 0;
}

static int tell_and_act(StrBuf *text, const Call *call, const char *id, Error *err) {
        asked(text);
        strbuf_deinit(text);
        return act(call, id, err);
}

int node_ready(Node *node, const Call *call, Error *err) {
        if (double_ready == ERROR_NONE)
                return 0;
        return error_set(err, double_ready, "not ready as asked");
}

int node_stage(Node *node, const Call *call, const NodeStageRequest *in, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "stage volume=%s staging=%s", in->volume_id, in->staging_path);
        add_capability(&text, &in->capability);
        add_map(&text, "publish", &in->publish_context);
        add_map(&text, "context", &in->volume_context);
        add_map(&text, "secrets", &in->secrets);
        return tell_and_act(&text, call, in->volume_id, err);
}

int node_unstage(Node *node, const Call *call, const NodeUnstageRequest *in, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "unstage volume=%s staging=%s", in->volume_id, in->staging_path);
        return tell_and_act(&text, call, in->volume_id, err);
}

int node_publish(Node *node, const Call *call, const NodePublishRequest *in, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "publish volume=%s staging=%s target=%s%s", in->volume_id,
                      in->staging_path, in->target_path, in->readonly ? " readonly" : "");
        add_capability(&text, &in->capability);
        add_map(&text, "publish", &in->publish_context);
        add_map(&text, "context", &in->volume_context);
        add_map(&text, "secrets", &in->secrets);
        return tell_and_act(&text, call, in->volume_id, err);
}

int node_unpublish(Node *node, const Call *call, const NodeUnpublishRequest *in, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "unpublish volume=%s target=%s", in->volume_id, in->target_path);
        return tell_and_act(&text, call, in->volume_id, err);
}

int node_expand(Node *node, const Call *call, const NodeExpandRequest *in, NodeExpandResult *result,
                Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "expand volume=%s path=%s staging=%s", in->volume_id, in->volume_path,
                      in->staging_path);
        add_range(&text, &in->capacity_range);
        if (in->has_capability)
                add_capability(&text, &in->capability);
        add_map(&text, "secrets", &in->secrets);
        result->capacity_bytes = in->capacity_range.required_bytes;
        return tell_and_act(&text, call, in->volume_id, err);
}

int node_stats(Node *node, const Call *call, const NodeStatsRequest *in, NodeStatsResult *result,
               Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "stats volume=%s path=%s staging=%s", in->volume_id, in->volume_path,
                      in->staging_path);
        *result = (NodeStatsResult){
                .has_bytes = true,
                .has_inodes = true,
                .has_condition = true,
                .bytes = {1, UINT64_MAX, 3},
                .inodes = {4, 5, 6},
                .abnormal = true,
                .condition_message = "worn out",
        };
        return tell_and_act(&text, call, in->volume_id, err);
}

int node_info(Node *node, const Call *call, NodeInfo *result, Error *err) {
        static const StringPair zone = {"topology.berth.test/zone", "z1"};

        *result = (NodeInfo){
                .node_id = "node-1",
                .max_volumes = 16,
                .has_topology = true,
                .topology = {{&zone, 1}},
        };
        return 0;
}

static int create_volume(void *self, const Call *call, const CreateVolumeRequest *in,
                         VolumeInfo *result, Error *err) {
        static const StringPair context = {"kind", "double"};
        static const StringPair zone = {"topology.berth.test/zone", "z1"};
        static const Topology topology = {{&zone, 1}};
        StrBuf text = {0};

        strbuf_printf(&text, "create name=%s", in->name);
        add_range(&text, &in->capacity_range);
        for (size_t i = 0; i < in->n_capabilities; i++)
                add_capability(&text, &in->capabilities[i]);
        add_map(&text, "parameters", &in->parameters);
        add_map(&text, "mutable", &in->mutable_parameters);
        add_map(&text, "secrets", &in->secrets);
        if (in->source != CONTENT_SOURCE_NONE)
                strbuf_printf(&text, " from=%s:%s",
                              in->source == CONTENT_SOURCE_VOLUME ? "volume" : "snapshot",
                              in->source_id);
        for (size_t i = 0; i < in->n_requisite; i++)
                add_map(&text, "requisite", &in->requisite[i].segments);
        for (size_t i = 0; i < in->n_preferred; i++)
                add_map(&text, "preferred", &in->preferred[i].segments);
        *result = (VolumeInfo){
                .volume_id = arena_printf(call->arena, "id-of-%s", in->name),
                .capacity_bytes = in->capacity_range.required_bytes,
                .context = {&context, 1},
                .source = in->source,
                .source_id = in->source_id,
                .topologies = &topology,
                .n_topologies = 1,
        };
        return tell_and_act(&text, call, in->name, err);
}

static int delete_volume(void *self, const Call *call, const char *id, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "delete volume=%s", id);
        return tell_and_act(&text, call, id, err);
}

static int validate(void *self, const Call *call, const ValidateRequest *in, ValidateResult *result,
                    Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "validate volume=%s", in->volume_id);
        for (size_t i = 0; i < in->n_capabilities; i++)
                add_capability(&text, &in->capabilities[i]);
        add_map(&text, "context", &in->context);
        result->confirmed = !str_equal(in->volume_id, "unfit");
        result->message = result->confirmed ? NULL : "does not fit";
        return tell_and_act(&text, call, in->volume_id, err);
}

static int list_volumes(void *self, const Call *call, const ListRequest *in, VolumeList *result,
                        Error *err) {
        static const VolumeInfo volumes[] = {
                {.volume_id = "v1", .capacity_bytes = 1},
                {.volume_id = "v2",
                 .has_condition = true,
                 .abnormal = true,
                 .condition_message = "lost"},
        };
        StrBuf text = {0};

        strbuf_printf(&text, "list max=%u token=%s", in->max_entries, in->starting_token);
        *result = (VolumeList){volumes, N_ELEMENTS(volumes), "next"};
        return tell_and_act(&text, call, in->starting_token, err);
}

static int get_volume(void *self, const Call *call, const char *id, VolumeInfo *result,
                      Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "get volume=%s", id);
        *result = (VolumeInfo){.volume_id = id, .capacity_bytes = 7};
        return tell_and_act(&text, call, id, err);
}

static int modify_volume(void *self, const Call *call, const char *id, const StringMap *parameters,
                         Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "modify volume=%s", id);
        add_map(&text, "mutable", parameters);
        return tell_and_act(&text, call, id, err);
}

static int get_capacity(void *self, const Call *call, const CapacityRequest *in,
                        CapacityResult *result, Error *err) {
        StrBuf text = {0};

        strbuf_append(&text, "capacity");
        for (size_t i = 0; i < in->n_capabilities; i++)
                add_capability(&text, &in->capabilities[i]);
        add_map(&text, "parameters", &in->parameters);
        if (in->has_topology)
                add_map(&text, "topology", &in->topology.segments);
        *result = (CapacityResult){.available_bytes = 1000, .maximum_volume_bytes = 900};
        return tell_and_act(&text, call, "", err);
}

static const SnapshotInfo snapshot_s1 = {
        .snapshot_id = "s1",
        .source_volume_id = "v1",
        .size_bytes = 5,
        .created_seconds = 1700000000,
        .created_nanos = 9,
        .ready = true,
};

static int create_snapshot(void *self, const Call *call, const CreateSnapshotRequest *in,
                           SnapshotInfo *result, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "snapshot name=%s source=%s", in->name, in->source_volume_id);
        add_map(&text, "parameters", &in->parameters);
        *result = snapshot_s1;
        return tell_and_act(&text, call, in->name, err);
}

static int delete_snapshot(void *self, const Call *call, const char *id, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "delete snapshot=%s", id);
        return tell_and_act(&text, call, id, err);
}

static int list_snapshots(void *self, const Call *call, const ListRequest *in, SnapshotList *result,
                          Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "list-snapshots max=%u token=%s snapshot=%s source=%s",
                      in->max_entries, in->starting_token, in->snapshot_id, in->source_volume_id);
        *result = (SnapshotList){&snapshot_s1, str_equal(in->snapshot_id, "gone") ? 0 : 1, ""};
        return tell_and_act(&text, call, in->snapshot_id, err);
}

static int create_group(void *self, const Call *call, const CreateGroupRequest *in,
                        SnapshotGroup *result, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "group name=%s", in->name);
        for (size_t i = 0; i < in->n_source_volume_ids; i++)
                strbuf_printf(&text, " source=%s", in->source_volume_ids[i]);
        *result = (SnapshotGroup){"g1", &snapshot_s1, 1, 1700000000, 9, true};
        return tell_and_act(&text, call, in->name, err);
}

static int delete_group(void *self, const Call *call, const char *id, const char *const *ids,
                        size_t n_ids, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "delete group=%s n=%zu", id, n_ids);
        return tell_and_act(&text, call, id, err);
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are those of ControllerOps. */
static int get_group(void *self, const Call *call, const char *id, const char *const *ids,
                     size_t n_ids, SnapshotGroup *result, Error *err) {
        StrBuf text = {0};

        strbuf_printf(&text, "get group=%s n=%zu", id, n_ids);
        *result = (SnapshotGroup){id, NULL, 0, 1, 2, false};
        return tell_and_act(&text, call, id, err);
}

static const ControllerOps controller = {
        .create_volume = create_volume,
        .delete_volume = delete_volume,
        .validate = validate,
        .list_volumes = list_volumes,
        .get_volume = get_volume,
        .modify_volume = modify_volume,
        .get_capacity = get_capacity,
        .create_snapshot = create_snapshot,
        .delete_snapshot = delete_snapshot,
        .list_snapshots = list_snapshots,
        .create_group = create_group,
        .delete_group = delete_group,
        .get_group = get_group,
};

const Provider double_provider = {
        .name = "double",
        .driver_name = "double.csi.test",
        .flags = PROVIDER_STAGES | PROVIDER_SINGLE_NODE_MULTI_WRITER | PROVIDER_EPHEMERAL |
                 PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE | PROVIDER_CLONES,
        .controller = &controller,
};
