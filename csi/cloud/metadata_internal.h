/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_METADATA_INTERNAL_H
#define BERTH_CSI_CLOUD_METADATA_INTERNAL_H

/* What the files of the metadata client share. */

#include "csi/cloud/metadata.h"

typedef enum MetadataField {
        METADATA_FIELD_NONE = 0,
        METADATA_FIELD_INSTANCE_ID,
        METADATA_FIELD_NAME,
        METADATA_FIELD_REGION,
        METADATA_FIELD_ZONE,
        METADATA_FIELD_INSTANCE_TYPE,
        METADATA_FIELD_PROJECT,
} MetadataField;

enum {
        METADATA_ROW_REQUIRED = 1U << 0,
        METADATA_ROW_LAST_ELEMENT = 1U
                                    << 1, /* behind the last "/": projects/1/zones/europe-west1-b */
};

/* Where one field is. */
typedef struct MetadataRow {
        MetadataField field;
        unsigned int flags;
        const char *path;
        const char *key; /* path in the JSON answer; NULL: the whole text */
} MetadataRow;

#define METADATA_ROWS_MAX 6

struct MetadataService {
        const char *name;
        const char *bases[2]; /* IPv4, then IPv6; NULL: there is none */

        /* Session tokens; token_path NULL: none. */
        const char *token_path;           /* asked for by PUT */
        const char *token_request_header; /* with the lifetime in seconds */
        const char *token_header;         /* carries the token */
        unsigned int token_seconds;
        bool token_is_optional; /* a service that knows no tokens is asked without */

        const char *headers[2];    /* of each GET */
        const char *answer_header; /* an answer without it is not this service's; NULL: none */
        const char *answer_value;

        MetadataRow rows[METADATA_ROWS_MAX + 1]; /* ends with METADATA_FIELD_NONE */
};

extern const MetadataService metadata_services[];
extern const size_t n_metadata_services;

/* The field of @row out of an answer. Pure. Return: 0; -ENOENT; -EINVAL. */
int metadata_row_text(const MetadataRow *row, const char *text, size_t n, char *buffer,
                      size_t n_buffer);

/* The field's place in @node, METADATA_TEXT_MAX bytes. */
char *metadata_node_field(MetadataNode *node, MetadataField field);

/* --- one request (metadata_http.c) --- */

#define HTTP_HEADERS_MAX 4

typedef struct HttpRequest {
        bool is_put; /* with an empty body; else GET */
        const char *url;
        const char *headers[HTTP_HEADERS_MAX]; /* "Name: value"; NULL ends */
        const char *answer_header;             /* whose value is wanted; NULL: none */
        uint64_t connect_timeout_msecs, timeout_msecs;
        const Call *call; /* NULL: cannot be cancelled */
} HttpRequest;

typedef struct HttpAnswer {
        long status;
        char *text; /* owned; NUL-terminated, never NULL after success */
        size_t n;
        char header_value[128];
        bool is_connected; /* with a failure: it was the answer that did not come */
        char why[256];     /* with a failure */
} HttpAnswer;

/**
 * http_perform() - one HTTP request over a connection of its own
 *
 * http:// only, no proxy whatever the environment says, no redirect, no decompression.
 *
 * Return: 0 whatever the status; -ETIMEDOUT; -ECANCELED; -EFBIG; -ENOMEM; -ECONNREFUSED and others
 * for what curl could not do. @answer->why then says what.
 */
int http_perform(const HttpRequest *request, HttpAnswer *answer);

void http_answer_deinit(HttpAnswer *answer);

#endif
