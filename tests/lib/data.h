/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TEST_DATA_H
#define BERTH_TEST_DATA_H

/* For unit tests: what was recorded. Include it behind cmocka.h. */

#include <stdio.h>
#include <stdlib.h>

/* A file of tests/data/fs/, to be closed by who asks; without it the test fails. */
static FILE *open_data(const char *name) {
        const char *data = getenv("TEST_DATA");
        char path[512];
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/fs/%s", data ? data : "tests/data", name);
        file = fopen(path, "r");
        assert_non_null(file);
        return file;
}

#endif
