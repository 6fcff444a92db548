/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every provider, every filesystem that it supports, for sets of hosts that are together in
 * clusters: what is planned is made on a loop device, read back, and every host must mount it
 * read-write. What cannot suit a set must be refused in words.
 */

#include "tests/lib/test.h"

#include "csi/daemon/providers.h"
#include "fs/formats/format.h"
#include "fs/make/mkfs.h"
#include "fs/verdict/verdict.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define SIZE (UINT64_C(512) << 20)

#define HOSTS_MAX 4

typedef struct Set {
        const char *name;
        struct {
                const char *release;
                uint32_t page;
                FsByteOrder order;
        } others[HOSTS_MAX - 1]; /* beside this node */
} Set;

static const Set sets[] = {
        {"this node", {{NULL, 0, 0}}},
        {"5.4, pages of 4K and 64K",
         {{"5.4", 4096, FS_BYTE_ORDER_LITTLE}, {"5.4", 65536, FS_BYTE_ORDER_LITTLE}}},
        {"RHEL 8", {{"4.18.0-553.el8_10.x86_64", 4096, FS_BYTE_ORDER_LITTLE}}},
        {"every architecture",
         {{"6.1", 65536, FS_BYTE_ORDER_LITTLE},
          {"6.1", 4096, FS_BYTE_ORDER_BIG},
          {"6.6", 16384, FS_BYTE_ORDER_LITTLE}}},
        {"CentOS 7", {{"3.10.0-1160.el7.x86_64", 4096, FS_BYTE_ORDER_LITTLE}}},
};

static FsHost this_node;
static uint32_t tools[_FS_TOOLS_N];
static FsMakePlan plan;
static FsVolume volume;

static size_t hosts_of(const Set *set, FsHost hosts[HOSTS_MAX]) {
        size_t n = 1;
        Error err = {0};

        hosts[0] = this_node;
        for (size_t i = 0; i < HOSTS_MAX - 1 && set->others[i].release; i++) {
                assert(fs_host_from_release(&hosts[n], set->others[i].release, set->others[i].page,
                                            set->others[i].order, &err) == 0);
                n++;
        }
        return n;
}

static void check_made(int fd, const FsMakeRequest *request) {
        static FsVerdict verdict;
        FsReader reader;

        assert(fs_reader_from_fd(&reader, fd) == 0 && fs_read_volume(&reader, &volume) == 0);
        assert(str_equal(volume.type, request->fs_type));
        for (size_t i = 0; i < request->n_hosts; i++) {
                fs_verdict(&volume, &request->hosts[i], NULL, &verdict);
                assert(verdict.answer == FS_ANSWER_RW);
        }
}

/* Plans that were made already: providers agree on most. */
static bool is_known(const FsMakePlan *made, size_t set) {
        static char known[128][FS_MAKE_TEXT_MAX];
        static size_t n_known;
        cleanup(freep) char *text = fs_make_plan_text(made);
        char line[FS_MAKE_TEXT_MAX];

        assert(text);
        (void)snprintf(line, sizeof(line), "%zu %s", set, text);
        for (size_t i = 0; i < n_known; i++)
                if (str_equal(known[i], line))
                        return true;
        assert(n_known < N_ELEMENTS(known));
        (void)snprintf(known[n_known++], sizeof(known[0]), "%s", line);
        return false;
}

/* Return: whether a filesystem suits the set. */
static bool try_set(const Provider *provider, const char *type, size_t set) {
        static FsHost hosts[HOSTS_MAX];
        static FsMakeWords words;
        FsMakeRequest request = {.fs_type = type,
                                 .device = "/dev/null",
                                 .size_bytes = SIZE,
                                 .logical_sector_bytes = 512,
                                 .rules = &provider->format,
                                 .hosts = hosts,
                                 .n_hosts = hosts_of(&sets[set], hosts)};
        FsExpect expect = {.size_bytes = SIZE};
        FsMakeRun run = {.expect = &expect, .timeout_msecs = 120000};
        Error err = {0};
        char path[32];
        int fd;

        assert(fs_make_words(&provider->format, type, NULL, &words, &err) == 0);
        request.options = words.words;
        request.n_options = words.n_words;
        memcpy(request.tools, tools, sizeof(tools));
        if (fs_make_plan(&request, &plan, &err) < 0) {
                printf("%s: %s for %s: %s\n", provider->name, type, sets[set].name, err.message);
                assert(err.code == ERROR_PRECONDITION || err.code == ERROR_UNSUPPORTED);
                return false;
        }
        if (is_known(&plan, set))
                return true;
        fd = test_loop_open(SIZE, path);
        request.device = path;
        assert(fs_make_plan(&request, &plan, &err) == 0 && fs_uuid_make(run.uuid) == 0);
        if (fs_make(fd, &request, &plan, &run, &volume, &err) < 0) {
                printf("%s: %s for %s: %s\n", provider->name, type, sets[set].name, err.message);
                assert(false);
        }
        check_made(fd, &request);
        close(fd);
        printf("made %s for %s\n", type, sets[set].name);
        return true;
}

int main(void) {
        FsHostRead how = {.root_fd = -1};
        Error err = {0};

        setvbuf(stdout, NULL, _IOLBF, 0);
        test_require_root();
        fs_tools_read(tools);
        assert(fs_host_read(&this_node, &how, &err) == 0);
        for (size_t i = 0; providers[i]; i++) {
                const char *const *types = providers[i]->format.fs_types;

                for (; types && *types; types++) {
                        size_t n_suits = 0;

                        for (size_t set = 0; set < N_ELEMENTS(sets); set++)
                                n_suits += try_set(providers[i], *types, set);
                        /* ext4 goes everywhere; the others at least here and on new kernels. */
                        assert(n_suits == N_ELEMENTS(sets) ||
                               (!str_equal(*types, "ext4") && n_suits >= 2));
                }
        }
        return 0;
}
