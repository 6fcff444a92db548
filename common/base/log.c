/* SPDX-License-Identifier: Apache-2.0 */

/* The log sink, the one mutable global of the project. It formats into a buffer on the stack, so
 * that it works when memory does not. */

#include "common/base/log.h"

#include "common/base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct {
        LogLevel level;
        LogFormat format;
} sink = {LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT};

static const char *const level_names[_LOG_LEVEL_N] = {"error", "warning", "info", "debug"};

/* What stays free of a line, however long a value is: for each field that follows, and for the
 * message. So a long path never makes a line lose its code. */
#define FIELD_ROOM   64U
#define MESSAGE_ROOM 640U

/* A line being built: what does not fit is dropped and remembered. */
typedef struct Line {
        char text[LOG_LINE_MAX];
        size_t n;
        bool cut;
} Line;

void log_setup(LogLevel level, LogFormat format) {
        sink.level = level;
        sink.format = format;
}

int log_level_parse(const char *text, LogLevel *levelp) {
        for (size_t i = 0; i < _LOG_LEVEL_N; i++)
                if (str_equal(text, level_names[i])) {
                        *levelp = (LogLevel)i;
                        return 0;
                }
        return -EINVAL;
}

int log_format_parse(const char *text, LogFormat *formatp) {
        if (str_equal(text, "logfmt"))
                *formatp = LOG_FORMAT_LOGFMT;
        else if (str_equal(text, "json"))
                *formatp = LOG_FORMAT_JSON;
        else
                return -EINVAL;
        return 0;
}

bool log_is_enabled(LogLevel level) {
        return level <= sink.level;
}

/* Eight bytes stay free for what closes the line: `..."}` and a newline. */
static void line_put(Line *line, const char *text, size_t n) {
        if (line->cut || n > sizeof(line->text) - 8 - line->n) {
                line->cut = true;
                return;
        }
        memcpy(line->text + line->n, text, n);
        line->n += n;
}

static void line_puts(Line *line, const char *text) {
        line_put(line, text, strlen(text));
}

/* The longest: of a pair of surrogates. */
#define ESCAPE_BYTES 13

/* The character at the start of @text as it stands in JSON: "\\u202e" for what a terminal would
 * obey, "?" for a byte of none. Return: bytes of @text that it is. */
static size_t escape_one(const char *text, char escape[ESCAPE_BYTES]) {
        size_t n = str_utf8_length(text, strnlen(text, 4));
        uint32_t code = 0;

        if (n == 0)
                (void)snprintf(escape, ESCAPE_BYTES, "?");
        else if (str_obeyed_length(text, &code) > 0 && code > 0xffff)
                (void)snprintf(escape, ESCAPE_BYTES, "\\u%04x\\u%04x",
                               (0xd800U + ((code - 0x10000) >> 10)) & 0xffffU,
                               0xdc00U + (code & 0x3ffU));
        else if (code > 0)
                (void)snprintf(escape, ESCAPE_BYTES, "\\u%04x", code & 0xffffU);
        else if (*text == '"' || *text == '\\')
                (void)snprintf(escape, ESCAPE_BYTES, "\\%c", *text);
        else if (*text == '\n')
                (void)snprintf(escape, ESCAPE_BYTES, "\\n");
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
                (void)snprintf(escape, ESCAPE_BYTES, "\\u%04x", (unsigned int)(unsigned char)*text);
        else
                (void)snprintf(escape, ESCAPE_BYTES, "%.*s", (int)n, text);
        return n ? n : 1;
}

/* The escapes of JSON serve logfmt as well. The line grows to @limit bytes at most: what is longer
 * ends in "...". */
static void line_put_escaped(Line *line, const char *text, size_t limit) {
        char escape[ESCAPE_BYTES];

        while (*text) {
                text += escape_one(text, escape);
                if (line->n + strlen(escape) > limit) {
                        line_puts(line, "...");
                        return;
                }
                line_puts(line, escape);
        }
}

static bool needs_quotes(const char *text) {
        for (const char *p = text; *p; p++)
                if ((unsigned char)*p <= 0x20 || strchr("\"=\\\x7f", *p))
                        return true;
        return *text == '\0';
}

static void line_put_field(Line *line, const char *key, const char *value, size_t limit) {
        bool json = sink.format == LOG_FORMAT_JSON;
        bool quote = json || needs_quotes(value);

        if (line->n > (json ? 1U : 0U))
                line_puts(line, json ? "," : " ");
        line_puts(line, json ? "\"" : "");
        line_puts(line, key);
        line_puts(line, json ? "\":" : "=");
        line_puts(line, quote ? "\"" : "");
        line_put_escaped(line, value, limit);
        if (!line->cut)
                line_puts(line, quote ? "\"" : "");
}

static void line_put_time(Line *line) {
        char text[64], whole[32];
        struct timespec now;
        struct tm utc;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)gmtime_r(&now.tv_sec, &utc);
        (void)strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &utc);
        (void)snprintf(text, sizeof(text), "%s.%03ldZ", whole, now.tv_nsec / 1000000);
        line_put_field(line, "time", text, LOG_LINE_MAX);
}

void log_fields(LogLevel level, const LogField *fields, size_t n_fields, const char *format, ...) {
        char message[LOG_LINE_MAX / 2];
        int saved = errno;
        Line line = {0};
        va_list ap;

        if (!log_is_enabled(level))
                return;
        va_start(ap, format);
        (void)vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        str_make_utf8(message);

        if (sink.format == LOG_FORMAT_JSON)
                line_puts(&line, "{");
        line_put_time(&line);
        line_put_field(&line, "level", level_names[level], LOG_LINE_MAX);
        for (size_t i = 0; i < n_fields; i++)
                if (!str_is_empty(fields[i].value))
                        line_put_field(&line, fields[i].key, fields[i].value,
                                       LOG_LINE_MAX - MESSAGE_ROOM - (n_fields - i) * FIELD_ROOM);
        line_put_field(&line, "msg", message, LOG_LINE_MAX);
        if (line.cut) {
                memcpy(line.text + line.n, "...\"", 4);
                line.n += 4;
        }
        if (sink.format == LOG_FORMAT_JSON)
                line.text[line.n++] = '}';
        line.text[line.n++] = '\n';
        /* Nobody can be told that stderr is gone. */
        if (write(STDERR_FILENO, line.text, line.n) < 0)
                errno = saved;
        errno = saved;
}
