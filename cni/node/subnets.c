/* SPDX-License-Identifier: Apache-2.0 */

/* One GET of this node's object. Its list of images makes it long, and nothing of it is kept but
 * the subnets. */

#include "cni/node/node.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/privilege.h"
#include "common/base/str.h"
#include "common/http/curl_library.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MAX    (4UL * 1024 * 1024)
#define TOKEN_MAX     (64UL * 1024)
#define CONNECT_MSECS 5000L
#define WHOLE_MSECS   15000L

typedef struct Answer {
        StrBuf body;
        bool is_too_large;
} Answer;

typedef struct Asking {
        const CurlLibrary *curl;
        CURL *easy;
        struct curl_slist *fields;
        Answer answer;
        char why[CURL_ERROR_SIZE];
} Asking;

/* As a label of DNS, or several (RFC 1123). */
bool node_name_is_valid(const char *name) {
        size_t n = strlen(name);

        return n > 0 && n <= 253 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n &&
               name[0] != '.' && name[0] != '-';
}

static void asking_deinit(Asking *asking) {
        if (asking->easy)
                asking->curl->easy_cleanup(asking->easy);
        if (asking->fields)
                asking->curl->slist_free_all(asking->fields);
        strbuf_deinit(&asking->answer.body);
}

static size_t take(char *bytes, size_t one, size_t n, void *userdata) {
        Answer *answer = userdata;

        if (n > ANSWER_MAX - answer->body.n) {
                answer->is_too_large = true;
                return 0;
        }
        strbuf_append_n(&answer->body, bytes, one * n);
        return one * n;
}

/* Visible ASCII, so that it is one field of the request. */
static bool is_token(const char *text) {
        for (const char *c = text; *c; c++)
                if (*c <= ' ' || *c > '~')
                        return false;
        return text[0] != '\0';
}

static int add_token(Asking *asking, const char *path, Error *err) {
        cleanup(freep) char *token = NULL, *field = NULL;
        int r = file_read_at(AT_FDCWD, path, TOKEN_MAX, &token, NULL);

        if (r < 0)
                return error_set_errno(err, r, "read %s", path);
        str_trim_end(token);
        if (!is_token(token))
                return error_set(err, ERROR_INVALID, "%s holds no token", path);
        field = str_printf("Authorization: Bearer %s", token);
        asking->fields = field ? asking->curl->slist_append(NULL, field) : NULL;
        return asking->fields ? 0 : error_set_errno(err, ENOMEM, "token");
}

/* No proxy, no redirect, nothing but HTTP; a token goes over TLS only. */
static int prepare(Asking *asking, const NodeArgs *args, const char *url, Error *err) {
        const CurlLibrary *curl = asking->curl;
        bool is_tls = str_has_prefix(url, "https://");
        CURL *easy;
        int r = is_tls && args->token_file[0] ? add_token(asking, args->token_file, err) : 0;

        if (r < 0)
                return r;
        easy = asking->easy = curl->easy_init();
        if (!easy)
                return error_set_errno(err, ENOMEM, "ask the API server");
        (void)curl->easy_setopt(easy, CURLOPT_URL, url);
        (void)curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, asking->why);
        (void)curl->easy_setopt(easy, CURLOPT_PROXY, "");
        (void)curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        (void)curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MSECS);
        (void)curl->easy_setopt(easy, CURLOPT_TIMEOUT_MS, WHOLE_MSECS);
        (void)curl->easy_setopt(easy, CURLOPT_HTTPHEADER, asking->fields);
        (void)curl->easy_setopt(easy, CURLOPT_USERAGENT, "berth-node/" BERTH_VERSION);
        (void)curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
        (void)curl->easy_setopt(easy, CURLOPT_WRITEDATA, &asking->answer);
        if (is_tls && args->ca_file[0])
                (void)curl->easy_setopt(easy, CURLOPT_CAINFO, args->ca_file);
        return 0;
}

static int perform(Asking *asking, const char *url, Error *err) {
        const CurlLibrary *curl = asking->curl;
        CURLcode code = curl->easy_perform(asking->easy);
        long status = 0;

        if (asking->answer.is_too_large)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the answer of %s is longer than %lu bytes", url, ANSWER_MAX);
        if (code != CURLE_OK)
                return error_set(err, ERROR_UNAVAILABLE, "the API server does not answer: %s: %s",
                                 url, asking->why[0] ? asking->why : curl->easy_strerror(code));
        (void)curl->easy_getinfo(asking->easy, CURLINFO_RESPONSE_CODE, &status);
        /* A refusal has a sentence, which pod_network_parse() finds. */
        if (status != 200 && strbuf_text(&asking->answer.body)[0] != '{')
                return error_set(err, ERROR_UNAVAILABLE, "the API server answers %ld to %s", status,
                                 url);
        return 0;
}

static int format(const PodNetwork *network, char **textp, Error *err) {
        StrBuf text = {0};

        strbuf_append(&text, "POD_CIDR=");
        for (size_t i = 0; i < network->n_subnets; i++) {
                char subnet[IP_TEXT_MAX];

                strbuf_printf(&text, "%s%s", i > 0 ? "," : "",
                              ip_prefix_format(&network->subnets[i], subnet));
        }
        strbuf_append(&text, "\n");
        *textp = strbuf_steal(&text);
        return *textp ? 0 : error_set_errno(err, ENOMEM, "subnets");
}

int node_subnets_fetch(const NodeArgs *args, char **textp, Error *err) {
        cleanup(asking_deinit) Asking asking = {0};
        cleanup(freep) char *url = NULL, *answer = NULL;
        PodNetwork network = {0};
        char why[256] = "";
        int r;

        if (!args->api_server)
                return error_set(err, ERROR_INVALID,
                                 "who knows this node's pod CIDR? $KUBERNETES_SERVICE_HOST is not "
                                 "set: run in a pod, or give --api-server, --subnet or "
                                 "--subnet-file");
        if (str_is_empty(args->node_name) || !node_name_is_valid(args->node_name))
                return error_set(err, ERROR_INVALID,
                                 "\"%.100s\" is not the name of a node: --node-name or $NODE_NAME",
                                 args->node_name ? args->node_name : "");
        /* It reads foreign bytes and has a secret, and needs none of what its parent may do. */
        r = privilege_limit(0);
        r = r < 0 ? r : privilege_hide_memory();
        if (r < 0)
                return error_set_errno(err, r, "give up capabilities");
        url = str_printf("%s/api/v1/nodes/%s", args->api_server, args->node_name);
        if (!url)
                return error_set_errno(err, ENOMEM, "ask the API server");
        asking.curl = curl_library(why, sizeof(why));
        if (!asking.curl)
                return error_set(err, ERROR_PRECONDITION, "ask the API server: %s", why);
        r = prepare(&asking, args, url, err);
        r = r < 0 ? r : perform(&asking, url, err);
        if (r < 0)
                return r;
        answer = strbuf_steal(&asking.answer.body);
        if (!answer)
                return error_set_errno(err, ENOMEM, "ask the API server");
        r = pod_network_parse(&network, answer, url, err);
        return r < 0 ? r : format(&network, textp, err);
}
