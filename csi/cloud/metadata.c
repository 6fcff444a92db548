/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The client: what is kept, session tokens, which address answers, what is tried again. One request
 * is metadata_http.c's, what an answer means metadata_json.c's.
 */

#include "csi/cloud/metadata_internal.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

#define CONNECT_TIMEOUT_MSECS 1500
#define REQUEST_TIMEOUT_MSECS 3000
#define TOTAL_TIMEOUT_MSECS   15000
#define TRIES                 5
#define CACHE_MSECS           (60U * 60 * 1000)

/* Between tries: doubled each time, with jitter, so that the nodes of a cluster that starts do not
 * ask in step. */
#define BACKOFF_MSECS     200
#define BACKOFF_MAX_MSECS 2000
#define WAIT_SLICE_MSECS  50

/* How long a service that gave no token is asked without one. */
#define TOKENLESS_MSECS 60000

/* Paths that a provider asks for; the oldest goes. */
#define CACHE_ENTRIES 16

/* AWS' tokens have 56 characters. */
#define TOKEN_MAX 256

/* A token with its header's name. */
#define LINE_MAX_BYTES 512

enum {
        TRY_E_AGAIN = 1, /* of try_...(): not now or not here; @err says why */
        TOKEN_E_NONE = 2,
};

typedef struct CacheEntry {
        char *path, *text; /* owned */
        size_t n;
        uint64_t expires_msecs;
} CacheEntry;

struct MetadataClient {
        const MetadataService *service;
        char *base_url; /* owned; NULL: the service's own */
        uint64_t connect_timeout_msecs, request_timeout_msecs, total_timeout_msecs, cache_msecs;
        unsigned int max_tries;

        pthread_mutex_t lock; /* of what follows */
        size_t good_base;     /* which answered last */
        char token[TOKEN_MAX];
        uint64_t token_expires_msecs, tokenless_until_msecs;
        bool token_was_lost; /* it was asked for, and the answer did not come */
        CacheEntry cache[CACHE_ENTRIES];
};

/* One metadata_get(). */
typedef struct Fetch {
        MetadataClient *client;
        const Call *call;
        const char *path;
        uint64_t deadline_msecs;
} Fetch;

int metadata_client_new(MetadataClient **clientp, const MetadataConfig *config, Error *err) {
        MetadataClient *client;

        if (config->base_url && !str_has_prefix(config->base_url, "http://"))
                return error_set(err, ERROR_INVALID, "metadata URL \"%s\" is not one of http://",
                                 config->base_url);
        client = calloc(1, sizeof(*client));
        if (!client)
                return error_set_errno(err, ENOMEM, "metadata client");
        client->service = config->service;
        client->connect_timeout_msecs = config->connect_timeout_msecs ?: CONNECT_TIMEOUT_MSECS;
        client->request_timeout_msecs = config->request_timeout_msecs ?: REQUEST_TIMEOUT_MSECS;
        client->total_timeout_msecs = config->total_timeout_msecs ?: TOTAL_TIMEOUT_MSECS;
        client->cache_msecs = config->cache_msecs ?: CACHE_MSECS;
        client->max_tries = config->max_tries ?: TRIES;
        pthread_mutex_init(&client->lock, NULL);
        if (config->base_url) {
                client->base_url = strdup(config->base_url);
                if (!client->base_url) {
                        metadata_client_free(client);
                        return error_set_errno(err, ENOMEM, "metadata client");
                }
                for (size_t n = strlen(client->base_url); n > 7 && client->base_url[n - 1] == '/';)
                        client->base_url[--n] = '\0';
        }
        *clientp = client;
        return 0;
}

void metadata_client_free(MetadataClient *client) {
        if (!client)
                return;
        for (size_t i = 0; i < CACHE_ENTRIES; i++) {
                free(client->cache[i].path);
                free(client->cache[i].text);
        }
        pthread_mutex_destroy(&client->lock);
        free(client->base_url);
        free(client);
}

/* --- what is kept --- */

static int copy_text(const char *text, size_t n, char **textp, size_t *np) {
        char *copy = malloc(n + 1);

        if (!copy)
                return -ENOMEM;
        memcpy(copy, text, n);
        copy[n] = '\0';
        *textp = copy;
        if (np)
                *np = n;
        return 0;
}

/* Return: 1 found; 0; -ENOMEM. */
static int cache_find(MetadataClient *client, const char *path, char **textp, size_t *np) {
        uint64_t now = clock_msecs();
        int r = 0;

        pthread_mutex_lock(&client->lock);
        for (size_t i = 0; r == 0 && i < CACHE_ENTRIES; i++) {
                const CacheEntry *entry = &client->cache[i];

                if (!str_equal(entry->path, path) || entry->expires_msecs <= now)
                        continue;
                r = copy_text(entry->text, entry->n, textp, np);
                if (r == 0)
                        r = 1;
        }
        pthread_mutex_unlock(&client->lock);
        return r;
}

/* Without memory nothing is kept, and that is all. */
static void cache_put(MetadataClient *client, const char *path, const char *text, size_t n) {
        CacheEntry made = {.path = strdup(path),
                           .expires_msecs = clock_msecs() + client->cache_msecs};
        CacheEntry *place = &client->cache[0];

        if (!made.path || copy_text(text, n, &made.text, &made.n) < 0) {
                free(made.path);
                return;
        }
        pthread_mutex_lock(&client->lock);
        for (size_t i = 0; i < CACHE_ENTRIES; i++) {
                if (str_equal(client->cache[i].path, path)) {
                        place = &client->cache[i];
                        break;
                }
                if (client->cache[i].expires_msecs < place->expires_msecs)
                        place = &client->cache[i];
        }
        free(place->path);
        free(place->text);
        *place = made;
        pthread_mutex_unlock(&client->lock);
}

/* --- one request --- */

static int fetch_http(const Fetch *fetch, HttpRequest *request, HttpAnswer *answer, Error *err) {
        const MetadataClient *client = fetch->client;
        uint64_t now = clock_msecs(), left;
        int r;

        if (now >= fetch->deadline_msecs)
                return error_set(err, ERROR_UNAVAILABLE, "no answer in time");
        left = fetch->deadline_msecs - now;
        request->call = fetch->call;
        request->timeout_msecs =
                left < client->request_timeout_msecs ? left : client->request_timeout_msecs;
        request->connect_timeout_msecs = request->timeout_msecs < client->connect_timeout_msecs
                                                 ? request->timeout_msecs
                                                 : client->connect_timeout_msecs;
        r = http_perform(request, answer);
        if (r == 0)
                return 0;
        if (r == -ECANCELED)
                return error_set(err, ERROR_TIMEOUT, "cancelled");
        if (r == -ENOMEM)
                return error_set_errno(err, ENOMEM, "%s", request->url);
        error_set(err, ERROR_UNAVAILABLE, "%s: %s", request->url, answer->why);
        return r == -EFBIG ? -EFBIG : TRY_E_AGAIN;
}

/* What may pass. 410 is Azure's while it serves an update. */
static bool is_passing(long status) {
        return status == 408 || status == 410 || status == 425 || status == 429 || status >= 500;
}

static int judge_status(const char *url, long status, Error *err) {
        if (is_passing(status)) {
                error_set(err, ERROR_UNAVAILABLE, "%s: HTTP status %ld", url, status);
                return TRY_E_AGAIN;
        }
        if (status == 404)
                return error_set(err, ERROR_NOT_FOUND, "%s: HTTP status 404", url);
        if (status == 401 || status == 403)
                return error_set(err, ERROR_DENIED, "%s: HTTP status %ld%s", url, status,
                                 status == 403 ? ", the service may be switched off for this "
                                                 "instance"
                                               : "");
        return error_set(err, ERROR_UNAVAILABLE, "%s: HTTP status %ld, not this service's answer",
                         url, status);
}

/* --- tokens --- */

static void token_forget(MetadataClient *client) {
        pthread_mutex_lock(&client->lock);
        client->token_expires_msecs = 0;
        pthread_mutex_unlock(&client->lock);
}

static void token_go_without(MetadataClient *client, bool was_lost) {
        pthread_mutex_lock(&client->lock);
        client->tokenless_until_msecs = clock_msecs() + TOKENLESS_MSECS;
        client->token_was_lost = was_lost;
        pthread_mutex_unlock(&client->lock);
}

/* Renewed after nine tenths of its life. A line break in it would add headers of the answerer's
 * choice. */
static int token_keep(MetadataClient *client, char *text, size_t n) {
        if (memchr(text, '\0', n))
                return -EINVAL;
        str_trim_end(text);
        if (strlen(text) == 0 || strlen(text) >= TOKEN_MAX)
                return -EINVAL;
        for (const char *c = text; *c; c++)
                if (*c <= ' ' || *c > '~')
                        return -EINVAL;
        pthread_mutex_lock(&client->lock);
        snprintf(client->token, sizeof(client->token), "%s", text);
        client->token_expires_msecs =
                clock_msecs() + (uint64_t)client->service->token_seconds * 900;
        client->token_was_lost = false;
        pthread_mutex_unlock(&client->lock);
        return 0;
}

/* Return: 0 with the token; TOKEN_E_NONE go without; TRY_E_AGAIN; negative with @err. */
static int token_request(const Fetch *fetch, const char *base, Error *err) {
        const MetadataService *service = fetch->client->service;
        cleanup(freep) char *url = str_printf("%s%s", base, service->token_path);
        cleanup(http_answer_deinit) HttpAnswer answer = {0};
        char header[LINE_MAX_BYTES];
        HttpRequest request = {.is_put = true, .url = url, .headers = {header}};
        bool is_silent;
        int r;

        if (!url)
                return error_set_errno(err, ENOMEM, "%s", base);
        snprintf(header, sizeof(header), "%s: %u", service->token_request_header,
                 service->token_seconds);
        r = fetch_http(fetch, &request, &answer, err);
        is_silent = r == TRY_E_AGAIN && answer.is_connected;
        if (is_silent || (r == 0 && (answer.status == 404 || answer.status == 405))) {
                if (!service->token_is_optional)
                        return r == 0 ? judge_status(url, answer.status, err) : r;
                *err = (Error){0};
                token_go_without(fetch->client, is_silent);
                return TOKEN_E_NONE;
        }
        if (r != 0)
                return r;
        if (answer.status != 200)
                return judge_status(url, answer.status, err);
        if (token_keep(fetch->client, answer.text, answer.n) < 0) {
                error_set(err, ERROR_UNAVAILABLE, "%s: the answer is not a token", url);
                return TRY_E_AGAIN;
        }
        return 0;
}

/* The header that carries a token, kept or new. Return: as token_request(). */
static int token_header(const Fetch *fetch, const char *base, char header[LINE_MAX_BYTES],
                        Error *err) {
        MetadataClient *client = fetch->client;
        uint64_t now = clock_msecs();
        bool is_tokenless, is_kept;
        int r = 0;

        pthread_mutex_lock(&client->lock);
        is_kept = client->token_expires_msecs > now;
        is_tokenless = client->tokenless_until_msecs > now;
        pthread_mutex_unlock(&client->lock);
        if (!client->service->token_path || is_tokenless)
                return TOKEN_E_NONE;
        if (!is_kept)
                r = token_request(fetch, base, err);
        if (r != 0)
                return r;
        pthread_mutex_lock(&client->lock);
        snprintf(header, LINE_MAX_BYTES, "%s: %s", client->service->token_header, client->token);
        pthread_mutex_unlock(&client->lock);
        return 0;
}

/* --- one answer --- */

static int take_answer(const Fetch *fetch, const char *url, HttpAnswer *answer, Error *err) {
        const MetadataService *service = fetch->client->service;

        if (answer->status != 200)
                return judge_status(url, answer->status, err);
        if (service->answer_header &&
            strcasecmp(answer->header_value, service->answer_value) != 0) {
                error_set(err, ERROR_UNAVAILABLE,
                          "%s: the answer has no \"%s: %s\", so something else answers there", url,
                          service->answer_header, service->answer_value);
                return TRY_E_AGAIN;
        }
        return 0;
}

static void say_token_lost(const Fetch *fetch, Error *err) {
        bool was_lost;

        pthread_mutex_lock(&fetch->client->lock);
        was_lost = fetch->client->token_was_lost;
        pthread_mutex_unlock(&fetch->client->lock);
        if (was_lost)
                error_set(err, ERROR_DENIED,
                          "the metadata service wants a session token, and its answer does not "
                          "reach this process: in a pod without hostNetwork the instance needs a "
                          "hop limit of 2 (HttpPutResponseHopLimit)");
}

/* With a token that is refused, once more with a new one: it may be of before a snapshot. */
static int try_base(const Fetch *fetch, const char *base, HttpAnswer *answer, Error *err) {
        const MetadataService *service = fetch->client->service;
        cleanup(freep) char *url = str_printf("%s%s", base, fetch->path);
        char header[LINE_MAX_BYTES];
        bool is_second = false;

        if (!url)
                return error_set_errno(err, ENOMEM, "%s", base);
        for (;;) {
                HttpRequest request = {
                        .url = url,
                        .headers = {service->headers[0], service->headers[1]},
                        .answer_header = service->answer_header,
                };
                int has_token = token_header(fetch, base, header, err), r;

                if (has_token < 0 || has_token == TRY_E_AGAIN)
                        return has_token;
                for (size_t i = 0; has_token == 0 && i < HTTP_HEADERS_MAX; i++)
                        if (!request.headers[i]) {
                                request.headers[i] = header;
                                break;
                        }
                http_answer_deinit(answer);
                r = fetch_http(fetch, &request, answer, err);
                if (r != 0)
                        return r;
                if (answer->status != 401 || has_token != 0 || is_second) {
                        r = take_answer(fetch, url, answer, err);
                        if (answer->status == 401 && has_token != 0)
                                say_token_lost(fetch, err);
                        return r;
                }
                is_second = true;
                token_forget(fetch->client);
        }
}

/* Every address once, the one that answered last first. */
static int try_bases(const Fetch *fetch, HttpAnswer *answer, Error *err) {
        MetadataClient *client = fetch->client;
        size_t n_bases = client->base_url || !client->service->bases[1] ? 1 : 2, first;
        int r = TRY_E_AGAIN;

        pthread_mutex_lock(&client->lock);
        first = client->good_base;
        pthread_mutex_unlock(&client->lock);
        for (size_t i = 0; r == TRY_E_AGAIN && i < n_bases; i++) {
                size_t base = (first + i) % n_bases;
                Error one = {0};

                r = try_base(fetch, client->base_url ?: client->service->bases[base], answer, &one);
                if (r != 0) {
                        /* The first address's reason is the one that helps. */
                        if (r != TRY_E_AGAIN || i == 0)
                                error_move(err, &one);
                        continue;
                }
                pthread_mutex_lock(&client->lock);
                client->good_base = base;
                pthread_mutex_unlock(&client->lock);
        }
        return r;
}

/* Return: 0; -ECANCELED; -ETIMEDOUT when the deadline comes first. */
static int wait_before(const Fetch *fetch, unsigned int n_tries) {
        uint64_t wait_msecs = BACKOFF_MSECS, until;
        uint32_t random = 0;

        for (unsigned int i = 1; i < n_tries && wait_msecs < BACKOFF_MAX_MSECS; i++)
                wait_msecs *= 2;
        if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
                random = (uint32_t)clock_msecs();
        wait_msecs = wait_msecs / 2 + random % (wait_msecs / 2);
        until = clock_msecs() + wait_msecs;
        if (until >= fetch->deadline_msecs)
                return -ETIMEDOUT;
        while (clock_msecs() < until) {
                if (fetch->call && fetch->call->cancelled(fetch->call->userdata))
                        return -ECANCELED;
                clock_sleep(WAIT_SLICE_MSECS);
        }
        return 0;
}

static int fetch_run(const Fetch *fetch, HttpAnswer *answer, Error *err) {
        for (unsigned int i = 1;; i++) {
                Error one = {0};
                int r = try_bases(fetch, answer, &one);

                if (r == 0)
                        return 0;
                /* "No answer in time" of a try that had no time left says less than the one
                 * before it. */
                if (i == 1 || clock_msecs() < fetch->deadline_msecs || r < 0)
                        error_move(err, &one);
                if (r < 0)
                        return r;
                if (i >= fetch->client->max_tries)
                        return -EAGAIN;
                r = wait_before(fetch, i);
                if (r == -ECANCELED)
                        return error_set(err, ERROR_TIMEOUT, "cancelled");
                if (r < 0)
                        return r;
        }
}

int metadata_get(MetadataClient *client, const Call *call, const char *path, unsigned int flags,
                 char **textp, size_t *np, Error *err) {
        cleanup(http_answer_deinit) HttpAnswer answer = {0};
        Fetch fetch = {
                .client = client,
                .call = call,
                .path = path,
                .deadline_msecs = clock_msecs() + client->total_timeout_msecs,
        };
        int r = 0;

        if (!(flags & METADATA_FRESH))
                r = cache_find(client, path, textp, np);
        if (r < 0)
                return error_set_errno(err, r, "metadata of %s", client->service->name);
        if (r == 1)
                return 0;
        if (call && call->deadline_msecs < fetch.deadline_msecs)
                fetch.deadline_msecs = call->deadline_msecs;
        r = fetch_run(&fetch, &answer, err);
        if (r < 0)
                return error_wrap(err, r, "metadata of %s", client->service->name);
        cache_put(client, path, answer.text, answer.n);
        if (np)
                *np = answer.n;
        *textp = ptr_steal(&answer.text);
        return 0;
}

int metadata_get_json(MetadataClient *client, const Call *call, const char *path,
                      unsigned int flags, struct json_t **jsonp, Error *err) {
        cleanup(freep) char *text = NULL;
        size_t n;
        int r = metadata_get(client, call, path, flags, &text, &n, err);

        if (r < 0)
                return r;
        if (metadata_json_parse(text, n, jsonp) < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "metadata of %s: %s: the answer is not JSON",
                                 client->service->name, path);
        return 0;
}

static int read_row(MetadataClient *client, const Call *call, unsigned int flags,
                    const MetadataRow *row, MetadataNode *node, Error *err) {
        cleanup(freep) char *text = NULL;
        Error one = {0};
        size_t n = 0;
        int r = metadata_get(client, call, row->path, flags, &text, &n, &one);

        if (r < 0 && one.code == ERROR_NOT_FOUND && !(row->flags & METADATA_ROW_REQUIRED))
                return 0;
        if (r < 0) {
                error_move(err, &one);
                return r;
        }
        r = metadata_row_text(row, text, n, metadata_node_field(node, row->field),
                              METADATA_TEXT_MAX);
        if (r == 0 || (r == -ENOENT && !(row->flags & METADATA_ROW_REQUIRED)))
                return 0;
        return error_set(err, ERROR_UNAVAILABLE, "metadata of %s: %s: %s %s", client->service->name,
                         row->path, row->key ?: "the text",
                         r == -ENOENT ? "is missing" : "cannot be a name");
}

int metadata_read_node(MetadataClient *client, const Call *call, unsigned int flags,
                       MetadataNode *node, Error *err) {
        MetadataNode made = {0};
        const MetadataRow *last = NULL;

        for (const MetadataRow *row = client->service->rows; row->field; row++) {
                /* One document is asked for once. */
                unsigned int row_flags = last && str_equal(last->path, row->path) ? 0U : flags;
                int r = read_row(client, call, row_flags, row, &made, err);

                if (r < 0)
                        return r;
                last = row;
        }
        *node = made;
        return 0;
}
