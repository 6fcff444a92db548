/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The only file of this room that makes socket calls. Messages go out as one iovec per message, so
 * the kernel sees one buffer; it answers in order. Only the last message asks for an ack, if it has
 * no other answer: an error is always reported, and silence about an earlier message means that it
 * succeeded.
 */

#include "common/netlink/nl_socket.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* The kernel fills at most 32 KiB per message of a dump; only pages that are used are touched. */
#define RECEIVE_SIZE (32UL * 1024)

/* A refused transaction of nftables is answered with one message for each of its messages, all of
 * them before the first is read. It is a limit: memory is used for what is queued only. */
#define RECEIVE_QUEUE (32 * 1024 * 1024)

/* Beyond the system's limit where the namespace's administrator asks, else up to it. */
static void raise_buffer(int fd, int force, int ordinary, int size) {
        if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) < 0)
                (void)setsockopt(fd, SOL_SOCKET, ordinary, &size, sizeof(size));
}

int nl_socket_open(NlSocket *sock, int protocol) {
        cleanup(closep) int fd = -1;
        static const int on = 1;

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
        if (fd < 0)
                return -errno;
        /* Older kernels lack one or the other; then texts are missing or acks are larger. */
        (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
        (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
        if (protocol == NETLINK_ROUTE)
                (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
        if (protocol == NETLINK_NETFILTER)
                raise_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_QUEUE);
        if (!sock->buffer)
                sock->buffer = malloc(RECEIVE_SIZE);
        if (!sock->buffer)
                return -ENOMEM;
        sock->fd = fd_steal(&fd);
        return 0;
}

void nl_socket_close(NlSocket *sock) {
        closep(&sock->fd);
        free(sock->buffer);
        sock->buffer = NULL;
}

/* Nothing is announced to a socket without an address, and it would get one by sending only. */
int nl_socket_join(NlSocket *sock, unsigned int group) {
        struct sockaddr_nl own = {.nl_family = AF_NETLINK};

        if (getsockname(sock->fd, (struct sockaddr *)&own, &(socklen_t){sizeof(own)}) < 0)
                return -errno;
        if (own.nl_pid == 0 && bind(sock->fd, (const struct sockaddr *)&own, sizeof(own)) < 0)
                return -errno;
        return setsockopt(sock->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0
                       ? -errno
                       : 0;
}

static int transmit(NlSocket *sock, struct iovec *parts, size_t n_parts) {
        struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
        struct msghdr header = {
                .msg_name = &kernel,
                .msg_namelen = sizeof(kernel),
                .msg_iov = parts,
                .msg_iovlen = n_parts,
        };
        ssize_t n;

        do
                n = sendmsg(sock->fd, &header, 0);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

int nl_socket_send(NlSocket *sock, const void *data, size_t n) {
        struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
        int r = transmit(sock, &part, 1);

        /* Longer than the send buffer: the kernel wants one that holds all of it. */
        if (r != -EMSGSIZE || n > INT_MAX / 2)
                return r;
        raise_buffer(sock->fd, SO_SNDBUFFORCE, SO_SNDBUF, (int)n + 4096);
        return transmit(sock, &part, 1);
}

/* One datagram; answers from anybody but the kernel are dropped. Return: its size; -errno. */
static ssize_t receive(NlSocket *sock) {
        for (;;) {
                struct sockaddr_nl from = {0};
                socklen_t n_from = sizeof(from);
                ssize_t n = recvfrom(sock->fd, sock->buffer, RECEIVE_SIZE, MSG_DONTWAIT | MSG_TRUNC,
                                     (struct sockaddr *)&from, &n_from);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? -ENODATA : -errno;
                if (from.nl_pid != 0)
                        continue;
                return n > (ssize_t)RECEIVE_SIZE ? -EMSGSIZE : n;
        }
}

int nl_socket_receive(NlSocket *sock, int (*each)(const struct nlmsghdr *message, void *userdata),
                      void *userdata) {
        for (;;) {
                ssize_t n = receive(sock);
                const struct nlmsghdr *message = (const struct nlmsghdr *)(void *)sock->buffer;
                size_t left, step;
                int r;

                if (n < 0)
                        return (int)n;
                for (left = (size_t)n; left >= NLMSG_HDRLEN; left -= step) {
                        if (message->nlmsg_len < NLMSG_HDRLEN || message->nlmsg_len > left)
                                return -EBADMSG;
                        r = each(message, userdata);
                        if (r != 0)
                                return r < 0 ? r : 0;
                        step = NLMSG_ALIGN((size_t)message->nlmsg_len);
                        if (step >= left)
                                break;
                        message = (const struct nlmsghdr *)(const void *)((const uint8_t *)message +
                                                                          step);
                }
        }
}

typedef struct BatchState {
        NlSocket *sock;
        NlBatch *batch;
        uint32_t first; /* sequence number of message 0 */
        NlReply reply;
        void *userdata;
        int broken; /* first failure of the reply function */
} BatchState;

static int batch_each(const struct nlmsghdr *message, void *userdata) {
        BatchState *state = userdata;
        NlBatch *batch = state->batch;
        size_t index = message->nlmsg_seq - state->first;
        char text[NL_TEXT_MAX];
        uint32_t offset = 0;
        int r;

        if (index >= batch->n)
                return 0; /* a notification, or late news of an earlier request */
        if (message->nlmsg_type == NLMSG_ERROR) {
                r = nl_ack_parse(message, text, &offset);
                batch->results[index] = r;
                if (r < 0 && (batch->failed == batch->n || index < batch->failed)) {
                        batch->failed = index;
                        memcpy(state->sock->text, text, sizeof(text));
                        state->sock->text_offset = offset;
                }
                return index == batch->n - 1;
        }
        if (message->nlmsg_type == NLMSG_NOOP || message->nlmsg_type == NLMSG_DONE)
                return 0;
        if (state->reply) {
                r = state->reply(index, message, state->userdata);
                if (r < 0 && state->broken == 0)
                        state->broken = r;
        }
        return batch->ends_in_answer && index == batch->n - 1;
}

int nl_batch_run(NlSocket *sock, NlBatch *batch, NlReply reply, void *userdata) {
        BatchState state = {.sock = sock, .batch = batch, .reply = reply, .userdata = userdata};
        struct iovec parts[NL_BATCH_MAX];
        int r;

        sock->text[0] = '\0';
        sock->text_offset = 0;
        batch->failed = batch->n;
        if (batch->broken < 0)
                return batch->broken;
        if (batch->n == 0)
                return 0;
        state.first = sock->sequence + 1;
        for (size_t i = 0; i < batch->n; i++) {
                struct nlmsghdr *header = nlmsg_hdr(batch->messages[i]);

                header->nlmsg_seq = ++sock->sequence;
                header->nlmsg_flags |= NLM_F_REQUEST;
                if (i == batch->n - 1 && !batch->ends_in_answer)
                        header->nlmsg_flags |= NLM_F_ACK;
                batch->results[i] = 0;
                parts[i] = (struct iovec){.iov_base = header,
                                          .iov_len = NLMSG_ALIGN(header->nlmsg_len)};
        }
        r = transmit(sock, parts, batch->n);
        if (r < 0)
                return r;
        r = nl_socket_receive(sock, batch_each, &state);
        if (r < 0)
                return r;
        if (batch->failed < batch->n)
                return batch->results[batch->failed];
        return state.broken;
}

typedef struct DumpState {
        NlSocket *sock;
        uint32_t sequence;
        NlReply reply;
        void *userdata;
        bool interrupted;
        int broken;
} DumpState;

/* The end of a dump carries its own errno, in the payload of NLMSG_DONE. */
static int dump_end(const struct nlmsghdr *message) {
        int code;

        if (message->nlmsg_len < NLMSG_LENGTH(sizeof(code)))
                return 1;
        memcpy(&code, nl_payload(message), sizeof(code));
        return code < 0 ? code : 1;
}

static int dump_each(const struct nlmsghdr *message, void *userdata) {
        DumpState *state = userdata;
        int r;

        if (message->nlmsg_seq != state->sequence)
                return 0;
        if (message->nlmsg_flags & NLM_F_DUMP_INTR)
                state->interrupted = true;
        if (message->nlmsg_type == NLMSG_DONE)
                return dump_end(message);
        if (message->nlmsg_type == NLMSG_ERROR) {
                r = nl_ack_parse(message, state->sock->text, &state->sock->text_offset);
                return r < 0 ? r : 0;
        }
        if (message->nlmsg_type == NLMSG_NOOP || state->broken < 0)
                return 0;
        r = state->reply(0, message, state->userdata);
        if (r < 0)
                state->broken = r;
        return 0;
}

int nl_socket_dump(NlSocket *sock, uint16_t type, struct nl_msg *request, NlReply reply,
                   void *userdata) {
        struct nlmsghdr *header = nlmsg_hdr(request);

        sock->text[0] = '\0';
        sock->text_offset = 0;
        for (unsigned int waited = 0, pause = 0; waited <= NL_DUMP_MSECS; waited += pause) {
                DumpState state = {.sock = sock, .reply = reply, .userdata = userdata};
                int r;

                header->nlmsg_type = type;
                header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
                header->nlmsg_seq = ++sock->sequence;
                state.sequence = header->nlmsg_seq;
                r = nl_socket_send(sock, header, header->nlmsg_len);
                if (r < 0)
                        return r;
                r = nl_socket_receive(sock, dump_each, &state);
                if (r < 0)
                        return r;
                if (state.broken < 0)
                        return state.broken;
                if (!state.interrupted)
                        return 0;
                r = reply(0, NULL, userdata);
                if (r < 0)
                        return r;
                /* Thirty pods at once change links all the time: a moment later there are fewer. */
                pause = pause < 32 ? pause * 2 + 1 : pause;
                clock_sleep(pause);
        }
        return -EBUSY;
}
