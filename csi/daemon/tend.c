/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/daemon/tend.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "fs/tools/tools.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#define TEND_SECONDS 300
/* To ask the tools for their versions takes some processes, and the first Probe shall not wait. */
#define TOOLS_SECONDS 2

struct Tend {
        Node *node;
        const Provider *provider;
        void *self;
        sem_t stop;
        pthread_t thread;
};

static bool must_stop(void *userdata) {
        Tend *tend = userdata;
        int value = 0;

        return sem_getvalue(&tend->stop, &value) == 0 && value > 0;
}

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

/* Whether it is to stop, which is waited for so long. */
static bool wait_stop(Tend *tend, uint64_t seconds) {
        struct timespec until = clock_timespec(clock_msecs() + seconds * 1000);
        int r;

        do
                r = sem_clockwait(&tend->stop, CLOCK_MONOTONIC, &until);
        while (r < 0 && errno == EINTR);
        return r == 0;
}

static void tend_once(Tend *tend) {
        node_tend(tend->node, must_stop, tend);
        if (tend->provider->tend)
                tend->provider->tend(tend->self);
}

static void *tend_main(void *argument) {
        Tend *tend = argument;
        bool stops;

        tend_once(tend);
        stops = wait_stop(tend, TOOLS_SECONDS);
        if (!stops)
                log_tools();
        while (!stops && !wait_stop(tend, TEND_SECONDS))
                tend_once(tend);
        return NULL;
}

int tend_start(Tend **tendp, Node *node, const Provider *provider, void *self) {
        cleanup(freep) Tend *tend = NULL;
        int r;

        *tendp = NULL;
        tend = calloc(1, sizeof(*tend));
        if (!tend)
                return -ENOMEM;
        tend->node = node;
        tend->provider = provider;
        tend->self = self;
        (void)sem_init(&tend->stop, 0, 0);
        r = pthread_create(&tend->thread, NULL, tend_main, tend);
        if (r == 0)
                *tendp = ptr_steal(&tend);
        return -r;
}

void tend_stop(Tend *tend) {
        if (!tend)
                return;
        (void)sem_post(&tend->stop);
        (void)pthread_join(tend->thread, NULL);
        (void)sem_destroy(&tend->stop);
        free(tend);
}
