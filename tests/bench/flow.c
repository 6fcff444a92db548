/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Throughput and latency of one path, without a tool's own cost in the way.
 *
 *         flow serve PORT                       streams are drained, bytes of a round trip sent
 * back flow stream ADDRESS PORT SECONDS N    prints gigabits per second over N connections flow
 * turn ADDRESS PORT SECONDS        prints the median round trip of one byte, in us
 */

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK     (256 * 1024)
#define TURNS_MAX 2000000

static double now(void) {
        struct timespec time;

        clock_gettime(CLOCK_MONOTONIC, &time);
        return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *serve_one(void *userdata) {
        int fd = (int)(intptr_t)userdata;
        char *chunk = malloc(CHUNK);
        ssize_t n;

        /* One byte at a time is a round trip. */
        while ((n = read(fd, chunk, CHUNK)) > 0)
                if (n == 1 && write(fd, chunk, 1) != 1)
                        break;
        free(chunk);
        close(fd);
        return NULL;
}

static double number(const char *text) {
        char *end;
        double value = strtod(text, &end);

        if (end == text || *end != '\0' || value < 0 || value > 65535)
                errx(1, "%s: not a number from 0 to 65535", text);
        return value;
}

static void serve(const char *port) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)number(port))};
        int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
                err(1, "listen");
        puts("ready");
        fflush(stdout);
        for (;;) {
                int one = accept(fd, NULL, NULL);
                pthread_t thread;

                if (one < 0)
                        err(1, "accept");
                setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)one);
                pthread_detach(thread);
        }
}

static int reach(char **argv) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)number(argv[3]))};
        int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

        inet_pton(AF_INET, argv[2], &address.sin_addr);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                err(1, "connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return fd;
}

typedef struct Stream {
        pthread_t thread;
        int fd;
        double until;
        uint64_t n_bytes;
} Stream;

static void *fill(void *userdata) {
        Stream *stream = userdata;
        char *chunk = calloc(1, CHUNK);

        while (now() < stream->until) {
                ssize_t n = write(stream->fd, chunk, CHUNK);

                if (n < 0)
                        err(1, "write");
                stream->n_bytes += (uint64_t)n;
        }
        free(chunk);
        return NULL;
}

static void stream(char **argv) {
        double seconds = number(argv[4]), start = now();
        int n = (int)number(argv[5]);
        Stream *streams = calloc((size_t)n, sizeof(*streams));
        uint64_t total = 0;

        for (int i = 0; i < n; i++) {
                streams[i] = (Stream){.fd = reach(argv), .until = start + seconds};
                pthread_create(&streams[i].thread, NULL, fill, &streams[i]);
        }
        for (int i = 0; i < n; i++) {
                pthread_join(streams[i].thread, NULL);
                total += streams[i].n_bytes;
        }
        printf("%.2f\n", (double)total * 8 / 1e9 / (now() - start));
        free(streams);
}

static int compare(const void *a, const void *b) {
        double one = *(const double *)a, other = *(const double *)b;

        return (one > other) - (one < other);
}

static void turn(char **argv) {
        double until = now() + number(argv[4]), *took = malloc(TURNS_MAX * sizeof(*took));
        int fd = reach(argv);
        size_t n = 0;

        while (now() < until && n < TURNS_MAX) {
                double start = now();
                char byte = 'x';

                if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
                        err(1, "turn");
                took[n++] = now() - start;
        }
        qsort(took, n, sizeof(*took), compare);
        printf("%.1f\n", took[n / 2] * 1e6);
        free(took);
}

int main(int argc, char **argv) {
        (void)signal(SIGPIPE, SIG_IGN);
        if (argc == 3 && strcmp(argv[1], "serve") == 0)
                serve(argv[2]);
        else if (argc == 6 && strcmp(argv[1], "stream") == 0)
                stream(argv);
        else if (argc == 5 && strcmp(argv[1], "turn") == 0)
                turn(argv);
        else
                errx(2, "usage: see the source");
        return 0;
}
