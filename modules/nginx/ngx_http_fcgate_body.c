/*
 * The request's body: handed over whole after nginx has taken it, in memory or in its own file, or piece
 * by piece as it comes.
 */
#include "ngx_http_fcgate_module.h"

/* Bytes of a file that are read at a time. */
#define PIECE 16384

/* Neither a part of a page nor an error page has a body: it is its main request's. Nor has one that an
 * internal redirect has made a GET of. A copy of a request that mirror makes has it as well. */
ngx_uint_t ngx_http_fcgate_has_body(ngx_http_request_t *r)
{
    const ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);
    const ngx_str_t *method = &r->method_name;

    return (r == r->main || r->background) && !r->error_page && lcf->pass_body
           && (r->headers_in.content_length_n > 0 || r->headers_in.chunked)
           && r->request_line.len > method->len && !ngx_strncmp(r->request_line.data, method->data, method->len)
           && r->request_line.data[method->len] == ' ';
}

/* ---- whole ---- */

/* What stands in memory, in one piece. */
static ngx_int_t give_memory(ngx_http_request_t *r, fcgate_request *request, const ngx_chain_t *chain, size_t length)
{
    const ngx_buf_t *first = chain->buf;
    u_char *bytes, *end;

    if (!chain->next) {
        fcgate_request_body(request, first->pos, length);
        return NGX_OK;
    }
    bytes = end = ngx_palloc(r->pool, length);
    if (!bytes) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    for (; chain; chain = chain->next) {
        /* The end of a chunked body has a buffer of nothing, without an address. */
        if (chain->buf->last > chain->buf->pos) {
            end = ngx_cpymem(end, chain->buf->pos, chain->buf->last - chain->buf->pos);
        }
    }
    fcgate_request_body(request, bytes, length);
    ngx_pfree(r->pool, bytes);
    return NGX_OK;
}

/* A part of nginx's own file. The exchange may outlive the request, which closes its descriptor. */
static ngx_int_t give_file(ngx_http_request_t *r, ngx_http_fcgate_link_t *link, fcgate_request *request,
    const ngx_buf_t *buffer)
{
    link->body = fcntl(buffer->file->fd, F_DUPFD_CLOEXEC, 0);
    if (link->body == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, ngx_errno, "fcntl(F_DUPFD_CLOEXEC) \"%V\" failed",
                      &buffer->file->name);
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
    fcgate_request_body_fd(request, link->body, (uint64_t) buffer->file_pos,
                           (uint64_t) (buffer->file_last - buffer->file_pos));
    return NGX_OK;
}

static void announce(ngx_http_fcgate_ctx_t *ctx, fcgate_request *request, ngx_chain_t *chain, off_t length)
{
    ctx->body = chain;
    ctx->announced = 1;
    fcgate_request_body_length(request, (uint64_t) length);
}

ngx_int_t ngx_http_fcgate_give_body(ngx_http_fcgate_ctx_t *ctx, ngx_http_fcgate_link_t *link, fcgate_request *request)
{
    ngx_http_request_t *r = ctx->request;
    ngx_chain_t *chain = r->request_body ? r->request_body->bufs : NULL;
    off_t length = 0;
    ngx_uint_t files = 0, parts = 0;

    if (!ngx_http_fcgate_has_body(r)) {
        return NGX_OK;
    }
    if (ctx->streams) {
        r->request_body->bufs = NULL;
        announce(ctx, request, chain, r->headers_in.content_length_n);
        return NGX_OK;
    }
    for (const ngx_chain_t *part = chain; part; part = part->next) {
        length += ngx_buf_size(part->buf);
        files += !ngx_buf_in_memory(part->buf) && part->buf->in_file;
        parts++;
    }
    if (length == 0) {
        return NGX_OK;
    }
    if (files == 0) {
        return give_memory(r, request, chain, (size_t) length);
    }
    if (parts == 1) {
        return give_file(r, link, request, chain->buf);
    }
    announce(ctx, request, chain, length);
    return NGX_OK;
}

/* ---- piece by piece ---- */

/* The next bytes of a buffer; 0 at its end, negative after an error. */
static ssize_t look(ngx_http_fcgate_ctx_t *ctx, ngx_buf_t *buffer, const u_char **bytes)
{
    if (ngx_buf_in_memory(buffer)) {
        *bytes = buffer->pos;
        return buffer->last - buffer->pos;
    }
    if (!buffer->in_file || buffer->file_pos >= buffer->file_last) {
        return 0;
    }
    if (!ctx->piece) {
        ctx->piece = ngx_palloc(ctx->request->pool, PIECE);
        if (!ctx->piece) {
            return NGX_ERROR;
        }
    }
    *bytes = ctx->piece;
    return ngx_read_file(buffer->file, ctx->piece, (size_t) ngx_min(PIECE, buffer->file_last - buffer->file_pos),
                         buffer->file_pos);
}

static void skip(ngx_buf_t *buffer, size_t count)
{
    if (ngx_buf_in_memory(buffer)) {
        buffer->pos += count;
    }
    else {
        buffer->file_pos += (off_t) count;
    }
}

/* Sends what is at hand. NGX_AGAIN: libfcgate takes no more for now. */
static ngx_int_t send_chain(ngx_http_fcgate_ctx_t *ctx)
{
    while (ctx->body) {
        const u_char *bytes;
        ssize_t length = look(ctx, ctx->body->buf, &bytes);
        size_t taken = 0;
        int32_t status;

        if (length < 0) {
            return NGX_ERROR;
        }
        if (length == 0) {
            ctx->body = ctx->body->next;
            continue;
        }
        status = fcgate_exchange_send(ctx->link->exchange, bytes, (size_t) length, 0, &taken);
        if (!ctx->link) {
            return NGX_OK;
        }
        skip(ctx->body->buf, taken);
        if (status == FCGATE_AGAIN) {
            return NGX_AGAIN;
        }
        if (status != FCGATE_OK) {
            /* It is over, or about to be: its end will be told. */
            ctx->body = NULL;
            ctx->body_ended = 1;
        }
    }
    return NGX_OK;
}

void ngx_http_fcgate_send_body(ngx_http_fcgate_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;
    ngx_event_t *reading = r->connection->read;
    ngx_int_t rc = NGX_OK;

    while (ctx->link && !ctx->body_ended) {
        rc = send_chain(ctx);
        if (rc != NGX_OK || !ctx->link || !r->reading_body) {
            break;
        }
        rc = ngx_http_read_unbuffered_request_body(r);
        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ctx->rc = rc;
            ngx_http_fcgate_touch(ctx);
            return;
        }
        /* It may have filled its buffer and wait for that to be emptied: only an empty one is the end. */
        ctx->body = r->request_body->bufs;
        r->request_body->bufs = NULL;
        if (!ctx->body && r->reading_body) {
            return;
        }
    }
    if (rc == NGX_ERROR) {
        ctx->rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        ngx_http_fcgate_touch(ctx);
        return;
    }
    if (rc == NGX_AGAIN) {
        /* Nobody waits for the client meanwhile. */
        if (r->reading_body && reading->timer_set) {
            ngx_del_timer(reading);
        }
        return;
    }
    if (ctx->link && !ctx->body_ended) {
        ctx->body_ended = 1;
        fcgate_exchange_send(ctx->link->exchange, "", 0, FCGATE_END, NULL);
    }
    if (!r->reading_body && r->read_event_handler == ngx_http_fcgate_read_body) {
        ngx_http_fcgate_watch_client(ctx);
    }
}

void ngx_http_fcgate_read_body(ngx_http_request_t *r)
{
    ngx_http_fcgate_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_fcgate_module);

    if (r->connection->read->timedout) {
        r->connection->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }
    /* A filter that answers in the response's place takes all contexts away. */
    if (ctx) {
        ngx_http_fcgate_send_body(ctx);
    }
}
