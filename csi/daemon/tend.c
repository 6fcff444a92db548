/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/daemon/tend.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#define TEND_SECONDS 300

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

static void *run(void *argument) {
        Tend *tend = argument;
        struct timespec at;
        int r;

        do {
                node_tend(tend->node, must_stop, tend);
                if (tend->provider->tend)
                        tend->provider->tend(tend->self);
                (void)clock_gettime(CLOCK_REALTIME, &at);
                at.tv_sec += TEND_SECONDS;
                do
                        r = sem_timedwait(&tend->stop, &at);
                while (r < 0 && errno == EINTR);
        } while (r < 0);
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
        r = pthread_create(&tend->thread, NULL, run, tend);
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
