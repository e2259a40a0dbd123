/*
 * The body of a response passed on, in buffers that are used again; a client that does not take it holds
 * the application back.
 */
#include "ngx_http_fcgate_module.h"

/* Of a buffer: as large as what has come, within these. */
#define BUFFER_LEAST 1024
#define BUFFER_MOST 65536
/* Bytes that nginx holds for a client that does not take them; what is read ahead beyond that libfcgate
 * holds (response_memory, response_file). */
#define HELD 65536

static void append(ngx_http_fcgate_ctx_t *ctx, ngx_chain_t *link)
{
    link->next = NULL;
    if (ctx->out) {
        ctx->tail->next = link;
    }
    else {
        ctx->out = link;
    }
    ctx->tail = link;
}

/* The buffer that the next bytes, so many, go to; NULL without memory. */
static ngx_buf_t *writable_buffer(ngx_http_fcgate_ctx_t *ctx, size_t length)
{
    ngx_pool_t *pool = ctx->request->pool;
    ngx_chain_t *link;
    ngx_buf_t *buffer;

    if (ctx->out && ctx->tail->buf->last < ctx->tail->buf->end) {
        return ctx->tail->buf;
    }
    link = ngx_chain_get_free_buf(pool, &ctx->free);
    if (!link) {
        return NULL;
    }
    buffer = link->buf;
    if (!buffer->start) {
        size_t size = ngx_min(ngx_max(length, BUFFER_LEAST), BUFFER_MOST);

        buffer->start = ngx_palloc(pool, size);
        if (!buffer->start) {
            return NULL;
        }
        buffer->end = buffer->start + size;
        buffer->pos = buffer->last = buffer->start;
        buffer->temporary = 1;
        buffer->tag = (ngx_buf_tag_t) &ngx_http_fcgate_module;
    }
    buffer->flush = 0;
    buffer->last_buf = 0;
    buffer->last_in_chain = 0;
    append(ctx, link);
    return buffer;
}

ngx_int_t ngx_http_fcgate_gather(ngx_http_fcgate_ctx_t *ctx, const u_char *bytes, size_t length)
{
    ctx->gathered += length;
    while (length > 0) {
        ngx_buf_t *buffer = writable_buffer(ctx, length);
        size_t count;

        if (!buffer) {
            return NGX_ERROR;
        }
        count = ngx_min(length, (size_t) (buffer->end - buffer->last));
        buffer->last = ngx_cpymem(buffer->last, bytes, count);
        bytes += count;
        length -= count;
    }
    return NGX_OK;
}

/* Marks the end of what goes out; a buffer of its own does where there are no bytes. */
static ngx_int_t mark_end(ngx_http_fcgate_ctx_t *ctx, ngx_uint_t last)
{
    ngx_http_request_t *r = ctx->request;
    ngx_buf_t *buffer;

    if (!ctx->out) {
        ngx_chain_t *link = ngx_alloc_chain_link(r->pool);
        ngx_buf_t *empty = ngx_calloc_buf(r->pool);

        if (!link || !empty) {
            return NGX_ERROR;
        }
        /* A subrequest's end is not the response's. */
        empty->sync = r != r->main;
        link->buf = empty;
        append(ctx, link);
    }
    buffer = ctx->tail->buf;
    buffer->last_in_chain = last;
    buffer->last_buf = last && r == r->main;
    buffer->flush = !last;
    return NGX_OK;
}

static size_t held(const ngx_http_fcgate_ctx_t *ctx)
{
    size_t bytes = 0;

    for (const ngx_chain_t *link = ctx->busy; link; link = link->next) {
        bytes += (size_t) ngx_buf_size(link->buf);
    }
    return bytes;
}

/* What the client has not taken is bounded: beyond that libfcgate is to wait. */
static void hold_back(ngx_http_fcgate_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;
    ngx_connection_t *client = r->connection;
    const ngx_http_core_loc_conf_t *core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    size_t bytes = held(ctx);
    ngx_uint_t paused = bytes >= HELD;

    if (client->data == r) {
        ngx_handle_write_event(client->write, core->send_lowat);
    }
    if (client->write->active && !client->write->ready && bytes > 0) {
        if (!client->write->delayed) {
            ngx_add_timer(client->write, core->send_timeout);
        }
    }
    else if (client->write->timer_set && !client->write->delayed) {
        ngx_del_timer(client->write);
    }
    if (ctx->link && paused != ctx->paused) {
        ctx->paused = paused & 1;
        fcgate_exchange_pause(ctx->link->exchange, (uint32_t) paused);
    }
}

ngx_int_t ngx_http_fcgate_pass_on(ngx_http_fcgate_ctx_t *ctx, ngx_uint_t last)
{
    ngx_http_request_t *r = ctx->request;
    ngx_uint_t flushes = ctx->flush && ctx->out;
    ngx_int_t rc;

    if ((last || flushes) && mark_end(ctx, last) != NGX_OK) {
        return NGX_ERROR;
    }
    rc = ngx_http_output_filter(r, ctx->out);
    ctx->gathered = 0;
    ngx_chain_update_chains(r->pool, &ctx->free, &ctx->busy, &ctx->out, (ngx_buf_tag_t) &ngx_http_fcgate_module);
    if (rc == NGX_ERROR || last) {
        return rc;
    }
    hold_back(ctx);
    return rc;
}

/* The client takes more. */
void ngx_http_fcgate_writable(ngx_http_request_t *r)
{
    ngx_http_fcgate_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_fcgate_module);
    ngx_event_t *writing = r->connection->write;

    if (writing->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT, "client timed out");
        r->connection->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }
    if (writing->delayed || !ctx->header_sent || ctx->discards) {
        return;
    }
    if (ngx_http_fcgate_pass_on(ctx, 0) == NGX_ERROR) {
        ctx->rc = NGX_ERROR;
        ngx_http_fcgate_touch(ctx);
    }
}
