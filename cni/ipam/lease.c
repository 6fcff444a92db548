/* SPDX-License-Identifier: Apache-2.0 */

/* Leases and their index, the lock being held. Opening and rebuilding are in lease_open.c. */

#include "cni/ipam/lease.h"

#include "cni/ipam/lease_internal.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/str.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A container id has no set limit; a name in a directory does. "#" cannot start an id. What a lease
 * file says may hold "/", which no id and no interface of ours does: it must not become a path. */
void lease_entry_path(const char *container_id, const char *ifname, char *path) {
        bool is_odd = strchr(container_id, '/') || strchr(ifname, '/');
        char hex[SHA256_HEX_SIZE];
        int n = snprintf(path, LEASE_PATH_MAX, LEASE_INDEX "/%s@%s", container_id, ifname);

        if (!is_odd && n > 0 && n < LEASE_PATH_MAX)
                return;
        sha256_hex(container_id, strlen(container_id), hex);
        (void)snprintf(path, LEASE_PATH_MAX, LEASE_INDEX "/#%s@%.20s", hex, is_odd ? "" : ifname);
}

int lease_content_parse(char *text, const char **idp, const char **ifnamep) {
        char *end;

        while (isspace((unsigned char)*text))
                text++;
        str_trim_end(text);
        if (*text == '\0')
                return -EBADMSG;
        end = strstr(text, "\r\n");
        if (end) {
                *end = '\0';
                *ifnamep = end + 2;
        } else {
                *ifnamep = "";
        }
        *idp = text;
        return 0;
}

int lease_read(int dir_fd, const char *name, LeaseContent *content) {
        ssize_t n;
        cleanup(closep) int fd = -1;

        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        n = read(fd, content->text, sizeof(content->text) - 1);
        if (n < 0)
                return -errno;
        content->text[n] = '\0';
        return lease_content_parse(content->text, &content->id, &content->ifname);
}

/* What is no file, or says nothing, is nobody's lease. */
static bool is_nobodys(int r) {
        return r == -ENOENT || r == -EBADMSG || r == -ELOOP || r == -EISDIR || r == -ENXIO;
}

int lease_is_held(int dir_fd, const char *name, const char *container_id, const char *ifname) {
        LeaseContent content = {0};
        int r = lease_read(dir_fd, name, &content);

        if (r < 0)
                return is_nobodys(r) ? 0 : r;
        /* The oldest format has no interface: it is anybody's with that id. */
        return str_equal(content.id, container_id) &&
               (content.ifname[0] == '\0' || str_equal(content.ifname, ifname));
}

/* The lengths of the subnets come after the addresses as 0.0.0.LENGTH, which is nobody's address:
 * 0.1.0 reads addresses only, and gives no lease back if one of them is none. */
static bool is_length(const IpAddress *ip, uint8_t *lengthp) {
        if (ip_size(ip) != 4 || ip->bytes[0] || ip->bytes[1] || ip->bytes[2])
                return false;
        *lengthp = ip->bytes[3];
        return true;
}

static int entry_item_parse(const char *item, IpPrefix *ip) {
        if (strchr(item, '/'))
                return ip_prefix_parse(item, ip);
        ip->length = 0;
        return ip_parse(item, &ip->address);
}

int lease_entry_parse(const char *text, IpPrefix *ips, size_t room) {
        char copy[LEASE_ENTRY_MAX], *rest = copy, *item;
        size_t n = 0, n_lengths = 0;
        uint8_t length;

        if (strlen(text) >= sizeof(copy))
                return -EBADMSG;
        memcpy(copy, text, strlen(text) + 1);
        while ((item = strsep(&rest, ","))) {
                IpPrefix ip = {0};

                if (entry_item_parse(item, &ip) < 0)
                        return -EBADMSG;
                if (!is_length(&ip.address, &length)) {
                        if (n == room)
                                return -EBADMSG;
                        ips[n++] = ip;
                } else if (n_lengths == n || length > ip_size(&ips[n_lengths].address) * 8) {
                        return -EBADMSG;
                } else {
                        ips[n_lengths++].length = length;
                }
        }
        return (int)n;
}

/* Return: how many addresses; 0 without an entry; -errno. */
static int entry_read(const LeaseStore *store, const char *path, IpPrefix *ips) {
        char text[LEASE_ENTRY_MAX];
        ssize_t n = readlinkat(store->dir_fd, path, text, sizeof(text) - 1);

        if (n < 0)
                return errno == ENOENT || errno == EINVAL ? 0 : -errno;
        text[n] = '\0';
        return lease_entry_parse(text, ips, LEASE_IPS_MAX);
}

int lease_find(const LeaseStore *store, const char *container_id, const char *ifname, bool ancient,
               IpPrefix *ips, size_t *np, Error *err) {
        char path[LEASE_PATH_MAX], name[IP_TEXT_MAX];
        IpPrefix found[LEASE_IPS_MAX];
        size_t n = 0;
        int r;

        if (store->no_index)
                return lease_walk_find(store, container_id, ifname, ips, np, err);
        lease_entry_path(container_id, ifname, path);
        r = entry_read(store, path, found);
        if (r == 0 && ancient) {
                lease_entry_path(container_id, "", path);
                r = entry_read(store, path, found);
        }
        if (r < 0)
                return error_set_errno(err, r, "read %s", path);
        for (int i = 0, held; i < r; i++) {
                held = lease_is_held(store->dir_fd, ip_format(&found[i].address, name),
                                     container_id, ifname);
                if (held < 0)
                        return error_set_errno(err, held, "read lease %s", name);
                if (held > 0)
                        ips[n++] = found[i];
        }
        *np = n;
        return 0;
}

int lease_take(const LeaseStore *store, const IpAddress *ip, const char *container_id,
               const char *ifname, Error *err) {
        char name[IP_TEXT_MAX], content[LEASE_CONTENT_MAX];
        cleanup(closep) int fd = -1;
        int n, r;

        n = snprintf(content, sizeof(content), "%s\r\n%s", container_id, ifname);
        if (n < 0 || n >= LEASE_CONTENT_MAX)
                return error_set(err, ERROR_INVALID, "the container id is longer than %d bytes",
                                 LEASE_CONTENT_MAX - 20);
        (void)ip_format(ip, name);
        fd = openat(store->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                    0600);
        if (fd < 0 && errno == EEXIST)
                return LEASE_E_TAKEN;
        if (fd < 0)
                return error_set_errno(err, errno, "create lease %s", name);
        r = file_write_all(fd, content, (size_t)n);
        if (r < 0) {
                (void)unlinkat(store->dir_fd, name, 0);
                return error_set_errno(err, r, "write lease %s", name);
        }
        return 0;
}

static void entry_format(const IpPrefix *ips, size_t n, char *text, size_t size) {
        char name[IP_TEXT_MAX];
        bool has_length = false;
        size_t used = 0;

        text[0] = '\0';
        for (size_t i = 0; i < n; i++) {
                used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? "," : "",
                                         ip_format(&ips[i].address, name));
                has_length = has_length || ips[i].length > 0;
        }
        for (size_t i = 0; has_length && i < n; i++)
                used += (size_t)snprintf(text + used, size - used, ",0.0.0.%u", ips[i].length);
}

int lease_entry_write(int dir_fd, const char *path, const IpPrefix *ips, size_t n) {
        char text[LEASE_ENTRY_MAX];

        entry_format(ips, n, text, sizeof(text));
        if (symlinkat(text, dir_fd, path) == 0)
                return 0;
        if (errno == ENOENT) {
                if (mkdirat(dir_fd, LEASE_INDEX, 0755) < 0 && errno != EEXIST)
                        return -errno;
        } else if (errno == EEXIST) {
                if (unlinkat(dir_fd, path, 0) < 0)
                        return -errno;
        } else {
                return -errno;
        }
        return symlinkat(text, dir_fd, path) < 0 ? -errno : 0;
}

int lease_record(const LeaseStore *store, const char *container_id, const char *ifname,
                 const IpPrefix *ips, size_t n, Error *err) {
        char path[LEASE_PATH_MAX];
        int r;

        lease_entry_path(container_id, ifname, path);
        r = lease_entry_write(store->dir_fd, path, ips, n);
        return r < 0 ? error_set_errno(err, r, "write %s", path) : 0;
}

bool lease_has(const LeaseStore *store, const IpAddress *ip, const char *container_id,
               const char *ifname) {
        char name[IP_TEXT_MAX];

        return lease_is_held(store->dir_fd, ip_format(ip, name), container_id, ifname) > 0;
}

int lease_retake(const LeaseStore *store, const char *container_id, const char *ifname,
                 const IpPrefix *ips, size_t n, Error *err) {
        char text[IP_TEXT_MAX];

        for (size_t i = 0; i < n; i++) {
                int r = lease_take(store, &ips[i].address, container_id, ifname, err);

                if (r == LEASE_E_TAKEN && !lease_has(store, &ips[i].address, container_id, ifname))
                        return error_set(err, ERROR_CONFLICT,
                                         "another container has the lease of %s, which container "
                                         "%.64s uses: one of both has to be made anew",
                                         ip_format(&ips[i].address, text), container_id);
                if (r < 0)
                        return r;
        }
        return n > 0 ? lease_record(store, container_id, ifname, ips, n, err) : 0;
}

int lease_drop(const LeaseStore *store, const IpAddress *ip, const char *container_id,
               const char *ifname, Error *err) {
        char name[IP_TEXT_MAX];
        int held = lease_is_held(store->dir_fd, ip_format(ip, name), container_id, ifname);

        /* The entry that led here stays, so that a repeated DEL finds the lease. */
        if (held < 0)
                return error_set_errno(err, held, "read lease %s", name);
        if (held == 0)
                return 0;
        if (unlinkat(store->dir_fd, name, 0) < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove lease %s", name);
        return 0;
}

/* The entry goes last: until then a repeated DEL finds what is left. */
static int entry_release(const LeaseStore *store, const char *container_id, const char *ifname,
                         const char *entry_ifname, Error *err) {
        char path[LEASE_PATH_MAX];
        IpPrefix ips[LEASE_IPS_MAX];
        int n, r;

        lease_entry_path(container_id, entry_ifname, path);
        n = entry_read(store, path, ips);
        if (n == 0)
                return 0;
        if (n == -EBADMSG)
                n = 0; /* not ours to read; the lease, if any, is found by the next rebuild */
        if (n < 0)
                return error_set_errno(err, n, "read %s", path);
        for (int i = 0; i < n; i++) {
                r = lease_drop(store, &ips[i].address, container_id, ifname, err);
                if (r < 0)
                        return r;
        }
        if (unlinkat(store->dir_fd, path, 0) < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove %s", path);
        return 1;
}

int lease_release(const LeaseStore *store, const char *container_id, const char *ifname,
                  Error *err) {
        int r;

        if (store->no_index)
                return lease_walk_release(store, container_id, ifname, err);
        r = entry_release(store, container_id, ifname, ifname, err);
        if (r == 0)
                r = entry_release(store, container_id, ifname, "", err);
        return r < 0 ? r : 0;
}

void lease_read_last(const LeaseStore *store, size_t set, IpAddress *ip) {
        char name[32], text[IP_TEXT_MAX];
        cleanup(closep) int fd = -1;
        IpAddress last;
        ssize_t n;

        *ip = (IpAddress){0};
        (void)snprintf(name, sizeof(name), "last_reserved_ip.%zu", set);
        fd = openat(store->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return;
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return;
        text[n] = '\0';
        if (ip_parse(text, &last) == 0)
                *ip = last;
}

/* Written in place, as host-local does: a torn one only moves the starting point. */
int lease_write_last(const LeaseStore *store, size_t set, const IpAddress *ip, Error *err) {
        char name[32], text[IP_TEXT_MAX];
        cleanup(closep) int fd = -1;
        int r;

        (void)snprintf(name, sizeof(name), "last_reserved_ip.%zu", set);
        fd = file_open_plain_at(store->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd == -EINVAL)
                return error_set(err, ERROR_CONFLICT,
                                 "%s beside the leases is not a plain file: remove it", name);
        if (fd < 0)
                return error_set_errno(err, fd, "open %s", name);
        (void)ip_format(ip, text);
        r = file_write_all(fd, text, strlen(text));
        return r < 0 ? error_set_errno(err, r, "write %s", name) : 0;
}
