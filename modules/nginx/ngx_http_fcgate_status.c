/*
 * The status page: what this worker knows of all pools.
 */
#include "ngx_http_fcgate_module.h"

/* What a page is gathered in; `buffer` stays NULL without memory. */
typedef struct {
    ngx_pool_t *pool;
    ngx_buf_t  *buffer;
} page_t;

static void gather(void *user, const char *text, size_t length)
{
    page_t *page = user;

    page->buffer = ngx_create_temp_buf(page->pool, length);
    if (page->buffer) {
        page->buffer->last = ngx_cpymem(page->buffer->pos, text, length);
    }
}

static ngx_int_t add_field(ngx_http_request_t *r, const char *name, const char *value)
{
    ngx_table_elt_t *line = ngx_list_push(&r->headers_out.headers);

    if (!line) {
        return NGX_ERROR;
    }
    ngx_memzero(line, sizeof *line);
    line->hash = 1;
    line->key.data = (u_char *) name;
    line->key.len = ngx_strlen(name);
    line->value.data = (u_char *) value;
    line->value.len = ngx_strlen(value);
    return NGX_OK;
}

static ngx_int_t send_page(ngx_http_request_t *r, uint32_t format, const ngx_str_t *type)
{
    page_t page = {r->pool, NULL};
    ngx_chain_t out;
    ngx_int_t rc;

    fcgate_gateway_status(ngx_http_fcgate_gateway(), format, gather, &page);
    if (!page.buffer || add_field(r, "Cache-Control", "no-store") != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    page.buffer->last_buf = r == r->main;
    page.buffer->last_in_chain = 1;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_length_n = page.buffer->last - page.buffer->pos;
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }
    out.buf = page.buffer;
    out.next = NULL;
    return ngx_http_output_filter(r, &out);
}

/* A page, ?json, ?prometheus. */
ngx_int_t ngx_http_fcgate_status(ngx_http_request_t *r)
{
    static const struct {
        ngx_str_t query, type;
        uint32_t format;
    } forms[] = {
        {ngx_null_string, ngx_string("text/html; charset=utf-8"), FCGATE_STATUS_HTML},
        {ngx_string("json"), ngx_string("application/json"), FCGATE_STATUS_JSON},
        {ngx_string("prometheus"), ngx_string("text/plain; version=0.0.4; charset=utf-8"), FCGATE_STATUS_PROMETHEUS},
    };
    ngx_int_t rc;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return add_field(r, "Allow", "GET, HEAD") == NGX_OK ? NGX_HTTP_NOT_ALLOWED : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }
    if (!ngx_http_fcgate_gateway()) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "fcgate_status: this worker has no gateway: is there a fcgate_balancer, a fcgate_pool or an address"
                      " in a fcgate_pass?");
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (r->args.len == forms[i].query.len
            && (r->args.len == 0 || !ngx_strncmp(r->args.data, forms[i].query.data, r->args.len)))
        {
            return send_page(r, forms[i].format, &forms[i].type);
        }
    }
    return NGX_HTTP_NOT_FOUND;
}

/* fcgate_status; */
char *ngx_http_fcgate_status_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    const ngx_http_fcgate_loc_conf_t *lcf = conf;

    (void) cmd;
    if (lcf->pass.len > 0) {
        return "stands beside a fcgate_pass: a location has one of them";
    }
    core->handler = ngx_http_fcgate_status;
    return NGX_CONF_OK;
}
