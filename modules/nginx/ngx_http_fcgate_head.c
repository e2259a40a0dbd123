/*
 * The head of a response made nginx's own: its fields where nginx's filters look for them, and those
 * that are meant for nginx, X-Accel-Redirect and its like, acted on.
 */
#include "ngx_http_fcgate_module.h"

typedef struct {
    ngx_str_t name;
    ngx_str_t value;
} field_t;

static ngx_uint_t is(const ngx_str_t *name, const char *known)
{
    size_t length = ngx_strlen(known);

    return name->len == length && !ngx_strncasecmp(name->data, (u_char *) known, length);
}

static ngx_uint_t is_among(const ngx_array_t *names, const ngx_str_t *name)
{
    const ngx_str_t *known = names ? names->elts : NULL;

    for (ngx_uint_t i = 0; names && i < names->nelts; i++) {
        if (is(name, (const char *) known[i].data)) {
            return 1;
        }
    }
    return 0;
}

static ngx_uint_t is_hidden(const ngx_http_fcgate_loc_conf_t *lcf, const ngx_str_t *name)
{
    ngx_uint_t is_accel = name->len > 8 && !ngx_strncasecmp(name->data, (u_char *) "X-Accel-", 8);

    return is_among(lcf->hidden, name) || (is_accel && !is_among(lcf->passed, name));
}

static ngx_int_t copy(ngx_http_request_t *r, ngx_str_t *text)
{
    u_char *bytes = ngx_pnalloc(r->pool, text->len + 1);

    if (!bytes) {
        return NGX_ERROR;
    }
    *ngx_cpymem(bytes, text->data, text->len) = '\0';
    text->data = bytes;
    return NGX_OK;
}

/* Adds a field as it is. */
static ngx_table_elt_t *push(ngx_http_request_t *r, const field_t *field)
{
    ngx_table_elt_t *line = ngx_list_push(&r->headers_out.headers);

    if (line) {
        ngx_memzero(line, sizeof *line);
        line->hash = 1;
        line->key = field->name;
        line->value = field->value;
    }
    return line;
}

/* ---- fields that nginx's filters look at ---- */

/* Several lines of one field, as they are linked in this version of nginx. */
static ngx_int_t link_line(ngx_http_request_t *r, const field_t *field, void *place)
{
    ngx_table_elt_t *line = push(r, field);

    if (!line) {
        return NGX_ERROR;
    }
#if (nginx_version >= 1023000)
    {
        ngx_table_elt_t **end = place;

        while (*end) {
            end = &(*end)->next;
        }
        *end = line;
    }
#else
    {
        ngx_array_t *lines = place;
        ngx_table_elt_t **last;

        if (!lines->elts && ngx_array_init(lines, r->pool, 1, sizeof(ngx_table_elt_t *)) != NGX_OK) {
            return NGX_ERROR;
        }
        last = ngx_array_push(lines);
        if (!last) {
            return NGX_ERROR;
        }
        *last = line;
    }
#endif
    return NGX_OK;
}

/* What nginx says of its own charset stands apart from the type. */
static void content_type(ngx_http_request_t *r, const ngx_str_t *value)
{
    u_char *end = value->data + value->len;

    r->headers_out.content_type = *value;
    r->headers_out.content_type_len = value->len;
    r->headers_out.content_type_lowcase = NULL;
    for (u_char *at = value->data; at < end; at++) {
        u_char *charset = at + 1;

        if (*at != ';') {
            continue;
        }
        while (charset < end && *charset == ' ') {
            charset++;
        }
        if (end - charset > 8 && !ngx_strncasecmp(charset, (u_char *) "charset=", 8)) {
            u_char *begin = charset + 8, *stop = begin;

            r->headers_out.content_type_len = (size_t) (at - value->data);
            r->headers_out.content_type.len = r->headers_out.content_type_len;
            if (*begin == '"') {
                begin++;
                stop = begin;
            }
            while (stop < end && *stop != '"' && *stop != ';') {
                stop++;
            }
            r->headers_out.charset.data = begin;
            r->headers_out.charset.len = (size_t) (stop - begin);
            return;
        }
    }
}

static ngx_int_t take_field(ngx_http_request_t *r, const field_t *field, ngx_uint_t forces_ranges)
{
    static const struct {
        const char *name;
        size_t offset; /* of a ngx_table_elt_t * in headers_out */
    } known[] = {
        {"Date", offsetof(ngx_http_headers_out_t, date)},
        {"Server", offsetof(ngx_http_headers_out_t, server)},
        {"ETag", offsetof(ngx_http_headers_out_t, etag)},
        {"Expires", offsetof(ngx_http_headers_out_t, expires)},
        {"Last-Modified", offsetof(ngx_http_headers_out_t, last_modified)},
        {"Content-Encoding", offsetof(ngx_http_headers_out_t, content_encoding)},
        {"Content-Range", offsetof(ngx_http_headers_out_t, content_range)},
        {"WWW-Authenticate", offsetof(ngx_http_headers_out_t, www_authenticate)},
    };
    const ngx_str_t *name = &field->name;
    ngx_table_elt_t *line;

    if (is(name, "Content-Type")) {
        content_type(r, &field->value);
        return NGX_OK;
    }
    if (is(name, "Content-Length")) {
        r->headers_out.content_length_n = ngx_atoof(field->value.data, field->value.len);
        return NGX_OK;
    }
    if (is(name, "Cache-Control")) {
        return link_line(r, field, &r->headers_out.cache_control);
    }
    if (is(name, "Link")) {
        return link_line(r, field, &r->headers_out.link);
    }
    if (is(name, "Accept-Ranges") && forces_ranges) {
        return NGX_OK;
    }
    line = push(r, field);
    if (!line) {
        return NGX_ERROR;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (is(name, known[i].name)) {
            *(ngx_table_elt_t **) ((u_char *) &r->headers_out + known[i].offset) = line;
        }
    }
    if (is(name, "Last-Modified")) {
        r->headers_out.last_modified_time = ngx_parse_http_time(field->value.data, field->value.len);
    }
    /* nginx would make a relative one absolute, which the client can do as well. */
    if (is(name, "Location") && field->value.len > 0 && field->value.data[0] != '/') {
        r->headers_out.location = line;
    }
    return NGX_OK;
}

/* ---- fields that are meant for nginx ---- */

/* Of a response that nginx redirects, only these come with what answers in its place. */
static ngx_uint_t survives_redirect(const ngx_str_t *name)
{
    static const char *const names[] = {"Content-Type",  "Set-Cookie", "Content-Disposition",
                                        "Cache-Control", "Expires",    "Accept-Ranges", "Content-Range"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is(name, names[i])) {
            return 1;
        }
    }
    return 0;
}

static ngx_int_t act_on(ngx_http_fcgate_ctx_t *ctx, const field_t *field, ngx_uint_t ignored)
{
    ngx_http_request_t *r = ctx->request;

    if (is(&field->name, "X-Accel-Limit-Rate") && !(ignored & NGX_HTTP_FCGATE_ACCEL_LIMIT_RATE)) {
        ngx_int_t rate = ngx_atoi(field->value.data, field->value.len);

        if (rate != NGX_ERROR) {
            r->limit_rate = (size_t) rate;
            r->limit_rate_set = 1;
        }
    }
    if (is(&field->name, "X-Accel-Charset") && !(ignored & NGX_HTTP_FCGATE_ACCEL_CHARSET)) {
        ngx_str_t *charset = ngx_palloc(r->pool, sizeof *charset);

        if (!charset) {
            return NGX_ERROR;
        }
        *charset = field->value;
        r->headers_out.override_charset = charset;
    }
    return NGX_OK;
}

/* Where X-Accel-Redirect leads; empty without one. */
static ngx_int_t find_redirect(ngx_http_fcgate_ctx_t *ctx, const fcgate_head *head, ngx_uint_t ignored)
{
    const char *value;
    size_t length;

    if ((ignored & NGX_HTTP_FCGATE_ACCEL_REDIRECT)
        || fcgate_head_find(head, "X-Accel-Redirect", &value, &length) != FCGATE_OK || length == 0)
    {
        return NGX_OK;
    }
    ctx->redirect.data = (u_char *) value;
    ctx->redirect.len = length;
    return copy(ctx->request, &ctx->redirect);
}

/* ---- the head ---- */

static ngx_int_t status_line(ngx_http_request_t *r, const fcgate_head *head)
{
    size_t length;
    const char *reason = fcgate_head_reason(head, &length);
    ngx_str_t *line = &r->headers_out.status_line;

    r->headers_out.status = fcgate_head_status(head);
    if (length == 0) {
        return NGX_OK;
    }
    line->data = ngx_pnalloc(r->pool, length + sizeof "NNN ");
    if (!line->data) {
        return NGX_ERROR;
    }
    line->len = (size_t) (ngx_sprintf(line->data, "%03ui %*s", r->headers_out.status, length, reason) - line->data);
    return NGX_OK;
}

ngx_int_t ngx_http_fcgate_take_head(ngx_http_fcgate_ctx_t *ctx, const fcgate_head *head)
{
    ngx_http_request_t *r = ctx->request;
    const ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);
    size_t count = fcgate_head_field_count(head);

    if (!(lcf->ignored & NGX_HTTP_FCGATE_ACCEL_BUFFERING) && fcgate_head_is_stream(head)) {
        ctx->flush = 1;
    }
    if (find_redirect(ctx, head, lcf->ignored) != NGX_OK) {
        return NGX_ERROR;
    }
    if (ctx->redirect.len == 0) {
        /* Conditions are the application's to act on: by now it has done what it was asked for. */
        r->disable_not_modified = 1;
        if (status_line(r, head) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    for (size_t i = 0; i < count; i++) {
        field_t field;

        fcgate_head_field(head, i, (const char **) &field.name.data, &field.name.len,
                          (const char **) &field.value.data, &field.value.len);
        if (copy(r, &field.name) != NGX_OK || copy(r, &field.value) != NGX_OK
            || act_on(ctx, &field, lcf->ignored) != NGX_OK)
        {
            return NGX_ERROR;
        }
        if (!is_hidden(lcf, &field.name) && (ctx->redirect.len == 0 || survives_redirect(&field.name))
            && take_field(r, &field, (ngx_uint_t) lcf->force_ranges) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }
    if (lcf->force_ranges) {
        r->allow_ranges = 1;
        r->single_range = 1;
    }
    return NGX_OK;
}
