/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/node/metrics.h"

#include "common/base/str.h"

#include <linux/netfilter.h>

static void about(StrBuf *text, const char *name, const char *type, const char *help) {
        strbuf_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(StrBuf *text, const char *name, uint64_t value) {
        strbuf_printf(text, "%s %llu\n", name, (unsigned long long)value);
}

/* Names of networks are conf_name_is_valid()'s, of sets ours; a stranger's directory is any. */
static void label(StrBuf *text, const char *value) {
        for (const char *c = value; *c; c++)
                if (*c == '"' || *c == '\\')
                        strbuf_printf(text, "\\%c", *c);
                else if (*c == '\n')
                        strbuf_append(text, "\\n");
                else
                        strbuf_append_n(text, c, 1);
}

/* --- calls of runtimes -------------------------------------------------------------------- */

static void histogram(StrBuf *text, const CallCounter *call, const char *type,
                      const char *command) {
        uint64_t n = 0;

        for (size_t i = 0; i < COUNTER_BOUNDS_N; i++) {
                n += call->within[i];
                strbuf_printf(text,
                              "berth_cni_calls_seconds_bucket{type=\"%s\",command=\"%s\",le=\"%g\"}"
                              " %llu\n",
                              type, command, (double)counter_bounds_usecs[i] / 1e6,
                              (unsigned long long)n);
        }
        /* Of one reading, so that the last bucket and the count never differ. */
        n += call->within[COUNTER_BOUNDS_N];
        strbuf_printf(
                text,
                "berth_cni_calls_seconds_bucket{type=\"%s\",command=\"%s\",le=\"+Inf\"} %llu\n"
                "berth_cni_calls_seconds_sum{type=\"%s\",command=\"%s\"} %.9f\n"
                "berth_cni_calls_seconds_count{type=\"%s\",command=\"%s\"} %llu\n",
                type, command, (unsigned long long)n, type, command, (double)call->nsecs / 1e9,
                type, command, (unsigned long long)n);
}

static void format_calls(StrBuf *text, const Counters *calls) {
        about(text, "berth_cni_calls_seconds", "histogram",
              "Calls of berth-cni by container runtimes, the failed ones too.");
        for (unsigned int role = 0; role < _ROLE_N; role++)
                for (unsigned int verb = 0; verb < _VERB_N; verb++)
                        if (calls->calls[role][verb].n > 0)
                                histogram(text, &calls->calls[role][verb],
                                          role_name((PluginRole)role), verb_name((CniVerb)verb));
        about(text, "berth_cni_failures_total", "counter",
              "Calls that failed, by the reason that the code in their answer stands for.");
        for (unsigned int role = 0; role < _ROLE_N; role++)
                for (unsigned int verb = 0; verb < _VERB_N; verb++)
                        for (unsigned int i = 0; counter_reason_name(i); i++)
                                if (calls->calls[role][verb].failed[i] > 0)
                                        strbuf_printf(
                                                text,
                                                "berth_cni_failures_total{type=\"%s\",command=\"%s"
                                                "\",reason=\"%s\"} %llu\n",
                                                role_name((PluginRole)role),
                                                verb_name((CniVerb)verb), counter_reason_name(i),
                                                (unsigned long long)calls->calls[role][verb]
                                                        .failed[i]);
}

/* --- the node ----------------------------------------------------------------------------- */

static const char *family_name(uint8_t family) {
        return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "bridge";
}

static void format_gauges(StrBuf *text, const NodeGauges *gauges) {
        about(text, "berth_node_leases", "gauge", "Addresses of host-local that are given out.");
        for (size_t i = 0; i < gauges->n_networks; i++) {
                strbuf_append(text, "berth_node_leases{network=\"");
                label(text, gauges->networks[i].network);
                strbuf_printf(text, "\"} %llu\n", (unsigned long long)gauges->networks[i].leases);
        }
        about(text, "berth_node_elements", "gauge", "Elements of the sets of the tables berth.");
        for (size_t i = 0; i < gauges->n_sets; i++) {
                strbuf_printf(text, "berth_node_elements{family=\"%s\",set=\"",
                              family_name(gauges->sets[i].family));
                label(text, gauges->sets[i].set);
                strbuf_printf(text, "\"} %llu\n", (unsigned long long)gauges->sets[i].elements);
        }
        about(text, "berth_node_pod_links", "gauge", "Pairs of links that lead to pods.");
        number(text, "berth_node_pod_links", gauges->pairs);
}

static void format_jobs(StrBuf *text, const NodeCounts *counts) {
        about(text, "berth_node_jobs_total", "counter", "Runs of what berth-node does.");
        for (unsigned int i = 0; i < _NODE_JOB_N; i++)
                strbuf_printf(text,
                              "berth_node_jobs_total{job=\"%s\",result=\"done\"} %llu\n"
                              "berth_node_jobs_total{job=\"%s\",result=\"failed\"} %llu\n",
                              node_job_name((NodeJob)i), (unsigned long long)counts->jobs[i].done,
                              node_job_name((NodeJob)i),
                              (unsigned long long)counts->jobs[i].failed);
        about(text, "berth_node_job_seconds_total", "counter", "How long they took together.");
        for (unsigned int i = 0; i < _NODE_JOB_N; i++)
                strbuf_printf(text, "berth_node_job_seconds_total{job=\"%s\"} %.3f\n",
                              node_job_name((NodeJob)i), (double)counts->jobs[i].msecs / 1e3);
        about(text, "berth_node_job_last_done_timestamp_seconds", "gauge",
              "When each ended well last.");
        for (unsigned int i = 0; i < _NODE_JOB_N; i++)
                strbuf_printf(text, "berth_node_job_last_done_timestamp_seconds{job=\"%s\"} %llu\n",
                              node_job_name((NodeJob)i),
                              (unsigned long long)counts->jobs[i].last_done_secs);
}

char *node_metrics_format(const NodeCounts *counts, const NodeGauges *gauges,
                          const Counters *calls) {
        StrBuf text = {0};

        about(&text, "berth_node_build_info", "gauge", "Which version runs.");
        strbuf_append(&text, "berth_node_build_info{version=\"" BERTH_VERSION "\"} 1\n");
        about(&text, "process_start_time_seconds", "gauge", "Since when.");
        number(&text, "process_start_time_seconds", counts->started_secs);
        about(&text, "berth_node_ready", "gauge", "1: program and list are in place.");
        number(&text, "berth_node_ready", counts->is_ready);
        about(&text, "berth_node_repaired_total", "counter", "Differences that were put right.");
        number(&text, "berth_node_repaired_total", counts->repaired);
        about(&text, "berth_node_announcements_total", "counter",
              "Announcements of the kernel that were read.");
        number(&text, "berth_node_announcements_total", counts->announcements);
        about(&text, "berth_node_suspicions_total", "counter",
              "Looks at everything that an announcement caused.");
        number(&text, "berth_node_suspicions_total", counts->suspicions);
        format_jobs(&text, counts);
        format_gauges(&text, gauges);
        if (calls)
                format_calls(&text, calls);
        return strbuf_steal(&text);
}
