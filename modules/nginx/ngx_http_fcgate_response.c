/*
 * The body of a response passed on, in buffers that are used again; a client that does not take it holds
 * the application back.
 */
#include "ngx_http_fcgate_module.h"

/* Of a buffer: as large as what has come, within these. */
#define BUFFER_LEAST 1024
#define BUFFER_MOST 65536
/* Less room is not worth a call of its own. */
#define ROOM_LEAST 16384
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

static size_t room_in(const ngx_buf_t *buffer)
{
    return (size_t) (buffer->end - buffer->last);
}

/* A buffer for the next bytes, so many; NULL without memory. */
static ngx_chain_t *empty_buffer(ngx_http_fcgate_ctx_t *ctx, size_t length)
{
    ngx_pool_t *pool = ctx->request->pool;
    ngx_chain_t *link = ngx_chain_get_free_buf(pool, &ctx->free);
    ngx_buf_t *buffer;

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
    return link;
}

/* The buffer that the next bytes go to; NULL without memory. */
static ngx_buf_t *writable_buffer(ngx_http_fcgate_ctx_t *ctx, size_t length)
{
    ngx_chain_t *link;

    if (ctx->out && room_in(ctx->tail->buf) > 0) {
        return ctx->tail->buf;
    }
    link = empty_buffer(ctx, length);
    if (!link) {
        return NULL;
    }
    append(ctx, link);
    return link->buf;
}

/* Puts the first free buffer that is large enough in front, if there is one. */
static void prefer_large(ngx_http_fcgate_ctx_t *ctx, size_t length)
{
    for (ngx_chain_t **at = &ctx->free; *at; at = &(*at)->next) {
        ngx_chain_t *link = *at;

        if (link->buf->start && room_in(link->buf) >= length) {
            *at = link->next;
            link->next = ctx->free;
            ctx->free = link;
            return;
        }
    }
}

/* What was received there is to go out; of nothing the buffer is free again. */
static void fill_room(ngx_http_fcgate_ctx_t *ctx, size_t length)
{
    ngx_chain_t *link = ctx->room;

    ctx->room = NULL;
    ctx->gathered += length;
    link->buf->last += length;
    if (ctx->out && link == ctx->tail) {
        return;
    }
    if (length > 0) {
        append(ctx, link);
    }
    else {
        link->next = ctx->free;
        ctx->free = link;
    }
}

/* Where a large piece is received, so that it is not copied. */
void *ngx_http_fcgate_room(ngx_http_fcgate_ctx_t *ctx, size_t *length)
{
    size_t least = ngx_min(*length, ROOM_LEAST);

    if (ctx->out && room_in(ctx->tail->buf) >= least) {
        ctx->room = ctx->tail;
    }
    else {
        prefer_large(ctx, least);
        ctx->room = empty_buffer(ctx, *length);
    }
    if (!ctx->room) {
        return NULL;
    }
    *length = ngx_min(*length, room_in(ctx->room->buf));
    if (*length < least) {
        fill_room(ctx, 0);
        return NULL;
    }
    return ctx->room->buf->last;
}

ngx_int_t ngx_http_fcgate_gather(ngx_http_fcgate_ctx_t *ctx, const u_char *bytes, size_t length)
{
    if (ctx->room) {
        fill_room(ctx, length);
        return NGX_OK;
    }
    ctx->gathered += length;
    while (length > 0) {
        ngx_buf_t *buffer = writable_buffer(ctx, length);
        size_t count;

        if (!buffer) {
            return NGX_ERROR;
        }
        count = ngx_min(length, room_in(buffer));
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
    /* A filter that answers in the response's place takes all contexts away. */
    if (writing->delayed || !ctx || !ctx->header_sent || ctx->discards) {
        return;
    }
    if (ngx_http_fcgate_pass_on(ctx, 0) == NGX_ERROR) {
        ctx->rc = NGX_ERROR;
        ngx_http_fcgate_touch(ctx);
    }
}
