/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_METADATA_H
#define BERTH_CSI_CLOUD_METADATA_H

/*
 * The metadata services of clouds: what this instance is called, where it is and of which type.
 * They answer on a link-local address, or not at all: every request has a short deadline, is tried
 * again with jitter, never goes through a proxy, and its answer has a limit and is kept for a
 * while. Which service is asked for what, and with which headers, is a table (metadata_service.c).
 *
 * A client is thread-safe; requests of several threads run beside each other.
 */

#include "csi/api/request.h"

struct json_t;

/* The largest answer taken; Azure's instance document has 3 to 30 KiB. */
#define METADATA_ANSWER_MAX (256U * 1024)

/* An answer's text that goes into a node ID or a topology value. CSI's limit for both is 256. */
#define METADATA_TEXT_MAX 257

typedef struct MetadataService MetadataService;
typedef struct MetadataClient MetadataClient;

/* By name: "aws", "azure", "gce", "openstack", "alibaba", "digitalocean", "hetzner", "linode",
 * "oracle", "scaleway", "vultr", "upcloud", "exoscale", "cloudscale". NULL if there is none. */
const MetadataService *metadata_service_find(const char *name);

/* Paths of one service that more than one place needs. */
#define METADATA_PATH_AWS_MACS          "/latest/meta-data/network/interfaces/macs/"
#define METADATA_PATH_AWS_BLOCK_DEVICES "/latest/meta-data/block-device-mapping/"
#define METADATA_PATH_AWS_OUTPOST       "/latest/meta-data/outpost-arn"
#define METADATA_PATH_AWS_DOCUMENT      "/latest/dynamic/instance-identity/document"
#define METADATA_PATH_AZURE_INSTANCE    "/metadata/instance?api-version=2021-10-01&format=json"
#define METADATA_PATH_OPENSTACK         "/openstack/latest/meta_data.json"
#define METADATA_PATH_LINODE_INSTANCE   "/v1/instance"

/* 0: the default. */
typedef struct MetadataConfig {
        const MetadataService *service;
        const char *base_url; /* --metadata-url: instead of the service's own addresses; NULL */
        uint64_t connect_timeout_msecs; /* of one connection, 1500 */
        uint64_t request_timeout_msecs; /* of one request, 3000 */
        uint64_t total_timeout_msecs;   /* of one metadata_get(), 15000; the call's deadline counts
                                           as well */
        unsigned int max_tries;         /* 5 */
        uint64_t cache_msecs;           /* how long an answer is good, one hour */
} MetadataConfig;

/* Reads nothing yet. Strings of @config are copied. Return: 0; -ENOMEM; INVALID for a base_url that
 * is not one of http://. */
int metadata_client_new(MetadataClient **clientp, const MetadataConfig *config, Error *err);
void metadata_client_free(MetadataClient *client);

enum {
        METADATA_FRESH =
                1U << 0, /* ask again, whatever is kept: for what changes, like interfaces */
};

/**
 * metadata_get() - one answer
 * @call:  its deadline and cancellation count; NULL: the client's timeout alone
 * @path:  with a leading "/"
 * @textp: NUL-terminated, caller frees
 * @np:    may be NULL
 *
 * Return: 0; NOT_FOUND the service has no such path; DENIED it refuses; UNAVAILABLE it does not
 * answer, or what answers is not this service; TIMEOUT cancelled; EXHAUSTED no memory.
 */
int metadata_get(MetadataClient *client, const Call *call, const char *path, unsigned int flags,
                 char **textp, size_t *np, Error *err);

/* metadata_get() and metadata_json_parse(); a new reference. What is not JSON is UNAVAILABLE. */
int metadata_get_json(MetadataClient *client, const Call *call, const char *path,
                      unsigned int flags, struct json_t **jsonp, Error *err);

/* What every provider wants to know. "" what this service does not tell. */
typedef struct MetadataNode {
        char instance_id[METADATA_TEXT_MAX];
        char name[METADATA_TEXT_MAX]; /* of the instance, as the cloud calls it */
        char region[METADATA_TEXT_MAX];
        char zone[METADATA_TEXT_MAX]; /* Azure: "1", or "" without zones */
        char instance_type[METADATA_TEXT_MAX];
        char project[METADATA_TEXT_MAX]; /* GCE's project, AWS' and Alibaba's account */
} MetadataNode;

/**
 * metadata_read_node() - the fields above, by the service's table
 *
 * Return: as metadata_get(); UNAVAILABLE if an answer lacks a field that the service must tell.
 */
int metadata_read_node(MetadataClient *client, const Call *call, unsigned int flags,
                       MetadataNode *node, Error *err);

/* --- what is pure --- */

/* Deeper nesting than this is no metadata. */
#define METADATA_DEPTH_MAX 32

/**
 * metadata_json_parse() - an answer of at most METADATA_ANSWER_MAX bytes and METADATA_DEPTH_MAX
 * levels
 *
 * Return: 0 with a new reference; -EINVAL for anything that is not one JSON value; -EFBIG.
 */
int metadata_json_parse(const char *text, size_t n, struct json_t **jsonp);

/**
 * metadata_json_text() - a string or integer by its path
 * @path: "compute.vmSize"
 *
 * Return: 0; -ENOENT if it is not there; -EINVAL if it is neither, is longer than @n_buffer allows
 * or has characters that no name has (control characters).
 */
int metadata_json_text(const struct json_t *json, const char *path, char *buffer, size_t n_buffer);

/**
 * metadata_count_lines() - entries of a listing, one a line ("macs/", "block-device-mapping/")
 * @word: only lines that hold it; NULL: all that are not empty
 */
unsigned int metadata_count_lines(const char *text, const char *word);

#endif
