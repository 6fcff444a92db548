/* SPDX-License-Identifier: Apache-2.0 */

#include "common/http/curl_library.h"

#include "common/base/cleanup.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

/* The same library with either of its TLS libraries. */
static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

static const struct {
        const char *name;
        size_t offset;
} functions[] = {
        {"curl_global_init", offsetof(CurlLibrary, global_init)},
        {"curl_easy_init", offsetof(CurlLibrary, easy_init)},
        {"curl_easy_setopt", offsetof(CurlLibrary, easy_setopt)},
        {"curl_easy_perform", offsetof(CurlLibrary, easy_perform)},
        {"curl_easy_getinfo", offsetof(CurlLibrary, easy_getinfo)},
        {"curl_easy_strerror", offsetof(CurlLibrary, easy_strerror)},
        {"curl_easy_cleanup", offsetof(CurlLibrary, easy_cleanup)},
        {"curl_multi_init", offsetof(CurlLibrary, multi_init)},
        {"curl_multi_add_handle", offsetof(CurlLibrary, multi_add_handle)},
        {"curl_multi_perform", offsetof(CurlLibrary, multi_perform)},
        {"curl_multi_poll", offsetof(CurlLibrary, multi_poll)},
        {"curl_multi_info_read", offsetof(CurlLibrary, multi_info_read)},
        {"curl_multi_remove_handle", offsetof(CurlLibrary, multi_remove_handle)},
        {"curl_multi_cleanup", offsetof(CurlLibrary, multi_cleanup)},
        {"curl_slist_append", offsetof(CurlLibrary, slist_append)},
        {"curl_slist_free_all", offsetof(CurlLibrary, slist_free_all)},
};

static int load(CurlLibrary *library, char *why, size_t n_why) {
        void *handle = NULL;

        for (size_t i = 0; !handle && i < N_ELEMENTS(names); i++)
                handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (!handle) {
                (void)snprintf(why, n_why, "%s is not installed: %s", names[0], dlerror());
                return -ENOENT;
        }
        for (size_t i = 0; i < N_ELEMENTS(functions); i++) {
                void *function = dlsym(handle, functions[i].name);

                if (!function) {
                        (void)snprintf(why, n_why, "%s is too old: it has no %s", names[0],
                                       functions[i].name);
                        dlclose(handle);
                        return -ENOSYS;
                }
                memcpy((char *)library + functions[i].offset, &function, sizeof(function));
        }
        if (library->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
                (void)snprintf(why, n_why, "%s cannot be initialised", names[0]);
                return -EIO;
        }
        return 0;
}

const CurlLibrary *curl_library(char *why, size_t n_why) {
        static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        static CurlLibrary library;
        static bool is_loaded;
        bool is_there;

        pthread_mutex_lock(&mutex);
        if (!is_loaded)
                is_loaded = load(&library, why, n_why) == 0;
        is_there = is_loaded;
        pthread_mutex_unlock(&mutex);
        return is_there ? &library : NULL;
}
