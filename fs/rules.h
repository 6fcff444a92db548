/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_RULES_H
#define BERTH_FS_RULES_H

/* What somebody who hands out volumes allows of their filesystems, and asks for. Pure data. */

#include <stdint.h>

/* mkfs words that the provider's volumes of one type always get, before the user's. */
typedef struct FormatDefault {
        const char *fs_type;
        const char *const *words; /* NULL-terminated: "-m", "0" */
} FormatDefault;

/*
 * A key of the volume context that becomes mkfs words. With @option "-b" and @prefix "size=", the
 * value 4096 becomes "-b" "size=4096". @option NULL: the value is itself a list of words, split as
 * a shell would.
 */
typedef struct FormatParameter {
        const char *key;
        const char *fs_type; /* the type it is for; "" any. A value for another type is an error */
        const char *option;
        const char *prefix;
        const char *when; /* NULL: the value is used; else words are added only if it equals this */
} FormatParameter;

/* How the volumes of one provider are formatted and mounted. */
typedef struct FormatRules {
        const char *default_fs_type;
        const char *const *fs_types;       /* NULL-terminated; what the provider supports */
        const FormatDefault *defaults;     /* ends with fs_type NULL; NULL: none */
        const FormatParameter *parameters; /* ends with key NULL; NULL: none */
        uint64_t minimum_bytes;            /* smallest volume it hands out; 0: none */
} FormatRules;

#endif
