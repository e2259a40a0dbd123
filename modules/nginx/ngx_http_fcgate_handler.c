/*
 * A request forwarded, from its start to its end. libfcgate's calls note what has happened;
 * ngx_http_fcgate_advance acts on it.
 */
#include "ngx_http_fcgate_module.h"

/* Bytes of a response that are passed on before an exchange pauses. */
#define PASS_ON 65536
/* Seconds after which a client that was refused for want of a free connection may try again. */
#define RETRY_AFTER "5"

/* The log of a request's connection, which tells of a part of a page as of itself. */
static ngx_log_t *log_of(const ngx_http_fcgate_ctx_t *ctx)
{
    ngx_log_t *log = ctx->request->connection->log;

    ngx_http_set_log_request(log, ctx->request);
    return log;
}

static ngx_uint_t stderr_level(ngx_http_request_t *r)
{
    const ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);

    return lcf->stderr_level;
}

/* ---- what happens in an exchange ---- */

static int32_t on_head(void *user, fcgate_exchange *exchange, const fcgate_head *head)
{
    ngx_http_fcgate_ctx_t *ctx = ((ngx_http_fcgate_link_t *) user)->ctx;
    ngx_http_request_t *r;

    (void) exchange;
    if (!ctx) {
        return FCGATE_OK;
    }
    r = ctx->request;
    r->connection->log->action = "passing on the application's response";
    ctx->has_head = 1;
    ngx_http_fcgate_touch(ctx);
    if (ngx_http_fcgate_take_head(ctx, head) != NGX_OK) {
        ctx->rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return FCGATE_E_ABORTED;
    }
    if (ctx->redirect.len > 0) {
        return FCGATE_OK;
    }
    ctx->header_sent = 1;
    ctx->rc = ngx_http_send_header(r);
    ctx->discards = ctx->rc == NGX_ERROR || ctx->rc > NGX_OK || r->header_only;
    return FCGATE_OK;
}

static void *on_room(void *user, fcgate_exchange *exchange, size_t *length)
{
    ngx_http_fcgate_ctx_t *ctx = ((ngx_http_fcgate_link_t *) user)->ctx;

    (void) exchange;
    return !ctx || ctx->discards || !ctx->header_sent ? NULL : ngx_http_fcgate_room(ctx, length);
}

static int32_t on_data(void *user, fcgate_exchange *exchange, const void *bytes, size_t length)
{
    ngx_http_fcgate_ctx_t *ctx = ((ngx_http_fcgate_link_t *) user)->ctx;

    (void) exchange;
    if (!ctx || ctx->discards || !ctx->header_sent) {
        return FCGATE_OK;
    }
    ngx_http_fcgate_touch(ctx);
    if (ngx_http_fcgate_gather(ctx, bytes, length) != NGX_OK
        || (ctx->gathered >= PASS_ON && ngx_http_fcgate_pass_on(ctx, 0) == NGX_ERROR))
    {
        ctx->rc = NGX_ERROR;
        ctx->discards = 1;
    }
    return FCGATE_OK;
}

static void on_error_line(void *user, fcgate_exchange *exchange, const char *line, size_t length)
{
    ngx_http_fcgate_link_t *link = user;
    ngx_uint_t level = link->stderr_level;

    (void) exchange;
    if (link->ctx) {
        level = stderr_level(link->ctx->request);
    }
    if (level != NGX_HTTP_FCGATE_STDERR_OFF) {
        ngx_log_error(level, link->ctx ? log_of(link->ctx) : link->log, 0, "application: %*s", length, line);
    }
}

/* What is wrong, though no request fails by it. A failure is told with the end, where nginx's level for it
 * is known; that of an exchange whose request is gone is told here. */
static void on_log(void *user, fcgate_exchange *exchange, uint32_t level, const char *text, size_t length)
{
    const ngx_http_fcgate_ctx_t *ctx = ((ngx_http_fcgate_link_t *) user)->ctx;

    (void) exchange;
    if (!ctx) {
        ngx_http_fcgate_log_here(level, text, length);
    }
    else if (level == FCGATE_LOG_WARNING) {
        ngx_http_fcgate_log(log_of(ctx), level, text, length);
    }
}

static void on_writable(void *user, fcgate_exchange *exchange)
{
    ngx_http_fcgate_ctx_t *ctx = ((ngx_http_fcgate_link_t *) user)->ctx;

    (void) exchange;
    if (ctx) {
        ctx->wants_body = 1;
        ngx_http_fcgate_touch(ctx);
    }
}

static void on_complete(void *user, fcgate_exchange *exchange)
{
    ngx_http_fcgate_ctx_t *ctx = ((ngx_http_fcgate_link_t *) user)->ctx;

    (void) exchange;
    if (ctx) {
        ctx->complete = 1;
        ngx_http_fcgate_touch(ctx);
    }
}

static ngx_uint_t log_level(const fcgate_error *error)
{
    switch (error->status) {
    case FCGATE_E_CLIENT_GONE:
    case FCGATE_E_ABORTED:
    case FCGATE_E_ERROR_OVERRIDE:
    case FCGATE_E_REQUEST:
    case FCGATE_E_BODY:
    case FCGATE_E_BODY_SHORT:
        return NGX_LOG_INFO;
    default:
        return NGX_LOG_ERR;
    }
}

static void note_info(ngx_http_fcgate_ctx_t *ctx, const fcgate_exchange *exchange)
{
    ctx->info.struct_size = sizeof ctx->info;
    ctx->has_info = fcgate_exchange_info(exchange, &ctx->info) == FCGATE_OK;
}

static void on_end(void *user, fcgate_exchange *exchange, int32_t status, const fcgate_error *error)
{
    ngx_http_fcgate_link_t *link = user;
    ngx_http_fcgate_ctx_t *ctx = link->ctx;

    if (ctx) {
        note_info(ctx, exchange);
        ctx->link = NULL;
        ctx->ended = 1;
        ctx->status = status;
        ctx->http_status = error->http_status;
        if (status != FCGATE_OK) {
            ngx_log_error(log_level(error), log_of(ctx), 0, "fcgate: %s", error->text);
        }
        ngx_http_fcgate_touch(ctx);
    }
    ngx_http_fcgate_free_link(link);
}

/* ---- the end of a request ---- */

/* Nothing of the client's is waited for here any more; what comes next for the request sets its own. */
static void leave_client(ngx_http_request_t *r)
{
    if (r->read_event_handler == ngx_http_fcgate_read_body) {
        r->read_event_handler = ngx_http_block_reading;
    }
    if (r->write_event_handler == ngx_http_fcgate_writable) {
        r->write_event_handler = ngx_http_request_empty_handler;
    }
}

/* Lets go of the exchange. One that only its end is awaited of goes on, so that its connection can be
 * kept; of one whose client is gone libfcgate decides; any other is given up. */
static void let_go(ngx_http_fcgate_ctx_t *ctx, ngx_uint_t client_gone)
{
    const ngx_http_core_loc_conf_t *core;
    ngx_http_fcgate_link_t *link = ctx->link;

    if (!link) {
        return;
    }
    ctx->link = NULL;
    note_info(ctx, link->exchange);
    if (client_gone && !ctx->complete) {
        ctx->ended = 1;
        ctx->status = FCGATE_E_CLIENT_GONE;
    }
    /* The rest of a body that comes piece by piece goes with the request. */
    if (!ctx->complete && ((ctx->announced && !ctx->body_ended) || (!client_gone && ctx->redirect.len == 0))) {
        ngx_http_fcgate_free_link(link);
        return;
    }
    core = ngx_http_get_module_loc_conf(ctx->request, ngx_http_core_module);
    link->log = core->error_log;
    link->stderr_level = stderr_level(ctx->request);
    link->ctx = NULL;
    /* Each of these may end it, and the link with it. A client that is gone waits for nothing any more. */
    if (client_gone && !ctx->complete) {
        fcgate_exchange_client_gone(link->exchange);
    }
    else if (ctx->paused) {
        fcgate_exchange_pause(link->exchange, 0);
    }
}

static void clean_up(void *data)
{
    ngx_http_fcgate_ctx_t *ctx = data;

    ngx_http_fcgate_untouch(ctx);
    let_go(ctx, 1);
}

static void finalize(ngx_http_fcgate_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_request_t *r = ctx->request;

    ctx->finalized = 1;
    leave_client(r);
    let_go(ctx, rc == NGX_ERROR);
    ngx_http_finalize_request(r, rc);
}

/* Cuts the response so that it can't look whole: no last chunk (HTTP/1.1), a reset (HTTP/2, and HTTP/1.0,
 * where the end of the connection would be the end of the response). */
static void cut(ngx_http_fcgate_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;
    ngx_uint_t ends_with_connection = !r->chunked && r->headers_out.content_length_n < 0;

    ctx->flush = 1;
    if (!ctx->discards && !r->header_only) {
        ngx_http_fcgate_pass_on(ctx, 0);
    }
    r->keepalive = 0;
#if (NGX_HTTP_V2)
    ends_with_connection = ends_with_connection && !r->stream;
#endif
    if (ends_with_connection) {
        struct linger none = {1, 0};

        if (setsockopt(r->connection->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) == -1) {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, ngx_socket_errno, "setsockopt(SO_LINGER) failed");
        }
    }
    finalize(ctx, NGX_ERROR);
}

/* Answers with a status of the server's own. */
static void refuse(ngx_http_fcgate_ctx_t *ctx, uint32_t status)
{
    ngx_http_request_t *r = ctx->request;

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        ngx_table_elt_t *line = ngx_list_push(&r->headers_out.headers);

        if (line) {
            ngx_memzero(line, sizeof *line);
            line->hash = 1;
            ngx_str_set(&line->key, "Retry-After");
            ngx_str_set(&line->value, RETRY_AFTER);
        }
    }
    finalize(ctx, status >= 400 ? (ngx_int_t) status : NGX_HTTP_INTERNAL_SERVER_ERROR);
}

/* X-Accel-Redirect: nginx answers in the application's place. */
static void redirect(ngx_http_fcgate_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;
    ngx_str_t uri = ctx->redirect, args = ngx_null_string;
    ngx_uint_t flags = NGX_HTTP_LOG_UNSAFE;

    if (uri.data[0] != '@' && ngx_http_parse_unsafe_uri(r, &uri, &args, &flags) != NGX_OK) {
        finalize(ctx, NGX_HTTP_NOT_FOUND);
        return;
    }
    ctx->finalized = 1;
    leave_client(r);
    let_go(ctx, 0);
    if (uri.data[0] == '@') {
        ngx_http_named_location(r, &uri);
    }
    else {
        if (r->method != NGX_HTTP_HEAD) {
            r->method = NGX_HTTP_GET;
            r->method_name = ngx_http_core_get_method;
        }
        ngx_http_internal_redirect(r, &uri, &args);
    }
    ngx_http_finalize_request(r, NGX_DONE);
}

void ngx_http_fcgate_advance(ngx_http_fcgate_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;

    if (ctx->finalized) {
        return;
    }
    if (ctx->redirect.len > 0) {
        redirect(ctx);
        return;
    }
    if (ctx->wants_body) {
        ctx->wants_body = 0;
        ngx_http_fcgate_send_body(ctx);
    }
    if (ctx->header_sent && !ctx->discards && (ctx->out || ctx->complete)) {
        ngx_int_t rc = ngx_http_fcgate_pass_on(ctx, ctx->complete);

        /* What comes from within may have failed. */
        ctx->rc = ctx->discards ? ctx->rc : rc;
    }
    if (ctx->rc == NGX_ERROR || ctx->rc > NGX_OK) {
        finalize(ctx, ctx->rc);
        return;
    }
    if (ctx->complete && ctx->header_sent) {
        finalize(ctx, NGX_OK);
        return;
    }
    if (ctx->ended) {
        if (ctx->header_sent && !r->header_only) {
            cut(ctx);
        }
        else if (ctx->header_sent) {
            finalize(ctx, NGX_OK);
        }
        else {
            refuse(ctx, ctx->status == FCGATE_E_CLIENT_GONE ? NGX_HTTP_CLIENT_CLOSED_REQUEST : ctx->http_status);
        }
    }
}

/* ---- the start of a request ---- */

/* From now on a client that goes away is noticed; so is one that went away right after its request. */
void ngx_http_fcgate_watch_client(ngx_http_fcgate_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;
    ngx_event_t *reading = r->connection->read, *writing = r->connection->write;

    r->read_event_handler = ngx_http_test_reading;
#if (NGX_HTTP_V2)
    if (r->stream) {
        return;
    }
#endif
    if ((ngx_event_flags & NGX_USE_CLEAR_EVENT) && !writing->active) {
        ngx_add_event(writing, NGX_WRITE_EVENT, NGX_CLEAR_EVENT);
    }
    if (reading->pending_eof) {
        ngx_post_event(reading, &ngx_posted_events);
    }
}

/* The body, or as much of it as is to come first, is there. */
static void start(ngx_http_request_t *r)
{
    static const fcgate_events events = {.struct_size = sizeof events, .head = on_head, .data = on_data,
                                         .error_line = on_error_line, .writable = on_writable,
                                         .complete = on_complete, .end = on_end, .log = on_log, .room = on_room};
    ngx_http_fcgate_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_fcgate_module);
    fcgate_request *request = ngx_http_fcgate_request();
    ngx_http_fcgate_link_t *link;
    fcgate_error error;
    ngx_int_t rc;

    ctx->streams = r->request_body_no_buffering && ngx_http_fcgate_has_body(r);
    link = ngx_http_fcgate_new_link(ctx);
    rc = link ? ngx_http_fcgate_describe(r, request) : NGX_HTTP_INTERNAL_SERVER_ERROR;
    rc = rc == NGX_OK ? ngx_http_fcgate_give_body(ctx, link, request) : rc;
    if (rc != NGX_OK) {
        fcgate_request_clear(request);
        if (link) {
            ngx_http_fcgate_free_link(link);
        }
        finalize(ctx, rc);
        return;
    }
    link->exchange = fcgate_exchange_start(ngx_http_fcgate_loop(), ctx->route->route, request, &events, link, &error);
    if (!link->exchange) {
        ngx_http_fcgate_free_link(link);
        ctx->ended = 1;
        ctx->status = error.status;
        ngx_log_error(log_level(&error), log_of(ctx), 0, "fcgate: %s", error.text);
        refuse(ctx, error.http_status);
        return;
    }
    ctx->link = link;
    r->connection->log->action = "waiting for the application";
    r->write_event_handler = ngx_http_fcgate_writable;
    if (r->reading_body) {
        r->read_event_handler = ngx_http_fcgate_read_body;
    }
    else if (r == r->main && !r->post_action) {
        ngx_http_fcgate_watch_client(ctx);
    }
}

ngx_int_t ngx_http_fcgate_handler(ngx_http_request_t *r)
{
    const ngx_http_fcgate_route_t *route = ngx_http_fcgate_find_route(r);
    ngx_http_fcgate_ctx_t *ctx = ngx_pcalloc(r->pool, sizeof *ctx);
    ngx_http_cleanup_t *cleanup = ngx_http_cleanup_add(r, 0);
    ngx_pool_cleanup_t *mark = ngx_pool_cleanup_add(r->pool, 0);
    ngx_int_t rc;

    if (!route || !ctx || !cleanup || !mark) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ctx->request = r;
    ctx->route = route;
    ctx->flush = route->info.flush != FCGATE_FLUSH_OFF;
    cleanup->handler = clean_up;
    cleanup->data = ctx;
    mark->handler = clean_up;
    mark->data = ctx;
    ngx_http_set_ctx(r, ctx, ngx_http_fcgate_module);

    /* One that is too large is refused before it is asked for, as client_max_body_size does. */
    if (route->info.max_body_bytes != 0 && r->headers_in.content_length_n > (off_t) route->info.max_body_bytes
        && ngx_http_fcgate_has_body(r))
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "fcgate: a body of %O bytes exceeds max_body_bytes (%uL)",
                      r->headers_in.content_length_n, route->info.max_body_bytes);
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    /* An application needs the length of a body, which is known of a chunked one at its end only. */
    if (route->info.request_body == FCGATE_BODY_STREAM && r->headers_in.content_length_n > 0
        && ngx_http_fcgate_has_body(r))
    {
        r->request_body_no_buffering = 1;
    }
    rc = ngx_http_read_client_request_body(r, start);
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}

/* An internal redirect takes the contexts of modules away, but not what the request's pool has. */
ngx_http_fcgate_ctx_t *ngx_http_fcgate_ctx_of(ngx_http_request_t *r)
{
    ngx_http_fcgate_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_fcgate_module);

    for (ngx_pool_cleanup_t *mark = r->pool->cleanup; mark && !ctx; mark = mark->next) {
        /* A subrequest shares the pool of its main request. */
        if (mark->handler == clean_up && ((ngx_http_fcgate_ctx_t *) mark->data)->request == r) {
            ctx = mark->data;
        }
    }
    return ctx;
}
