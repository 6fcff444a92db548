/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/confine.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__arm__)
#define ARCHITECTURE AUDIT_ARCH_ARM
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define ARCHITECTURE AUDIT_ARCH_S390X
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#else
#define ARCHITECTURE 0
#endif

/* The only architecture that has the flags of clone(2) second. */
#ifdef __s390x__
#define CLONE_FLAGS_ARGUMENT 1
#else
#define CLONE_FLAGS_ARGUMENT 0
#endif

#define NAMESPACES                                                                                 \
        ((uint32_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |  \
                    CLONE_NEWPID | CLONE_NEWNET))

/* From here on an architecture has calls of its own: arm's set_tls. */
#ifdef __arm__
#define PRIVATE 0xf0000U
#else
#define PRIVATE UINT32_MAX
#endif

/* The same on every architecture, and not in every libc's headers. Source: Linux 6.18,
 * scripts/syscall.tbl. */
#define QUOTACTL_FD    443
#define OPEN_TREE_ATTR 467
#define NEWEST         469

static const unsigned int refused[] = {
        /* mounts */
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_chroot,
        SYS_fsopen,
        SYS_fsconfig,
        SYS_fsmount,
        SYS_fspick,
        SYS_move_mount,
        SYS_open_tree,
        SYS_mount_setattr,
        SYS_swapon,
        SYS_swapoff,
        SYS_quotactl,
        QUOTACTL_FD,
        OPEN_TREE_ATTR,
        SYS_open_by_handle_at,
#ifdef SYS_umount
        SYS_umount,
#endif
        /* namespaces */
        SYS_unshare,
        SYS_setns,
        /* device nodes */
        SYS_mknodat,
#ifdef SYS_mknod
        SYS_mknod,
#endif
        /* other processes, and the kernel */
        SYS_ptrace,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_pidfd_getfd,
        SYS_pidfd_send_signal,
        SYS_bpf,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_kexec_load,
        SYS_io_uring_setup,
        SYS_io_uring_enter,
        SYS_io_uring_register,
#ifdef SYS_kexec_file_load
        SYS_kexec_file_load,
#endif
        /* the machine */
        SYS_reboot,
        SYS_syslog,
        SYS_acct,
        SYS_settimeofday,
        SYS_clock_settime,
        SYS_adjtimex,
        SYS_clock_adjtime,
#ifdef SYS_clock_settime64
        SYS_clock_settime64,
        SYS_clock_adjtime64,
#endif
        SYS_sethostname,
        SYS_setdomainname,
        SYS_vhangup,
#ifdef SYS_socketcall
        /* Its arguments cannot be seen. */
        SYS_socketcall,
#endif
};

/* What the keys of device mapper need. */
static const unsigned int refused_tool[] = {
        SYS_add_key,
        SYS_request_key,
        SYS_keyctl,
};

typedef struct Program {
        struct sock_filter code[2 * (N_ELEMENTS(refused) + N_ELEMENTS(refused_tool)) + 32];
        unsigned short n;
} Program;

static void put(Program *program, struct sock_filter instruction) {
        program->code[program->n++] = instruction;
}

static void put_load(Program *program, size_t offset) {
        put(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* Skips @n instructions unless what was loaded is @value. */
static void put_unless(Program *program, uint32_t value, unsigned char n) {
        put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n));
}

static void put_return(Program *program, int error) {
        put(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
                                                  error ? SECCOMP_RET_ERRNO | (uint32_t)error
                                                        : SECCOMP_RET_ALLOW));
}

/* The low half of an argument; the upper one is nothing to the calls of here. */
static size_t argument(unsigned int number) {
        size_t offset = offsetof(struct seccomp_data, args) + number * sizeof(uint64_t);

        return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? offset + 4 : offset;
}

static void put_abi(Program *program) {
        put_load(program, offsetof(struct seccomp_data, arch));
        put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
        put_return(program, ENOSYS);
        put_load(program, offsetof(struct seccomp_data, nr));
        /* Also those of x32, whose numbers have a bit of their own. What is private to an
         * architecture (arm's) is far above. */
        put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NEWEST, 0, 2));
        put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, PRIVATE, 1, 0));
        put_return(program, ENOSYS);
}

static void put_refused(Program *program, const unsigned int *numbers, size_t n) {
        for (size_t i = 0; i < n; i++) {
                put_unless(program, numbers[i], 1);
                put_return(program, EPERM);
        }
}

static void put_clone(Program *program) {
        put_unless(program, SYS_clone3, 1);
        put_return(program, ENOSYS);
        put_unless(program, SYS_clone, 4);
        put_load(program, argument(CLONE_FLAGS_ARGUMENT));
        put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1));
        put_return(program, EPERM);
        put_return(program, 0);
}

/* None but for cryptsetup's: by one of AF_UNIX a tool would ask whoever trusts root, the daemon's
 * own socket first. */
static void put_socket(Program *program, Confinement confinement) {
        if (confinement == CONFINEMENT_CRYPTO) {
                put_unless(program, SYS_socket, 6);
                put_load(program, argument(0));
                put_unless(program, AF_UNIX, 1);
                put_return(program, 0);
                put_unless(program, AF_ALG, 1);
                put_return(program, 0);
        } else {
                put_unless(program, SYS_socket, 1);
        }
        put_return(program, EAFNOSUPPORT);
}

static int filter(Confinement confinement) {
        Program program = {0};
        struct sock_fprog whole = {.filter = program.code};

        put_abi(&program);
        put_refused(&program, refused, N_ELEMENTS(refused));
        if (confinement == CONFINEMENT_TOOL)
                put_refused(&program, refused_tool, N_ELEMENTS(refused_tool));
        put_clone(&program);
        put_socket(&program, confinement);
        put_return(&program, 0);
        whole.len = program.n;
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole, 0, 0) < 0 && errno != EINVAL)
                return -errno;
        return 0;
}

/* The kernel looks whether it knows filters before it looks at ours. Source: seccomp(2). */
bool confine_has_filter(void) {
        return ARCHITECTURE && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 &&
               errno == EFAULT;
}

/* --- paths --- */

#define WRITES                                                                                     \
        (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
         LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                               \
         LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
         LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define OF_A_FILE (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE)

/* What is no place of files (a pipe, memory) needs no rule. A file takes no right of directories,
 * of which the kernel tells: fstat() would wait for the server of a mount that does not answer. */
static int allow(int ruleset_fd, int fd, uint64_t access) {
        struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
        long r = syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);

        if (r < 0 && errno == EINVAL) {
                rule.allowed_access &= OF_A_FILE;
                r = syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule,
                            0);
        }
        return r == 0 || errno == EBADFD ? 0 : -errno;
}

/* What is not there needs no rule, and a link leads to what has its own. */
static int allow_name(int ruleset_fd, int dir_fd, const char *name, uint64_t access) {
        cleanup(closep) int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

        return fd < 0 ? 0 : allow(ruleset_fd, fd, access);
}

static int allow_root(int ruleset_fd) {
        cleanup(closedirp) DIR *root = opendir("/");
        struct dirent *entry;
        int r = 0;

        if (!root)
                return -errno;
        while (r == 0 && (entry = readdir(root))) {
                bool kernel = str_equal(entry->d_name, "proc") || str_equal(entry->d_name, "sys");

                if (entry->d_name[0] == '.' || str_equal(entry->d_name, "dev"))
                        continue;
                r = allow_name(ruleset_fd, dirfd(root), entry->d_name,
                               kernel ? LANDLOCK_ACCESS_FS_READ_FILE
                                      : LANDLOCK_ACCESS_FS_READ_FILE | WRITES);
        }
        return r;
}

static int keep_to_paths(int device_fd) {
        static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                              "/dev/urandom"};
        const struct landlock_ruleset_attr attributes = {
                .handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE | WRITES,
        };
        cleanup(closep) int fd =
                (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
        int r;

        /* EPERM: of a container's profile that does not know the calls. */
        if (fd < 0)
                return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? 0 : -errno;
        r = allow_root(fd);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(devices); i++)
                r = allow_name(fd, AT_FDCWD, devices[i], OF_A_FILE);
        if (r == 0 && device_fd > 0)
                r = allow(fd, device_fd, OF_A_FILE);
        if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
                r = -errno;
        return r;
}

/* The system call and not a library's: it is of this thread alone. */
static int keep_only(uint64_t keep) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {{0}};

        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        for (unsigned int i = 0; i < N_ELEMENTS(data); i++) {
                data[i].permitted &= (uint32_t)(keep >> i * 32);
                data[i].effective &= data[i].permitted;
                data[i].inheritable = 0;
        }
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int confine_thread(Confinement confinement, uint64_t keep, int device_fd) {
        int r;

        if (confinement == CONFINEMENT_NONE)
                return 0;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        r = confinement == CONFINEMENT_TOOL ? keep_to_paths(device_fd) : 0;
        if (r == 0)
                r = keep_only(keep);
        if (r < 0)
                return r;
        return ARCHITECTURE ? filter(confinement) : 0;
}
