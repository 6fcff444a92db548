/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_COMMANDS_FEATURE_TABLE_H
#define BERTH_CNI_COMMANDS_FEATURE_TABLE_H

/* The table of features and what each command does with it. */

#include "cni/features/feature.h"

/* In the order of ADD; DEL and GC go backwards. */
#define FEATURES_N 6
extern const Feature *const features[FEATURES_N];

typedef struct Features {
        const NetConf *conf;      /* borrowed; NULL: not parsed yet */
        void *states[FEATURES_N]; /* owned; NULL: asks nothing */
        RulesSocket sock;         /* owned */
} Features;

#define FEATURES_NULL                                                                              \
        { .sock = RULES_SOCKET_NULL }

/* What an undo cannot parse it takes for not asked for. Return: 0; negative. */
int features_parse(Features *self, const NetConf *conf, Error *err);
void features_deinit(Features *self);

/* Does it take part in calls of this role, whatever the configuration asks? */
bool features_has(const Features *self, size_t i);

bool features_have_before_up(const Features *self);
int features_before_up(Features *self, Attachment *at, Error *err);

/* What was done is undone on failure. */
int features_add(Features *self, Attachment *at, CniResult *result, Error *err);

/* Goes on after errors and joins them. at->netfilter_fd is borrowed from @self. */
void features_del(Features *self, Attachment *at, Error *err);
void features_gc(Features *self, const GcRequest *gc, Error *err);

int features_check(Features *self, Attachment *at, const CniResult *result, Error *err);

/* UNAVAILABLE with the reason: answered as code 50. */
int features_status(Features *self, Error *err);

/* A line to @done for each difference. All are tried; errors are joined. */
int features_repair(Features *self, Attachment *at, const CniResult *result, bool doing,
                    StrBuf *done, Error *err);

/* --- the elements of all of them, as one transaction (cni/commands/rules.c) ---------------- */

/* Does any of them have elements in calls of this role? */
bool rules_take_part(const Features *self);

int rules_of_add(Features *self, Attachment *at, const CniResult *result, Error *err);
void rules_of_del(Features *self, Attachment *at, Error *err);
int rules_of_gc(Features *self, const GcRequest *gc, Error *err);
int rules_of_check(Features *self, Attachment *at, const CniResult *result, Error *err);
int rules_of_repair(Features *self, Attachment *at, const CniResult *result, bool doing,
                    StrBuf *done, Error *err);
int rules_of_status(Features *self, Error *err);

#endif
