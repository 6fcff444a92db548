/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Leftovers in the tables of iptables-legacy. Reading such a table is one getsockopt(2), in which
 * the names of chains and the addresses of rules stand as they are; that tells cheaply whether
 * anything is there. Only then the tool is run: once to list, once to remove.
 */

#include "cni/migrate/upstream.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/nft/xtables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define OUTPUT_MAX    ((size_t)64 * 1024 * 1024)
#define TIMEOUT_MSECS 30000U

#define FORWARD_CHAIN "CNI-FORWARD"

typedef struct Family {
        uint8_t family;
        const char *list[2], *restore[2]; /* tools, the specific name first */
} Family;

static const Family families[] = {
        {AF_INET, {"iptables-legacy", "iptables"}, {"iptables-legacy-restore", "iptables-restore"}},
        {AF_INET6,
         {"ip6tables-legacy", "ip6tables"},
         {"ip6tables-legacy-restore", "ip6tables-restore"}},
};

/* --- looking ------------------------------------------------------------------------------ */

static bool holds(const uint8_t *bytes, size_t n, const void *what, size_t n_what) {
        return n > 0 && memmem(bytes, n, what, n_what) != NULL;
}

/* --- removing ----------------------------------------------------------------------------- */

static void result_deinit_(ExecResult *result) {
        exec_result_deinit(result);
}

static int run(const char *const tool[2], const char *const *arguments, const char *input,
               char **outputp, Error *err) {
        const char *argv[12] = {NULL};
        int r = -ENOENT;

        for (size_t i = 0; i < 10 && arguments[i]; i++)
                argv[1 + i] = arguments[i];
        for (size_t i = 0; i < 2 && r == -ENOENT; i++) {
                cleanup(result_deinit_) ExecResult result = {0};
                ExecRequest request = {
                        .argv = argv,
                        .input = input,
                        .n_input = input ? strlen(input) : 0,
                        .timeout_msecs = TIMEOUT_MSECS,
                        .output_limit_bytes = OUTPUT_MAX,
                };

                argv[0] = tool[i];
                r = exec_run(&request, &result);
                if (r < 0)
                        continue;
                if (result.exit_status != 0) {
                        str_trim_end(result.errors);
                        return error_set(err, ERROR_INTERNAL, "%s: %.200s", tool[i], result.errors);
                }
                if (outputp)
                        *outputp = ptr_steal(&result.output);
        }
        if (r < 0)
                return error_set_errno(err, r, "run %s to remove rules of the upstream plugins",
                                       tool[0]);
        return 0;
}

/* Is @word a word of @line? */
static bool has_word(const char *line, const char *word) {
        size_t n = strlen(word);

        for (const char *at = strstr(line, word); at; at = strstr(at + 1, word))
                if ((at == line || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
                        return true;
        return false;
}

typedef struct Removal {
        const Family *family;
        const char *table;
        const char *words[64]; /* rules with one of them go */
        size_t n_words;
        const char *chain; /* goes itself, or NULL; then only rules of CNI-FORWARD count */
} Removal;

static void append_deletions(const Removal *removal, char *listing, StrBuf *input) {
        char *save = NULL;

        for (char *line = strtok_r(listing, "\n", &save); line;
             line = strtok_r(NULL, "\n", &save)) {
                bool gone = false;

                if (!str_has_prefix(line, "-A ") ||
                    (removal->chain && str_has_prefix(line + 3, removal->chain)))
                        continue;
                if (!removal->chain && !str_has_prefix(line + 3, FORWARD_CHAIN " "))
                        continue;
                for (size_t i = 0; i < removal->n_words && !gone; i++)
                        gone = has_word(line, removal->words[i]);
                if (gone)
                        strbuf_printf(input, "-D %s\n", line + 3);
        }
}

static int remove_rules(const Removal *removal, Error *err) {
        const char *list[] = {"-w", "10", "-t", removal->table, "-S", NULL};
        const char *restore[] = {"-w", "10", "--noflush", NULL};
        cleanup(freep) char *listing = NULL, *text = NULL;
        StrBuf input = {0};
        int r;

        r = run(removal->family->list, list, NULL, &listing, err);
        if (r < 0)
                return r;
        strbuf_printf(&input, "*%s\n", removal->table);
        append_deletions(removal, listing, &input);
        if (removal->chain)
                strbuf_printf(&input, "-F %s\n-X %s\n", removal->chain, removal->chain);
        strbuf_append(&input, "COMMIT\n");
        text = strbuf_steal(&input);
        if (!text)
                return error_set_errno(err, ENOMEM, "remove rules of the upstream plugins");
        return run(removal->family->restore, restore, text, NULL, err);
}

static int del_chains(const Family *family, unsigned int plugins, const Attachment *at,
                      Error *err) {
        static const struct {
                unsigned int plugins;
                const char *prefix;
        } kinds[] = {{LEGACY_BRIDGE, ""}, {LEGACY_PORTMAP, "DN-"}, {LEGACY_PORTMAP, "SN-"}};
        cleanup(xtables_deinit) XtTable xt = {0};

        if (xtables_read(family->family, "nat", &xt) < 0)
                return 0;
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
                char chain[LEGACY_CHAIN_SIZE];
                Removal removal = {.family = family,
                                   .table = "nat",
                                   .words = {chain},
                                   .n_words = 1,
                                   .chain = chain};
                int r;

                legacy_chain_name(at->network, at->container_id, kinds[i].prefix, chain);
                if (!(plugins & kinds[i].plugins) || !chain[0] ||
                    !holds(xt.bytes, xt.n, chain, strlen(chain) + 1))
                        continue;
                r = remove_rules(&removal, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int del_forward(const Family *family, const Attachment *at, Error *err) {
        cleanup(xtables_deinit) XtTable xt = {0};
        char texts[N_ELEMENTS(((Removal *)0)->words)][IP_TEXT_MAX];
        Removal removal = {.family = family, .table = "filter"};

        if (at->n_ips == 0 || xtables_read(family->family, "filter", &xt) < 0 ||
            !holds(xt.bytes, xt.n, FORWARD_CHAIN, sizeof(FORWARD_CHAIN)))
                return 0;
        for (size_t i = 0; i < at->n_ips && removal.n_words < N_ELEMENTS(removal.words); i++) {
                IpPrefix one = at->ips[i].address;

                one.length = (uint8_t)(ip_size(&one.address) * 8);
                if (one.address.family != family->family ||
                    !holds(xt.bytes, xt.n, one.address.bytes, ip_size(&one.address)))
                        continue;
                removal.words[removal.n_words] = ip_prefix_format(&one, texts[removal.n_words]);
                removal.n_words++;
        }
        return removal.n_words > 0 ? remove_rules(&removal, err) : 0;
}

static void del_family(const Family *family, unsigned int plugins, const Attachment *at,
                       Error *all) {
        Error err = {0};

        if (xtables_has(family->family, "nat") && del_chains(family, plugins, at, &err) < 0)
                error_join(all, &err);
        err = (Error){0};
        if (plugins & LEGACY_FIREWALL && xtables_has(family->family, "filter") &&
            del_forward(family, at, &err) < 0)
                error_join(all, &err);
}

int legacy_xtables_del(unsigned int plugins, const Attachment *at, Error *err) {
        Error all = {0};

        for (size_t i = 0; i < N_ELEMENTS(families); i++)
                del_family(&families[i], plugins, at, &all);
        if (!error_is_set(&all))
                return 0;
        if (err)
                *err = all;
        return -EIO;
}
