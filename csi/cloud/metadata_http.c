/* SPDX-License-Identifier: Apache-2.0 */

/* One HTTP request by libcurl, with everything switched off that a metadata service must not be
 * able to ask for. */

#include "csi/cloud/metadata_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/http/curl_library.h"

#include <stdio.h>
#include <time.h>

/* How long a cancelled request goes on at most. */
#define POLL_MSECS 50

/* What curl's callbacks fill. */
typedef struct Transfer {
        const CurlLibrary *library;
        const HttpRequest *request;
        HttpAnswer *answer;
        StrBuf body;
        bool is_too_large;
} Transfer;

static size_t on_body(char *data, size_t size, size_t n, void *userdata) {
        Transfer *transfer = userdata;

        if (n > METADATA_ANSWER_MAX - transfer->body.n) {
                transfer->is_too_large = true;
                return 0;
        }
        strbuf_append_n(&transfer->body, data, n);
        return transfer->body.failed ? 0 : n;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata) {
        Transfer *transfer = userdata;
        const char *name = transfer->request->answer_header;
        char *value = transfer->answer->header_value;
        size_t n_name = name ? strlen(name) : 0, n_value;

        if (!name || n <= n_name || data[n_name] != ':' || strncasecmp(data, name, n_name) != 0)
                return n;
        data += n_name + 1;
        n_value = n - n_name - 1;
        while (n_value > 0 && *data == ' ') {
                data++;
                n_value--;
        }
        if (n_value >= sizeof(transfer->answer->header_value))
                return n;
        memcpy(value, data, n_value);
        value[n_value] = '\0';
        str_trim_end(value);
        return n;
}

static size_t on_upload(char *data, size_t size, size_t n, void *userdata) {
        return 0;
}

static void set_options(CURL *curl, Transfer *transfer, struct curl_slist *headers, char *why) {
        const CurlLibrary *library = transfer->library;
        const HttpRequest *request = transfer->request;

        library->easy_setopt(curl, CURLOPT_URL, request->url);
#if LIBCURL_VERSION_NUM >= 0x075500
        library->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
#else
        library->easy_setopt(curl, CURLOPT_PROTOCOLS, (long)CURLPROTO_HTTP);
#endif
        /* Both: "" keeps the environment's http_proxy out, "*" an administrator's default. */
        library->easy_setopt(curl, CURLOPT_PROXY, "");
        library->easy_setopt(curl, CURLOPT_NOPROXY, "*");
        library->easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
        library->easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        library->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* else its time-outs use SIGALRM */
        library->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_msecs);
        library->easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_msecs);
        library->easy_setopt(curl, CURLOPT_USERAGENT, "berth-csi/" BERTH_VERSION);
        library->easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        library->easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
        library->easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
        library->easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
        library->easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
        library->easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
        if (request->is_put) {
                library->easy_setopt(curl, CURLOPT_UPLOAD, 1L);
                library->easy_setopt(curl, CURLOPT_INFILESIZE, 0L); /* sends Content-Length: 0 */
                library->easy_setopt(curl, CURLOPT_READFUNCTION, on_upload);
        }
}

static int errno_of(CURLcode code) {
        switch ((unsigned int)code) {
        case CURLE_OK:
                return 0;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_OUT_OF_MEMORY:
                return -ENOMEM;
        case CURLE_COULDNT_CONNECT:
                return -ECONNREFUSED;
        default:
                return -EPROTO;
        }
}

/* Until it is done or cancelled. */
static int drive(const Transfer *transfer, CURLM *multi, CURLcode *codep) {
        const CurlLibrary *library = transfer->library;
        const Call *call = transfer->request->call;
        const CURLMsg *message;
        int n_running = 1, n_left;

        while (n_running > 0) {
                if (library->multi_perform(multi, &n_running) != CURLM_OK)
                        return -EIO;
                if (call && call->cancelled(call->userdata))
                        return -ECANCELED;
                if (n_running > 0 &&
                    library->multi_poll(multi, NULL, 0, POLL_MSECS, NULL) != CURLM_OK)
                        return -EIO;
        }
        message = library->multi_info_read(multi, &n_left);
        if (!message)
                return -EIO;
        *codep = message->data.result;
        return 0;
}

static int run(CURL *curl, Transfer *transfer, char *why) {
        const CurlLibrary *library = transfer->library;
        CURLM *multi = library->multi_init();
        CURLcode code = CURLE_OK;
        double connect_seconds = 0;
        int r;

        if (!multi)
                return -ENOMEM;
        r = library->multi_add_handle(multi, curl) == CURLM_OK ? drive(transfer, multi, &code)
                                                               : -ENOMEM;
        if (r == 0)
                r = errno_of(code);
        if (transfer->is_too_large)
                r = -EFBIG;
        if (r < 0)
                snprintf(transfer->answer->why, sizeof(transfer->answer->why), "%s",
                         r == -EFBIG       ? "the answer is too large"
                         : r == -ECANCELED ? "cancelled"
                         : why[0] != '\0'  ? why
                                           : library->easy_strerror(code));
        library->easy_getinfo(curl, CURLINFO_CONNECT_TIME, &connect_seconds);
        transfer->answer->is_connected = connect_seconds > 0;
        library->easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer->answer->status);
        library->multi_remove_handle(multi, curl);
        library->multi_cleanup(multi);
        return r;
}

static int append_headers(const CurlLibrary *library, struct curl_slist **listp,
                          const HttpRequest *request) {
        for (size_t i = 0; i < HTTP_HEADERS_MAX && request->headers[i]; i++) {
                struct curl_slist *longer = library->slist_append(*listp, request->headers[i]);

                if (!longer)
                        return -ENOMEM;
                *listp = longer;
        }
        return 0;
}

int http_perform(const HttpRequest *request, HttpAnswer *answer) {
        struct curl_slist *headers = NULL;
        Transfer transfer = {.request = request, .answer = answer};
        char why[CURL_ERROR_SIZE] = "";
        const CurlLibrary *library;
        CURL *curl;
        int r;

        *answer = (HttpAnswer){0};
        library = curl_library(answer->why, sizeof(answer->why));
        if (!library)
                return -ENOSYS;
        transfer.library = library;
        curl = library->easy_init();
        if (!curl)
                return -ENOMEM;
        r = append_headers(library, &headers, request);
        if (r == 0) {
                set_options(curl, &transfer, headers, why);
                r = run(curl, &transfer, why);
        }
        library->easy_cleanup(curl);
        library->slist_free_all(headers);
        if (r < 0) {
                strbuf_deinit(&transfer.body);
                return r;
        }
        answer->n = transfer.body.n;
        answer->text = strbuf_steal(&transfer.body);
        return answer->text ? 0 : -ENOMEM;
}

void http_answer_deinit(HttpAnswer *answer) {
        free(answer->text);
        answer->text = NULL;
}
