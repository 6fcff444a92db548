/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_RTNL_TC_H
#define BERTH_NETLINK_RTNL_TC_H

/* Traffic control: a token bucket on a link, and the redirection of what comes in to another. */

#include "common/netlink/nl_socket.h"

/* A token bucket filter as the root of a link. Source: tc-tbf(8), net/sched/sch_tbf.c. */
typedef struct TbfSpec {
        unsigned int index;    /* of the link */
        uint64_t rate_bytes;   /* per second; at least 1 */
        uint32_t limit_bytes;  /* may wait in the queue */
        uint32_t buffer_ticks; /* burst, as the time it takes at this rate; see tbf_ticks() */
} TbfSpec;

/* The kernel counts in 64 ns since 2.6.31; it keeps at most 2^32 - 1 ns. */
#define TBF_TICK_NSECS 64

/* How long @bytes take at @rate_bytes; UINT32_MAX if that is more than fits. */
uint32_t tbf_ticks(uint64_t rate_bytes, uint64_t bytes);

/* As above, as the kernel keeps and tells it. */
uint32_t tbf_ticks_kept(uint32_t ticks);

/* Handle 1:, replaces the root that is there. */
void tc_tbf_set(NlBatch *batch, const TbfSpec *spec);

/* The root of a link goes back to the default. -ENOENT, -EINVAL when there was none. */
void tc_root_delete(NlBatch *batch, unsigned int index);

/* Handle ffff:, where filters see what comes in. */
void tc_ingress_add(NlBatch *batch, unsigned int index);
void tc_ingress_delete(NlBatch *batch, unsigned int index);

/* All that comes into @index leaves by @to instead. Needs tc_ingress_add(); cls_u32, act_mirred. */
void tc_redirect_add(NlBatch *batch, unsigned int index, unsigned int to);

/* Asks for the root; the answer is for tc_tbf_parse(). */
void tc_root_get(NlBatch *batch, unsigned int index);

/* The kind of the queue that an answer is about, "" if it tells none; @kind has 16 bytes. */
void tc_kind_parse(const struct nlmsghdr *message, char *kind);

/* Does a filter on what comes into @index redirect to @to? Return: 1; 0; -errno. */
int tc_redirect_find(NlSocket *sock, unsigned int index, unsigned int to);

/* Return: 0; -ENOENT when the queue is of another kind; -ENOMSG; -EBADMSG. */
int tc_tbf_parse(const struct nlmsghdr *message, TbfSpec *spec);

#endif
