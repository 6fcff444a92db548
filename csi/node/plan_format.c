/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/plan.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <inttypes.h>

const char *step_name(StepKind kind) {
        static const char *const names[_STEP_N] = {
                [STEP_DETACH_DEAD] = "detach-dead",
                [STEP_MAKE_TARGET] = "make-target",
                [STEP_WIPE] = "wipe",
                [STEP_FORMAT] = "format",
                [STEP_CHECK] = "check",
                [STEP_GROW_OFFLINE] = "grow-offline",
                [STEP_MOUNT] = "mount",
                [STEP_GROW] = "grow",
                [STEP_BIND] = "bind",
                [STEP_MOUNT_SHARE] = "mount-share",
        };

        return (unsigned int)kind < _STEP_N ? names[kind] : "unknown";
}

/* Names only: a value of an option may be a secret. */
static void put_options(StrBuf *line, const MountOptions *options) {
        char flags[128];

        (void)mount_flags_format(options->set, flags, sizeof(flags));
        strbuf_printf(line, " options=%s", flags);
        for (size_t i = 0; i < options->n_options; i++)
                strbuf_printf(line, "%s%s%s", flags[0] != '\0' || i > 0 ? "," : "",
                              options->options[i].key, options->options[i].value ? "=..." : "");
}

static void put_words(StrBuf *line, const char *const *argv) {
        strbuf_append(line, " command=\"");
        for (size_t i = 0; argv[i]; i++)
                strbuf_printf(line, "%s%s", i > 0 ? " " : "", argv[i]);
        strbuf_append(line, "\"");
}

static void put_step(StrBuf *text, const Plan *plan, StepKind kind) {
        char flags[128];

        strbuf_append(text, step_name(kind));
        switch (kind) {
        case STEP_DETACH_DEAD:
                strbuf_printf(text, " target=%s", plan->target);
                break;
        case STEP_MAKE_TARGET:
                strbuf_printf(text, " target=%s type=%s", plan->target,
                              plan->target_is_file ? "file" : "directory");
                break;
        case STEP_WIPE:
                strbuf_printf(text, " device=%s", plan->device);
                break;
        case STEP_FORMAT:
                strbuf_printf(text, " device=%s type=%s", plan->device, plan->fs_type);
                put_words(text, plan->make.argv);
                break;
        case STEP_CHECK:
                strbuf_printf(text, " device=%s why=\"%s\"", plan->device, plan->fsck.why);
                put_words(text, plan->fsck.argv);
                break;
        case STEP_GROW_OFFLINE:
        case STEP_GROW:
                strbuf_printf(text, " device=%s type=%s from=%" PRIu64 " to=%" PRIu64, plan->device,
                              plan->fs_type, plan->fs_bytes, plan->device_bytes);
                break;
        case STEP_MOUNT:
                strbuf_printf(text, " device=%s target=%s type=%s", plan->device, plan->target,
                              plan->fs_type);
                put_options(text, &plan->options);
                if (plan->writes_super && !plan->wants_write)
                        strbuf_append(text, " filesystem=rw");
                break;
        case STEP_BIND:
                (void)mount_flags_format(plan->options.set, flags, sizeof(flags));
                strbuf_printf(text, " source=%s target=%s options=%s", plan->source, plan->target,
                              flags);
                break;
        case STEP_MOUNT_SHARE:
                strbuf_printf(text, " source=%s target=%s type=%s", plan->share->source,
                              plan->target, plan->fs_type);
                put_options(text, &plan->options);
                break;
        case _STEP_N:
                break;
        }
        strbuf_append(text, "\n");
}

char *plan_format(const Plan *plan) {
        cleanup(strbuf_deinit) StrBuf text = {0};

        for (size_t i = 0; i < plan->n_steps; i++)
                put_step(&text, plan, plan->steps[i]);
        return strbuf_steal(&text);
}
