/* SPDX-License-Identifier: Apache-2.0 */

/* The way of a transaction into the kernel and the verdict on it back. */

#include "common/nft/nft_query.h"

#include <errno.h>
#include <string.h>

typedef struct Run {
        NlSocket *sock;
        uint32_t first; /* sequence number of message 0 */
        uint32_t n;
        uint32_t failed; /* index; n: none */
        int error;
        bool acknowledged;
} Run;

/* Gives the messages the next sequence numbers of @sock, in place. */
static uint32_t number(NlSocket *sock, NftBatch *batch) {
        uint32_t first = sock->sequence + 1, next = first;
        struct nlmsghdr header;

        for (size_t offset = 0; offset < batch->n; offset += NLMSG_ALIGN(header.nlmsg_len)) {
                memcpy(&header, batch->bytes + offset, sizeof(header));
                header.nlmsg_seq = next++;
                memcpy(batch->bytes + offset, &header, sizeof(header));
        }
        sock->sequence = next - 1;
        return first;
}

static int each(const struct nlmsghdr *message, void *userdata) {
        Run *run = userdata;
        uint32_t index = message->nlmsg_seq - run->first;
        char text[NL_TEXT_MAX];
        uint32_t offset = 0;
        int r;

        if (message->nlmsg_type != NLMSG_ERROR || index >= run->n)
                return 0;
        r = nl_ack_parse(message, text, &offset);
        if (r == 0)
                run->acknowledged = true;
        if (r < 0 && index < run->failed) {
                run->failed = index;
                run->error = r;
                memcpy(run->sock->text, text, sizeof(text));
                run->sock->text_offset = offset;
        }
        /* News about the last message before BATCH_END comes last. */
        return index + 2 == run->n;
}

int nft_batch_run(NlSocket *sock, NftBatch *batch, uint32_t *failedp) {
        Run run = {.sock = sock, .n = batch->n_messages, .failed = batch->n_messages};
        int r;

        sock->text[0] = '\0';
        sock->text_offset = 0;
        nft_batch_end(batch);
        if (batch->broken < 0)
                return batch->broken;
        if (nft_batch_is_empty(batch))
                return 0;
        run.n = run.failed = batch->n_messages;
        run.first = number(sock, batch);
        r = nl_socket_send(sock, batch->bytes, batch->n);
        if (r < 0)
                return r;
        /* Everything is queued when the send is over; without news of the last message, as when the
         * generation is another one, -ENODATA is the end of it. */
        r = nl_socket_receive(sock, each, &run);
        if (r < 0 && r != -ENODATA)
                return r;
        if (run.error < 0) {
                if (failedp)
                        *failedp = run.failed;
                return run.error;
        }
        return run.acknowledged ? 0 : -ENODATA;
}
