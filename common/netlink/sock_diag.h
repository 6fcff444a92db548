/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_SOCK_DIAG_H
#define BERTH_NETLINK_SOCK_DIAG_H

/* Sockets of the calling thread's network namespace that wait for somebody to talk to them. */

#include "common/netlink/nl_socket.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct WaitingSocket {
        uint8_t family;      /* AF_INET, AF_INET6; of an IPv4-mapped address AF_INET */
        uint8_t protocol;    /* IPPROTO_TCP: it listens; IPPROTO_UDP: it is bound, not connected */
        uint16_t port;       /* host order */
        uint8_t address[16]; /* as much as the family has; all zero: every address */
        bool both_families;  /* IPv6, every address, and IPv4's too (no IPV6_V6ONLY) */
        unsigned int index;  /* the link it is bound to; 0: any */
} WaitingSocket;

/**
 * sock_diag_parse() - one answer of the kernel's
 * @protocol: that was asked for; answers do not say
 *
 * Return: 0; -ENOENT: not an answer about an IPv4 or IPv6 socket; -EBADMSG as nl_attributes().
 */
int sock_diag_parse(const struct nlmsghdr *message, uint8_t protocol, WaitingSocket *found);

/* Return: 0 to go on; a negative errno ends it and is returned. */
typedef int (*WaitingSocketEach)(const WaitingSocket *socket, void *userdata);

/**
 * sock_diag_waiting() - @each for all of them, of @family and @protocol (TCP, UDP, SCTP)
 *
 * @sock: NL_SOCKET_NULL is opened; the caller closes it
 *
 * Sockets of the kernel itself (VXLAN, WireGuard) are not among them.
 *
 * Return: 0; -errno (-ENOENT: the kernel lacks tcp_diag or udp_diag; -EPROTONOSUPPORT: inet_diag).
 */
int sock_diag_waiting(NlSocket *sock, uint8_t family, uint8_t protocol, WaitingSocketEach each,
                      void *userdata);

#endif
