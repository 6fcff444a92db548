/* SPDX-License-Identifier: Apache-2.0 */

/* Conditions on facts, and os-release. Pure. */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <ctype.h>
#include <stdio.h>

/* Word by word, since "scaleway" must not be found in "noscaleway=1". */
static bool has_word(const char *text, const char *word) {
        size_t n = strlen(word);

        for (const char *at = text; (at = strstr(at, word)); at += n)
                if ((at == text || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
                        return true;
        return false;
}

/* "EC2E1916-9099-..." or, with the first group's bytes swapped, "45E12AEC-DCD1-...". A random UUID
 * looks like this once in 4096 times, so rules ask for more than that. */
static bool is_ec2_uuid(const char *uuid) {
        if (strncasecmp(uuid, "ec2", 3) == 0)
                return true;
        return strlen(uuid) >= 8 && uuid[4] == '2' && isxdigit((unsigned char)uuid[5]) &&
               strncasecmp(uuid + 6, "ec", 2) == 0;
}

static bool matches_os_release(const char *text, const char *assignment) {
        const char *equals = strchr(assignment, '=');
        char key[32], value[128];

        snprintf(key, sizeof(key), "%.*s", (int)(equals - assignment), assignment);
        return os_release_get(text, key, value, sizeof(value)) && str_equal(value, equals + 1);
}

static bool match_text(const Match *match, const char *text) {
        switch (match->kind) {
        case MATCH_EQUAL:
                return str_equal(text, match->text);
        case MATCH_PREFIX:
                return str_has_prefix(text, match->text);
        case MATCH_SUFFIX:
                return str_has_suffix(text, match->text);
        case MATCH_CONTAINS:
                return strstr(text, match->text) != NULL;
        case MATCH_WORD:
                return has_word(text, match->text);
        case MATCH_EC2_UUID:
                return is_ec2_uuid(text);
        case MATCH_OS_RELEASE:
                return matches_os_release(text, match->text);
        case MATCH_EXISTS:
                return true;
        case MATCH_END:
                break;
        }
        return false;
}

static PlatformTri match_one(const Facts *facts, const Match *match) {
        if (match->kind == MATCH_OS_RELEASE) {
                const char *text = os_release_text(facts);

                if (text)
                        return match_text(match, text) ? PLATFORM_YES : PLATFORM_NO;
                return facts->facts[FACT_OS_RELEASE].state == FACT_ABSENT ? PLATFORM_NO
                                                                          : PLATFORM_UNKNOWN;
        }
        switch (facts->facts[match->fact].state) {
        case FACT_UNKNOWN:
                return PLATFORM_UNKNOWN;
        case FACT_ABSENT:
                return PLATFORM_NO;
        case FACT_PRESENT:
                break;
        }
        return match_text(match, facts->facts[match->fact].text) ? PLATFORM_YES : PLATFORM_NO;
}

PlatformTri match_all(const Facts *facts, const Match matches[MATCHES_MAX], FactId *unknown_factp) {
        PlatformTri result = PLATFORM_YES;

        for (size_t i = 0; i < MATCHES_MAX && matches[i].kind != MATCH_END; i++) {
                PlatformTri one = match_one(facts, &matches[i]);

                if (one == PLATFORM_NO)
                        return PLATFORM_NO;
                if (one == PLATFORM_UNKNOWN && result == PLATFORM_YES) {
                        result = PLATFORM_UNKNOWN;
                        if (unknown_factp)
                                *unknown_factp = matches[i].kind == MATCH_OS_RELEASE
                                                         ? FACT_OS_RELEASE
                                                         : matches[i].fact;
                }
        }
        return result;
}

void match_evidence(const Facts *facts, const Match *match, char *buffer, size_t n_buffer) {
        static const char dmi[] = "/sys/class/dmi/id/";
        const char *path = facts_path(facts, match->fact), *name = path;

        if (str_has_prefix(path, dmi))
                name += strlen(dmi);
        if (match->kind == MATCH_EXISTS)
                snprintf(buffer, n_buffer, "%s exists", path);
        else if (match->kind == MATCH_OS_RELEASE)
                snprintf(buffer, n_buffer, "os-release has %s", match->text);
        else if (match->kind == MATCH_WORD || match->kind == MATCH_CONTAINS)
                snprintf(buffer, n_buffer, "%s has \"%s\"", name,
                         match->text + strspn(match->text, " "));
        else
                snprintf(buffer, n_buffer, "%s is \"%.100s\"", name,
                         facts_text(facts, match->fact));
}

const char *os_release_text(const Facts *facts) {
        if (facts->facts[FACT_OS_RELEASE].state == FACT_PRESENT)
                return facts->facts[FACT_OS_RELEASE].text;
        if (facts->facts[FACT_OS_RELEASE_VENDOR].state == FACT_PRESENT)
                return facts->facts[FACT_OS_RELEASE_VENDOR].text;
        return NULL;
}

static void unquote(const char *value, char *buffer, size_t n_buffer) {
        char quote = '\0';
        size_t n = 0;

        if (*value == '"' || *value == '\'')
                quote = *value++;
        for (; *value && *value != '\n' && n + 1 < n_buffer; value++) {
                if (quote ? *value == quote : isspace((unsigned char)*value))
                        break;
                if (*value == '\\' && quote != '\'' && value[1] && value[1] != '\n')
                        value++;
                buffer[n] = *value;
                if (iscntrl((unsigned char)buffer[n]))
                        buffer[n] = ' ';
                n++;
        }
        buffer[n] = '\0';
        str_make_utf8(buffer);
}

bool os_release_get(const char *text, const char *key, char *buffer, size_t n_buffer) {
        size_t n_key = strlen(key);

        buffer[0] = '\0';
        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, n_key) != 0 || line[n_key] != '=')
                        continue;
                unquote(line + n_key + 1, buffer, n_buffer);
                return true;
        }
        return false;
}
