/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One call, from the offer to the end:
 *
 *     offered -> came in -> message read -> [queued for a worker] -> handled -> answer sent ->
 * freed
 *
 * A handler that has to wait leaves: the call is parked, and handled again when it is woken.
 *
 * The call is freed when both the answer's tag and that of RECV_CLOSE_ON_SERVER came back. The
 * latter is a batch of its own, always: it tells about cancellation while the handler runs. Until
 * a tag returns, everything that its batch points to belongs to gRPC.
 */

#include "csi/grpc/rpc_internal.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/api/status.h"
#include "csi/grpc/pb_check.h"
#include "csi/wait/waiting.h"

#include <stddef.h>

/* The longest path of an unknown method that is repeated in answers and logs. */
#define PATH_SHOWN_MAX 128

/* No thread could be made for a call that has its turn. */
#define RETRY_MSECS 100

/* Calls that wait without a thread. */
#define PARKED_MAX 1024

_Static_assert(ERROR_MESSAGE_MAX <= 1024, "clients refuse trailers above 8 KiB after encoding");

typedef struct RpcCall RpcCall;
struct RpcCall {
        RpcServer *server;
        grpc_call *call;
        grpc_call_details details;
        grpc_metadata_array metadata;
        RpcTag came, closed, read, sent;
        int was_cancelled;      /* gRPC's until `closed` */
        atomic_bool is_gone;    /* the client cancelled, its deadline passed, or it went away */
        unsigned int n_holders; /* `sent` and `closed`; only the queue's thread counts */
        Work work;
        Waiting waiting;
        struct RpcCall *next_parked; /* the server's, as the two below: under its lock */
        bool is_parked;
        bool is_woken; /* while it ran */

        const RpcMethod *method;              /* NULL: unknown */
        grpc_byte_buffer *request, *response; /* owned */
        grpc_slice status_text;
        Arena *arena;                    /* owned */
        const ProtobufCMessage *decoded; /* in the arena */
        uint64_t came_usecs;
        char path[PATH_SHOWN_MAX];
};

static void start_batch(RpcCall *call, const grpc_op *ops, size_t n_ops, RpcTag *tag) {
        grpc_call_error r;

        rpc_hand_over(call);
        r = grpc_call_start_batch(call->call, ops, n_ops, tag, NULL);
        if (r != GRPC_CALL_OK) {
                log_error("gRPC refuses a batch: %s", grpc_call_error_to_string(r));
                abort();
        }
}

/* Nobody else reads these bytes any more, and passphrases may be among them. */
static void wipe_buffer(const grpc_byte_buffer *buffer) {
        const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;

        for (size_t i = 0; i < slices->count; i++)
                explicit_bzero(GRPC_SLICE_START_PTR(slices->slices[i]),
                               GRPC_SLICE_LENGTH(slices->slices[i]));
}

static void call_free(RpcCall *call) {
        if (call->call)
                grpc_call_unref(call->call);
        grpc_call_details_destroy(&call->details);
        grpc_metadata_array_destroy(&call->metadata);
        /* Also of a call that was cancelled, or turned away before it was decoded. */
        if (call->request) {
                wipe_buffer(call->request);
                grpc_byte_buffer_destroy(call->request);
        }
        if (call->response)
                grpc_byte_buffer_destroy(call->response);
        grpc_slice_unref(call->status_text);
        arena_free(call->arena);
        free(call);
}

static void call_drop(RpcCall *call) {
        RpcServer *server = call->server;

        if (--call->n_holders > 0)
                return;
        call_free(call);
        rpc_server_count(server, false);
}

static void run_work(Work *work);

/* The server is locked: back to a thread. Without any thread in the world it stays where it is, and
 * the watch tries again. */
static bool run_again(RpcCall *call) {
        call->work = (Work){.run = run_work};
        return workers_submit_again(call->server->workers[call->method->run_class], &call->work) ==
               0;
}

/* The server is locked. */
static void unpark(RpcCall *call) {
        RpcServer *server = call->server;

        for (RpcCall **at = &server->parked; *at; at = &(*at)->next_parked)
                if (*at == call) {
                        *at = call->next_parked;
                        break;
                }
        server->n_parked--;
        call->is_parked = false;
}

/* The server is locked. */
static void wake_locked(RpcCall *call) {
        RpcServer *server = call->server;

        if (!call->is_parked) {
                call->is_woken = true;
                return;
        }
        unpark(call);
        if (run_again(call))
                return;
        server->has_backlog = true;
        call->is_parked = true;
        call->waiting.until_msecs = rpc_now_usecs() / 1000 + RETRY_MSECS;
        call->next_parked = server->parked;
        server->parked = call;
        server->n_parked++;
}

static void wake(Waiting *waiting) {
        RpcCall *call = (RpcCall *)(void *)((char *)waiting - offsetof(RpcCall, waiting));
        RpcServer *server = call->server;

        (void)pthread_mutex_lock(&server->lock);
        if (call->is_parked)
                server->has_backlog = true;
        wake_locked(call);
        if (server->has_backlog)
                (void)pthread_cond_signal(&server->watched);
        (void)pthread_mutex_unlock(&server->lock);
}

uint64_t rpc_wake_parked(RpcServer *server, bool all) {
        uint64_t now = rpc_now_usecs() / 1000, next = UINT64_MAX;
        RpcCall *call = server->parked, *after;

        for (; call; call = after) {
                after = call->next_parked;
                call->waiting.must_end = call->waiting.must_end || all;
                if (all || call->waiting.until_msecs <= now)
                        wake_locked(call);
                else if (call->waiting.until_msecs < next)
                        next = call->waiting.until_msecs;
        }
        return next;
}

/* Nobody but the server knows the call after this, and it may be gone. */
static void park(RpcCall *call) {
        RpcServer *server = call->server;

        (void)pthread_mutex_lock(&server->lock);
        call->is_parked = true;
        call->next_parked = server->parked;
        server->parked = call;
        server->n_parked++;
        call->waiting.must_end = atomic_load(&server->is_cancelling);
        if (call->is_woken || call->waiting.must_end)
                wake_locked(call);
        else
                (void)pthread_cond_signal(&server->watched);
        (void)pthread_mutex_unlock(&server->lock);
}

static void on_closed(RpcTag *tag, bool ok) {
        RpcCall *call = tag->owner;

        if (call->was_cancelled)
                atomic_store(&call->is_gone, true);
        if (call->was_cancelled && call->method)
                wake(&call->waiting);
        call_drop(call);
}

static void on_sent(RpcTag *tag, bool ok) {
        call_drop(tag->owner);
}

static bool call_is_cancelled(void *userdata) {
        RpcCall *call = userdata;

        return atomic_load(&call->is_gone) || atomic_load(&call->server->is_cancelling);
}

static uint64_t call_deadline_msecs(const RpcCall *call) {
        gpr_timespec deadline = call->details.deadline, left;

        if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
                return UINT64_MAX;
        left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
        if (gpr_time_cmp(left, gpr_time_0(GPR_TIMESPAN)) <= 0)
                return rpc_now_usecs() / 1000;
        return rpc_now_usecs() / 1000 + (uint64_t)gpr_time_to_millis(left);
}

/* The last thing that is done with a call before it is gRPC's again. */
static void answer(RpcCall *call, int status, const char *message) {
        const RpcConfig *config = &call->server->config;
        size_t n_ops = 0;
        grpc_op ops[3] = {0};

        config->report(config->userdata,
                       &(RpcReport){
                               .path = call->path,
                               .is_known = call->method != NULL,
                               .request = call->decoded,
                               .status = status,
                               .message = message,
                               .duration_usecs = rpc_now_usecs() - call->came_usecs,
                       });
        ops[n_ops++].op = GRPC_OP_SEND_INITIAL_METADATA;
        if (call->response && status == STATUS_OK) {
                ops[n_ops].op = GRPC_OP_SEND_MESSAGE;
                ops[n_ops++].data.send_message.send_message = call->response;
        }
        call->status_text = grpc_slice_from_copied_string(message);
        ops[n_ops].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[n_ops].data.send_status_from_server.status = (grpc_status_code)status;
        ops[n_ops++].data.send_status_from_server.status_details = &call->status_text;
        start_batch(call, ops, n_ops, &call->sent);
}

static void answer_error(RpcCall *call, const Error *err) {
        answer(call, status_from_code(err->code), err->message);
}

static void *unpack_alloc(void *arena, size_t n) {
        return arena_alloc(arena, n);
}

static void unpack_free(void *arena, void *memory) {
}

static int decode(RpcCall *call, const uint8_t *bytes, size_t n, Error *err) {
        const ProtobufCMessageDescriptor *type = call->method->request_type;
        ProtobufCAllocator allocator = {unpack_alloc, unpack_free, NULL};
        PbFault fault;

        if (pb_check(type, bytes, n, &fault) < 0)
                return error_set(err, ERROR_INVALID, "%s: %s %s", type->short_name,
                                 fault.field ? fault.field : "the message", fault.reason);
        if (arena_new(&call->arena, RPC_ARENA_MAX) < 0)
                return error_set(err, ERROR_EXHAUSTED, "no memory for the call");
        allocator.allocator_data = call->arena;
        call->decoded = protobuf_c_message_unpack(type, &allocator, n, bytes);
        if (!call->decoded)
                return error_set(err, ERROR_INVALID, "%s: not a message of that type",
                                 type->short_name);
        return 0;
}

/* The message in one piece; mostly it is, and then nothing is copied. */
static int decode_buffer(RpcCall *call, Error *err) {
        grpc_byte_buffer_reader reader;
        grpc_slice slice;
        int r;

        if (!grpc_byte_buffer_reader_init(&reader, call->request))
                return error_set(err, ERROR_INTERNAL, "gRPC cannot read the message");
        slice = grpc_byte_buffer_reader_readall(&reader);
        grpc_byte_buffer_reader_destroy(&reader);
        r = decode(call, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice), err);
        explicit_bzero(GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
        grpc_slice_unref(slice);
        wipe_buffer(call->request);
        return r;
}

static int encode(RpcCall *call, const ProtobufCMessage *response, Error *err) {
        size_t n = response ? protobuf_c_message_get_packed_size(response) : 0;
        grpc_slice slice;

        if (!response)
                return error_set(err, ERROR_INTERNAL, "the handler gave no answer");
        slice = grpc_slice_malloc(n);
        (void)protobuf_c_message_pack(response, GRPC_SLICE_START_PTR(slice));
        call->response = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        return 0;
}

static int run_handler(RpcCall *call, ProtobufCMessage **responsep, Error *err) {
        const RpcMethod *method = call->method;
        const Call facts = {
                .arena = call->arena,
                .method = strrchr(method->path, '/') + 1,
                .deadline_msecs = call_deadline_msecs(call),
                .cancelled = call_is_cancelled,
                .userdata = call,
                .waiting = method->run_class == RPC_INLINE ? NULL : &call->waiting,
        };

        waiting_begin(&call->waiting);
        return method->handle(method->userdata, &facts, call->decoded, responsep, err);
}

static void handle(RpcCall *call) {
        ProtobufCMessage *response = NULL;
        Error err = {0};
        int r;

        if (!call->decoded && call_is_cancelled(call)) {
                answer(call, STATUS_CANCELLED, "cancelled before it began");
                return;
        }
        r = call->decoded ? 0 : decode_buffer(call, &err);
        if (r == 0) {
                (void)pthread_mutex_lock(&call->server->lock);
                call->is_woken = false;
                (void)pthread_mutex_unlock(&call->server->lock);
                r = run_handler(call, &response, &err);
                if (r < 0 && call->waiting.is_parked) {
                        park(call);
                        return;
                }
                waiting_end(&call->waiting);
        }
        if (r == 0)
                r = encode(call, response, &err);
        if (r == 0) {
                answer(call, STATUS_OK, "");
                return;
        }
        if (!error_is_set(&err))
                (void)error_set(&err, ERROR_INTERNAL, "the handler failed without a reason (%d)",
                                r);
        answer_error(call, &err);
}

static void run_work(Work *work) {
        RpcCall *call = (RpcCall *)(void *)((char *)work - offsetof(RpcCall, work));

        handle(call);
}

static bool is_crowded(RpcServer *server) {
        bool is_crowded;

        (void)pthread_mutex_lock(&server->lock);
        is_crowded = server->n_parked >= PARKED_MAX;
        (void)pthread_mutex_unlock(&server->lock);
        return is_crowded;
}

/* Its message was taken all the same: what gRPC keeps cannot be overwritten. */
static void answer_unknown(RpcCall *call) {
        char message[PATH_SHOWN_MAX + 32];

        if (call->request)
                wipe_buffer(call->request);
        (void)snprintf(message, sizeof(message), "unknown method %s", call->path);
        answer(call, STATUS_UNIMPLEMENTED, message);
}

static void on_read(RpcTag *tag, bool ok) {
        RpcCall *call = tag->owner;
        RpcServer *server = call->server;

        if (!call->method) {
                answer_unknown(call);
                return;
        }
        if (!ok || !call->request) {
                answer(call, STATUS_INTERNAL, "the call ended without a message");
                return;
        }
        if (call->request->data.raw.compression != GRPC_COMPRESS_NONE) {
                answer(call, STATUS_UNIMPLEMENTED, "compressed messages are not accepted");
                return;
        }
        if (call->method->run_class == RPC_INLINE) {
                handle(call);
                return;
        }
        call->work = (Work){
                .run = run_work,
                .weight_bytes = grpc_byte_buffer_length(call->request),
        };
        call->waiting.wake = wake;
        if (is_crowded(server) ||
            workers_submit(server->workers[call->method->run_class], &call->work) < 0)
                answer(call, STATUS_UNAVAILABLE, "too many calls are waiting, try again");
        else if (workers_lack_threads(server->workers[call->method->run_class]))
                rpc_look_at_workers(server);
}

static void find_method(RpcCall *call) {
        const RpcConfig *config = &call->server->config;
        const grpc_slice path = call->details.method;
        size_t n = GRPC_SLICE_LENGTH(path);

        for (size_t i = 0; i < config->n_methods; i++)
                if (grpc_slice_str_cmp(path, config->methods[i].path) == 0)
                        call->method = &config->methods[i];
        if (n > sizeof(call->path) - 1)
                n = sizeof(call->path) - 1;
        memcpy(call->path, GRPC_SLICE_START_PTR(path), n);
        str_make_utf8(call->path);
}

static void on_came(RpcTag *tag, bool ok) {
        RpcCall *call = tag->owner;
        grpc_op op = {0};

        if (!ok) {
                /* The server stops; nobody took the offer. */
                call_free(call);
                return;
        }
        if (!atomic_load(&call->server->is_stopping))
                rpc_call_offer(call->server);
        rpc_server_count(call->server, true);
        call->came_usecs = rpc_now_usecs();
        call->n_holders = 2;
        op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        op.data.recv_close_on_server.cancelled = &call->was_cancelled;
        start_batch(call, &op, 1, &call->closed);

        find_method(call);
        op = (grpc_op){0};
        op.op = GRPC_OP_RECV_MESSAGE;
        op.data.recv_message.recv_message = &call->request;
        start_batch(call, &op, 1, &call->read);
}

void rpc_call_offer(RpcServer *server) {
        RpcCall *call = calloc(1, sizeof(*call));
        grpc_call_error r;

        if (!call) {
                log_error("no memory to offer a call");
                return;
        }
        call->server = server;
        call->came = (RpcTag){on_came, call};
        call->closed = (RpcTag){on_closed, call};
        call->read = (RpcTag){on_read, call};
        call->sent = (RpcTag){on_sent, call};
        call->status_text = grpc_empty_slice();
        grpc_call_details_init(&call->details);
        grpc_metadata_array_init(&call->metadata);
        rpc_hand_over(call);
        r = grpc_server_request_call(server->server, &call->call, &call->details, &call->metadata,
                                     server->queue, server->queue, &call->came);
        if (r != GRPC_CALL_OK) {
                if (!atomic_load(&server->is_stopping))
                        log_error("gRPC takes no offer: %s", grpc_call_error_to_string(r));
                call_free(call);
        }
}
