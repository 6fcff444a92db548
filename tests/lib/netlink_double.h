/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TESTS_NETLINK_DOUBLE_H
#define BERTH_TESTS_NETLINK_DOUBLE_H

/*
 * A kernel of the test's own behind netlink sockets: sendmsg(2) and recvfrom(2) of this program are
 * the ones below. Include it in one file of a program that has no other use for them.
 *
 * What is sent is kept, and double_kernel, which the test sets, answers it: with the queue that
 * double_answer() fills, whatever the sequence numbers are.
 */

#include "common/netlink/nl_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

typedef struct DoubleDatagram {
        _Alignas(struct nlmsghdr) uint8_t bytes[8192];
        size_t n;
        uint32_t sender; /* 0: the kernel */
} DoubleDatagram;

static uint8_t double_sent[1 << 18] __attribute__((aligned(8))); /* all of it, one after another */
static size_t double_n_sent;
static DoubleDatagram double_queue[64];
static size_t double_n_queued, double_n_taken;
static void (*double_kernel)(const struct nlmsghdr *request); /* of each message that is sent */

static NlSocket double_socket(void) {
        NlSocket sock = {.fd = 1000000, .buffer = malloc(32UL * 1024)};

        double_n_sent = double_n_queued = double_n_taken = 0;
        if (!sock.buffer)
                abort();
        return sock;
}

static void double_close(NlSocket *sock) {
        free(sock->buffer);
        *sock = (NlSocket)NL_SOCKET_NULL;
}

/* A datagram with one message; @payload is what stands behind its header. */
static inline void double_answer_from(uint32_t sender, uint16_t type, uint16_t flags,
                                      uint32_t sequence, const void *payload, size_t n) {
        DoubleDatagram *datagram = &double_queue[double_n_queued++ % 64];
        struct nlmsghdr header = {.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + n),
                                  .nlmsg_type = type,
                                  .nlmsg_flags = flags,
                                  .nlmsg_seq = sequence};

        memcpy(datagram->bytes, &header, sizeof(header));
        if (n > 0)
                memcpy(datagram->bytes + NLMSG_HDRLEN, payload, n);
        datagram->n = NLMSG_HDRLEN + n;
        datagram->sender = sender;
}

static inline void double_answer(uint16_t type, uint16_t flags, uint32_t sequence,
                                 const void *payload, size_t n) {
        double_answer_from(0, type, flags, sequence, payload, n);
}

/* @error: 0 is an acknowledgement. */
static inline void double_acknowledge(uint32_t sequence, int error) {
        struct nlmsgerr ack = {.error = error};

        double_answer(NLMSG_ERROR, NLM_F_CAPPED, sequence, &ack, sizeof(ack));
}

/* The message of @type that was sent as the @nth of its type, 0 first; NULL: there is none. */
static inline const struct nlmsghdr *double_sent_message(uint16_t type, size_t nth) {
        size_t at = 0;

        while (at + NLMSG_HDRLEN <= double_n_sent) {
                const struct nlmsghdr *message =
                        (const struct nlmsghdr *)(const void *)(double_sent + at);

                if (message->nlmsg_type == type && nth-- == 0)
                        return message;
                at += NLMSG_ALIGN((size_t)message->nlmsg_len);
        }
        return NULL;
}

ssize_t sendmsg(int fd, const struct msghdr *header, int flags) {
        size_t start = double_n_sent, at = start;

        for (size_t i = 0; i < header->msg_iovlen; i++) {
                const struct iovec *part = &header->msg_iov[i];

                if (part->iov_len > sizeof(double_sent) - double_n_sent)
                        abort();
                memcpy(double_sent + double_n_sent, part->iov_base, part->iov_len);
                double_n_sent += NLMSG_ALIGN(part->iov_len);
        }
        while (double_kernel && at < double_n_sent) {
                const struct nlmsghdr *message =
                        (const struct nlmsghdr *)(void *)(double_sent + at);

                double_kernel(message);
                at += NLMSG_ALIGN((size_t)message->nlmsg_len);
        }
        return (ssize_t)(double_n_sent - start);
}

ssize_t recvfrom(int fd, void *restrict buffer, size_t n, int flags, struct sockaddr *restrict from,
                 socklen_t *restrict n_from) {
        const struct sockaddr_nl address = {
                .nl_family = AF_NETLINK,
                .nl_pid = double_queue[double_n_taken % 64].sender,
        };
        const DoubleDatagram *datagram = &double_queue[double_n_taken % 64];

        if (double_n_taken == double_n_queued) {
                errno = EAGAIN;
                return -1;
        }
        double_n_taken++;
        memcpy(buffer, datagram->bytes, datagram->n < n ? datagram->n : n);
        memcpy(from, &address, *n_from < sizeof(address) ? *n_from : sizeof(address));
        return (ssize_t)datagram->n;
}

#endif
