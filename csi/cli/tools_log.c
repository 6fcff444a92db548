/* SPDX-License-Identifier: Apache-2.0 */

/* One thread that waits, asks, logs and ends. */

#include "csi/cli/tools_log.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "fs/make/tools.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#define DELAY_SECONDS 2

struct ToolsLog {
        pthread_t thread;
        sem_t stop;
};

static void log_tools(void) {
        uint32_t versions[_FS_TOOLS_N];
        char texts[_FS_TOOLS_N][24];
        LogField fields[_FS_TOOLS_N];

        fs_tools_read(versions);
        for (size_t k = 0; k < fs_n_toolsets; k++) {
                FsTools i = fs_toolsets[k].tools;

                if (versions[i] == FS_TOOLS_ABSENT || versions[i] == FS_TOOLS_UNKNOWN)
                        (void)snprintf(texts[i], sizeof(texts[i]), "absent");
                else
                        (void)fs_version_format(versions[i], texts[i]);
                fields[i] = (LogField){fs_toolsets[k].package, texts[i]};
        }
        log_fields(LOG_LEVEL_INFO, fields, _FS_TOOLS_N, "filesystem tools");
}

static void *tools_log_main(void *userdata) {
        ToolsLog *log = userdata;
        struct timespec until;
        int r;

        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += DELAY_SECONDS;
        do
                r = sem_timedwait(&log->stop, &until);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                log_tools();
        return NULL;
}

int tools_log_start(ToolsLog **logp) {
        cleanup(freep) ToolsLog *log = calloc(1, sizeof(*log));
        int r;

        if (!log)
                return -ENOMEM;
        (void)sem_init(&log->stop, 0, 0);
        r = pthread_create(&log->thread, NULL, tools_log_main, log);
        if (r != 0)
                return -r;
        *logp = ptr_steal(&log);
        return 0;
}

void tools_log_stop(ToolsLog *log) {
        if (!log)
                return;
        (void)sem_post(&log->stop);
        (void)pthread_join(log->thread, NULL);
        (void)sem_destroy(&log->stop);
        free(log);
}
