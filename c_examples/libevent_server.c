/*
 * libevent_server: evhttp, libevent's web server, with fcgate in the same event loop (level C).
 *
 *     cc libevent_server.c -o libevent_server $(pkg-config --cflags --libs fcgate libevent)
 *     ./libevent_server 8080 /srv/www "unix:/run/php/fpm.sock max_connections=4"
 *
 * Every request goes to the application: evhttp takes its body whole, the response is streamed. Ends with 0 on SIGINT or SIGTERM.
 */
#define _GNU_SOURCE
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <fcgate.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#define MOST_UNSENT (256 << 10) /* bytes that wait for the client before the response is paused */

static struct event_base *base;
static struct event *expiry;
static fcgate_loop *loop;
static struct { struct event *event; uint64_t socket; } *watched; /* fcgate's sockets, by descriptor */
static int places;
static struct evbuffer *piece; /* of a response, on its way through on_data */
static const char *listen_on = "127.0.0.1", *port, *root;

/* One request of a client's. */
struct answer { struct evhttp_request *client; struct bufferevent *socket; fcgate_exchange *exchange; int has_head; };

static void on_ready(evutil_socket_t fd, short what, void *user)
{
    (void)user, fcgate_loop_ready(loop, watched[fd].socket, (what & EV_READ ? FCGATE_READABLE : 0u) | (what & EV_WRITE ? FCGATE_WRITABLE : 0u));
}
static void watch(void *user, uint64_t socket, int32_t fd, uint32_t interest)
{
    int events = EV_PERSIST | (interest & FCGATE_READABLE ? EV_READ : 0) | (interest & FCGATE_WRITABLE ? EV_WRITE : 0);
    for (; places <= fd; watched[places++].event = NULL) watched = realloc(watched, (size_t)(places + 1) * sizeof *watched);
    if (watched[fd].event) event_free(watched[fd].event);
    watched[fd].socket = socket;
    watched[fd].event = interest ? event_new(base, fd, (short)events, on_ready, user) : NULL;
    if (interest) event_add(watched[fd].event, NULL);
}
static void on_expiry(evutil_socket_t fd, short what, void *user) { (void)fd, (void)what, (void)user, fcgate_loop_expire(loop); }
static void timer(void *user, uint64_t milliseconds)
{
    struct timeval after = { .tv_sec = (time_t)(milliseconds / 1000), .tv_usec = (suseconds_t)(milliseconds % 1000 * 1000) };
    (void)user, milliseconds == FCGATE_NO_TIMER ? event_del(expiry) : event_add(expiry, &after);
}
/* evhttp leaves the request to who was to answer it. The exchange ends now, or, with ignore_client_abort, in its time. */
static void on_client_gone(struct evhttp_connection *connection, void *user)
{
    struct answer *answer = user;
    (void)connection, evhttp_request_free(answer->client), answer->client = NULL, fcgate_exchange_client_gone(answer->exchange);
}
static void on_sent(struct evhttp_connection *connection, void *exchange) { (void)connection, fcgate_exchange_pause(exchange, 0); }
static int32_t on_head(void *user, fcgate_exchange *exchange, const fcgate_head *head)
{
    struct answer *answer = user; if (!answer->client) return FCGATE_OK; /* its client is gone */
    struct evkeyvalq *fields = answer->client->output_headers;
    const char *text[2]; size_t length[2], i;
    for (i = 0; fcgate_head_field(head, i, &text[0], &length[0], &text[1], &length[1]) == FCGATE_OK; i++) {
        char *name = strndup(text[0], length[0]), *value = strndup(text[1], length[1]);
        evhttp_add_header(fields, name, value), free(name), free(value);
    }
    text[0] = fcgate_head_reason(head, &length[0]);
    char *reason = length[0] ? strndup(text[0], length[0]) : NULL;
    evhttp_send_reply_start(answer->client, (int)fcgate_head_status(head), reason), free(reason); /* HEAD, 204, 304: it knows */
    return (void)exchange, answer->has_head = 1, FCGATE_OK;
}
static int32_t on_data(void *user, fcgate_exchange *exchange, const void *bytes, size_t length)
{
    struct answer *answer = user; if (!answer->client) return FCGATE_OK;
    evbuffer_add(piece, bytes, length);
    evhttp_send_reply_chunk_with_cb(answer->client, piece, on_sent, exchange);
    if (evbuffer_get_length(bufferevent_get_output(answer->socket)) > MOST_UNSENT) fcgate_exchange_pause(exchange, 1); /* until on_sent */
    return FCGATE_OK;
}
static void on_end(void *user, fcgate_exchange *exchange, int32_t status, const fcgate_error *error)
{
    struct answer *answer = user; struct evhttp_request *client = answer->client;
    if (!client) { fcgate_exchange_free(exchange), free(answer); return; }
    evhttp_connection_set_closecb(evhttp_request_get_connection(client), NULL, NULL);
    bufferevent_setwatermark(answer->socket, EV_READ, 0, 0);
    if (status != FCGATE_OK && answer->has_head) /* no last chunk, no further request: cut, it never looks whole */
        client->chunked = 0, evhttp_add_header(client->output_headers, "Connection", "close");
    if (status != FCGATE_OK && answer->has_head && !client->minor) /* HTTP/1.0 knows a cut by a reset alone */
        connect(bufferevent_getfd(answer->socket), &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr));
    if (status != FCGATE_OK && error->http_status == 503) evhttp_add_header(client->output_headers, "Retry-After", "5");
    if (status == FCGATE_OK || answer->has_head) evhttp_send_reply_end(client);
    else evhttp_send_reply(client, (int)error->http_status, NULL, NULL);
    fcgate_exchange_free(exchange), free(answer);
}
static void on_log(void *user, uint32_t level, const char *text, size_t length) { (void)user, (void)level, fprintf(stderr, "%.*s\n", (int)length, text); }
static void on_request(struct evhttp_request *client, void *request)
{
    static const char *const methods[] = { "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH" };
    static const fcgate_events events = { .struct_size = sizeof events, .head = on_head, .data = on_data, .end = on_end };
    struct evhttp_connection *connection = evhttp_request_get_connection(client);
    struct evbuffer *body = evhttp_request_get_input_buffer(client);
    struct answer *answer = calloc(1, sizeof *answer);
    struct { bufferevent_data_cb write; bufferevent_event_cb event; } of_evhttp;
    char remote_port[8];
    const char *facts[] = { [FCGATE_METHOD] = methods[ffs((int)client->type) - 1], [FCGATE_TARGET] = client->uri,
                            [FCGATE_PROTOCOL] = client->minor ? "HTTP/1.1" : "HTTP/1.0", [FCGATE_SERVER_PORT] = port,
                            [FCGATE_REMOTE_ADDR] = client->remote_host, [FCGATE_REMOTE_PORT] = remote_port,
                            [FCGATE_SERVER_SOFTWARE] = "libevent", [FCGATE_SERVER_ADDR] = listen_on, [FCGATE_DOCUMENT_ROOT] = root };
    struct evkeyval *field; fcgate_error error;
    snprintf(remote_port, sizeof remote_port, "%u", client->remote_port), evhttp_add_header(client->output_headers, "X-Fcgate-Example", "libevent");
    for (uint32_t number = 0; number < sizeof facts / sizeof *facts; number++)
        if (facts[number]) fcgate_request_fact(request, number, facts[number], strlen(facts[number]));
    TAILQ_FOREACH(field, client->input_headers, next) fcgate_request_header(request, field->key, strlen(field->key), field->value, strlen(field->value));
    fcgate_request_body(request, evbuffer_pullup(body, -1), evbuffer_get_length(body));
    *answer = (struct answer){ .client = client, .socket = evhttp_connection_get_bufferevent(connection),
                               .exchange = fcgate_exchange_start(loop, NULL, request, &events, answer, &error) };
    evhttp_connection_set_closecb(connection, on_client_gone, answer);
    if (!answer->exchange) { on_end(answer, NULL, error.status, &error); return; } /* there will be no call */
    /* A response to HTTP/1.0 without a length ends with its connection. */
    if (!client->minor) evhttp_remove_header(client->input_headers, "Connection");
    /* Until the response begins, evhttp does not read and sees no client leave: so it reads, up to a bound. */
    bufferevent_getcb(answer->socket, NULL, &of_evhttp.write, &of_evhttp.event, NULL);
    bufferevent_setcb(answer->socket, NULL, of_evhttp.write, of_evhttp.event, connection);
    bufferevent_setwatermark(answer->socket, EV_READ, 0, MOST_UNSENT);
    bufferevent_enable(answer->socket, EV_READ);
}
static void on_signal(evutil_socket_t number, short what, void *user) { (void)number, (void)what, event_base_loopbreak(user); }
int main(int argc, char **argv)
{
    fcgate_loop_hooks hooks = { .struct_size = sizeof hooks, .watch = watch, .timer = timer };
    fcgate_error error = { .text = "usage: libevent_server PORT ROOT \"ADDRESS [SETTING=VALUE ...]\"" };
    fcgate_gateway *gateway = argc == 4 ? fcgate_open(argv[3], &error) : NULL;
    fcgate_request *request = fcgate_request_new(); /* empty again after each start */
    struct evhttp *http = evhttp_new(base = event_base_new());
    expiry = evtimer_new(base, on_expiry, NULL), piece = evbuffer_new(), port = argv[1], root = argc == 4 ? argv[2] : NULL;
    if (!gateway || !(loop = fcgate_loop_new(gateway, &hooks, NULL, &error))) return fprintf(stderr, "%s\n", error.text), 2;
    fcgate_gateway_set_log(gateway, on_log, NULL), evhttp_set_gencb(http, on_request, request);
    evhttp_set_default_content_type(http, NULL), evhttp_set_allowed_methods(http, 0x1ff); /* all nine; others get a 501 */
    evhttp_set_max_body_size(http, 16 << 20); /* a larger one gets a 413 */
    evhttp_set_timeout(http, 120); /* for clients that neither send nor take anything; so for the application too */
    if (evhttp_bind_socket(http, listen_on, (uint16_t)atoi(port)) != 0) return perror(port), 1;
    event_add(evsignal_new(base, SIGINT, on_signal, base), NULL), event_add(evsignal_new(base, SIGTERM, on_signal, base), NULL);
    signal(SIGPIPE, SIG_IGN), event_base_dispatch(base);
    fcgate_loop_free(loop), fcgate_request_free(request), fcgate_gateway_free(gateway);
    return 0;
}
