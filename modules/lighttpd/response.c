/*
 * The response passed on: what libfcgate calls, and what lighttpd is told when it asks.
 *
 * Calls of libfcgate come from within its loop. They only put what has come where lighttpd looks for it, and
 * have lighttpd look; what ends a request is done when it does.
 */
#include "mod_fcgate.h"
#include "http_chunk.h"
#include "http_header.h"
#include "response.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Bytes that wait for the client, from which on libfcgate holds what comes, up to its own bounds. */
#define WAITING_MOST 65536
#define STREAMED (FDEVENT_STREAM_RESPONSE | FDEVENT_STREAM_RESPONSE_BUFMIN)

void mod_fcgate_stream(request_st *r)
{
    if (!(r->conf.stream_response_body & STREAMED)) {
        r->conf.stream_response_body |= STREAMED;
    }
}

void mod_fcgate_wake(forward_t *forward)
{
    if (forward->r) {
        joblist_append(forward->r->con);
    }
}

static int32_t take_head(void *user, fcgate_exchange *exchange, const fcgate_head *head)
{
    forward_t *forward = user;
    request_st *r = forward->r;
    const buffer *method;

    UNUSED(exchange);
    if (!r) {
        return FCGATE_OK;
    }
    method = http_method_buf(r->http_method);
    r->http_status = (int)fcgate_head_status(head);
    /* A page for server.error-handler that states no status of its own answers with that of the error. */
    if (r->http_status == 200 && r->error_handler_saved_status > 0 && r->error_handler_saved_status < 1000) {
        r->http_status = r->error_handler_saved_status;
    }
    for (size_t i = 0; i < fcgate_head_field_count(head); i++) {
        const char *name, *value;
        size_t name_length, value_length;

        if (fcgate_head_field(head, i, &name, &name_length, &value, &value_length) == FCGATE_OK) {
            http_header_response_insert(r, http_header_hkey_get(name, (uint32_t)name_length), name,
                                        (uint32_t)name_length, value, (uint32_t)value_length);
        }
    }
    /* lighttpd ends a request without a body as soon as it has the head. It gets it when the application has
     * ended it too, so that the connection can be kept. */
    if (fcgate_head_is_stream(head)) {
        mod_fcgate_stream(r);
    }
    forward->has_no_body = !fcgate_head_has_body(head, BUF_PTR_LEN(method));
    if (!forward->has_no_body) {
        r->resp_body_started = 1;
        mod_fcgate_wake(forward);
    }
    return FCGATE_OK;
}

/* lighttpd's own http_chunk_append_mem lays aside in a file what goes beyond 64 KiB. */
static void append_in_memory(request_st *r, const char *bytes, size_t length)
{
    chunkqueue *queue = &r->write_queue;

    if (r->resp_send_chunked) {
        buffer *size = chunkqueue_append_buffer_open(queue);

        buffer_append_uint_hex(size, length);
        buffer_append_string_len(size, CONST_STR_LEN("\r\n"));
        chunkqueue_append_buffer_commit(queue);
    }
    chunkqueue_append_mem(queue, bytes, length);
    if (r->resp_send_chunked) {
        chunkqueue_append_mem(queue, CONST_STR_LEN("\r\n"));
    }
}

/* A client that does not take it holds the application back. */
static void hold_back(forward_t *forward, fcgate_exchange *exchange)
{
    if (chunkqueue_length(&forward->r->write_queue) >= WAITING_MOST) {
        forward->is_paused = 1;
        fcgate_exchange_pause(exchange, 1);
    }
    mod_fcgate_wake(forward);
}

/* Large pieces are received into the queue that goes to the client, where no chunk sizes stand between them. */
static void *give_room(void *user, fcgate_exchange *exchange, size_t *length)
{
    forward_t *forward = user;
    request_st *r = forward->r;
    size_t wanted = *length;
    char *room;

    UNUSED(exchange);
    if (!r || r->resp_body_finished || forward->has_no_body || r->resp_send_chunked
        || !(r->conf.stream_response_body & STREAMED)) {
        return NULL;
    }
    forward->last_chunk = r->write_queue.last;
    room = chunkqueue_get_memory(&r->write_queue, length);
    if (*length > wanted) {
        *length = wanted;
    }
    forward->room = room;
    return room;
}

static int32_t take_data(void *user, fcgate_exchange *exchange, const void *bytes, size_t length)
{
    forward_t *forward = user;
    request_st *r = forward->r;

    /* lighttpd may have ended the response by itself: an error page in place of the application's. */
    if (!r || r->resp_body_finished || forward->has_no_body) {
        return FCGATE_OK;
    }
    if (forward->room) {
        forward->room = NULL;
        chunkqueue_use_memory(&r->write_queue, forward->last_chunk, length);
        hold_back(forward, exchange);
    }
    else if (r->conf.stream_response_body & STREAMED) {
        append_in_memory(r, bytes, length);
        hold_back(forward, exchange);
    }
    else if (http_chunk_append_mem(r, bytes, length) != 0) {
        forward->is_unstorable = 1;
        mod_fcgate_wake(forward);
        return FCGATE_E_ABORTED;
    }
    return FCGATE_OK;
}

static void log_line(void *user, fcgate_exchange *exchange, uint32_t level, const char *text, size_t length)
{
    const forward_t *forward = user;

    UNUSED(exchange);
    mod_fcgate_write_line(forward->log, level, text, length);
}

static void error_line(void *user, fcgate_exchange *exchange, const char *line, size_t length)
{
    const forward_t *forward = user;

    UNUSED(exchange);
    if (forward->stderr_mark) {
        log_error(forward->log, HERE, "%sapplication: %.*s", forward->stderr_mark, (int)length, line);
    }
}

static void want_body(void *user, fcgate_exchange *exchange)
{
    forward_t *forward = user;

    UNUSED(exchange);
    forward->wants_body = 1;
    mod_fcgate_wake(forward);
}

static void complete(void *user, fcgate_exchange *exchange)
{
    forward_t *forward = user;

    UNUSED(exchange);
    forward->is_whole = 1;
    mod_fcgate_wake(forward);
}

static void leave(forward_t *forward)
{
    plugin_data *plugin = forward->plugin;

    if (forward->next) {
        forward->next->previous = forward->previous;
    }
    if (forward->previous) {
        forward->previous->next = forward->next;
    }
    else {
        plugin->left = forward->next;
    }
    fcgate_exchange_free(forward->exchange);
    free(forward);
}

static void end(void *user, fcgate_exchange *exchange, int32_t status, const fcgate_error *error)
{
    forward_t *forward = user;

    UNUSED(exchange);
    if (!forward->r) {
        leave(forward);
        return;
    }
    forward->is_over = 1;
    mod_fcgate_note(forward, error);
    if (status == FCGATE_OK) {
        forward->is_whole = 1;
    }
    else {
        mod_fcgate_fail(forward, error);
    }
    mod_fcgate_wake(forward);
}

const fcgate_events mod_fcgate_response_events = {
    .struct_size = sizeof(fcgate_events),
    .head = take_head,
    .data = take_data,
    .room = give_room,
    .error_line = error_line,
    .writable = want_body,
    .complete = complete,
    .end = end,
    .log = log_line,
};

/* ---- what lighttpd is told ---- */

handler_t mod_fcgate_answer_with(request_st *r, int status)
{
    r->resp_htags = 0;
    r->resp_header_repeated = 0;
    array_reset_data_strings(&r->resp_headers);
    http_response_body_clear(r, 0);
    r->http_status = status;
    r->handler_module = NULL;
    return HANDLER_FINISHED;
}

/* Cuts the response so that it can't look whole: no last chunk, or less than was announced (HTTP/1.1); a reset
 * (HTTP/2, and HTTP/1.0, where the end of the connection would be the end of the response). */
static handler_t cut(request_st *r)
{
    if (r->http_version == HTTP_VERSION_1_1 || (r->http_version == HTTP_VERSION_1_0
                                                && light_btst(r->resp_htags, HTTP_HEADER_CONTENT_LENGTH))) {
        r->keep_alive = 0;
        r->resp_body_finished = 1;
        r->handler_module = NULL;
        return HANDLER_FINISHED;
    }
    if (r->http_version == HTTP_VERSION_1_0) {
        struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

        /* What resets a connection at once: lighttpd itself would end it in order. */
        connect(r->con->fd, &nowhere, sizeof nowhere);
    }
    return HANDLER_ERROR;
}

handler_t mod_fcgate_pass_on(forward_t *forward)
{
    request_st *r = forward->r;

    /* The access log may be written before the exchange is over. */
    if ((r->resp_body_started || forward->is_whole) && !forward->is_noted && !forward->is_over) {
        forward->is_noted = 1;
        mod_fcgate_note(forward, NULL);
    }
    if (forward->is_paused && chunkqueue_length(&r->write_queue) < WAITING_MOST / 2) {
        forward->is_paused = 0;
        fcgate_exchange_pause(forward->exchange, 0);
        mod_fcgate_settle(forward->plugin);
    }
    if (r->resp_body_finished) {
        return HANDLER_FINISHED;
    }
    if (forward->is_whole) {
        http_chunk_close(r);
        r->resp_body_started = 1;
        r->resp_body_finished = 1;
        return HANDLER_FINISHED;
    }
    if (!forward->is_over && !forward->is_unstorable) {
        return HANDLER_WAIT_FOR_EVENT;
    }
    if (r->state < CON_STATE_RESPONSE_START) {
        return mod_fcgate_answer_with(r, forward->is_unstorable ? 500 : (int)forward->error_status);
    }
    return cut(r);
}

/* lighttpd drops the fields of a response when it makes an error page; this is asked afterwards. */
handler_t mod_fcgate_add_retry_after(request_st *r, void *p_d)
{
    const forward_t *forward = r->plugin_ctx[((plugin_data *)p_d)->id];

    if (forward && forward->retry_after && r->http_status == 503) {
        buffer_append_int(http_header_response_set_ptr(r, HTTP_HEADER_OTHER, CONST_STR_LEN("Retry-After")),
                          forward->retry_after);
    }
    return HANDLER_GO_ON;
}
