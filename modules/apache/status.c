/*
 * What an administrator sees: the status page, and variables for LogFormat.
 */
#include "mod_fcgate.h"
#include "http_protocol.h"

APLOG_USE_MODULE(fcgate);

static void send_text(void *user, const char *text, size_t length)
{
    request_rec *r = user;

    ap_set_content_length(r, (apr_off_t)length);
    ap_rwrite(text, (int)length, r);
}

/* SetHandler fcgate-status: a page, ?json, ?prometheus. */
int mod_fcgate_status_page(request_rec *r)
{
    const fcgate_gateway *gateway = mod_fcgate_the_gateway();
    const char *type = "text/html; charset=utf-8";
    uint32_t format = FCGATE_STATUS_HTML;

    r->allowed |= AP_METHOD_BIT << M_GET;
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (!gateway) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "fcgate-status: this process has no gateway: is there a FcgateBalancer?");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (r->args && !strcmp(r->args, "json")) {
        type = "application/json";
        format = FCGATE_STATUS_JSON;
    }
    else if (r->args && !strcmp(r->args, "prometheus")) {
        type = "text/plain; version=0.0.4; charset=utf-8";
        format = FCGATE_STATUS_PROMETHEUS;
    }
    else if (r->args && *r->args) {
        return HTTP_NOT_FOUND;
    }
    ap_set_content_type(r, type);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    fcgate_gateway_status(gateway, format, send_text, r);
    return OK;
}

/* Seconds, as other servers log them: 0.012 */
static const char *seconds(request_rec *r, uint64_t microseconds)
{
    return apr_psprintf(r->pool, "%" APR_UINT64_T_FMT ".%03u", (apr_uint64_t)(microseconds / 1000000),
                        (unsigned)(microseconds / 1000 % 1000));
}

void mod_fcgate_note(request_rec *r, const fcgate_info *info, const fcgate_error *error)
{
    apr_table_t *environment = r->subprocess_env;

    if (error->status != FCGATE_OK) {
        apr_table_setn(environment, "FCGATE_ERROR", fcgate_status_name(error->status));
    }
    if (!info->pool[0]) {
        return;
    }
    apr_table_set(environment, "FCGATE_POOL", info->pool);
    apr_table_setn(environment, "FCGATE_QUEUE_TIME", seconds(r, info->queue_us));
    apr_table_setn(environment, "FCGATE_CONNECT_TIME", seconds(r, info->connect_us));
    apr_table_setn(environment, "FCGATE_HEAD_TIME", seconds(r, info->head_us));
    apr_table_setn(environment, "FCGATE_TIME", seconds(r, info->total_us));
    apr_table_setn(environment, "FCGATE_RETRIES", apr_itoa(r->pool, (int)info->retries));
    if (info->has_end) {
        apr_table_setn(environment, "FCGATE_APP_STATUS",
                       apr_psprintf(r->pool, "%u", (unsigned)info->app_status));
    }
}
