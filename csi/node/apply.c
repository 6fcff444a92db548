/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/apply.h"

#include "common/base/log.h"

/* Of the first @n_done steps, the last first. Goes on when one cannot be undone. */
static void undo(const NodeKernel *kernel, Work *work, size_t n_done, Error *err) {
        bool failed = false;

        while (n_done > 0) {
                Error error = {0};

                if (kernel->undo(kernel->userdata, work->plan->steps[--n_done], work, &error) == 0)
                        continue;
                failed = true;
                error_join(err, &error);
        }
        if (failed && err)
                err->code = ERROR_UNAVAILABLE;
}

static void log_step(const Work *work, StepKind kind) {
        const LogField fields[] = {{"volume", work->volume_id}, {"step", step_name(kind)}};

        if (log_is_enabled(LOG_LEVEL_DEBUG))
                log_fields(LOG_LEVEL_DEBUG, fields, 2, "begins");
}

int apply(const NodeKernel *kernel, Work *work, Error *err) {
        Error error = {0};
        int r = 0;

        for (size_t i = 0; i < work->plan->n_steps; i++) {
                log_step(work, work->plan->steps[i]);
                r = kernel->run(kernel->userdata, work->plan->steps[i], work, &error);
                if (r >= 0)
                        continue;
                undo(kernel, work, i, &error);
                error_move(err, &error);
                return r;
        }
        return 0;
}
