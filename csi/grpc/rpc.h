/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_GRPC_RPC_H
#define BERTH_CSI_GRPC_RPC_H

/*
 * A server of unary gRPC methods on connections that somebody else accepted. Requests are checked
 * and unpacked, handed to a plain function, and its answer is packed. Handlers see protobuf structs
 * and a Call, never gRPC.
 *
 * Each class has threads of its own, so that undoing and asking do not wait for what is slow. A
 * handler that waits for a lock or for its turn holds no thread (csi/wait/waiting.h). One that
 * hangs in the kernel keeps its thread, which then counts no more: others are made for those that
 * wait.
 *
 * Bounds: a message 1 MiB, fields as in pb_check.h, memory of a call 32 MiB, 2048 calls at once on
 * a connection, threads and waiting calls as configured; what is beyond is answered UNAVAILABLE at
 * once, which every CO takes for "try again". Compressed messages are refused.
 */

#include "csi/api/request.h"

#include <protobuf-c/protobuf-c.h>

typedef struct RpcServer RpcServer;

typedef enum RpcClass {
        RPC_INLINE, /* answers from memory, at once: runs on the thread that serves all calls */
        RPC_QUICK,  /* asks: Probe, statistics, lists */
        RPC_UNDO,   /* unmounts, gives back, deletes */
        RPC_SLOW,   /* mkfs, fsck, mount, copy */
        _RPC_CLASS_N,
} RpcClass;

/* Takes a decoded @request and fills @responsep with an initialised message from the call's arena.
 * Return: 0; <0 with @err, whose code becomes the status. */
typedef int RpcHandler(void *userdata, const Call *call, const ProtobufCMessage *request,
                       ProtobufCMessage **responsep, Error *err);

typedef struct RpcMethod {
        const char *path; /* "/csi.v1.Node/NodeStageVolume" */
        const ProtobufCMessageDescriptor *request_type;
        RpcHandler *handle;
        void *userdata;
        RpcClass run_class;
} RpcMethod;

/* What became of a call; told once for each, from any thread, before the answer is sent. */
typedef struct RpcReport {
        const char *path;                /* of an unknown method: as the client sent it, cut */
        bool is_known;                   /* the path is one of ours */
        const ProtobufCMessage *request; /* NULL if it was not decoded */
        int status;                      /* csi/api/status.h */
        const char *message;             /* "" when OK */
        uint64_t duration_usecs;         /* since the call came in */
} RpcReport;

typedef struct RpcConfig {
        const RpcMethod *methods; /* borrowed, as long as the server */
        size_t n_methods;
        unsigned int max_slow_threads; /* 0: 128 */
        void (*report)(void *userdata, const RpcReport *report);
        void *userdata;
} RpcConfig;

/* Starts gRPC and its threads; call after signals are blocked, which the threads inherit. */
int rpc_server_new(RpcServer **serverp, const RpcConfig *config, Error *err);

/* Serves a connection. @fd is non-blocking and close-on-exec, and is gRPC's from now on. */
void rpc_server_add_connection(RpcServer *server, int fd);

/**
 * rpc_server_stop() - refuse new calls, let running ones end
 * @grace_msecs: after this long the calls that still run are cancelled (Call.cancelled)
 *
 * Nobody may add a connection any more.
 *
 * Return: 0; -ETIMEDOUT when calls still run although they were cancelled: the server cannot be
 * freed, leave the process.
 */
int rpc_server_stop(RpcServer *server, uint64_t grace_msecs);

/* For reports: calls that wait without a thread, and threads that hang. */
typedef struct RpcStatistics {
        unsigned int n_waiting, n_late;
} RpcStatistics;

/* After a successful rpc_server_stop(). NULL is fine. */
void rpc_server_free(RpcServer *server);

/* gRPC core's version, "29.0.0". Static. */
const char *rpc_library_version(void);

#endif
