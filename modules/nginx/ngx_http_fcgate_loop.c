/*
 * One gateway and one loop of libfcgate for each worker: nginx watches their sockets and keeps their
 * timer.
 *
 * What happens in an exchange is only noted when it happens. What it means for nginx's request, which
 * may end and be freed by it, is done when nginx has handled its own events, in the same turn.
 */
#include "ngx_http_fcgate_module.h"

/* Milliseconds after which a socket is watched that found all of worker_connections in use. */
#define WATCH_AGAIN 10

typedef struct {
    uint64_t          socket;
    ngx_connection_t *connection; /* NULL while none could be had */
    uint32_t          interest;   /* 0 for a descriptor that is not watched */
} watch_t;

static struct {
    fcgate_gateway *gateway;
    fcgate_loop *loop;
    fcgate_request *request;
    ngx_log_t *log;
    ngx_connection_t none; /* nginx's debug log asks each event for a connection */
    ngx_event_t timer;
    ngx_event_t at_once;
    ngx_event_t again;
    ngx_event_t settle;
    ngx_queue_t touched; /* of ngx_http_fcgate_ctx_t */
    ngx_queue_t links;   /* of ngx_http_fcgate_link_t */
    watch_t *watches;    /* by descriptor */
    ngx_uint_t count;
    ngx_int_t kind;      /* of events: NGX_CLEAR_EVENT where nginx can tell of an end, too */
} worker;

const fcgate_gateway *ngx_http_fcgate_gateway(void)
{
    return worker.gateway;
}

fcgate_loop *ngx_http_fcgate_loop(void)
{
    return worker.loop;
}

fcgate_request *ngx_http_fcgate_request(void)
{
    return worker.request;
}

void ngx_http_fcgate_log(void *log, uint32_t level, const char *text, size_t length)
{
    ngx_uint_t own = level == FCGATE_LOG_ERROR ? NGX_LOG_ERR : level == FCGATE_LOG_WARNING ? NGX_LOG_WARN : NGX_LOG_NOTICE;

    ngx_log_error(own, (ngx_log_t *) log, 0, "fcgate: %*s", length, text);
}

void ngx_http_fcgate_log_here(uint32_t level, const char *text, size_t length)
{
    ngx_http_fcgate_log(worker.log, level, text, length);
}

/* ---- sockets ---- */

static void ready(ngx_event_t *event)
{
    ngx_connection_t *connection = event->data;

    /* The worker ends as soon as all is done: nginx tells it to what it takes for idle clients. */
    if (connection->close) {
        connection->close = 0;
        fcgate_gateway_retire(worker.gateway);
        return;
    }
    fcgate_loop_ready(worker.loop, worker.watches[connection->fd].socket,
                      event->write ? FCGATE_WRITABLE
                                   : event->pending_eof ? FCGATE_READABLE | FCGATE_HANGUP : FCGATE_READABLE);
}

static watch_t *watch_of(int32_t fd)
{
    if ((ngx_uint_t) fd >= worker.count) {
        ngx_uint_t count = ngx_max(2 * worker.count, (ngx_uint_t) fd + 64);
        watch_t *watches = ngx_alloc(count * sizeof *watches, worker.log);

        if (!watches) {
            return NULL;
        }
        ngx_memzero(watches, count * sizeof *watches);
        if (worker.watches) {
            ngx_memcpy(watches, worker.watches, worker.count * sizeof *watches);
            ngx_free(worker.watches);
        }
        worker.watches = watches;
        worker.count = count;
    }
    return &worker.watches[fd];
}

static void set_event(ngx_event_t *event, ngx_int_t kind, ngx_uint_t wanted)
{
    if (wanted && !event->active) {
        ngx_add_event(event, kind, worker.kind);
    }
    else if (!wanted && event->active) {
        ngx_del_event(event, kind, 0);
    }
}

static void connect_watch(watch_t *watch, int32_t fd)
{
    ngx_connection_t *connection = watch->connection;

    if (!connection) {
        connection = ngx_get_connection(fd, worker.log);
        if (!connection) {
            if (!worker.again.timer_set) {
                ngx_add_timer(&worker.again, WATCH_AGAIN);
            }
            return;
        }
        watch->connection = connection;
        /* The first of them is the loop's waker, which is there as long as the loop is. */
        connection->idle = worker.loop == NULL;
        connection->read->handler = ready;
        connection->write->handler = ready;
        connection->read->log = worker.log;
        connection->write->log = worker.log;
    }
    if (watch->interest == (FCGATE_READABLE | FCGATE_WRITABLE) && worker.kind == NGX_CLEAR_EVENT
        && !connection->read->active && !connection->write->active)
    {
        ngx_add_conn(connection);
        return;
    }
    set_event(connection->read, NGX_READ_EVENT, watch->interest & FCGATE_READABLE);
    set_event(connection->write, NGX_WRITE_EVENT, watch->interest & FCGATE_WRITABLE);
}

static void unwatch(watch_t *watch)
{
    ngx_connection_t *connection = watch->connection;

    if (connection) {
        if (connection->read->active && connection->write->active && ngx_del_conn) {
            ngx_del_conn(connection, 0);
        }
        set_event(connection->read, NGX_READ_EVENT, 0);
        set_event(connection->write, NGX_WRITE_EVENT, 0);
        if (connection->read->posted) {
            ngx_delete_posted_event(connection->read);
        }
        if (connection->write->posted) {
            ngx_delete_posted_event(connection->write);
        }
        ngx_free_connection(connection);
        connection->fd = (ngx_socket_t) -1;
    }
    ngx_memzero(watch, sizeof *watch);
}

static void watch(void *user, uint64_t socket, int32_t fd, uint32_t interest)
{
    watch_t *place = watch_of(fd);

    (void) user;
    if (!place) {
        return;
    }
    if (interest == 0) {
        if (place->socket == socket) {
            unwatch(place);
        }
        return;
    }
    place->socket = socket;
    place->interest = interest;
    connect_watch(place, fd);
}

static void watch_again(ngx_event_t *event)
{
    (void) event;
    for (ngx_uint_t fd = 0; fd < worker.count; fd++) {
        if (worker.watches[fd].interest != 0 && !worker.watches[fd].connection) {
            connect_watch(&worker.watches[fd], (int32_t) fd);
        }
    }
}

/* ---- time ---- */

static void expire(ngx_event_t *event)
{
    (void) event;
    fcgate_loop_expire(worker.loop);
}

static void timer(void *user, uint64_t milliseconds)
{
    (void) user;
    if (milliseconds == 0) {
        /* In nginx's next turn, so that one exchange alone does not keep it from all others. */
        if (!worker.at_once.posted) {
            ngx_post_event(&worker.at_once, &ngx_posted_next_events);
        }
        return;
    }
    /* nginx leaves a timer where it is that is moved by less than 0.3 s. */
    if (worker.timer.timer_set) {
        ngx_del_timer(&worker.timer);
    }
    if (milliseconds != FCGATE_NO_TIMER) {
        ngx_add_timer(&worker.timer, (ngx_msec_t) ngx_min(milliseconds, NGX_MAX_INT32_VALUE));
    }
}

/* ---- what has happened ---- */

static void settle(ngx_event_t *event)
{
    (void) event;
    while (!ngx_queue_empty(&worker.touched)) {
        ngx_http_fcgate_ctx_t *ctx = ngx_queue_data(ngx_queue_head(&worker.touched), ngx_http_fcgate_ctx_t, touched);
        ngx_connection_t *client = ctx->request->connection;

        ngx_http_fcgate_untouch(ctx);
        ngx_http_fcgate_advance(ctx);
        ngx_http_run_posted_requests(client);
    }
}

void ngx_http_fcgate_touch(ngx_http_fcgate_ctx_t *ctx)
{
    if (ctx->is_touched) {
        return;
    }
    ctx->is_touched = 1;
    ngx_queue_insert_tail(&worker.touched, &ctx->touched);
    if (!worker.settle.posted) {
        ngx_post_event(&worker.settle, &ngx_posted_events);
    }
}

void ngx_http_fcgate_untouch(ngx_http_fcgate_ctx_t *ctx)
{
    if (ctx->is_touched) {
        ctx->is_touched = 0;
        ngx_queue_remove(&ctx->touched);
    }
}

/* ---- exchanges ---- */

/* A worker that is to end waits for timers, but not for one that nobody needs. */
static void note_use(void)
{
    worker.timer.cancelable = ngx_queue_empty(&worker.links);
}

ngx_http_fcgate_link_t *ngx_http_fcgate_new_link(ngx_http_fcgate_ctx_t *ctx)
{
    ngx_http_fcgate_link_t *link = ngx_alloc(sizeof *link, worker.log);

    if (link) {
        link->exchange = NULL;
        link->ctx = ctx;
        link->body = NGX_INVALID_FILE;
        ngx_queue_insert_tail(&worker.links, &link->queue);
        note_use();
    }
    return link;
}

void ngx_http_fcgate_free_link(ngx_http_fcgate_link_t *link)
{
    fcgate_exchange_free(link->exchange);
    if (link->body != NGX_INVALID_FILE && ngx_close_file(link->body) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, worker.log, ngx_errno, ngx_close_file_n " failed");
    }
    ngx_queue_remove(&link->queue);
    ngx_free(link);
    note_use();
}

/* ---- the process ---- */

static void prepare(ngx_event_t *event, ngx_event_handler_pt handler)
{
    event->handler = handler;
    event->data = &worker.none;
    event->log = worker.log;
}

ngx_int_t ngx_http_fcgate_init_process(ngx_cycle_t *cycle)
{
    ngx_http_fcgate_main_conf_t *mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fcgate_module);
    fcgate_loop_hooks hooks = {.struct_size = sizeof hooks, .watch = watch, .timer = timer};
    fcgate_error error;

    if (!mcf || mcf->balancers.nelts == 0
        || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }
    ngx_memzero(&worker, sizeof worker);
    worker.log = cycle->log;
    worker.kind = NGX_LEVEL_EVENT;
#if (NGX_HAVE_EPOLLRDHUP)
    if ((ngx_event_flags & NGX_USE_EPOLL_EVENT) && ngx_use_epoll_rdhup) {
        worker.kind = NGX_CLEAR_EVENT;
        hooks.flags = FCGATE_LOOP_EDGE_TRIGGERED;
    }
#endif
    worker.none.fd = (ngx_socket_t) -1;
    worker.none.log = cycle->log;
    ngx_queue_init(&worker.touched);
    ngx_queue_init(&worker.links);
    prepare(&worker.timer, expire);
    prepare(&worker.at_once, expire);
    prepare(&worker.again, watch_again);
    prepare(&worker.settle, settle);
    worker.timer.cancelable = 1;
    worker.again.cancelable = 1;

    /* Its warnings were said when the configuration was checked, once for all workers. */
    worker.gateway = fcgate_gateway_new(mcf->config, NULL, NULL, &error);
    worker.request = fcgate_request_new();
    if (worker.gateway) {
        fcgate_gateway_set_log(worker.gateway, ngx_http_fcgate_log, cycle->log);
        worker.loop = fcgate_loop_new(worker.gateway, &hooks, NULL, &error);
    }
    if (!worker.loop) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "fcgate: this worker can forward nothing: %s", error.text);
        return NGX_ERROR;
    }
    return NGX_OK;
}

void ngx_http_fcgate_exit_process(ngx_cycle_t *cycle)
{
    (void) cycle;
    if (!worker.gateway) {
        return;
    }
    fcgate_loop_free(worker.loop);
    while (!ngx_queue_empty(&worker.links)) {
        ngx_http_fcgate_free_link(ngx_queue_data(ngx_queue_head(&worker.links), ngx_http_fcgate_link_t, queue));
    }
    fcgate_request_free(worker.request);
    fcgate_gateway_free(worker.gateway);
    for (ngx_uint_t fd = 0; fd < worker.count; fd++) {
        unwatch(&worker.watches[fd]);
    }
    ngx_free(worker.watches);
    ngx_http_fcgate_forget_routes();
    ngx_memzero(&worker, sizeof worker);
}
