/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/child.h"

#include "common/base/cleanup.h"
#include "common/base/spawn_program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* In memory, so that however much it is, nobody has to feed it. Return: a descriptor; -errno. */
static int input_of(const char *text) {
        cleanup(closep) int fd = -1;
        size_t n = strlen(text);

        fd = memfd_create("input", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (write(fd, text, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) < 0)
                return -EIO;
        return fd_steal(&fd);
}

int child_start(Child *child, const char *const *argv, const char *input) {
        cleanup(closep) int in = -1, out = -1, back = -1;
        int pair[2], r;

        if (child->pid > 0)
                return -EBUSY;
        in = input ? input_of(input) : open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (in < 0)
                return input ? in : -errno;
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        back = pair[0];
        out = pair[1];
        if (fcntl(back, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        r = spawn_program(argv[0], argv, NULL, (const int[]){in, out, out}, 3, &child->pid);
        if (r < 0) {
                child->pid = 0;
                return r;
        }
        child->output_fd = fd_steal(&back);
        return 0;
}

static int keep(Child *child, const char *bytes, size_t n) {
        char *grown;

        if (child->n_output + n > CHILD_OUTPUT_MAX) {
                child->truncated = true;
                n = CHILD_OUTPUT_MAX - child->n_output;
        }
        grown = realloc(child->output, child->n_output + n + 1);
        if (!grown)
                return -ENOMEM;
        child->output = grown;
        memcpy(grown + child->n_output, bytes, n);
        child->n_output += n;
        grown[child->n_output] = '\0';
        return 0;
}

int child_read(Child *child) {
        for (;;) {
                char bytes[4096];
                ssize_t n = read(child->output_fd, bytes, sizeof(bytes));
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? 0 : -errno;
                if (n == 0) {
                        closep(&child->output_fd);
                        child->output_fd = -1;
                        return 1;
                }
                r = keep(child, bytes, (size_t)n);
                if (r < 0)
                        return r;
        }
}

void child_kill(const Child *child) {
        if (child->pid > 0)
                (void)kill(-child->pid, SIGKILL);
}

void child_deinit(Child *child) {
        closep(&child->output_fd);
        free(child->output);
        *child = (Child)CHILD_NULL;
}
