/*
 * What an administrator sees: the status page, and variables for accesslog.format.
 */
#include "mod_fcgate.h"
#include "http_header.h"

#include <stdio.h>
#include <string.h>

/* ---- the status page ---- */

static void send_text(void *user, const char *text, size_t length)
{
    request_st *r = user;

    chunkqueue_append_mem(&r->write_queue, text, length);
}

static void set_field(request_st *r, enum http_header_e field, const char *name, const char *value)
{
    http_header_response_set(r, field, name, (uint32_t)strlen(name), value, (uint32_t)strlen(value));
}

static handler_t send_page(request_st *r, const fcgate_gateway *gateway, uint32_t format, const char *type)
{
    set_field(r, HTTP_HEADER_CONTENT_TYPE, "Content-Type", type);
    set_field(r, HTTP_HEADER_CACHE_CONTROL, "Cache-Control", "no-store");
    fcgate_gateway_status(gateway, format, send_text, r);
    r->http_status = 200;
    r->resp_body_finished = 1;
    return HANDLER_FINISHED;
}

/* fcgate.status_url: a page, ?json, ?prometheus. */
handler_t mod_fcgate_status_page(request_st *r, const plugin_data *plugin)
{
    static const struct {
        const char *query, *type;
        uint32_t format;
    } forms[] = {
        {"", "text/html; charset=utf-8", FCGATE_STATUS_HTML},
        {"json", "application/json", FCGATE_STATUS_JSON},
        {"prometheus", "text/plain; version=0.0.4; charset=utf-8", FCGATE_STATUS_PROMETHEUS},
    };
    const char *query = buffer_is_blank(&r->uri.query) ? "" : r->uri.query.ptr;

    if (r->http_method != HTTP_METHOD_GET && r->http_method != HTTP_METHOD_HEAD) {
        set_field(r, HTTP_HEADER_ALLOW, "Allow", "GET, HEAD");
        /* lighttpd's own error page would be without the field. */
        r->handler_module = plugin->self;
        r->resp_body_finished = 1;
        r->http_status = 405;
        return HANDLER_FINISHED;
    }
    if (!plugin->gateway) {
        log_error(r->conf.errh, HERE, "fcgate.status_url: this process has no gateway: is there a fcgate.balancers?");
        return mod_fcgate_answer_with(r, 503);
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (!strcmp(query, forms[i].query)) {
            return send_page(r, plugin->gateway, forms[i].format, forms[i].type);
        }
    }
    return mod_fcgate_answer_with(r, 404);
}

/* ---- variables ---- */

static const char *const names[] = {
    "FCGATE_POOL", "FCGATE_QUEUE_TIME", "FCGATE_CONNECT_TIME", "FCGATE_HEAD_TIME",
    "FCGATE_TIME", "FCGATE_RETRIES",    "FCGATE_ERROR",        "FCGATE_APP_STATUS",
};

/* Those of an earlier pass of a request are neither for an application nor for the log of this one. */
void mod_fcgate_forget_notes(request_st *r)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        buffer *value = http_header_env_get(r, names[i], (uint32_t)strlen(names[i]));

        if (value) {
            buffer_clear(value);
        }
    }
}

static void note(request_st *r, const char *name, const char *value)
{
    http_header_env_set(r, name, (uint32_t)strlen(name), value, (uint32_t)strlen(value));
}

static void note_number(request_st *r, const char *name, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof text, "%u", (unsigned)value);
    note(r, name, text);
}

/* Seconds, as other servers log them: 0.012 */
static void note_time(request_st *r, const char *name, uint64_t microseconds)
{
    char text[32];

    snprintf(text, sizeof text, "%llu.%03u", (unsigned long long)(microseconds / 1000000),
             (unsigned)(microseconds / 1000 % 1000));
    note(r, name, text);
}

/* What is known by now; `error` is NULL as long as the exchange goes on. */
void mod_fcgate_note(const forward_t *forward, const fcgate_error *error)
{
    fcgate_info info = {.struct_size = sizeof info};
    request_st *r = forward->r;

    if (!forward->plugin->notes_are_used) {
        return;
    }
    if (error && error->status != FCGATE_OK) {
        note(r, "FCGATE_ERROR", fcgate_status_name(error->status));
    }
    if (!forward->exchange || fcgate_exchange_info(forward->exchange, &info) != FCGATE_OK || !info.pool[0]) {
        return;
    }
    note(r, "FCGATE_POOL", info.pool);
    note_time(r, "FCGATE_QUEUE_TIME", info.queue_us);
    note_time(r, "FCGATE_CONNECT_TIME", info.connect_us);
    note_time(r, "FCGATE_HEAD_TIME", info.head_us);
    note_number(r, "FCGATE_RETRIES", info.retries);
    if (error) {
        note_time(r, "FCGATE_TIME", info.total_us);
    }
    if (info.has_end) {
        note_number(r, "FCGATE_APP_STATUS", info.app_status);
    }
}
