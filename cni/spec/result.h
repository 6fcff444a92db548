/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_RESULT_H
#define BERTH_CNI_SPEC_RESULT_H

/*
 * What ADD answers, and what comes back as prevResult: one shape in memory, written and read in
 * the shape of each version of the specification. Pure.
 */

#include "cni/spec/version.h"
#include "common/base/error.h"
#include "common/ip/address.h"

#include <jansson.h>

/* A result that needs more is refused: what comes in is foreign. */
#define RESULT_ITEMS_MAX 1024U

typedef struct ResultInterface {
        char *name;        /* owned */
        char *mac;         /* owned; NULL: not told */
        char *sandbox;     /* owned; NULL: a link of the host */
        char *socket_path; /* owned; NULL: not told */
        char *pci_id;      /* owned; NULL: not told */
        uint32_t mtu;      /* 0: not told */
} ResultInterface;

typedef struct ResultIp {
        IpPrefix address;
        IpAddress gateway; /* family 0: none */
        int interface;     /* index into interfaces; -1: none */
} ResultIp;

typedef struct ResultRoute {
        IpPrefix destination;
        IpAddress gateway; /* family 0: none */
        uint32_t mtu, advmss, priority;
        int64_t table; /* -1: not told */
        int64_t scope; /* -1: not told */
} ResultRoute;

/* Starts as (CniResult){0}. */
typedef struct CniResult {
        ResultInterface *interfaces; /* owned, as are their members */
        size_t n_interfaces;
        ResultIp *ips; /* owned */
        size_t n_ips;
        ResultRoute *routes; /* owned */
        size_t n_routes;
        json_t *dns; /* owned; object {nameservers, domain, search, options}; NULL: none */
} CniResult;

void result_deinit(CniResult *result);

/* Appends; strings are copied, NULL stays NULL. Return: the index; -ENOMEM; -E2BIG. */
int result_add_interface(CniResult *result, const char *name, const char *mac, const char *sandbox);
int result_add_ip(CniResult *result, const ResultIp *ip);
int result_add_route(CniResult *result, const ResultRoute *route);

/* What result_add_*() or result_merge() returned, as an error. Return: 0; negative. */
int result_added(int r, Error *err);

/* Appends copies of everything in @from, indices of interfaces adjusted; dns is replaced when @from
 * has some. Return: 0; -ENOMEM; -E2BIG. */
int result_merge(CniResult *result, const CniResult *from);

/* The first interface of @name; @in_sandbox tells whether it is one of the container. -1: none. */
int result_find_interface(const CniResult *result, const char *name, bool in_sandbox);

/**
 * result_format() - the result as JSON text of @version
 * @textp: caller frees
 *
 * Return: 0; negative: INVALID when @version needs an address and there is none (0.1.0, 0.2.0).
 */
int result_format(const CniResult *result, CniVersion version, char **textp, Error *err);

/**
 * result_parse() - a result or prevResult, written in the shape of @version
 * @result: empty; on failure empty again
 */
int result_parse(const json_t *json, CniVersion version, CniResult *result, Error *err);

/* The four members of a "dns" object, checked and copied. *@copyp stays as it is when there is
 * nothing in it; otherwise freed by json_decref(). */
int result_dns_parse(const json_t *dns, json_t **copyp, Error *err);

/* Appends the "routes" of @json to @result. */
int result_routes_parse(const json_t *json, CniResult *result, Error *err);

#endif
