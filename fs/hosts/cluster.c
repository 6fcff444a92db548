/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of hosts: kernels on page sizes, node facts in a file, this node. */

#include "fs/hosts/cluster.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>

#define HOSTS_FILE_MAX (16UL << 20)

int fs_page_sizes_parse(const char *text, uint32_t sizes[FS_PAGE_SIZES_MAX]) {
        int n = 0;

        while (*text) {
                size_t length = strcspn(text, ",");
                char word[16];
                uint64_t bytes;

                if (length == 0 || length >= sizeof(word) || n == FS_PAGE_SIZES_MAX)
                        return -EINVAL;
                memcpy(word, text, length);
                word[length] = '\0';
                if (word[length - 1] == 'K' || word[length - 1] == 'k')
                        word[length - 1] = '\0';
                if (str_parse_u64(word, 65536, &bytes) < 0)
                        return -EINVAL;
                if (bytes < 4096)
                        bytes *= 1024;
                if (bytes < 4096 || bytes > 65536 || (bytes & (bytes - 1)))
                        return -EINVAL;
                sizes[n++] = (uint32_t)bytes;
                text += length;
                text += *text == ',';
        }
        return n ? n : -EINVAL;
}

int fs_hosts_from_kernels(const char *const *kernels, size_t n_kernels, const char *page_sizes,
                          FsByteOrder byte_order, FsHost **hostsp, size_t *n_hostsp, Error *err) {
        uint32_t sizes[FS_PAGE_SIZES_MAX] = {0};
        int n_sizes = page_sizes ? fs_page_sizes_parse(page_sizes, sizes) : 1;
        cleanup(freep) FsHost *hosts = NULL;
        size_t n = 0;

        if (n_sizes < 0)
                return error_set(
                        err, ERROR_INVALID,
                        "\"%.40s\" is not a list of page sizes (expected for example 4K,64K)",
                        page_sizes);
        hosts = calloc(n_kernels * (size_t)n_sizes, sizeof(*hosts));
        if (!hosts)
                return error_set(err, ERROR_EXHAUSTED, "no memory for hosts");
        for (size_t i = 0; i < n_kernels; i++) {
                for (int k = 0; k < n_sizes; k++) {
                        uint32_t told = sizes[k] ? sizes[k] : fs_release_page_bytes(kernels[i]);
                        int r = fs_host_from_release(&hosts[n], kernels[i], told ? told : 4096,
                                                     byte_order, err);

                        if (r < 0)
                                return r;
                        hosts[n++].page_assumed = told == 0;
                }
        }
        *hostsp = ptr_steal(&hosts);
        *n_hostsp = n;
        return 0;
}

int fs_hosts_from_file(const char *path, FsHost **hostsp, size_t *n_hostsp, Error *err) {
        cleanup(freep) char *text = NULL;
        size_t n = 0;
        int r = str_equal(path, "-") ? file_read_fd(STDIN_FILENO, HOSTS_FILE_MAX, &text, &n)
                                     : file_read_at(AT_FDCWD, path, HOSTS_FILE_MAX, &text, &n);

        if (r < 0)
                return error_set_errno(err, r, "read %s", path);
        r = fs_hosts_from_json(text, n, hostsp, n_hostsp, err);
        return r < 0 ? error_wrap(err, r, "%s", path) : 0;
}

int fs_hosts_join(const FsHost *a, size_t n_a, const FsHost *b, size_t n_b, FsHost **hostsp,
                  Error *err) {
        FsHost *all = calloc(n_a + n_b ? n_a + n_b : 1, sizeof(*all));

        if (!all)
                return error_set(err, ERROR_EXHAUSTED, "no memory for hosts");
        if (n_a)
                memcpy(all, a, n_a * sizeof(*all));
        if (n_b)
                memcpy(all + n_a, b, n_b * sizeof(*all));
        *hostsp = all;
        return 0;
}

/* "4K" of this node. */
static void own_page_size(const FsHost *here, char text[8]) {
        snprintf(text, 8, "%uK", (here->page_bytes / 1024) & 0xffffU);
}

static int add_floor(const FsHost *here, const FsCluster *cluster, FsHost **hostsp, size_t *np,
                     Error *err) {
        const char *kernel =
                str_is_empty(cluster->min_kernel) ? FS_CLUSTER_KERNEL : cluster->min_kernel;
        char own[8];

        if (str_equal(kernel, FS_CLUSTER_NONE))
                return 0;
        own_page_size(here, own);
        return fs_hosts_from_kernels(&kernel, 1,
                                     str_is_empty(cluster->page_sizes) ? own : cluster->page_sizes,
                                     here->byte_order, hostsp, np, err);
}

static int read_others(const char *path, FsHost **hostsp, size_t *np, Error *err) {
        int r;

        if (str_is_empty(path))
                return 0;
        if (str_equal(path, "-"))
                r = error_set(err, ERROR_INVALID,
                              "\"-\", expected a file: it is read again for "
                              "each new filesystem");
        else
                r = fs_hosts_from_file(path, hostsp, np, err);
        return r < 0 ? error_wrap(err, r, "--fs-nodes") : 0;
}

int fs_cluster_check(const FsCluster *cluster, Error *err) {
        static const FsHost here = {.page_bytes = 4096, .byte_order = FS_BYTE_ORDER_LITTLE};
        const FsCluster kernel = {.min_kernel = cluster->min_kernel};
        const FsCluster pages = {.page_sizes = cluster->page_sizes};
        cleanup(freep) FsHost *a = NULL, *b = NULL, *c = NULL;
        size_t n;
        int r = add_floor(&here, &kernel, &a, &n, err);

        if (r < 0)
                return error_wrap(err, r, "--fs-min-kernel");
        r = add_floor(&here, &pages, &b, &n, err);
        if (r < 0)
                return error_wrap(err, r, "--fs-page-sizes");
        return read_others(cluster->hosts_file, &c, &n, err);
}

int fs_cluster_hosts(const FsHost *here, const FsCluster *cluster, FsHost **hostsp,
                     size_t *n_hostsp, Error *err) {
        cleanup(freep) FsHost *floor = NULL, *others = NULL, *known = NULL;
        size_t n_floor = 0, n_others = 0;
        int r = add_floor(here, cluster, &floor, &n_floor, err);

        if (r == 0)
                r = read_others(cluster->hosts_file, &others, &n_others, err);
        if (r == 0)
                r = fs_hosts_join(here, 1, floor, n_floor, &known, err);
        if (r == 0)
                r = fs_hosts_join(known, 1 + n_floor, others, n_others, hostsp, err);
        if (r == 0)
                *n_hostsp = 1 + n_floor + n_others;
        return r;
}
