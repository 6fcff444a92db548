/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_LOG_H
#define BERTH_BASE_LOG_H

/*
 * One line per event to stderr, as logfmt or JSON. Only csi/ and cni/ log; common/ returns. Never
 * give it a secret or a whole request. Thread-safe: a line is one write(2).
 */

#include <stdbool.h>
#include <stddef.h>

typedef enum LogLevel {
        LOG_LEVEL_ERROR,
        LOG_LEVEL_WARNING,
        LOG_LEVEL_INFO,
        LOG_LEVEL_DEBUG,
        _LOG_LEVEL_N,
} LogLevel;

typedef enum LogFormat {
        LOG_FORMAT_LOGFMT, /* time=... level=info volume=pvc-1 msg="..." */
        LOG_FORMAT_JSON,   /* one object per line, the same keys */
} LogFormat;

/* A field whose value is NULL or "" is left out, so that callers can name what they may not have.
 */
typedef struct LogField {
        const char *key; /* [a-z_]+ */
        const char *value;
} LogField;

/* The longest line, with its newline; what is longer is cut and ends in "...". */
#define LOG_LINE_MAX 4096

/* Sets what is written and how; the start is info and logfmt. Call before threads exist. */
void log_setup(LogLevel level, LogFormat format);

/* "error", "warning", "info", "debug" to a level. Return: 0; -EINVAL. */
int log_level_parse(const char *text, LogLevel *levelp);

/* "logfmt", "json". Return: 0; -EINVAL. */
int log_format_parse(const char *text, LogFormat *formatp);

bool log_is_enabled(LogLevel level);

/* Writes one line. @fields may be NULL when @n_fields is 0. errno is kept. */
void log_fields(LogLevel level, const LogField *fields, size_t n_fields, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

#define log_error(...)   log_fields(LOG_LEVEL_ERROR, NULL, 0, __VA_ARGS__)
#define log_warning(...) log_fields(LOG_LEVEL_WARNING, NULL, 0, __VA_ARGS__)
#define log_info(...)    log_fields(LOG_LEVEL_INFO, NULL, 0, __VA_ARGS__)
#define log_debug(...)   log_fields(LOG_LEVEL_DEBUG, NULL, 0, __VA_ARGS__)

#endif
