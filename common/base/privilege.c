/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Two words of 32 capabilities each: _LINUX_CAPABILITY_VERSION_3. */
#define N_WORDS          2
#define CAPABILITIES_MAX (N_WORDS * 32)

static int get(struct __user_cap_data_struct data[N_WORDS]) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

        return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int set(const struct __user_cap_data_struct data[N_WORDS]) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

bool privilege_has(unsigned int number) {
        struct __user_cap_data_struct data[N_WORDS] = {{0}};

        return number < CAPABILITIES_MAX && get(data) == 0 &&
               (data[number / 32].effective >> number % 32 & 1) != 0;
}

int privilege_hide_memory(void) {
        const struct rlimit none = {0, 0};

        if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;
        return 0;
}

/* Set before there are threads. */
static bool is_locked;

int privilege_lock_memory(void) {
        struct rlimit limit = {0, 0};

        if (!privilege_has(CAP_IPC_LOCK) &&
            (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur != RLIM_INFINITY))
                return -EPERM;
        if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
                return -errno;
        is_locked = true;
        return 0;
}

void privilege_lock_pause(void) {
        if (is_locked)
                (void)mlockall(MCL_CURRENT | MCL_ONFAULT);
}

void privilege_lock_resume(void) {
        if (is_locked)
                (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

int privilege_limit(uint64_t keep) {
        struct __user_cap_data_struct data[N_WORDS] = {{0}};
        int r;

        for (unsigned int i = 0; i < CAPABILITIES_MAX; i++)
                if (!(keep >> i & 1) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 &&
                    prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0 && errno != EPERM)
                        return -errno;
        r = get(data);
        if (r < 0)
                return r;
        for (unsigned int i = 0; i < N_WORDS; i++) {
                uint32_t word = (uint32_t)(keep >> i * 32);

                data[i].effective &= word;
                data[i].permitted &= word;
                data[i].inheritable &= word;
        }
        r = set(data);
        if (r < 0)
                return r;
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
