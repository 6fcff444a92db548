/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FEATURES_FEATURE_H
#define BERTH_CNI_FEATURES_FEATURE_H

/*
 * What a pod gets beside its link and its addresses: masquerade, host ports, firewall, MAC check,
 * bandwidth, sysctls. A feature is one file with one table of functions;
 * cni/commands/feature_table.c lists them and calls them.
 *
 * A chained call ("portmap" after somebody's bridge) and our own one-exec ADD look the same to a
 * feature: an Attachment, filled from prevResult or from what was just made.
 */

#include "cni/rules/rules.h"
#include "common/base/str.h"

/* A NULL member: nothing to do. Nothing here prints. */
typedef struct Feature {
        const char *name;   /* as the plugin and in messages: "portmap" */
        unsigned int roles; /* ROLE_BIT()s in which it takes part */
        unsigned int sets;  /* bits 1 << RuleSet: what GC looks through */

        /* Own keys into own state, for every verb; *@statep stays NULL when this configuration
         * asks nothing of the feature. Pure. */
        int (*parse)(const NetConf *conf, void **statep, Error *err);
        void (*free)(void *state);

        /* ADD: in the pod's namespace, its interface made and not up yet: what must precede
         * traffic. Undone with the interface. */
        int (*before_up)(void *state, Attachment *at, Error *err);

        /* ADD, before any rule. All or nothing: on failure it has undone its own part. It may add
         * interfaces to @result (bandwidth's ifb). */
        int (*add)(void *state, Attachment *at, CniResult *result, Error *err);

        /* ADD, before want(): looks at what of this node counts. */
        int (*facts)(void *state, Attachment *at, RulesSocket *sock, Error *err);

        /**
         * want() - elements of an attachment; all features' go in one transaction. Pure
         * @state: NULL on DEL when today's configuration asks nothing of the feature: then every
         *         element that it could have made, as far as that is known
         * @deleting: DEL; be complete rather than exact
         */
        int (*want)(const void *state, const Attachment *at, bool deleting, RuleList *list,
                    Error *err);

        /* What is neither link nor element, once they are made. What is there already is left
         * alone. @state may be NULL. */
        int (*outside)(const void *state, Attachment *at, RulesSocket *sock, Error *err);

        /* Of a pod that is new. @state may be NULL. */
        int (*after_add)(const void *state, Attachment *at, RulesSocket *sock, Error *err);

        /* What is not an element. @state may be NULL. */
        int (*check)(const void *state, Attachment *at, RulesSocket *sock, Error *err);

        /* A pod that is attached: what is missing is told, a line each, and with @doing put back;
         * what is right is not touched. NULL: check() and outside(). */
        int (*repair)(void *state, Attachment *at, bool doing, StrBuf *done, Error *err);

        /* After a scan that may have found others' addresses. @state may be NULL. */
        void (*after_scan)(const void *state, RulesSocket *sock);

        /* After the elements are gone, also to roll back an ADD that failed later. Missing things
         * are done things. Errors are returned, and the caller goes on. @state is of today's
         * configuration, which need not be that of ADD; it may be NULL. */
        int (*del)(void *state, Attachment *at, RulesSocket *sock, Error *err);

        /* What is not an element. */
        int (*gc)(const GcRequest *gc, Error *err);
} Feature;

extern const Feature feature_bandwidth, feature_firewall, feature_macspoof, feature_masquerade,
        feature_portmap, feature_tuning;

#endif
