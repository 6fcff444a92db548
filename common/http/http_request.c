/* SPDX-License-Identifier: Apache-2.0 */

/* The pure half: bytes to a request. */

#include "common/http/http.h"

#include <string.h>

/* An empty line ends the head; a bare LF is taken for a line's end, as RFC 9112 2.2 allows. */
static bool is_complete(const char *bytes, size_t n) {
        for (size_t i = 0; i + 1 < n; i++) {
                if (bytes[i] != '\n')
                        continue;
                if (bytes[i + 1] == '\n' ||
                    (i + 2 < n && bytes[i + 1] == '\r' && bytes[i + 2] == '\n'))
                        return true;
        }
        return false;
}

/* Visible ASCII and nothing else. */
static bool is_visible(const char *text, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (text[i] <= ' ' || text[i] > '~')
                        return false;
        return n > 0;
}

/* Cuts the next word off a line; words are separated by one space. */
static size_t word(const char **linep, size_t *np, const char **wordp) {
        const char *space = memchr(*linep, ' ', *np);
        size_t n = space ? (size_t)(space - *linep) : *np;

        *wordp = *linep;
        *linep += n + (space ? 1 : 0);
        *np -= n + (space ? 1 : 0);
        return n;
}

static bool is_word(const char *text, size_t n, const char *word_) {
        return n == strlen(word_) && memcmp(text, word_, n) == 0;
}

static int parse_line(const char *line, size_t n_line, HttpRequest *request) {
        const char *method, *target, *version, *query;
        size_t n_method = word(&line, &n_line, &method);
        size_t n_target = word(&line, &n_line, &target);
        size_t n_version = word(&line, &n_line, &version);

        if (n_line > 0 || !is_visible(method, n_method) || !is_visible(target, n_target) ||
            n_version != strlen("HTTP/1.1") || memcmp(version, "HTTP/1.", 7) != 0 ||
            (version[7] != '0' && version[7] != '1'))
                return HTTP_E_BAD;
        query = memchr(target, '?', n_target);
        if (query)
                n_target = (size_t)(query - target);
        if (target[0] != '/' || n_target >= sizeof(request->path))
                return HTTP_E_BAD;
        *request = (HttpRequest){.is_head = is_word(method, n_method, "HEAD")};
        memcpy(request->path, target, n_target);
        if (!request->is_head && !is_word(method, n_method, "GET"))
                return HTTP_E_NOT_ALLOWED;
        return 0;
}

int http_parse_request(const char *bytes, size_t n, HttpRequest *request) {
        const char *end;

        if (n > HTTP_REQUEST_MAX)
                return HTTP_E_BAD;
        if (!is_complete(bytes, n))
                return n == HTTP_REQUEST_MAX ? HTTP_E_BAD : HTTP_E_MORE;
        end = memchr(bytes, '\n', n);
        if (end > bytes && end[-1] == '\r')
                end--;
        return parse_line(bytes, (size_t)(end - bytes), request);
}
