/* SPDX-License-Identifier: Apache-2.0 */

/* Looking through whole sets: GC, and DEL when nobody knows the keys any more. */

#include "cni/rules/rules.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>

#include <linux/netfilter.h>

/* Subnets and conditions of one node; more are left for the next GC. */
#define SETS_MAX 4096

/* Elements deleted in one transaction, which fits an ordinary send buffer; the rest goes into the
 * next one. */
#define DELETED_MAX 1024

#define TRIES_MAX 64

typedef struct Names {
        unsigned int sets; /* wanted kinds */
        char (*names)[RULE_SET_NAME_MAX];
        size_t n;
        int failed;
} Names;

typedef struct Scan {
        NftBatch batch;
        Names names;
        uint8_t family;
        const char *set;
        size_t n_at_set; /* deletions before this set: where an interrupted dump goes back to */
        size_t n_deleted;
        NftElement *deleted; /* owned; their sets are borrowed from names */
        RuleFilter filter;
        void *userdata;
} Scan;

static void scan_deinit(Scan *scan) {
        nft_batch_deinit(&scan->batch);
        free(scan->names.names);
        free(scan->deleted);
}

static int each_name(uint8_t family, const char *name, void *userdata) {
        Names *names = userdata;
        RuleSet set;

        if (!name) {
                names->n = 0;
                return 0;
        }
        if (rule_set_parse(name, &set) < 0 || !(names->sets & 1U << set) || names->n >= SETS_MAX ||
            strlen(name) >= RULE_SET_NAME_MAX)
                return 0;
        if (names->n % 64 == 0) {
                void *grown = reallocarray(names->names, names->n + 64, RULE_SET_NAME_MAX);

                if (!grown)
                        return -ENOMEM;
                names->names = grown;
        }
        memcpy(names->names[names->n++], name, strlen(name) + 1);
        return 0;
}

static int each_element(const NftFound *found, void *userdata) {
        Scan *scan = userdata;
        NftElement *element;
        RuleOwner owner;

        if (!found) {
                scan->n_deleted = scan->n_at_set;
                return 0;
        }
        if (scan->n_deleted >= DELETED_MAX || found->n_key > NFT_VALUE_MAX ||
            rule_owner_parse(found->comment, &owner) < 0 ||
            !scan->filter(&owner, found, scan->userdata))
                return 0;
        element = &scan->deleted[scan->n_deleted++];
        *element = (NftElement){
                .family = scan->family,
                .table = RULES_TABLE,
                .set = scan->set,
                .n_key = (uint32_t)found->n_key,
        };
        memcpy(element->key, found->key, found->n_key);
        return 0;
}

static int reply_generation(size_t index, const struct nlmsghdr *message, void *userdata) {
        return nft_parse_generation(message, userdata);
}

static void questions_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

static int read_generation(NlSocket *sock, uint32_t *generationp) {
        cleanup(questions_deinit) NlBatch batch = {0};

        nft_ask_generation(&batch);
        return nl_batch_run(sock, &batch, reply_generation, generationp);
}

/* Missing tables and sets hold nothing. */
static int gather_family(NlSocket *sock, Scan *scan) {
        int r;

        scan->names.n = 0;
        r = nft_set_dump(sock, scan->family, RULES_TABLE, each_name, &scan->names);
        for (size_t i = 0; i < scan->names.n && r == 0; i++) {
                scan->set = scan->names.names[i];
                scan->n_at_set = scan->n_deleted;
                r = nft_element_dump(sock, scan->family, RULES_TABLE, scan->set, each_element,
                                     scan);
                if (r == -ENOENT)
                        r = 0;
        }
        return r == -ENOENT || r == -EOPNOTSUPP || r == -EAFNOSUPPORT ? 0 : r;
}

/* Who else was told to let an address pass is to forget it too. Without memory it is not told. */
static void note_shut(RulesSocket *sock, const NftElement *element) {
        uint8_t family = element->family == NFPROTO_IPV4 ? AF_INET : AF_INET6;
        IpAddress address = {.family = family};
        RuleSet set;

        if (rule_set_parse(element->set, &set) < 0 || set != RULE_SET_FIREWALL ||
            element->n_key != ip_size(&address))
                return;
        if (sock->n_shut % 64 == 0) {
                void *grown = reallocarray(sock->shut, sock->n_shut + 64, sizeof(*sock->shut));

                if (!grown)
                        return;
                sock->shut = grown;
        }
        memcpy(address.bytes, element->key, element->n_key);
        sock->shut[sock->n_shut++] = (ResultIp){.address.address = address};
}

/* Return: 0 with *@morep when a part was left; -ERESTART. */
static int scan_family(RulesSocket *sock, Scan *scan, bool *morep) {
        uint32_t generation = 0;
        int r;

        scan->n_deleted = 0;
        r = read_generation(&sock->netfilter, &generation);
        if (r < 0)
                return r == -EOPNOTSUPP ? 0 : r;
        r = gather_family(&sock->netfilter, scan);
        if (r < 0 || scan->n_deleted == 0)
                return r;
        nft_batch_begin(&scan->batch);
        for (size_t i = 0; i < scan->n_deleted; i++)
                nft_element_delete(&scan->batch, &scan->deleted[i]);
        nft_batch_set_generation(&scan->batch, generation);
        r = nft_batch_run(&sock->netfilter, &scan->batch, NULL);
        for (size_t i = 0; i < scan->n_deleted && r == 0; i++)
                note_shut(sock, &scan->deleted[i]);
        *morep = scan->n_deleted == DELETED_MAX;
        return r;
}

int rules_scan(RulesSocket *sock, unsigned int sets, RuleFilter filter, void *userdata,
               Error *err) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE};
        cleanup(scan_deinit)
                Scan scan = {.names = {.sets = sets}, .filter = filter, .userdata = userdata};
        Error local = {0};
        int r;

        r = rules_open(sock, &local);
        if (r < 0 && local.code == ERROR_UNSUPPORTED)
                return 0;
        if (r < 0) {
                if (err)
                        *err = local;
                return r;
        }
        scan.deleted = calloc(DELETED_MAX, sizeof(*scan.deleted));
        if (!scan.deleted)
                return error_set_errno(err, ENOMEM, "look through the ruleset");
        for (size_t i = 0; i < N_ELEMENTS(families); i++) {
                unsigned int tries = 0;
                bool more = false;

                scan.family = families[i];
                do {
                        more = false;
                        r = scan_family(sock, &scan, &more);
                } while ((r == -ERESTART && ++tries < TRIES_MAX) || (r == 0 && more));
                if (r < 0)
                        return error_set_errno(err, r, "look through the ruleset");
        }
        return 0;
}
