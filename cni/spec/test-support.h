/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_TEST_SUPPORT_H
#define BERTH_CNI_SPEC_TEST_SUPPORT_H

/* What every unit test of this room includes, asserts always on. */

#undef NDEBUG
#include "cni/spec/conf.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static inline bool contains(const char *text, const char *part) {
        if (strstr(text, part))
                return true;
        print_error("\"%s\" lacks \"%s\"\n", text, part);
        return false;
}

#define assert_contains(text, part) assert_true(contains((text), (part)))

static inline IpAddress ip(const char *text) {
        IpAddress address = {0};

        assert_int_equal(ip_parse(text, &address), 0);
        return address;
}

static inline IpPrefix prefix(const char *text) {
        IpPrefix prefix = {0};

        assert_int_equal(ip_prefix_parse(text, &prefix), 0);
        return prefix;
}

/* Text with ' for ", so that JSON is readable in C. Caller frees. */
static inline char *json_text(const char *quoted) {
        char *text = strdup(quoted);

        assert_non_null(text);
        for (char *at = text; *at; at++)
                if (*at == '\'')
                        *at = '"';
        return text;
}

static inline json_t *json_value(const char *quoted) {
        cleanup(freep) char *text = json_text(quoted);
        Error err = {0};
        json_t *value = NULL;

        if (json_text_parse(text, strlen(text), &value, &err) < 0)
                fail_msg("%s: %s", text, err.message);
        return value;
}

/* Return: what conf_parse() does. */
static inline int conf_from(NetConf *conf, PluginRole role, const char *quoted, Error *err) {
        cleanup(freep) char *text = json_text(quoted);

        *conf = (NetConf){.role = role};
        return conf_parse(conf, text, strlen(text), err);
}

#endif
