/* SPDX-License-Identifier: Apache-2.0 */

/* A few dozen series in lists under one lock: a scrape is rare and a call takes far longer than
 * finding its series. */

#include "csi/metrics/metrics.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/api/status.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

/* kubernetes-csi/csi-lib-utils, metrics: operationsLatencyBuckets. */
static const double bounds[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600};

/* Series of one metric; more would be a label that is not one of few words. */
#define SERIES_MAX 64U

typedef struct Series Series;
struct Series {
        Series *next; /* owned */
        char *label;  /* owned; for operations, the method */
        int status;   /* operations only */
        double sum;   /* the counter, or the sum of what was observed */
        uint64_t n_observed;
        uint64_t n_below[N_ELEMENTS(bounds)]; /* not cumulated */
};

typedef struct Metric {
        const char *name, *help, *label_name; /* static */
        bool is_histogram;
        Series *series; /* owned */
        unsigned int n_series;
} Metric;

enum {
        METRIC_COMPATIBILITY,
        METRIC_BLANK,
        METRIC_MKFS,
        METRIC_FSCK,
        METRIC_ABANDONED,
        METRIC_OTHER,
        _METRIC_N,
};

struct Metrics {
        char *driver_name; /* owned */
        double start_seconds;
        pthread_mutex_t lock;
        Metric operations;
        Metric own[_METRIC_N];
};

static const Metric own_metrics[_METRIC_N] = {
        [METRIC_COMPATIBILITY] = {METRIC_COMPATIBILITY_REFUSALS,
                                  "Mounts and formats refused because a host could not read them.",
                                  "fs_type", false, NULL, 0},
        [METRIC_BLANK] = {METRIC_BLANK_TEST_REFUSALS,
                          "Disks not formatted because they were not proven blank.", "reason",
                          false, NULL, 0},
        [METRIC_MKFS] = {METRIC_MKFS_SECONDS, "How long mkfs ran.", "fs_type", true, NULL, 0},
        [METRIC_FSCK] = {METRIC_FSCK_SECONDS, "How long fsck ran.", "fs_type", true, NULL, 0},
        [METRIC_ABANDONED] = {METRIC_ABANDONED_TOOLS,
                              "Tools that hang in the kernel, killed and waited for no more.",
                              "method_name", false, NULL, 0},
        [METRIC_OTHER] = {"other", "Events without a metric of their own.", "name", false, NULL, 0},
};

/* What an alert looks at is there before it happens the first time: increase() of a series that
 * begins with one sees nothing. */
static const struct {
        unsigned int metric;
        const char *label;
} zeros[] = {
        {METRIC_BLANK, "not_blank"},
        {METRIC_BLANK, "unreadable"},
        {METRIC_COMPATIBILITY, "ext4"},
        {METRIC_COMPATIBILITY, "ext3"},
        {METRIC_COMPATIBILITY, "ext2"},
        {METRIC_COMPATIBILITY, "xfs"},
        {METRIC_COMPATIBILITY, "btrfs"},
        {METRIC_COMPATIBILITY, "f2fs"},
        {METRIC_COMPATIBILITY, "erofs"},
        {METRIC_COMPATIBILITY, "squashfs"},
        {METRIC_COMPATIBILITY, "vfat"},
        {METRIC_COMPATIBILITY, "exfat"},
        {METRIC_COMPATIBILITY, "ntfs"},
        {METRIC_ABANDONED, "NodeStageVolume"},
        {METRIC_ABANDONED, "NodePublishVolume"},
        {METRIC_ABANDONED, "NodeExpandVolume"},
};

static Series *series_get(Metric *metric, const char *label, int status, unsigned int n_max);

int metrics_new(Metrics **metricsp, const char *driver_name) {
        cleanup(freep) Metrics *metrics = calloc(1, sizeof(*metrics));
        struct timespec now;

        if (!metrics)
                return -ENOMEM;
        metrics->driver_name = strdup(driver_name);
        if (!metrics->driver_name)
                return -ENOMEM;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        metrics->start_seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
        (void)pthread_mutex_init(&metrics->lock, NULL);
        memcpy(metrics->own, own_metrics, sizeof(own_metrics));
        for (size_t i = 0; i < N_ELEMENTS(zeros); i++)
                (void)series_get(&metrics->own[zeros[i].metric], zeros[i].label, 0, SERIES_MAX);
        *metricsp = ptr_steal(&metrics);
        return 0;
}

static void series_free(Series *series) {
        for (Series *next; series; series = next) {
                next = series->next;
                free(series->label);
                free(series);
        }
}

void metrics_free(Metrics *metrics) {
        if (!metrics)
                return;
        series_free(metrics->operations.series);
        for (size_t i = 0; i < _METRIC_N; i++)
                series_free(metrics->own[i].series);
        (void)pthread_mutex_destroy(&metrics->lock);
        free(metrics->driver_name);
        free(metrics);
}

/* Finds or makes; NULL without memory: a missing number is no reason to fail a mount. */
static Series *series_get(Metric *metric, const char *label, int status, unsigned int n_max) {
        Series **linkp = &metric->series;
        Series *series;

        for (; *linkp; linkp = &(*linkp)->next)
                if ((*linkp)->status == status && strcmp((*linkp)->label, label) == 0)
                        return *linkp;
        if (metric->n_series >= n_max && !str_equal(label, "other"))
                return series_get(metric, "other", status, n_max);
        series = calloc(1, sizeof(*series));
        if (!series)
                return NULL;
        series->label = strdup(label);
        if (!series->label) {
                free(series);
                return NULL;
        }
        series->status = status;
        metric->n_series++;
        *linkp = series;
        return series;
}

static void observe(Series *series, double value) {
        series->sum += value;
        series->n_observed++;
        for (size_t i = 0; i < N_ELEMENTS(bounds); i++)
                if (value <= bounds[i]) {
                        series->n_below[i]++;
                        return;
                }
}

void metrics_operation(Metrics *metrics, const char *method, int status, double seconds) {
        Series *series;

        (void)pthread_mutex_lock(&metrics->lock);
        /* Methods are ours, so their number is known; codes are 17. */
        series = series_get(&metrics->operations, method[0] ? method : "unknown", status, 1024);
        if (series)
                observe(series, seconds);
        (void)pthread_mutex_unlock(&metrics->lock);
}

void metrics_count(void *userdata, const char *name, const char *label, double value) {
        Metrics *metrics = userdata;
        Metric *metric = &metrics->own[METRIC_OTHER];
        Series *series;

        for (size_t i = 0; i < METRIC_OTHER; i++)
                if (str_equal(metrics->own[i].name, name))
                        metric = &metrics->own[i];
        if (metric == &metrics->own[METRIC_OTHER])
                label = name;
        if (!isfinite(value) || value < 0)
                return;
        (void)pthread_mutex_lock(&metrics->lock);
        series = series_get(metric, str_is_empty(label) ? "unknown" : label, 0, SERIES_MAX);
        if (series && metric->is_histogram)
                observe(series, value);
        else if (series)
                series->sum += value;
        (void)pthread_mutex_unlock(&metrics->lock);
}

/* A label's value: backslash, quote and newline are escaped. */
static void append_escaped(StrBuf *text, const char *value) {
        for (const char *p = value; *p; p++) {
                if (*p == '\\' || *p == '"')
                        strbuf_printf(text, "\\%c", *p);
                else if (*p == '\n')
                        strbuf_append(text, "\\n");
                else
                        strbuf_append_n(text, p, 1);
        }
}

static void append_label(StrBuf *text, const char *name, const char *value) {
        strbuf_printf(text, "%s=\"", name);
        append_escaped(text, value);
        strbuf_append(text, "\"");
}

static void append_operation_labels(StrBuf *text, const Metrics *metrics, const Series *series) {
        append_label(text, "driver_name", metrics->driver_name);
        strbuf_append(text, ",");
        append_label(text, "grpc_status_code", status_name(series->status));
        strbuf_append(text, ",");
        append_label(text, "method_name", series->label);
}

static void append_histogram(StrBuf *text, const char *name, const char *labels,
                             const Series *series) {
        uint64_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(bounds); i++) {
                n += series->n_below[i];
                strbuf_printf(text, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, bounds[i],
                              (unsigned long long)n);
        }
        strbuf_printf(text, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels,
                      (unsigned long long)series->n_observed);
        strbuf_printf(text, "%s_sum{%s} %.9g\n", name, labels, series->sum);
        strbuf_printf(text, "%s_count{%s} %llu\n", name, labels,
                      (unsigned long long)series->n_observed);
}

static void append_operations(StrBuf *text, const Metrics *metrics, const char *name) {
        strbuf_printf(text,
                      "# HELP %s Container Storage Interface operation duration with gRPC error "
                      "code status total\n# TYPE %s histogram\n",
                      name, name);
        for (const Series *series = metrics->operations.series; series; series = series->next) {
                StrBuf labels = {0};

                append_operation_labels(&labels, metrics, series);
                append_histogram(text, name, strbuf_text(&labels), series);
                strbuf_deinit(&labels);
        }
}

static void append_own(StrBuf *text, const Metric *metric) {
        const char *suffix = metric->is_histogram ? "" : "_total";

        if (!metric->series && metric->is_histogram)
                return;
        strbuf_printf(text, "# HELP berth_csi_%s%s %s\n# TYPE berth_csi_%s%s %s\n", metric->name,
                      suffix, metric->help, metric->name, suffix,
                      metric->is_histogram ? "histogram" : "counter");
        for (const Series *series = metric->series; series; series = series->next) {
                StrBuf name = {0}, labels = {0};

                append_label(&labels, metric->label_name, series->label);
                strbuf_printf(&name, "berth_csi_%s", metric->name);
                if (metric->is_histogram)
                        append_histogram(text, strbuf_text(&name), strbuf_text(&labels), series);
                else
                        strbuf_printf(text, "%s_total{%s} %.9g\n", strbuf_text(&name),
                                      strbuf_text(&labels), series->sum);
                strbuf_deinit(&name);
                strbuf_deinit(&labels);
        }
}

char *metrics_format(Metrics *metrics) {
        StrBuf text = {0};

        strbuf_append(&text, "# HELP berth_csi_build_info Version of this process.\n"
                             "# TYPE berth_csi_build_info gauge\n"
                             "berth_csi_build_info{");
        append_label(&text, "driver_name", metrics->driver_name);
        strbuf_printf(&text,
                      ",version=\"" BERTH_VERSION "\"} 1\n"
                      "# HELP process_start_time_seconds Start time of the process since unix "
                      "epoch in seconds.\n# TYPE process_start_time_seconds gauge\n"
                      "process_start_time_seconds %.3f\n",
                      metrics->start_seconds);
        (void)pthread_mutex_lock(&metrics->lock);
        append_operations(&text, metrics, "csi_operations_seconds");
        /* The same under the name that csi-lib-utils gives to plugins. */
        append_operations(&text, metrics, "csi_plugin_operations_seconds");
        for (size_t i = 0; i < _METRIC_N; i++)
                append_own(&text, &metrics->own[i]);
        (void)pthread_mutex_unlock(&metrics->lock);
        return strbuf_steal(&text);
}
