/* SPDX-License-Identifier: Apache-2.0 */

#include "common/nft/xtables.h"

#include "common/nft/nft_answer.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

/* 100,000 rules. */
#define TABLE_MAX (64U * 1024 * 1024)

bool xtables_has(uint8_t family, const char *table) {
        const char *path =
                family == AF_INET ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names";
        cleanup(freep) char *text = NULL;
        size_t n = strlen(table);

        /* Without the module there is no file; with it, and without a table, it is empty. */
        if (file_read_at(AT_FDCWD, path, 4096, &text, NULL) < 0)
                return false;
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
                if (strncmp(line, table, n) == 0 && line[n] == '\n')
                        return true;
        return false;
}

void xtables_deinit(XtTable *xt) {
        free(xt->bytes);
        *xt = (XtTable){0};
}

/* The same numbers and shapes for both families, but for the size of addresses inside. */
int xtables_read(uint8_t family, const char *table, XtTable *xt) {
        cleanup(closep) int fd = -1;
        cleanup(freep) struct ipt_get_entries *entries = NULL;
        int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
        struct ipt_getinfo info = {0};
        socklen_t n = sizeof(info);

        fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
        if (fd < 0)
                return -errno;
        snprintf(info.name, sizeof(info.name), "%s", table);
        if (getsockopt(fd, level, IPT_SO_GET_INFO, &info, &n) < 0)
                return -errno;
        if (info.size > TABLE_MAX)
                return -EFBIG;
        entries = calloc(1, sizeof(*entries) + info.size);
        if (!entries)
                return -ENOMEM;
        snprintf(entries->name, sizeof(entries->name), "%s", table);
        entries->size = info.size;
        n = (socklen_t)(sizeof(*entries) + info.size);
        if (getsockopt(fd, level, IPT_SO_GET_ENTRIES, entries, &n) < 0)
                return -errno;
        *xt = (XtTable){.family = family, .n = sizeof(*entries) + info.size};
        memcpy(xt->first, info.hook_entry, sizeof(xt->first));
        memcpy(xt->policy, info.underflow, sizeof(xt->policy));
        xt->n_entries = info.size;
        xt->entries = (const uint8_t *)entries->entrytable;
        xt->bytes = (uint8_t *)ptr_steal(&entries);
        return 0;
}

static bool is_zero(const uint8_t *bytes, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (bytes[i] != 0)
                        return false;
        return true;
}

static void take_target(const uint8_t *bytes, size_t n, XtRule *rule) {
        struct xt_entry_target target;
        int32_t verdict = 0;

        memcpy(&target, bytes, sizeof(target));
        snprintf(rule->target, sizeof(rule->target), "%.*s", (int)sizeof(target.u.user.name),
                 target.u.user.name);
        if (strcmp(rule->target, XT_ERROR_TARGET) == 0 && n > sizeof(target))
                snprintf(rule->chain, sizeof(rule->chain), "%.*s",
                         (int)(n - sizeof(target) < 31 ? n - sizeof(target) : 31),
                         (const char *)bytes + sizeof(target));
        if (rule->target[0] != '\0' || n < sizeof(target) + sizeof(verdict))
                return;
        memcpy(&verdict, bytes + sizeof(target), sizeof(verdict));
        rule->is_verdict = true;
        rule->verdict = verdict >= 0 ? -1 : -verdict - 1;
        rule->jump = verdict >= 0 ? (uint32_t)verdict : 0;
}

int xtables_rule(const XtTable *xt, uint32_t offset, XtRule *rule) {
        bool v4 = xt->family == AF_INET;
        size_t head = v4 ? sizeof(struct ipt_entry) : sizeof(struct ip6t_entry);
        size_t match = v4 ? sizeof(struct ipt_ip) : sizeof(struct ip6t_ip6);
        size_t at = v4 ? offsetof(struct ipt_entry, target_offset)
                       : offsetof(struct ip6t_entry, target_offset);
        const uint8_t *bytes;
        uint16_t offsets[2]; /* of the target, of the next rule */

        *rule = (XtRule){.offset = offset};
        if (offset >= xt->n_entries)
                return -ENOENT;
        if (xt->n_entries - offset < head)
                return -EBADMSG;
        bytes = xt->entries + offset;
        memcpy(offsets, bytes + at, sizeof(offsets));
        if (offsets[0] < head || offsets[1] > xt->n_entries - offset ||
            offsets[1] < offsets[0] + sizeof(struct xt_entry_target))
                return -EBADMSG;
        rule->next = offset + offsets[1];
        rule->unconditional = offsets[0] == head && is_zero(bytes, match);
        rule->bytes = bytes;
        rule->n_bytes = offsets[1];
        take_target(bytes + offsets[0], (size_t)offsets[1] - offsets[0], rule);
        rule->is_goto = (v4 ? bytes[offsetof(struct ipt_ip, flags)] & IPT_F_GOTO
                            : bytes[offsetof(struct ip6t_ip6, flags)] & IP6T_F_GOTO) != 0;
        return 0;
}

/* Both families say the same of a packet, at other places. */
typedef struct Asked {
        const char *names[2]; /* input, output */
        const unsigned char *masks[2];
        uint16_t protocol; /* 0: any */
        uint8_t flags, inverted;
        bool by_address;
} Asked;

static Asked asked_v4(const struct ipt_ip *ip) {
        return (Asked){.names = {ip->iniface, ip->outiface},
                       .masks = {ip->iniface_mask, ip->outiface_mask},
                       .protocol = ip->proto,
                       .flags = ip->flags & (uint8_t)~IPT_F_GOTO,
                       .inverted = ip->invflags,
                       .by_address = ip->smsk.s_addr != 0 || ip->dmsk.s_addr != 0};
}

static Asked asked_v6(const struct ip6t_ip6 *ip) {
        return (Asked){.names = {ip->iniface, ip->outiface},
                       .masks = {ip->iniface_mask, ip->outiface_mask},
                       .protocol = ip->flags & IP6T_F_PROTO ? ip->proto : 0,
                       .flags = ip->flags & (uint8_t) ~(IP6T_F_GOTO | IP6T_F_PROTO),
                       .inverted = ip->invflags,
                       .by_address = !is_zero((const uint8_t *)&ip->smsk, sizeof(ip->smsk)) ||
                                     !is_zero((const uint8_t *)&ip->dmsk, sizeof(ip->dmsk))};
}

static void add_condition(NftRule *rule, NftSubject subject, bool differs, const void *value,
                          size_t n) {
        NftCondition *condition = &rule->conditions[rule->n_conditions++];

        *condition = (NftCondition){.subject = subject, .differs = differs, .n = n};
        memcpy(condition->value, value, n);
}

/* Three at most, as NFT_CONDITIONS_MAX allows. */
static void describe_asked(const Asked *asked, NftRule *rule) {
        static const uint8_t inversions[] = {IPT_INV_VIA_IN, IPT_INV_VIA_OUT};
        static const NftSubject subjects[] = {NFT_SUBJECT_INPUT, NFT_SUBJECT_OUTPUT};

        for (size_t i = 0; i < 2; i++) {
                size_t n = 0;

                while (n < IFNAMSIZ && asked->masks[i][n] == 0xff)
                        n++;
                if (n > 0)
                        add_condition(rule, subjects[i], asked->inverted & inversions[i],
                                      asked->names[i], n);
        }
        if (asked->protocol != 0)
                add_condition(rule, NFT_SUBJECT_PROTOCOL, asked->inverted & XT_INV_PROTO,
                              (const uint8_t[]){(uint8_t)asked->protocol}, 1);
        rule->asks_more = asked->by_address || asked->flags != 0;
}

static void describe_matches(const XtRule *rule, size_t at, size_t end, NftRule *description) {
        struct xt_entry_match match;
        char name[32];

        while (end - at >= sizeof(match)) {
                memcpy(&match, rule->bytes + at, sizeof(match));
                if (match.u.match_size < sizeof(match) || match.u.match_size > end - at)
                        break;
                snprintf(name, sizeof(name), "%.*s", (int)sizeof(match.u.user.name),
                         match.u.user.name);
                nft_rule_take_match(description, name, match.u.user.revision,
                                    rule->bytes + at + sizeof(match),
                                    match.u.match_size - sizeof(match));
                at += match.u.match_size;
        }
        description->asks_more |= at != end;
}

void xtables_describe(const XtTable *xt, const XtRule *rule, NftRule *description) {
        bool v4 = xt->family == AF_INET;
        size_t head = v4 ? sizeof(struct ipt_entry) : sizeof(struct ip6t_entry);
        struct ip6t_ip6 v6_part;
        struct ipt_ip v4_part;
        uint16_t target;
        Asked asked;

        *description = (NftRule){.verdict = INT32_MIN};
        memcpy(&target,
               rule->bytes + (v4 ? offsetof(struct ipt_entry, target_offset)
                                 : offsetof(struct ip6t_entry, target_offset)),
               sizeof(target));
        memcpy(&v4_part, rule->bytes, sizeof(v4_part));
        memcpy(&v6_part, rule->bytes, v4 ? sizeof(v4_part) : sizeof(v6_part));
        asked = v4 ? asked_v4(&v4_part) : asked_v6(&v6_part);
        describe_asked(&asked, description);
        describe_matches(rule, head, target, description);
        if (!rule->is_verdict)
                nft_rule_take_target(description, rule->target);
        else if (rule->verdict == -1)
                description->verdict = rule->is_goto ? NFT_GOTO : NFT_JUMP;
        else
                description->verdict = rule->verdict == NF_REPEAT ? NFT_RETURN : rule->verdict;
}

int xtables_chain(const XtTable *xt, const char *chain, uint32_t *offsetp) {
        XtRule rule;
        int r;

        for (uint32_t offset = 0; (r = xtables_rule(xt, offset, &rule)) == 0; offset = rule.next)
                if (strcmp(rule.chain, chain) == 0) {
                        *offsetp = rule.next;
                        return 0;
                }
        return r;
}
