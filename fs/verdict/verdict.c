/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each rule looks at one thing and adds reasons; the verdict is the worst of them. The rules are in
 * verdict_features.c, verdict_geometry.c and verdict_state.c.
 */

#include "fs/verdict/verdict_internal.h"

#include <errno.h>
#include <string.h>

void verdict_add(const VerdictCase *c, FsReason reason) {
        FsVerdict *verdict = c->verdict;
        size_t at = verdict->n_reasons;

        if (reason.limit > verdict->answer)
                verdict->answer = reason.limit;
        if (at == FS_REASONS_MAX) {
                verdict->more = true;
                if (verdict->reasons[at - 1].limit >= reason.limit)
                        return;
                at--;
        } else {
                verdict->n_reasons++;
        }
        /* Worst first, and in the order of the rules among equals. */
        while (at > 0 && verdict->reasons[at - 1].limit < reason.limit) {
                verdict->reasons[at] = verdict->reasons[at - 1];
                at--;
        }
        verdict->reasons[at] = reason;
}

void verdict_add_plain(const VerdictCase *c, FsReasonKind kind, FsAnswer limit, int os_errno) {
        verdict_add(c, (FsReason){.kind = kind, .limit = limit, .os_errno = os_errno});
}

void verdict_add_sizes(const VerdictCase *c, FsReason reason, uint64_t need, uint64_t have) {
        reason.need = need;
        reason.have = have;
        verdict_add(c, reason);
}

/* Of the worst reason, but that a driver must be there first, and that features are looked at
 * before the log. */
static int first_errno(const FsVerdict *verdict) {
        for (size_t i = 0; i < verdict->n_reasons; i++)
                if (verdict->reasons[i].os_errno == ENODEV)
                        return ENODEV;
        if (verdict->reasons[0].kind == FS_REASON_LOG_ORDER)
                for (size_t i = 1; i < verdict->n_reasons; i++)
                        if (verdict->reasons[i].kind == FS_REASON_FEATURE &&
                            verdict->reasons[i].os_errno)
                                return verdict->reasons[i].os_errno;
        return verdict->reasons[0].os_errno;
}

static void judge_all(const VerdictCase *c) {
        verdict_judge_driver(c);
        verdict_judge_integrity(c);
        verdict_judge_features(c);
        verdict_judge_folded_crypt(c);
        verdict_judge_block(c);
        verdict_judge_sector(c);
        verdict_judge_size(c);
        verdict_judge_devices(c);
        verdict_judge_uuid(c);
        verdict_judge_log(c);
        verdict_judge_format(c);
        verdict_judge_consequences(c);
        verdict_judge_tools(c);
}

/* Where the page size was taken for granted, and another one would have another answer. */
static bool rests_on_page(const VerdictCase *c) {
        static const uint32_t pages[] = {4096, 16384, 65536};

        for (size_t i = 0; c->host->page_assumed && i < 3; i++) {
                FsHost host = *c->host;
                FsVerdict verdict = {0};
                VerdictCase other = {.volume = c->volume,
                                     .host = &host,
                                     .situation = c->situation,
                                     .verdict = &verdict};

                host.page_bytes = pages[i];
                judge_all(&other);
                if (verdict.answer != c->verdict->answer)
                        return true;
        }
        return false;
}

/* No number tells which drivers a kernel was built with: ext is in all that run nodes. */
static FsConfidence driver_confidence(const VerdictCase *c) {
        if (c->host->driver_evidence[c->volume->kind] == FS_EVIDENCE_BACKPORT)
                return FS_CONFIDENCE_MEDIUM;
        if (c->host->drivers[c->volume->kind] != FS_TRI_UNKNOWN || c->volume->kind == FS_KIND_EXT)
                return FS_CONFIDENCE_HIGH;
        return c->volume->kind == FS_KIND_NTFS ? FS_CONFIDENCE_LOW : FS_CONFIDENCE_MEDIUM;
}

static FsConfidence lesser(FsConfidence a, FsConfidence b) {
        return a > b ? a : b;
}

void fs_verdict(const FsVolume *volume, const FsHost *host, const FsSituation *situation,
                FsVerdict *verdict) {
        VerdictCase c = {.volume = volume, .host = host, .verdict = verdict};

        if (situation)
                c.situation = *situation;
        memset(verdict, 0, sizeof(*verdict));
        judge_all(&c);
        if (verdict->answer > verdict->after_crash)
                verdict->after_crash = verdict->answer;
        verdict->confidence = lesser(host->confidence, driver_confidence(&c));
        if (rests_on_page(&c))
                verdict->confidence = lesser(verdict->confidence, FS_CONFIDENCE_MEDIUM);
        for (size_t i = 0; i < verdict->n_reasons; i++) {
                const FsReason *reason = &verdict->reasons[i];

                if (reason->confidence > verdict->confidence &&
                    (reason->limit != FS_ANSWER_RW || reason->kind == FS_REASON_UNCONFIRMED))
                        verdict->confidence = reason->confidence;
        }
        if (verdict->n_reasons && verdict->answer != FS_ANSWER_RW)
                verdict->expected_errno = first_errno(verdict);
}
