/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/commands/feature_table.h"

#include "common/base/cleanup.h"

#include <errno.h>

const Feature *const features[FEATURES_N] = {
        &feature_tuning, /* before the rules: the MAC check wants the address that it sets */
        &feature_bandwidth, &feature_masquerade, &feature_portmap,
        &feature_firewall,  &feature_macspoof,
};

bool features_has(const Features *self, size_t i) {
        return self->conf && (features[i]->roles & ROLE_BIT(self->conf->role));
}

int features_parse(Features *self, const NetConf *conf, Error *err) {
        self->conf = conf;
        for (size_t i = 0; i < FEATURES_N; i++) {
                const Feature *feature = features[i];
                int r = features_has(self, i) ? feature->parse(conf, &self->states[i], err) : 0;

                if (r < 0 && conf->is_undo)
                        *err = (Error){0};
                else if (r < 0)
                        return str_has_prefix(err->message, feature->name)
                                       ? r
                                       : error_wrap(err, r, "%s", feature->name);
        }
        return 0;
}

void features_deinit(Features *self) {
        for (size_t i = 0; i < FEATURES_N; i++)
                if (self->states[i])
                        features[i]->free(self->states[i]);
        rules_close(&self->sock);
        *self = (Features)FEATURES_NULL;
}

bool features_have_before_up(const Features *self) {
        for (size_t i = 0; i < FEATURES_N; i++)
                if (self->states[i] && features[i]->before_up)
                        return true;
        return false;
}

int features_before_up(Features *self, Attachment *at, Error *err) {
        int r = 0;

        for (size_t i = 0; i < FEATURES_N && r == 0; i++)
                if (self->states[i] && features[i]->before_up)
                        r = features[i]->before_up(self->states[i], at, err);
        return r;
}

int features_add(Features *self, Attachment *at, CniResult *result, Error *err) {
        size_t n_added = 0;
        Error ignored = {0};
        int r = 0;

        for (; n_added < FEATURES_N && r == 0; n_added += r == 0)
                if (self->states[n_added] && features[n_added]->add)
                        r = features[n_added]->add(self->states[n_added], at, result, err);
        if (r == 0 && rules_take_part(self))
                r = rules_of_add(self, at, result, err);
        while (r < 0 && n_added-- > 0)
                if (self->states[n_added] && features[n_added]->add)
                        (void)features[n_added]->del(self->states[n_added], at, &self->sock,
                                                     &ignored);
        return r;
}

void features_del(Features *self, Attachment *at, Error *err) {
        if (rules_take_part(self))
                rules_of_del(self, at, err);
        for (size_t i = FEATURES_N; i-- > 0;) {
                Error failed = {0};

                if (features_has(self, i) && features[i]->del &&
                    features[i]->del(self->states[i], at, &self->sock, &failed) < 0)
                        error_join(err, &failed);
        }
        at->netfilter_fd = self->sock.netfilter.fd;
}

void features_gc(Features *self, const GcRequest *gc, Error *err) {
        Error failed = {0};

        if (rules_take_part(self) && rules_of_gc(self, gc, &failed) < 0)
                error_join(err, &failed);
        for (size_t i = FEATURES_N; i-- > 0;) {
                failed = (Error){0};
                if (features_has(self, i) && features[i]->gc && features[i]->gc(gc, &failed) < 0)
                        error_join(err, &failed);
        }
}

int features_check(Features *self, Attachment *at, const CniResult *result, Error *err) {
        int r = rules_take_part(self) ? rules_of_check(self, at, result, err) : 0;

        for (size_t i = 0; i < FEATURES_N && r == 0; i++)
                if (features_has(self, i) && features[i]->check)
                        r = features[i]->check(self->states[i], at, &self->sock, err);
        return r;
}

int features_status(Features *self, Error *err) {
        return rules_take_part(self) ? rules_of_status(self, err) : 0;
}

int features_repair(Features *self, Attachment *at, const CniResult *result, bool doing,
                    StrBuf *done, Error *err) {
        Error all = {0}, failed = {0};

        for (size_t i = 0; i < FEATURES_N; i++) {
                failed = (Error){0};
                if (self->states[i] && features[i]->repair &&
                    features[i]->repair(self->states[i], at, doing, done, &failed) < 0)
                        error_join(&all, &failed);
        }
        failed = (Error){0};
        if (rules_take_part(self) && rules_of_repair(self, at, result, doing, done, &failed) < 0)
                error_join(&all, &failed);
        if (!error_is_set(&all))
                return 0;
        *err = all;
        return -EIO;
}
