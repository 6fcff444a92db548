/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is told about a call. Only fields of the table are ever formatted: `secrets`, mount flags
 * and the maps (which carry tokens and keys) are kept out by not being named, and so is whatever a
 * later version of the specification adds.
 */

#include "csi/service/service_internal.h"

#include "common/base/log.h"
#include "csi/api/status.h"

/* Long enough for every id that is in use; what is longer is cut. */
#define VALUE_MAX 512U

/* Fields that may be printed, and under which key. The subject comes first. */
static const struct {
        const char *field, *key;
} shown[] = {
        {"volume_id", "volume"},
        {"snapshot_id", "snapshot"},
        {"group_snapshot_id", "group"},
        {"source_volume_id", "source"},
        {"name", "name"},
        {"staging_target_path", "staging"},
        {"target_path", "target"},
        {"volume_path", "path"},
};

/* NULL if @request has no such field, or it is not a single string. */
static const char *string_field(const ProtobufCMessage *request, const char *name) {
        const ProtobufCFieldDescriptor *field =
                protobuf_c_message_descriptor_get_field_by_name(request->descriptor, name);

        if (!field || field->type != PROTOBUF_C_TYPE_STRING ||
            field->label == PROTOBUF_C_LABEL_REPEATED)
                return NULL;
        return *(const char *const *)(const void *)((const char *)request + field->offset);
}

/* Kubelet asks these before nearly every other call, probes and scrapers without end. */
static bool is_chatter(const char *method) {
        return str_has_prefix(method, "Get") || str_has_prefix(method, "List") ||
               str_equal(method, "Probe") || str_equal(method, "NodeGetCapabilities") ||
               str_equal(method, "NodeGetInfo") || str_equal(method, "NodeGetVolumeStats") ||
               str_equal(method, "ControllerGetCapabilities") ||
               str_equal(method, "ControllerGetVolume") ||
               str_equal(method, "GroupControllerGetCapabilities");
}

static const char *method_of(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static void log_call(const RpcReport *report) {
        LogField fields[3 + N_ELEMENTS(shown)];
        char values[N_ELEMENTS(shown)][VALUE_MAX];
        const char *method = method_of(report->path);
        LogLevel level = LOG_LEVEL_INFO;
        char duration[32];
        size_t n = 0;

        if (report->status != STATUS_OK)
                level = LOG_LEVEL_ERROR;
        else if (is_chatter(method))
                level = LOG_LEVEL_DEBUG;
        if (!log_is_enabled(level))
                return;
        fields[n++] = (LogField){"method", report->is_known ? method : report->path};
        for (size_t i = 0; report->request && i < N_ELEMENTS(shown); i++) {
                const char *value = string_field(report->request, shown[i].field);

                if (str_is_empty(value))
                        continue;
                (void)snprintf(values[i], sizeof(values[i]), "%s", value);
                str_make_utf8(values[i]);
                fields[n++] = (LogField){shown[i].key, values[i]};
        }
        (void)snprintf(duration, sizeof(duration), "%llu.%03llu",
                       (unsigned long long)report->duration_usecs / 1000,
                       (unsigned long long)report->duration_usecs % 1000);
        fields[n++] = (LogField){"code", status_name(report->status)};
        fields[n++] = (LogField){"duration_ms", duration};
        log_fields(level, fields, n, "%s", report->status == STATUS_OK ? "done" : report->message);
}

void service_report(void *userdata, const RpcReport *report) {
        const Service *service = userdata;

        if (service->metrics)
                metrics_operation(service->metrics, report->is_known ? report->path : "",
                                  report->status, (double)report->duration_usecs / 1e6);
        log_call(report);
}
