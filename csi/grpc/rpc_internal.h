/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_GRPC_RPC_INTERNAL_H
#define BERTH_CSI_GRPC_RPC_INTERNAL_H

/* Shared by rpc.c (the server's life) and rpc_call.c (one call's). Nobody else sees gRPC. */

#include "csi/grpc/rpc.h"
#include "csi/grpc/workers.h"

#include <pthread.h>
#include <stdatomic.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/status.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#define RPC_MESSAGE_MAX (1U << 20)
#define RPC_ARENA_MAX   (32U << 20)

/* Calls that are offered to clients before they come. */
#define RPC_OFFERED 16

/*
 * ThreadSanitizer cannot see that gRPC, which is not instrumented, orders what one thread did
 * before it started a batch before what another does with the batch's tag. These say it.
 */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RPC_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define RPC_TSAN 1
#endif
#ifdef RPC_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define rpc_hand_over(address) __tsan_release(address)
#define rpc_take_over(address) __tsan_acquire(address)
#else
#define rpc_hand_over(address) ((void)(address))
#define rpc_take_over(address) ((void)(address))
#endif

/* What the completion queue gives back. */
typedef struct RpcTag RpcTag;
struct RpcTag {
        void (*done)(RpcTag *tag, bool ok);
        void *owner; /* RpcCall or RpcServer */
};

struct RpcServer {
        RpcConfig config;
        grpc_server *server;                  /* owned */
        grpc_completion_queue *queue;         /* owned */
        grpc_server_credentials *credentials; /* owned */
        pthread_t thread;                     /* serves the queue */
        pthread_t watch;                      /* wakes those whose time is over */
        Workers *workers[_RPC_CLASS_N];       /* owned; none for RPC_INLINE */
        RpcTag shut_down;
        atomic_bool is_stopping;   /* no new calls */
        atomic_bool is_cancelling; /* running calls shall end */

        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned int n_calls; /* that came in and are not freed */
        bool is_shut_down;
        struct RpcCall *parked; /* wait without a thread */
        unsigned int n_parked;
        bool has_backlog; /* work waits for a thread */
        bool watch_stops;
        pthread_cond_t watched; /* for the watch: something of this changed */
};

/* Makes a call and offers it to clients. Without memory there is one offer less. */
void rpc_call_offer(RpcServer *server);

/* Told when a call came in and when it is freed. */
void rpc_server_count(RpcServer *server, bool came);

/* The server is locked: runs those again whose time is over, or all. Return: when the next one's
 * is, CLOCK_MONOTONIC; UINT64_MAX: never. */
uint64_t rpc_wake_parked(RpcServer *server, bool all);

/* Tells the watch that work may wait for a thread. */
void rpc_look_at_workers(RpcServer *server);

uint64_t rpc_now_usecs(void);

#endif
