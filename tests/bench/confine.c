/* SPDX-License-Identifier: Apache-2.0 */

/* What it costs to confine a tool: confine N PROGRAM [ARGUMENT...] runs it N times each way, by
 * turns. $CONFINE is "none" or "tool" for one way alone, which strace -f -c counts. */

#include "common/base/cleanup.h"
#include "common/base/exec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double run(Confinement confinement, const char *const *argv) {
        cleanup(exec_result_deinit) ExecResult result = {0};
        const ExecRequest request = {.argv = argv, .confinement = confinement};
        struct timespec begin, end;

        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        if (exec_run(&request, &result) < 0 || result.exit_status != 0) {
                (void)fprintf(stderr, "%s: %s\n", argv[0], result.errors ? result.errors : "");
                exit(EXIT_FAILURE);
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        return (double)(end.tv_sec - begin.tv_sec) * 1e3 +
               (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
}

static int compare(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

int main(int argc, char **argv) {
        const char *only = getenv("CONFINE");
        unsigned long n = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
        cleanup(freep) double *times = n > 0 ? calloc(2 * n, sizeof(*times)) : NULL;

        if (!times) {
                (void)fprintf(stderr,
                              "Usage: [CONFINE=none|tool] confine N PROGRAM [ARGUMENT...]\n");
                return EXIT_FAILURE;
        }
        for (size_t i = 0; i < n; i++)
                for (unsigned int way = 0; way < 2; way++)
                        if (!only || (strcmp(only, "tool") == 0) == (way == 1))
                                times[way * n + i] = run(way ? CONFINEMENT_TOOL : CONFINEMENT_NONE,
                                                         (const char *const *)argv + 2);
        for (unsigned int way = 0; way < 2; way++) {
                qsort(times + way * n, n, sizeof(*times), compare);
                (void)printf("%s: median %.2f ms, least %.2f ms\n",
                             way ? "confined" : "not confined", times[way * n + n / 2],
                             times[way * n]);
        }
        return EXIT_SUCCESS;
}
