/* SPDX-License-Identifier: Apache-2.0 */

/* Processor, page size, kernel, distribution, filesystems. Pure. */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <elf.h>
#include <stdio.h>
#include <unistd.h>

/* uname(2)'s machine to Go's GOARCH, which is what Kubernetes' node labels and image indexes use.
 */
static const struct {
        const char *machine, *goarch;
        PlatformByteOrder order; /* of every Linux that says so */
} machines[] = {
        {"x86_64", "amd64", PLATFORM_BYTE_ORDER_LITTLE},
        {"i386", "386", PLATFORM_BYTE_ORDER_LITTLE},
        {"i486", "386", PLATFORM_BYTE_ORDER_LITTLE},
        {"i586", "386", PLATFORM_BYTE_ORDER_LITTLE},
        {"i686", "386", PLATFORM_BYTE_ORDER_LITTLE},
        {"aarch64", "arm64", PLATFORM_BYTE_ORDER_LITTLE},
        {"armv8l", "arm", PLATFORM_BYTE_ORDER_LITTLE},
        {"armv7l", "arm", PLATFORM_BYTE_ORDER_LITTLE},
        {"armv6l", "arm", PLATFORM_BYTE_ORDER_LITTLE},
        {"armv5tel", "arm", PLATFORM_BYTE_ORDER_LITTLE},
        {"ppc64le", "ppc64le", PLATFORM_BYTE_ORDER_LITTLE},
        {"ppc64", "ppc64", PLATFORM_BYTE_ORDER_BIG},
        {"s390x", "s390x", PLATFORM_BYTE_ORDER_BIG},
        {"riscv64", "riscv64", PLATFORM_BYTE_ORDER_LITTLE},
        {"loongarch64", "loong64", PLATFORM_BYTE_ORDER_LITTLE},
        {"mips64", "mips64", PLATFORM_BYTE_ORDER_UNKNOWN}, /* either */
        {"mips", "mips", PLATFORM_BYTE_ORDER_UNKNOWN},
};

static uint64_t load_word(const uint8_t *data, size_t n_word, bool is_big) {
        uint64_t value = 0;

        for (size_t i = 0; i < n_word; i++)
                value = value << 8 | data[is_big ? i : n_word - 1 - i];
        return value;
}

static bool try_auxv(const uint8_t *data, size_t n, size_t n_word, bool is_big,
                     uint32_t *page_bytesp) {
        uint32_t page_bytes = 0;

        for (size_t i = 0; i + 2 * n_word <= n; i += 2 * n_word) {
                uint64_t type = load_word(data + i, n_word, is_big);
                uint64_t value = load_word(data + i + n_word, n_word, is_big);

                if (type == AT_NULL) {
                        *page_bytesp = page_bytes;
                        return page_bytes != 0;
                }
                if (type != AT_PAGESZ)
                        continue;
                /* The smallest and the largest page of any kernel's configuration. */
                if (value < 4096 || value > 262144 || (value & (value - 1)) != 0)
                        return false;
                page_bytes = (uint32_t)value;
        }
        return false;
}

int auxv_parse(const void *data, size_t n, uint32_t *page_bytesp, PlatformByteOrder *orderp) {
        static const size_t words[] = {8, 4};

        for (size_t i = 0; i < N_ELEMENTS(words); i++) {
                for (int is_big = 0; is_big <= 1; is_big++) {
                        if (!try_auxv(data, n, words[i], is_big, page_bytesp))
                                continue;
                        *orderp = is_big ? PLATFORM_BYTE_ORDER_BIG : PLATFORM_BYTE_ORDER_LITTLE;
                        return 0;
                }
        }
        return -EINVAL;
}

static void classify_processor(Platform *platform) {
        const Facts *facts = platform->facts;
        const Fact *auxv = &facts->facts[FACT_AUXV];
        PlatformByteOrder order = PLATFORM_BYTE_ORDER_UNKNOWN;

        snprintf(platform->machine, sizeof(platform->machine), "%.31s",
                 facts_text(facts, FACT_KERNEL_MACHINE));
        for (size_t i = 0; i < N_ELEMENTS(machines); i++) {
                if (!str_equal(platform->machine, machines[i].machine))
                        continue;
                snprintf(platform->goarch, sizeof(platform->goarch), "%s", machines[i].goarch);
                platform->byte_order = machines[i].order;
        }
        if (auxv->state == FACT_PRESENT &&
            auxv_parse(auxv->text, auxv->n, &platform->page_bytes, &order) == 0)
                platform->byte_order = order;
        snprintf(platform->board, sizeof(platform->board), "%.95s",
                 facts_text(facts, FACT_DEVICE_TREE_MODEL));
        snprintf(platform->hostname, sizeof(platform->hostname), "%.64s",
                 facts_text(facts, FACT_HOSTNAME));
}

static void classify_distribution(Platform *platform) {
        const char *text = os_release_text(platform->facts);

        if (!text)
                return;
        os_release_get(text, "ID", platform->distribution.id, sizeof(platform->distribution.id));
        os_release_get(text, "VERSION_ID", platform->distribution.version,
                       sizeof(platform->distribution.version));
        os_release_get(text, "VARIANT_ID", platform->distribution.variant,
                       sizeof(platform->distribution.variant));
        if (!os_release_get(text, "PRETTY_NAME", platform->distribution.name,
                            sizeof(platform->distribution.name)))
                os_release_get(text, "NAME", platform->distribution.name,
                               sizeof(platform->distribution.name));
}

static void classify_kernel(Platform *platform) {
        platform->desktop = "";
        platform->kernel.family = "";
        if (kernel_release_parse(facts_text(platform->facts, FACT_KERNEL_RELEASE),
                                 &platform->kernel) < 0)
                return;
        /* "microsoft-standard-WSL2", and what people build from its sources. */
        if (strcasestr(platform->kernel.suffix, "microsoft") ||
            strcasestr(platform->kernel.suffix, "wsl2"))
                platform->desktop = "wsl2";
        else if (str_equal(platform->kernel.family, "linuxkit"))
                platform->desktop = "docker-desktop";
}

static void add_name(PlatformNames *names, const char *name, size_t n) {
        if (n == 0 || n >= sizeof(names->names[0]) || names->n == PLATFORM_NAMES_MAX)
                return;
        memcpy(names->names[names->n], name, n);
        names->names[names->n][n] = '\0';
        str_make_utf8(names->names[names->n]);
        names->n++;
}

/* Lines of "nodev\tNAME" or "\tNAME". */
static void parse_filesystems(Platform *platform, const Fact *fact) {
        platform->block_filesystems.state = platform->other_filesystems.state = fact->state;
        if (fact->state != FACT_PRESENT)
                return;
        for (const char *line = fact->text; *line;) {
                size_t n_line = strcspn(line, "\n"), n_flag = strcspn(line, "\t\n");

                if (n_flag < n_line)
                        add_name(n_flag == 0 ? &platform->block_filesystems
                                             : &platform->other_filesystems,
                                 line + n_flag + 1, n_line - n_flag - 1);
                line += n_line + (line[n_line] == '\n');
        }
}

static void parse_features(PlatformNames *names, const Fact *fact) {
        names->state = fact->state;
        if (fact->state != FACT_PRESENT)
                return;
        for (const char *line = fact->text; *line;) {
                size_t n = strcspn(line, "\n");

                add_name(names, line, n);
                line += n + (line[n] == '\n');
        }
}

static void parse_sector_sizes(Platform *platform) {
        const char *text = facts_text(platform->facts, FACT_BTRFS_SECTOR_SIZES);
        size_t n_sizes = 0;

        while (*text && n_sizes + 1 < N_ELEMENTS(platform->btrfs_sector_bytes)) {
                size_t n = strcspn(text, " ");
                char word[12];
                uint64_t value;

                snprintf(word, sizeof(word), "%.*s", (int)(n < 11 ? n : 11), text);
                if (str_parse_u64(word, 1U << 20, &value) == 0 && value > 0)
                        platform->btrfs_sector_bytes[n_sizes++] = (uint32_t)value;
                text += n + strspn(text + n, " ");
        }
}

void classify_machine(Platform *platform) {
        static const FactId features[_PLATFORM_FS_N] = {
                [PLATFORM_FS_EXT4] = FACT_EXT4_FEATURES,
                [PLATFORM_FS_BTRFS] = FACT_BTRFS_FEATURES,
                [PLATFORM_FS_F2FS] = FACT_F2FS_FEATURES,
                [PLATFORM_FS_EROFS] = FACT_EROFS_FEATURES,
        };

        classify_processor(platform);
        classify_distribution(platform);
        classify_kernel(platform);
        parse_filesystems(platform, &platform->facts->facts[FACT_FILESYSTEMS]);
        for (PlatformFs fs = 0; fs < _PLATFORM_FS_N; fs++)
                parse_features(&platform->features[fs], &platform->facts->facts[features[fs]]);
        parse_sector_sizes(platform);
}
