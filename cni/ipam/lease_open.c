/* SPDX-License-Identifier: Apache-2.0 */

/* Locking, and the index made anew when somebody else was here. */

#include "cni/ipam/lease.h"

#include "cni/ipam/lease_internal.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

/* "BERT" as seconds: 26 March 2005, a time that no clock gives a directory by itself. */
#define INDEX_TIME 0x42455254

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_MAX  64

static void wake(int signal) {
}

/*
 * Waiting in flock(2) keeps the kernel's order of arrival, which polling would not; an alarm ends
 * it. It repeats, so that one that comes just before flock() is not the last.
 */
static int lock_wait(int fd) {
        struct sigaction action = {.sa_handler = wake}, before_action;
        struct itimerval timer = {
                .it_value = {.tv_sec = LEASE_LOCK_MSECS / 1000},
                .it_interval = {.tv_sec = 1},
        };
        struct itimerval none = {0};
        sigset_t alarm_set, before_mask;
        int r;

        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                return 0;
        if (errno != EWOULDBLOCK)
                return -errno;
        sigemptyset(&alarm_set);
        sigaddset(&alarm_set, SIGALRM);
        (void)sigaction(SIGALRM, &action, &before_action);
        (void)sigprocmask(SIG_UNBLOCK, &alarm_set, &before_mask);
        (void)setitimer(ITIMER_REAL, &timer, NULL);
        r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
        (void)setitimer(ITIMER_REAL, &none, NULL);
        (void)sigprocmask(SIG_SETMASK, &before_mask, NULL);
        (void)sigaction(SIGALRM, &before_action, NULL);
        return r == -EINTR ? -ETIMEDOUT : r;
}

static int directory_open(const char *path, bool create) {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

        if (fd >= 0 || errno != ENOENT || !create)
                return fd < 0 ? -errno : fd;
        r = file_make_directories(path, 0755);
        if (r < 0)
                return r;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ELOOP : -errno; /* a link to nowhere */
        return fd;
}

/* Where no lock can be made, nobody else has one either: then the directory itself serves. */
static int lock_file(int dir_fd, bool create) {
        int fd = file_open_plain_at(dir_fd, "lock", O_RDONLY | O_CREAT, 0600);

        if (create || (fd != -ENOSPC && fd != -EDQUOT && fd != -EROFS))
                return fd;
        fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
}

static int lock_open(LeaseStore *store, const char *path, bool create, Error *err) {
        int r;

        r = lock_file(store->dir_fd, create);
        if (r == -EINVAL)
                return error_set(err, ERROR_CONFLICT, "%s/lock is not a plain file: remove it",
                                 path);
        if (r < 0)
                return error_set_errno(err, r, "open %s/lock", path);
        store->lock_fd = r;
        r = lock_wait(store->lock_fd);
        if (r == -ETIMEDOUT)
                return error_set(err, ERROR_TIMEOUT,
                                 "%s/lock is held by another process for more than %d seconds",
                                 path, LEASE_LOCK_MSECS / 1000);
        return r < 0 ? error_set_errno(err, r, "lock %s/lock", path) : 0;
}

/* Return: true when nobody changed the directory since our last lease_store_commit(). */
static bool is_untouched(int dir_fd) {
        struct stat status;

        return fstat(dir_fd, &status) == 0 && status.st_mtim.tv_sec == INDEX_TIME &&
               status.st_mtim.tv_nsec == 0;
}

/* Return: 1 the index is of this boot, 0 of another or none; -errno. */
static int boot_check(int dir_fd, char boot[BOOT_ID_MAX]) {
        char recorded[BOOT_ID_MAX];
        cleanup(closep) int fd = -1;
        ssize_t n;

        fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, boot, BOOT_ID_MAX - 1);
        if (n < 0)
                return -errno;
        boot[n] = '\0';
        str_trim_end(boot);
        if (boot[0] == '\0')
                return -ENODATA;
        n = readlinkat(dir_fd, LEASE_BOOT, recorded, sizeof(recorded) - 1);
        if (n < 0)
                return errno == ENOENT || errno == EINVAL ? 0 : -errno;
        recorded[n] = '\0';
        return str_equal(recorded, boot);
}

int lease_each_name(int dir_fd, const char *path, NameEach each, void *userdata, Error *err) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r;

        fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, errno, "open %s", path);
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return error_set_errno(err, errno, "open %s", path);
        }
        while ((errno = 0, entry = readdir(dir))) {
                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                r = each(dir_fd, entry->d_name, userdata, err);
                if (r < 0)
                        return r;
        }
        return errno ? error_set_errno(err, errno, "read %s", path) : 0;
}

static int entry_ips(int dir_fd, const char *path, IpPrefix *ips) {
        char text[LEASE_ENTRY_MAX];
        ssize_t n = readlinkat(dir_fd, path, text, sizeof(text) - 1);

        if (n < 0)
                return -errno;
        text[n] = '\0';
        return lease_entry_parse(text, ips, LEASE_IPS_MAX);
}

typedef struct EntryPath {
        char path[sizeof(LEASE_INDEX) + NAME_MAX + 1];
} EntryPath;

static void entry_path(const char *name, EntryPath *entry) {
        (void)snprintf(entry->path, sizeof(entry->path), LEASE_INDEX "/%s", name);
}

/* Does the lease of @ip belong under this entry? */
static bool entry_holds(int dir_fd, const EntryPath *entry, const IpAddress *ip) {
        char name[IP_TEXT_MAX], path[LEASE_PATH_MAX];
        LeaseContent content;

        if (lease_read(dir_fd, ip_format(ip, name), &content) < 0)
                return false;
        lease_entry_path(content.id, content.ifname, path);
        return str_equal(path, entry->path);
}

/* Leases recorded before this boot. The file must still say what the entry says: host-local may
 * have given the address to a container of this boot. */
static int reclaim_entry(int dir_fd, const char *name, void *userdata, Error *err) {
        IpPrefix ips[LEASE_IPS_MAX];
        char text[IP_TEXT_MAX];
        EntryPath entry = {0};
        int n;

        entry_path(name, &entry);
        n = entry_ips(dir_fd, entry.path, ips);
        for (int i = 0; i < n; i++)
                if (entry_holds(dir_fd, &entry, &ips[i].address))
                        (void)unlinkat(dir_fd, ip_format(&ips[i].address, text), 0);
        if (unlinkat(dir_fd, entry.path, 0) < 0 && errno != ENOENT && errno != EISDIR)
                return error_set_errno(err, errno, "remove %s", entry.path);
        return 0;
}

/* The marker is among the entries and goes with them, so a crash here is an index without a boot:
 * whatever is left then counts as of this boot and stays. */
static int reclaim(LeaseStore *store, const char *boot, Error *err) {
        int r = lease_each_name(store->dir_fd, LEASE_INDEX, reclaim_entry, NULL, err);

        if (r < 0)
                return r;
        if (mkdirat(store->dir_fd, LEASE_INDEX, 0755) < 0 && errno != EEXIST)
                return error_set_errno(err, errno, "make " LEASE_INDEX);
        if (symlinkat(boot, store->dir_fd, LEASE_BOOT) < 0 && errno != EEXIST)
                return error_set_errno(err, errno, "make " LEASE_BOOT);
        return 0;
}

/* Drops what is not a live lease any more; what is missing is added by index_lease(). */
static int prune_entry(int dir_fd, const char *name, void *userdata, Error *err) {
        IpPrefix ips[LEASE_IPS_MAX];
        EntryPath entry;
        bool keep;
        int n;

        if (str_equal(name, "boot"))
                return 0;
        entry_path(name, &entry);
        n = entry_ips(dir_fd, entry.path, ips);
        keep = n > 0;
        for (int i = 0; keep && i < n; i++)
                keep = entry_holds(dir_fd, &entry, &ips[i].address);
        /* A directory is none of ours, and in nobody's way. */
        if (!keep && unlinkat(dir_fd, entry.path, 0) < 0 && errno != ENOENT && errno != EISDIR)
                return error_set_errno(err, errno, "remove %s", entry.path);
        return 0;
}

static int entry_append(int dir_fd, const LeaseContent *content, const IpAddress *ip) {
        char path[LEASE_PATH_MAX];
        IpPrefix ips[LEASE_IPS_MAX];
        int n;

        lease_entry_path(content->id, content->ifname, path);
        n = entry_ips(dir_fd, path, ips);
        if (n < 0)
                n = 0;
        for (int i = 0; i < n; i++)
                if (ip_equal(&ips[i].address, ip))
                        return 0;
        if (n == LEASE_IPS_MAX)
                return -E2BIG;
        ips[n++] = (IpPrefix){.address = *ip};
        return lease_entry_write(dir_fd, path, ips, (size_t)n);
}

static int index_lease(int dir_fd, const char *name, void *userdata, Error *err) {
        LeaseContent content;
        IpAddress ip;
        int r;

        if (ip_parse(name, &ip) < 0)
                return 0;
        r = lease_read(dir_fd, name, &content);
        if (r == -EBADMSG) {
                if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
                        return error_set_errno(err, errno, "remove empty lease %s", name);
                return 0;
        }
        if (r < 0) /* a directory, a link: nobody's lease */
                return 0;
        r = entry_append(dir_fd, &content, &ip);
        return r < 0 ? error_set_errno(err, r, "index lease %s", name) : 0;
}

static int make_complete(LeaseStore *store, Error *err) {
        char boot[BOOT_ID_MAX];
        bool untouched = is_untouched(store->dir_fd);
        int r;

        r = boot_check(store->dir_fd, boot);
        if (r < 0) /* without /proc a boot cannot be told: then nothing is of another one */
                r = 1;
        if (r == 0) {
                r = reclaim(store, boot, err);
                if (r < 0)
                        return r;
                untouched = false;
        }
        if (untouched)
                return 0;
        store->foreign = true;
        r = lease_each_name(store->dir_fd, LEASE_INDEX, prune_entry, NULL, err);
        return r < 0 ? r : lease_each_name(store->dir_fd, ".", index_lease, NULL, err);
}

int lease_store_open(LeaseStore *store, const char *data_dir, const char *network, bool create,
                     Error *err) {
        char path[PATH_MAX];
        int n, r;

        n = snprintf(path, sizeof(path), "%s/%s",
                     str_is_empty(data_dir) ? LEASE_DIRECTORY : data_dir, network);
        if (n < 0 || n >= PATH_MAX)
                return error_set(err, ERROR_INVALID, "\"dataDir\" is longer than a path can be");
        r = directory_open(path, create);
        if (r == -ENOENT)
                return LEASE_E_NONE;
        if (r < 0)
                return error_set_errno(err, r, "open %s", path);
        store->dir_fd = r;
        r = lock_open(store, path, create, err);
        if (r == 0) {
                r = make_complete(store, err);
                store->no_index = r < 0 && !create;
                if (store->no_index) {
                        *err = (Error){0};
                        return 0;
                }
        }
        if (r < 0) {
                closep(&store->lock_fd);
                closep(&store->dir_fd);
                return error_wrap(err, r, "host-local");
        }
        return 0;
}

/* Where a time cannot be set the index is made anew each time: slower, not wrong. */
void lease_store_commit(LeaseStore *store) {
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = INDEX_TIME}};

        if (store->no_index)
                return;
        (void)futimens(store->dir_fd, times);
}

void lease_store_close(LeaseStore *store) {
        closep(&store->lock_fd);
        closep(&store->dir_fd);
}

typedef struct EachIp {
        int (*each)(const IpAddress *ip, void *userdata);
        void *userdata;
} EachIp;

static int each_ip_name(int dir_fd, const char *name, void *userdata, Error *err) {
        EachIp *walk = userdata;
        IpAddress ip;

        return ip_parse(name, &ip) < 0 ? 0 : walk->each(&ip, walk->userdata);
}

int lease_each_ip(const LeaseStore *store, int (*each)(const IpAddress *ip, void *userdata),
                  void *userdata, Error *err) {
        EachIp walk = {.each = each, .userdata = userdata};

        return lease_each_name(store->dir_fd, ".", each_ip_name, &walk, err);
}

typedef struct Reclaim {
        bool (*is_living)(const char *container_id, const char *ifname, void *userdata);
        void *userdata;
        time_t boot_secs;
        int n;
} Reclaim;

static int reclaim_old(int dir_fd, const char *name, void *userdata, Error *err) {
        Reclaim *reclaim = userdata;
        LeaseContent content;
        struct stat status;
        IpAddress ip;

        if (ip_parse(name, &ip) < 0 || fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            status.st_mtim.tv_sec >= reclaim->boot_secs || lease_read(dir_fd, name, &content) < 0 ||
            content.ifname[0] == '\0' ||
            reclaim->is_living(content.id, content.ifname, reclaim->userdata))
                return 0;
        if (unlinkat(dir_fd, name, 0) < 0)
                return error_set_errno(err, errno, "remove lease %s", name);
        reclaim->n++;
        return 0;
}

int lease_reclaim(const LeaseStore *store,
                  bool (*is_living)(const char *container_id, const char *ifname, void *userdata),
                  void *userdata, Error *err) {
        Reclaim reclaim = {.is_living = is_living, .userdata = userdata};
        struct timespec now, up;
        int r;

        if (clock_gettime(CLOCK_REALTIME, &now) < 0 || clock_gettime(CLOCK_BOOTTIME, &up) < 0)
                return error_set_errno(err, errno, "clock");
        reclaim.boot_secs = now.tv_sec - up.tv_sec - 1;
        r = lease_each_name(store->dir_fd, ".", reclaim_old, &reclaim, err);
        /* Entries of what went are hints; they go at the next rebuild or are overwritten. */
        return r < 0 ? r : reclaim.n;
}

/* "<id>@<ifname>" as written by lease_entry_path(). Return: false for what is no such entry. */
static bool entry_split(char *name, const char **idp, const char **ifnamep) {
        char *at = strchr(name, '@');

        if (!at || name[0] == '#')
                return false;
        *at = '\0';
        *idp = name;
        *ifnamep = at + 1;
        return true;
}

typedef struct EachOwner {
        int (*each)(const char *container_id, const char *ifname, void *userdata, Error *err);
        void *userdata;
} EachOwner;

/* An entry with a hashed name: whose it is stands in the lease. */
static bool hashed_owner(int dir_fd, const char *name, LeaseContent *content) {
        IpPrefix ips[LEASE_IPS_MAX];
        char text[IP_TEXT_MAX];
        EntryPath entry;

        entry_path(name, &entry);
        return entry_ips(dir_fd, entry.path, ips) > 0 &&
               lease_read(dir_fd, ip_format(&ips[0].address, text), content) == 0;
}

static int each_owner_name(int dir_fd, const char *name, void *userdata, Error *err) {
        EachOwner *walk = userdata;
        char copy[NAME_MAX + 1];
        LeaseContent content;
        const char *id, *ifname;

        if (str_equal(name, "boot"))
                return 0;
        (void)snprintf(copy, sizeof(copy), "%s", name);
        if (name[0] == '#' && hashed_owner(dir_fd, name, &content))
                return walk->each(content.id, content.ifname, walk->userdata, err);
        if (entry_split(copy, &id, &ifname))
                return walk->each(id, ifname, walk->userdata, err);
        return 0;
}

static int each_owner_lease(int dir_fd, const char *name, void *userdata, Error *err) {
        EachOwner *walk = userdata;
        LeaseContent content;
        IpAddress ip;

        if (ip_parse(name, &ip) < 0 || lease_read(dir_fd, name, &content) < 0)
                return 0;
        return walk->each(content.id, content.ifname, walk->userdata, err);
}

int lease_each_owner(const LeaseStore *store,
                     int (*each)(const char *container_id, const char *ifname, void *userdata,
                                 Error *err),
                     void *userdata, Error *err) {
        EachOwner walk = {.each = each, .userdata = userdata};

        if (store->no_index)
                return lease_each_name(store->dir_fd, ".", each_owner_lease, &walk, err);
        return lease_each_name(store->dir_fd, LEASE_INDEX, each_owner_name, &walk, err);
}

typedef struct Holder {
        const char *container_id, *ifname;
        IpPrefix *ips;
        size_t n;
} Holder;

static int walk_find(int dir_fd, const char *name, void *userdata, Error *err) {
        Holder *holder = userdata;
        IpAddress ip;
        int held;

        if (ip_parse(name, &ip) < 0 || holder->n == LEASE_IPS_MAX)
                return 0;
        held = lease_is_held(dir_fd, name, holder->container_id, holder->ifname);
        if (held > 0)
                holder->ips[holder->n++] = (IpPrefix){.address = ip};
        return held < 0 ? error_set_errno(err, held, "read lease %s", name) : 0;
}

int lease_walk_find(const LeaseStore *store, const char *container_id, const char *ifname,
                    IpPrefix *ips, size_t *np, Error *err) {
        Holder holder = {.container_id = container_id, .ifname = ifname, .ips = ips};
        int r = lease_each_name(store->dir_fd, ".", walk_find, &holder, err);

        if (r < 0)
                return r;
        *np = holder.n;
        return 0;
}

int lease_walk_release(const LeaseStore *store, const char *container_id, const char *ifname,
                       Error *err) {
        IpPrefix ips[LEASE_IPS_MAX];
        size_t n = 0;
        int r = lease_walk_find(store, container_id, ifname, ips, &n, err);

        for (size_t i = 0; r == 0 && i < n; i++)
                r = lease_drop(store, &ips[i].address, container_id, ifname, err);
        return r;
}
