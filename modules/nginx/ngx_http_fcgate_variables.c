/*
 * What logs and configurations can show of a request: $fcgate_pool and its like.
 */
#include "ngx_http_fcgate_module.h"

typedef uintptr_t kind_t;
enum { STATUS, QUEUE_TIME, CONNECT_TIME, HEADER_TIME, RESPONSE_TIME, RETRIES, APP_STATUS, BYTES_SENT, BYTES_RECEIVED };

static ngx_int_t none(ngx_http_variable_value_t *value)
{
    value->not_found = 1;
    return NGX_OK;
}

static ngx_int_t text(ngx_http_variable_value_t *value, const u_char *bytes, size_t length)
{
    value->data = (u_char *) bytes;
    value->len = (unsigned) length;
    value->valid = 1;
    value->no_cacheable = 0;
    value->not_found = 0;
    return NGX_OK;
}

/* What is known by now; NULL for a request that was not forwarded. */
static const fcgate_info *info_of(ngx_http_request_t *r)
{
    ngx_http_fcgate_ctx_t *ctx = ngx_http_fcgate_ctx_of(r);

    if (ctx && ctx->link) {
        ctx->info.struct_size = sizeof ctx->info;
        ctx->has_info = fcgate_exchange_info(ctx->link->exchange, &ctx->info) == FCGATE_OK || ctx->has_info;
    }
    return ctx && ctx->has_info ? &ctx->info : NULL;
}

static ngx_int_t pool(ngx_http_request_t *r, ngx_http_variable_value_t *value, uintptr_t unused)
{
    const fcgate_info *info = info_of(r);

    (void) unused;
    return info && info->pool[0] ? text(value, (const u_char *) info->pool, ngx_strlen(info->pool)) : none(value);
}

static ngx_int_t error(ngx_http_request_t *r, ngx_http_variable_value_t *value, uintptr_t unused)
{
    const ngx_http_fcgate_ctx_t *ctx = ngx_http_fcgate_ctx_of(r);
    const char *name;

    (void) unused;
    if (!ctx || !ctx->ended || ctx->status == FCGATE_OK) {
        return none(value);
    }
    name = fcgate_status_name(ctx->status);
    return text(value, (const u_char *) name, ngx_strlen(name));
}

/* Seconds, as nginx logs them: 0.012. A time of what did not happen is none. */
static u_char *seconds(u_char *end, uint64_t microseconds)
{
    return ngx_sprintf(end, "%uL.%03uL", microseconds / 1000000, microseconds / 1000 % 1000);
}

static ngx_int_t number(ngx_http_request_t *r, ngx_http_variable_value_t *value, kind_t kind)
{
    const fcgate_info *info = info_of(r);
    u_char *digits = info && info->pool[0] ? ngx_pnalloc(r->pool, NGX_INT64_LEN + sizeof ".000") : NULL;
    u_char *end = digits;

    if (!digits) {
        return info && info->pool[0] ? NGX_ERROR : none(value);
    }
    switch (kind) {
    case STATUS:
        end = info->http_status ? ngx_sprintf(end, "%03uD", info->http_status) : end;
        break;
    case QUEUE_TIME:
        end = seconds(end, info->queue_us);
        break;
    case CONNECT_TIME:
        end = info->connect_us ? seconds(end, info->connect_us) : end;
        break;
    case HEADER_TIME:
        end = info->head_us ? seconds(end, info->head_us) : end;
        break;
    case RESPONSE_TIME:
        end = info->total_us ? seconds(end, info->total_us) : end;
        break;
    case RETRIES:
        end = ngx_sprintf(end, "%uD", info->retries);
        break;
    case APP_STATUS:
        end = info->has_end ? ngx_sprintf(end, "%uD", info->app_status) : end;
        break;
    case BYTES_SENT:
        end = ngx_sprintf(end, "%uL", info->bytes_sent);
        break;
    case BYTES_RECEIVED:
        end = ngx_sprintf(end, "%uL", info->bytes_received);
        break;
    }
    return end > digits ? text(value, digits, (size_t) (end - digits)) : none(value);
}

static ngx_int_t script_name(ngx_http_request_t *r, ngx_http_variable_value_t *value, uintptr_t unused)
{
    ngx_str_t script, path_info;

    (void) unused;
    return ngx_http_fcgate_split(r, &script, &path_info) == NGX_OK ? text(value, script.data, script.len) : NGX_ERROR;
}

static ngx_int_t path_info_of(ngx_http_request_t *r, ngx_http_variable_value_t *value, uintptr_t unused)
{
    ngx_str_t script, path_info;

    (void) unused;
    return ngx_http_fcgate_split(r, &script, &path_info) == NGX_OK ? text(value, path_info.data, path_info.len)
                                                                  : NGX_ERROR;
}

#define VARIABLE(name, get, kind) {ngx_string("fcgate_" name), NULL, get, kind, NGX_HTTP_VAR_NOCACHEABLE, 0}

static ngx_http_variable_t variables[] = {
    VARIABLE("pool", pool, 0),
    VARIABLE("addr", pool, 0),
    VARIABLE("status", number, STATUS),
    VARIABLE("error", error, 0),
    VARIABLE("queue_time", number, QUEUE_TIME),
    VARIABLE("connect_time", number, CONNECT_TIME),
    VARIABLE("header_time", number, HEADER_TIME),
    VARIABLE("response_time", number, RESPONSE_TIME),
    VARIABLE("retries", number, RETRIES),
    VARIABLE("app_status", number, APP_STATUS),
    VARIABLE("bytes_sent", number, BYTES_SENT),
    VARIABLE("bytes_received", number, BYTES_RECEIVED),
    VARIABLE("script_name", script_name, 0),
    VARIABLE("path_info", path_info_of, 0),
};

ngx_int_t ngx_http_fcgate_add_variables(ngx_conf_t *cf)
{
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        ngx_http_variable_t *variable = ngx_http_add_variable(cf, &variables[i].name, variables[i].flags);

        if (!variable) {
            return NGX_ERROR;
        }
        variable->get_handler = variables[i].get_handler;
        variable->data = variables[i].data;
    }
    return NGX_OK;
}
