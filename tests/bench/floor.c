/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The floor under ADD and DEL: the same kernel and file operations with nothing around them. No
 * configuration is parsed, nothing is checked that need not be, every error ends it. What it does
 * is what a pod costs whatever program does it; what berth-cni costs on top is the plugin.
 *
 *         floor ADD|DEL NETNS CONTAINER LEASES BRIDGE
 *
 * LEASES is host-local's directory of the network (10.A.B.C leases of a /16 that starts at 10.1).
 * BRIDGE "-": none, the host has a route to the pod.
 */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Buffer {
        uint8_t bytes[2048];
        size_t n;
        struct nlmsghdr *last;
} Buffer;

static struct nlmsghdr *begin(Buffer *buffer, uint16_t type, uint16_t flags, const void *header,
                              size_t n) {
        struct nlmsghdr *message = (struct nlmsghdr *)(void *)(buffer->bytes + buffer->n);

        memset(message, 0, NLMSG_SPACE(n));
        message->nlmsg_type = type;
        message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
        message->nlmsg_len = NLMSG_LENGTH((uint32_t)n);
        memcpy(NLMSG_DATA(message), header, n);
        buffer->n += NLMSG_SPACE(n);
        buffer->last = message;
        return message;
}

static struct rtattr *put(Buffer *buffer, uint16_t type, const void *data, size_t n) {
        struct rtattr *attr = (struct rtattr *)(void *)(buffer->bytes + buffer->n);

        attr->rta_type = type;
        attr->rta_len = (uint16_t)RTA_LENGTH(n);
        if (n)
                memcpy(RTA_DATA(attr), data, n);
        buffer->n += RTA_SPACE(n);
        buffer->last->nlmsg_len = (uint32_t)(buffer->bytes + buffer->n - (uint8_t *)buffer->last);
        return attr;
}

static void put_u32(Buffer *buffer, uint16_t type, uint32_t value) {
        (void)put(buffer, type, &value, sizeof(value));
}

static void end(Buffer *buffer, struct rtattr *nest) {
        nest->rta_len = (uint16_t)(buffer->bytes + buffer->n - (uint8_t *)nest);
}

/* Sends; hands back what is answered before the ack (-1 as error number ends the program). */
static void talk(int fd, Buffer *buffer, uint8_t answer[8192]) {
        uint8_t reply[8192];

        if (buffer->last->nlmsg_type != RTM_GETLINK)
                buffer->last->nlmsg_flags |= NLM_F_ACK;
        if (send(fd, buffer->bytes, buffer->n, 0) < 0)
                err(1, "send");
        for (;;) {
                ssize_t n = recv(fd, reply, sizeof(reply), 0);
                struct nlmsghdr *message = (struct nlmsghdr *)(void *)reply;

                if (n < (ssize_t)sizeof(*message))
                        err(1, "recv");
                if (message->nlmsg_type == NLMSG_ERROR) {
                        errno = -((struct nlmsgerr *)NLMSG_DATA(message))->error;
                        if (errno)
                                err(1, "netlink");
                        break;
                }
                if (answer)
                        memcpy(answer, reply, (size_t)n);
                if (buffer->last->nlmsg_type == RTM_GETLINK)
                        break;
        }
        buffer->n = 0;
}

/* The number in one attribute. */
static int find(const uint8_t *answer, uint16_t type) {
        const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)answer;
        const uint8_t *at = answer + NLMSG_SPACE(sizeof(struct ifinfomsg));

        while (at + sizeof(struct rtattr) <= answer + message->nlmsg_len) {
                const struct rtattr *attr = (const struct rtattr *)(const void *)at;

                if (attr->rta_type == type && attr->rta_len >= RTA_LENGTH(sizeof(int))) {
                        int value;

                        memcpy(&value, at + RTA_LENGTH(0), sizeof(value));
                        return value;
                }
                at += RTA_ALIGN(attr->rta_len);
        }
        errx(1, "no attribute %u", type);
}

static int index_of(const uint8_t *answer) {
        return ((const struct ifinfomsg *)(const void *)(answer + NLMSG_HDRLEN))->ifi_index;
}

static int get_link(int fd, const char *name, uint8_t answer[8192]) {
        struct ifinfomsg info = {0};
        Buffer buffer = {.n = 0};

        (void)begin(&buffer, RTM_GETLINK, 0, &info, sizeof(info));
        (void)put(&buffer, IFLA_IFNAME, name, strlen(name) + 1);
        talk(fd, &buffer, answer);
        return index_of(answer);
}

static int write_file(int dir, const char *name, const char *text, int flags) {
        int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

        if (fd < 0)
                return -1;
        if (write(fd, text, strlen(text)) < 0)
                err(1, "write %s", name);
        close(fd);
        return 0;
}

static int lock(const char *leases, int *dirp) {
        int fd;

        *dirp = open(leases, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd = openat(*dirp, "lock", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || flock(fd, LOCK_EX) < 0)
                err(1, "lock %s", leases);
        return fd;
}

static void lease(const char *leases, const char *id, char address[32]) {
        char text[300], last[32] = "10.1.0.1";
        int dir, locked = lock(leases, &dir), fd;
        uint32_t ip;

        fd = openat(dir, "last_reserved_ip.0", O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                ssize_t n = read(fd, last, sizeof(last) - 1);

                last[n > 0 ? n : 0] = '\0';
                close(fd);
        }
        ip = ntohl(inet_addr(last));
        snprintf(text, sizeof(text), "%s\r\neth0", id);
        do {
                struct in_addr next = {.s_addr = htonl(++ip)};

                snprintf(address, 32, "%s", inet_ntoa(next));
        } while (write_file(dir, address, text, O_EXCL) < 0);
        (void)write_file(dir, "last_reserved_ip.0", address, O_TRUNC);
        snprintf(text, sizeof(text), ".berth/%s@eth0", id);
        if (symlinkat(address, dir, text) < 0)
                err(1, "index");
        close(locked);
        close(dir);
}

static void create(int fd, int netns, const char *name, int bridge, uint8_t answer[8192]) {
        struct ifinfomsg info = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, peer = {0};
        struct rtattr *link_info, *data, *inner;
        Buffer buffer = {.n = 0};

        (void)begin(&buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO, &info,
                    sizeof(info));
        (void)put(&buffer, IFLA_IFNAME, name, strlen(name) + 1);
        if (bridge > 0)
                put_u32(&buffer, IFLA_MASTER, (uint32_t)bridge);
        put_u32(&buffer, IFLA_NUM_TX_QUEUES, 1);
        put_u32(&buffer, IFLA_NUM_RX_QUEUES, 1);
        link_info = put(&buffer, IFLA_LINKINFO, NULL, 0);
        (void)put(&buffer, IFLA_INFO_KIND, "veth", 5);
        data = put(&buffer, IFLA_INFO_DATA, NULL, 0);
        inner = put(&buffer, VETH_INFO_PEER, &peer, sizeof(peer));
        (void)put(&buffer, IFLA_IFNAME, "eth0", 5);
        put_u32(&buffer, IFLA_NET_NS_FD, (uint32_t)netns);
        put_u32(&buffer, IFLA_NUM_TX_QUEUES, 1);
        put_u32(&buffer, IFLA_NUM_RX_QUEUES, 1);
        end(&buffer, inner);
        end(&buffer, data);
        end(&buffer, link_info);
        talk(fd, &buffer, answer);
}

/* One that is not on a link's subnet: RTNH_F_ONLINK. Without a gateway: the pod itself. */
static void put_route(Buffer *buffer, int index, const char *to, const char *gateway) {
        uint32_t ip = to ? inet_addr(to) : 0, via = gateway ? inet_addr(gateway) : 0;
        struct rtmsg route = {.rtm_family = AF_INET,
                              .rtm_dst_len = to ? 32 : 0,
                              .rtm_table = RT_TABLE_MAIN,
                              .rtm_protocol = RTPROT_BOOT,
                              .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                              .rtm_flags = gateway ? RTNH_F_ONLINK : 0,
                              .rtm_type = RTN_UNICAST};

        (void)begin(buffer, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, &route, sizeof(route));
        if (to)
                (void)put(buffer, RTA_DST, &ip, sizeof(ip));
        if (gateway)
                (void)put(buffer, RTA_GATEWAY, &via, sizeof(via));
        put_u32(buffer, RTA_OIF, (uint32_t)index);
}

static void configure(int netns, int index, const char *address, const char *gateway) {
        struct ifaddrmsg ifa = {
                .ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = (unsigned)index};
        struct ifinfomsg up = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
        struct ifinfomsg loopback = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
        uint32_t ip = inet_addr(address), broadcast = inet_addr("10.1.255.255");
        Buffer buffer = {.n = 0};
        int fd;

        if (setns(netns, CLONE_NEWNET) < 0)
                err(1, "setns");
        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        (void)begin(&buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &ifa, sizeof(ifa));
        (void)put(&buffer, IFA_LOCAL, &ip, sizeof(ip));
        (void)put(&buffer, IFA_ADDRESS, &ip, sizeof(ip));
        (void)put(&buffer, IFA_BROADCAST, &broadcast, sizeof(broadcast));
        (void)begin(&buffer, RTM_NEWLINK, 0, &loopback, sizeof(loopback));
        (void)begin(&buffer, RTM_NEWLINK, 0, &up, sizeof(up));
        put_route(&buffer, index, NULL, gateway);
        talk(fd, &buffer, NULL);
        close(fd);
}

static void add(int fd, int netns, char **argv) {
        static uint8_t answer[8192];
        char address[32], name[IFNAMSIZ];
        bool routed = strcmp(argv[5], "-") == 0;
        int bridge = routed ? 0 : get_link(fd, argv[5], answer);
        Buffer buffer = {.n = 0};

        lease(argv[4], argv[3], address);
        snprintf(name, sizeof(name), "veth%.11s", argv[3]);
        create(fd, netns, name, bridge, answer);
        if (routed) {
                put_route(&buffer, index_of(answer), address, NULL);
                talk(fd, &buffer, NULL);
        }
        configure(netns, find(answer, IFLA_LINK), address, routed ? "169.254.1.1" : "10.1.0.1");
        (void)get_link(fd, name, answer);
        printf("{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"%s/16\"}]}\n", address);
}

static void del(int fd, char **argv) {
        struct ifinfomsg info = {0};
        char path[300], address[64], name[IFNAMSIZ];
        Buffer buffer = {.n = 0};
        int dir, locked;
        ssize_t n;

        snprintf(name, sizeof(name), "veth%.11s", argv[3]);
        (void)begin(&buffer, RTM_DELLINK, 0, &info, sizeof(info));
        (void)put(&buffer, IFLA_IFNAME, name, strlen(name) + 1);
        talk(fd, &buffer, NULL);
        locked = lock(argv[4], &dir);
        snprintf(path, sizeof(path), ".berth/%s@eth0", argv[3]);
        n = readlinkat(dir, path, address, sizeof(address) - 1);
        address[n > 0 ? n : 0] = '\0';
        (void)unlinkat(dir, address, 0);
        (void)unlinkat(dir, path, 0);
        close(locked);
        close(dir);
}

int main(int argc, char **argv) {
        int fd, netns;

        if (argc != 6)
                errx(2, "usage: floor ADD|DEL NETNS CONTAINER LEASES BRIDGE");
        netns = open(argv[2], O_RDONLY | O_CLOEXEC);
        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        if (netns < 0 || fd < 0)
                err(1, "open");
        if (strcmp(argv[1], "ADD") == 0)
                add(fd, netns, argv);
        else
                del(fd, argv);
        return 0;
}
