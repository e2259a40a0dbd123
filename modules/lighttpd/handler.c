/*
 * A request forwarded: how it begins, its body, its end. lighttpd asks whenever something has happened to its
 * connection; in HTTP/2 that may have been for another request of it.
 */
#include "mod_fcgate.h"
#include "http_header.h"
#include "response.h"

#include <stdlib.h>

/* Bytes of a request's body that are handed over in one piece. */
#define PIECE 65536
/* Seconds after which a client that was refused for want of a free connection may try again. */
#define RETRY_AFTER 5

/* ---- the end ---- */

void mod_fcgate_fail(forward_t *forward, const fcgate_error *error)
{
    forward->is_over = 1;
    forward->error_status = error->http_status ? error->http_status : 502;
    forward->retry_after = error->http_status == 503 ? RETRY_AFTER : 0;
}

/* It goes on without lighttpd: the application has answered, but not ended the request, and its connection can
 * be kept; or the client is gone, and libfcgate says whether the application may finish. */
static void leave_behind(forward_t *forward)
{
    plugin_data *plugin = forward->plugin;

    forward->r = NULL;
    forward->next = plugin->left;
    if (plugin->left) {
        plugin->left->previous = forward;
    }
    plugin->left = forward;
    if (!forward->is_whole) {
        fcgate_exchange_client_gone(forward->exchange);
    }
}

handler_t mod_fcgate_reset(request_st *r, void *p_d)
{
    plugin_data *plugin = p_d;
    forward_t *forward = r->plugin_ctx[plugin->id];

    if (!forward) {
        return HANDLER_GO_ON;
    }
    r->plugin_ctx[plugin->id] = NULL;
    if (forward->exchange && !forward->is_over && (forward->is_whole || !forward->has_body || forward->body_ended)) {
        leave_behind(forward);
    }
    else {
        fcgate_exchange_free(forward->exchange);
        free(forward);
    }
    mod_fcgate_settle(plugin);
    return HANDLER_GO_ON;
}

void mod_fcgate_free_left(plugin_data *plugin)
{
    forward_t *next;

    for (forward_t *each = plugin->left; each; each = next) {
        next = each->next;
        fcgate_exchange_free(each->exchange);
        free(each);
    }
    plugin->left = NULL;
}

/* ---- the begin ---- */

void mod_fcgate_claim(request_st *r, plugin_data *plugin, claim_t claim)
{
    forward_t *forward = ck_calloc(1, sizeof *forward);

    /* One of an earlier pass: lighttpd does not always tell that it begins a request anew. */
    mod_fcgate_reset(r, plugin);
    if (plugin->notes_are_used) {
        mod_fcgate_forget_notes(r);
    }
    forward->plugin = plugin;
    forward->r = r;
    forward->claim = claim;
    r->plugin_ctx[plugin->id] = forward;
    r->handler_module = plugin->self;
    if (r->conf.log_request_handling) {
        log_error(r->conf.errh, HERE, "handling the request using %s, balancer %s", plugin->self->name, claim.balancer);
    }
}

/* lighttpd looks out for a client that goes away only where it had to wait for its request. */
static void watch_client(request_st *r)
{
    fdnode *node = r->con->fdn;

    if (!(fdevent_fdnode_interest(node) & FDEVENT_RDHUP)
        && !(r->conf.stream_request_body & FDEVENT_STREAM_REQUEST_POLLRDHUP)) {
        fdevent_fdnode_event_add(r->con->srv->ev, node, FDEVENT_RDHUP);
    }
}

static int is_read(const request_st *r)
{
    return r->reqbody_queue.bytes_in == r->reqbody_length;
}

/* A body that goes on as it comes is read here, into memory: lighttpd itself makes a file of each piece of a body
 * that is longer than 64 KiB. No more is read than the application takes, so it stays one piece. */
static handler_t read_piece(request_st *r)
{
    connection *con = r->con;
    int count = 0;

    if (con->is_readable > 0) {
        con->read_idle_ts = log_monotonic_secs;
        count = con->network_read(con, &r->read_queue, PIECE);
        chunkqueue_remove_finished_chunks(&r->read_queue);
    }
    chunkqueue_steal(&r->reqbody_queue, &r->read_queue, r->reqbody_length - r->reqbody_queue.bytes_in);
    if (is_read(r)) {
        r->conf.stream_request_body &= (unsigned short)~FDEVENT_STREAM_REQUEST_POLLIN;
        return HANDLER_GO_ON;
    }
    r->conf.stream_request_body |= FDEVENT_STREAM_REQUEST_POLLIN;
    return count < 0 ? HANDLER_ERROR : HANDLER_GO_ON;
}

static int is_read_here(const request_st *r)
{
    return r->http_version < HTTP_VERSION_2 && r->reqbody_length > 0
           && (r->conf.stream_request_body & FDEVENT_STREAM_REQUEST_BUFMIN)
           && !light_btst(r->rqst_htags, HTTP_HEADER_EXPECT);
}

static handler_t read_more(request_st *r)
{
    handler_t status = is_read_here(r) ? read_piece(r) : r->con->reqbody_read(r);

    if (status == HANDLER_ERROR && r->state != CON_STATE_ERROR && r->http_version < HTTP_VERSION_2) {
        log_error(r->conf.errh, HERE, "the client closed its connection within the request body, after %lld bytes",
                  (long long)r->reqbody_queue.bytes_in);
        return http_response_reqbody_read_error(r, 400);
    }
    return status;
}

/* A body that is to come whole first is lighttpd's to lay aside, in its server.upload-dirs. One that is too large
 * is refused before it has come. */
static int waits_for_body(const request_st *r, const combination_t *found)
{
    return mod_fcgate_has_body(r) && !is_read(r) && found->is_spooled && !mod_fcgate_is_body_streamed(r)
           && (found->max_body_bytes == 0 || r->reqbody_length <= (off_t)found->max_body_bytes);
}

static handler_t start(forward_t *forward)
{
    plugin_data *plugin = forward->plugin;
    request_st *r = forward->r;
    fcgate_error error;
    const combination_t *found = mod_fcgate_find_route(r, plugin, forward->claim.balancer, 0, &error);

    if (found && waits_for_body(r, found)) {
        handler_t status = read_more(r);

        if (status != HANDLER_GO_ON) {
            return status;
        }
    }
    if (found && found->is_spooled && r->reqbody_length != 0 && is_read(r)) {
        found = mod_fcgate_find_route(r, plugin, forward->claim.balancer, 1, &error);
    }
    if (!found) {
        log_error(r->conf.errh, HERE, "%s: %s", forward->claim.balancer, error.text);
        return mod_fcgate_answer_with(r, 500);
    }
    if (found->is_streamed) {
        mod_fcgate_stream(r);
    }
    mod_fcgate_describe(r, &forward->claim, plugin->request);
    forward->log = r->conf.errh;
    forward->stderr_mark = mod_fcgate_find_stderr_mark(r, plugin);
    forward->is_started = 1;
    forward->has_body = mod_fcgate_has_body(r) & 1;
    forward->exchange = fcgate_exchange_start(plugin->loop, found->route, plugin->request, &mod_fcgate_response_events,
                                              forward, &error);
    fcgate_request_clear(plugin->request);
    /* Where server.stream-request-body says nothing, libfcgate says whether the body is laid aside first.
     * HTTP/2 takes what has come in any case: one request must not hold up the others. */
    if (!mod_fcgate_is_body_streamed(r) && !is_read(r)) {
        r->conf.stream_request_body |= FDEVENT_STREAM_REQUEST;
        if (r->http_version < HTTP_VERSION_2) {
            r->conf.stream_request_body |= FDEVENT_STREAM_REQUEST_BUFMIN;
        }
    }
    watch_client(r);
    if (!forward->exchange) {
        mod_fcgate_note(forward, &error);
        mod_fcgate_fail(forward, &error);
    }
    mod_fcgate_settle(plugin);
    return HANDLER_GO_ON;
}

/* ---- the request's body ---- */

/* Hands over what lighttpd has read, in memory or laid aside, as much as is wanted. */
static handler_t hand_over(forward_t *forward)
{
    request_st *r = forward->r;
    chunkqueue *queue = &r->reqbody_queue;

    while (forward->wants_body && !forward->body_ended && !forward->is_over) {
        char piece[PIECE];
        char *bytes = piece;
        uint32_t length = sizeof piece;
        size_t taken = 0;
        int32_t status;
        int is_last;

        if (chunkqueue_is_empty(queue)) {
            length = 0;
        }
        else if (chunkqueue_peek_data(queue, &bytes, &length, r->conf.errh) < 0) {
            return mod_fcgate_answer_with(r, 500);
        }
        is_last = is_read(r) && chunkqueue_length(queue) == (off_t)length;
        if (length == 0 && !is_last) {
            break;
        }
        status = fcgate_exchange_send(forward->exchange, bytes, length, is_last ? FCGATE_END : 0, &taken);
        chunkqueue_mark_written(queue, (off_t)taken);
        if (status == FCGATE_AGAIN) {
            forward->wants_body = 0;
        }
        else if (status == FCGATE_OK) {
            forward->body_ended = (unsigned)is_last;
        }
        else {
            break;
        }
    }
    mod_fcgate_settle(forward->plugin);
    return HANDLER_GO_ON;
}

/* Reads on only as far as the body is wanted, unless server.stream-request-body = 1 has lighttpd lay it aside. */
static handler_t read_body(forward_t *forward)
{
    request_st *r = forward->r;
    handler_t status = HANDLER_GO_ON;

    if (!forward->has_body || forward->body_ended || forward->is_over) {
        return HANDLER_GO_ON;
    }
    if (!forward->wants_body && (r->conf.stream_request_body & FDEVENT_STREAM_REQUEST_BUFMIN)) {
        r->conf.stream_request_body &= (unsigned short)~FDEVENT_STREAM_REQUEST_POLLIN;
        return HANDLER_GO_ON;
    }
    if (!is_read(r)) {
        status = read_more(r);
        if (status == HANDLER_ERROR || status == HANDLER_FINISHED) {
            return status;
        }
    }
    return hand_over(forward);
}

/* ---- lighttpd asks ---- */

handler_t mod_fcgate_handle(request_st *r, void *p_d)
{
    plugin_data *plugin = p_d;
    forward_t *forward = r->plugin_ctx[plugin->id];
    handler_t status;

    if (!forward) {
        return HANDLER_GO_ON;
    }
    if (!forward->is_started) {
        status = start(forward);
        if (status != HANDLER_GO_ON) {
            return status;
        }
    }
    status = read_body(forward);
    if (status != HANDLER_GO_ON) {
        return status;
    }
    /* The client has sent all and closed its side: it does not wait for the answer. */
    if ((r->conf.stream_request_body & FDEVENT_STREAM_REQUEST_TCP_FIN) && is_read(r) && !forward->is_whole) {
        return HANDLER_ERROR;
    }
    return mod_fcgate_pass_on(forward);
}
