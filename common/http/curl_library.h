/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_HTTP_CURL_LIBRARY_H
#define BERTH_HTTP_CURL_LIBRARY_H

/*
 * libcurl, loaded by the first request: with it come some thirty more libraries (TLS, LDAP,
 * Kerberos), which cost 10 ms at start and megabytes of memory, and who never asks a server never
 * needs one of them.
 */

#include <curl/curl.h>
#include <stddef.h>

typedef struct CurlLibrary {
        __typeof__(&curl_global_init) global_init;
        __typeof__(&curl_easy_init) easy_init;
        __typeof__(&curl_easy_setopt) easy_setopt;
        __typeof__(&curl_easy_perform) easy_perform;
        __typeof__(&curl_easy_getinfo) easy_getinfo;
        __typeof__(&curl_easy_strerror) easy_strerror;
        __typeof__(&curl_easy_cleanup) easy_cleanup;
        __typeof__(&curl_multi_init) multi_init;
        __typeof__(&curl_multi_add_handle) multi_add_handle;
        __typeof__(&curl_multi_perform) multi_perform;
        __typeof__(&curl_multi_poll) multi_poll;
        __typeof__(&curl_multi_info_read) multi_info_read;
        __typeof__(&curl_multi_remove_handle) multi_remove_handle;
        __typeof__(&curl_multi_cleanup) multi_cleanup;
        __typeof__(&curl_slist_append) slist_append;
        __typeof__(&curl_slist_free_all) slist_free_all;
} CurlLibrary;

/* Initialised, never unloaded. NULL with the reason in @why; the next call tries again. */
const CurlLibrary *curl_library(char *why, size_t n_why);

#endif
