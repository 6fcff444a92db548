/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_NL_SOCKET_H
#define BERTH_NETLINK_NL_SOCKET_H

/*
 * One netlink socket and its requests. Messages are libnl's nl_msg; the socket is ours, because
 * libnl's hides the extended acknowledgement and sends one message per system call.
 *
 * The kernel works on a request inside sendmsg(2): when that returns, every answer is queued. So
 * nothing here waits, and a lost answer is -ENODATA instead of a hang.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netlink/attr.h>
#include <netlink/msg.h>

/* The kernel's own words, cut. */
#define NL_TEXT_MAX 192

typedef struct NlSocket {
        int fd; /* -1 when closed */
        uint32_t sequence;
        uint8_t *buffer;        /* owned; what recv(2) fills */
        char text[NL_TEXT_MAX]; /* extended ack of the last failed request, "" if it had none */
        uint32_t text_offset;   /* byte in that request the text is about, 0 if not told */
} NlSocket;

#define NL_SOCKET_NULL                                                                             \
        { .fd = -1 }

/**
 * nl_socket_open() - open in the calling thread's network namespace
 * @sock:     starts as NL_SOCKET_NULL; closed by nl_socket_close()
 * @protocol: NETLINK_ROUTE, NETLINK_NETFILTER
 *
 * Turns on NETLINK_EXT_ACK, NETLINK_CAP_ACK and NETLINK_GET_STRICT_CHK where the kernel has them
 * (4.12, 4.2, 4.20), and makes room for the answers to a long transaction of NETLINK_NETFILTER. The
 * socket keeps working on its namespace after setns(2).
 *
 * Return: 0; -errno.
 */
int nl_socket_open(NlSocket *sock, int protocol);
void nl_socket_close(NlSocket *sock);

/* Joins it to a group of announcements. Return: 0; -errno. */
int nl_socket_join(NlSocket *sock, unsigned int group);

/* Many requests for one sendmsg(2). Starts as (NlBatch){0}. */
#define NL_BATCH_MAX 64

typedef struct NlBatch {
        struct nl_msg *messages[NL_BATCH_MAX]; /* owned */
        int results[NL_BATCH_MAX]; /* after nl_batch_run(): 0 or -errno of each message */
        size_t n;
        bool ends_in_answer; /* the last message asks for something: its answer ends the run */
        size_t failed;       /* index of the first message whose result is negative */
        int broken; /* 0, or the errno that nl_batch_run() will return: a message could not be
                       built */
} NlBatch;

void nl_batch_deinit(NlBatch *batch);

/**
 * nl_batch_add() - start a message at the end of @batch
 * @type:    RTM_NEWLINK, ...
 * @flags:   beside NLM_F_REQUEST: NLM_F_CREATE, NLM_F_ECHO, ...; NLM_F_ACK is set where needed
 * @header:  the family's fixed header (struct ifinfomsg, ...), @n_header bytes
 * @room:    bytes for attributes; an attribute beyond it is an error of nla_put*()
 *
 * Return: the message, owned by @batch; NULL when @batch is full or memory is out, and then @batch
 * is broken.
 */
struct nl_msg *nl_batch_add(NlBatch *batch, uint16_t type, uint16_t flags, const void *header,
                            size_t n_header, size_t room);

/* Notes the result of nla_put*(): anything negative breaks @batch (-EMSGSIZE). */
static inline void nl_batch_put(NlBatch *batch, int r) {
        if (r < 0 && batch->broken == 0)
                batch->broken = -90; /* EMSGSIZE */
}

/**
 * NlReply - one answer that is not an acknowledgement
 * @index: which message of the batch it answers
 * @reply: valid during the call only; its length is checked, its attributes are not
 *
 * Return: 0, or a negative errno that nl_batch_run() returns after reading the rest.
 */
typedef int (*NlReply)(size_t index, const struct nlmsghdr *reply, void *userdata);

/**
 * nl_batch_run() - send @batch, collect every answer
 * @reply: may be NULL when no answer but acks is expected
 *
 * Every message is tried, also after one failed; @batch->results has each outcome. @sock->text has
 * the kernel's words for the first failure.
 *
 * Return: 0; the first negative result; -errno of the socket; -ENODATA if the kernel did not
 * answer.
 */
int nl_batch_run(NlSocket *sock, NlBatch *batch, NlReply reply, void *userdata);

/**
 * nl_socket_dump() - one NLM_F_DUMP request
 * @reply: gets every object, index 0; a dump that the kernel marks as interrupted
 *         (NLM_F_DUMP_INTR) is started again, announced by @reply with a NULL message, so that what
 *         was gathered can be dropped
 *
 * Return: 0; -errno; -EBUSY when it was interrupted again and again for NL_DUMP_MSECS.
 */
#define NL_DUMP_MSECS 10000U
int nl_socket_dump(NlSocket *sock, uint16_t type, struct nl_msg *request, NlReply reply,
                   void *userdata);

/* A message outside a batch, for nl_socket_dump(); caller frees with nlmsg_free(). NULL without
 * memory. */
struct nl_msg *nl_message_new(uint16_t type, uint16_t flags, const void *header, size_t n_header,
                              size_t room);

/**
 * nl_socket_send(), nl_socket_receive() - the two halves, for protocols with their own batches
 * (nftables)
 * @data: whole messages; sequence numbers are the caller's; what is longer than the send buffer
 *        raises that (CAP_NET_ADMIN; else -EMSGSIZE beyond net.core.wmem_max)
 *
 * nl_socket_receive() hands every message that is queued to @each, acks included, until @each
 * returns non-zero or the queue is empty (-ENODATA). @each returns 1 to end with 0.
 */
int nl_socket_send(NlSocket *sock, const void *data, size_t n);
int nl_socket_receive(NlSocket *sock, int (*each)(const struct nlmsghdr *message, void *userdata),
                      void *userdata);

/**
 * nl_ack_parse() - read an NLMSG_ERROR message
 * @text: NL_TEXT_MAX bytes for the kernel's words; "" if none
 * @offsetp: may be NULL
 *
 * Return: 0 for a plain ack; the negative errno; -EBADMSG if @message is malformed.
 */
int nl_ack_parse(const struct nlmsghdr *message, char *text, uint32_t *offsetp);

/* What stands behind the header; NLMSG_DATA() that keeps const. */
static inline const void *nl_payload(const struct nlmsghdr *message) {
        return (const uint8_t *)message + NLMSG_HDRLEN;
}

/**
 * nl_attributes() - index the attributes of a message
 * @offset: bytes from the start of the payload to the first attribute (the aligned fixed header)
 * @table:  @n_table pointers, indexed by type; unknown types are skipped, the last of a type wins;
 *          what is not there is NULL, also after a failure
 *
 * Return: 0; -EBADMSG when the message is shorter than @offset or an attribute overruns it.
 */
int nl_attributes(const struct nlmsghdr *message, size_t offset, const struct nlattr **table,
                  size_t n_table);

/* The same for the inside of a nested attribute. */
int nl_nested(const struct nlattr *nest, const struct nlattr **table, size_t n_table);

/* The same for @n_data bytes of attributes. */
int nl_attributes_in(const void *data, size_t n_data, const struct nlattr **table, size_t n_table);

/* Values of an attribute that may be NULL or too short: then the fallback. */
uint8_t nl_get_u8(const struct nlattr *attr, uint8_t fallback);
uint16_t nl_get_u16(const struct nlattr *attr, uint16_t fallback);
uint32_t nl_get_u32(const struct nlattr *attr, uint32_t fallback);

/* Copies a string attribute with its NUL into @text of @n_text bytes, cut; "" when @attr is NULL.
 */
void nl_get_text(const struct nlattr *attr, char *text, size_t n_text);

#endif
