/*
 * fcgate: one FastCGI client engine for every C web server.
 *
 * Generated from src/capi of the sources; do not edit.
 *
 * In short
 *
 *     fcgate_error error;
 *     fcgate_gateway *gateway = fcgate_open("unix:/run/php/fpm.sock max_connections=16", &error);
 *     fcgate_request *request = fcgate_request_new();
 *     fcgate_request_fact(request, FCGATE_METHOD, "GET", 3);
 *     fcgate_request_fact(request, FCGATE_TARGET, "/index.php?a=b", 14);
 *     fcgate_request_fact(request, FCGATE_DOCUMENT_ROOT, "/srv/www", 8);
 *     fcgate_handler handler = { .struct_size = sizeof handler, .client_fd = -1, .data = on_data };
 *     if (fcgate_forward(gateway, NULL, request, &handler, user, NULL, &error) != FCGATE_OK)
 *         fprintf(stderr, "%s\n", error.text);
 *
 * There are three levels of use: A, fcgate_forward: one blocking call with callbacks. B,
 * fcgate_exchange_open: blocking, the caller writes and reads. C, fcgate_loop_new and
 * fcgate_exchange_start: in the host's event loop, which watches fcgate's sockets itself.
 *
 * Ownership. Handles are opaque: made by X_new (or fcgate_open, fcgate_exchange_open,
 * fcgate_exchange_start), freed by X_free, which takes NULL too. Nothing frees itself. Structures are
 * the caller's; those that begin with struct_size may grow: set it to their sizeof. What is handed
 * in is copied before a call returns, unless said otherwise; what is handed out is lent as long as
 * said. Memory never crosses for freeing.
 *
 * Threads. A config is built by one thread. A gateway and its routes are shared by all threads. A
 * request, an exchange and a loop are used by one thread at a time. Make the gateway after the
 * process has forked. The log callback is called by any thread that uses the gateway.
 *
 * Errors. Calls return FCGATE_OK (0) or a status; status numbers are never reused. A fcgate_error,
 * where one is taken, gets the details: what happened, where, to which pool, what to look at. It may
 * be NULL. Callbacks must not throw or longjmp.
 *
 * Strings. Bytes are pointer and length, and need no NUL; names and values of settings, addresses
 * and names of balancers are NUL-terminated UTF-8.
 */

#ifndef FCGATE_H
#define FCGATE_H

#include <stddef.h>
#include <stdint.h>


/*
 The ABI that this header describes. It changes only with the soname.
 */
#define FCGATE_ABI 1

/*
 Done.
 */
#define FCGATE_OK 0

/*
 An argument is NULL, out of range, or not of the encoding that is asked for.
 */
#define FCGATE_E_ARGUMENT 1

/*
 An unknown setting, a value it does not take, or a scope it does not have.
 */
#define FCGATE_E_SETTING 2

/*
 An address that is not one.
 */
#define FCGATE_E_ADDRESS 3

/*
 No balancer, route or field of that name, or two of them.
 */
#define FCGATE_E_NAME 4

/*
 A call out of order: of an exchange that is over, of a config that is in use.
 */
#define FCGATE_E_STATE 5

/*
 A defect of fcgate was met. The exchange, request or loop it happened in can only be freed;
 gateway and config stay usable.
 */
#define FCGATE_E_PANIC 6

/*
 The system refused something that was asked of it outside an exchange; see `sys_errno`.
 */
#define FCGATE_E_SYSTEM 9

/*
 The library's ABI is not the one the program was compiled for.
 */
#define FCGATE_E_ABI 10

/*
 The request is not one: HTTP status 400.
 */
#define FCGATE_E_REQUEST 20

/*
 The script does not exist: HTTP status 404.
 */
#define FCGATE_E_NOT_FOUND 21

/*
 The body is larger than `max_body_bytes`: HTTP status 413.
 */
#define FCGATE_E_TOO_LARGE 22

/*
 The params are larger than `max_params_bytes`, or one of them than a record: HTTP status 431.
 */
#define FCGATE_E_PARAMS 23

/*
 Nothing now; a callback will say when to call again.
 */
#define FCGATE_AGAIN 40

/*
 The pool's queue was full: HTTP status 503.
 */
#define FCGATE_E_QUEUE_FULL 100

/*
 No connection came free within `queue_timeout`: HTTP status 503.
 */
#define FCGATE_E_QUEUE_TIMEOUT 101

/*
 Connecting failed for longer than `restart_window`: HTTP status 502.
 */
#define FCGATE_E_CONNECT 102

/*
 Connecting took longer than `connect_timeout`: HTTP status 504.
 */
#define FCGATE_E_CONNECT_TIMEOUT 103

/*
 Every pool of the balancer is marked down: HTTP status 502.
 */
#define FCGATE_E_NO_POOL 104

/*
 The application closed the connection before it answered: HTTP status 502.
 */
#define FCGATE_E_CLOSED 110

/*
 The application closed the connection inside the response head: HTTP status 502.
 */
#define FCGATE_E_CLOSED_IN_HEAD 111

/*
 The application closed the connection before the response was whole: cut the client's response.
 */
#define FCGATE_E_CLOSED_IN_BODY 112

/*
 The application broke the protocol: HTTP status 502.
 */
#define FCGATE_E_PROTOCOL 113

/*
 The application did not take the request within `send_timeout`: HTTP status 504.
 */
#define FCGATE_E_SEND_TIMEOUT 120

/*
 No response head within `head_timeout`: HTTP status 504.
 */
#define FCGATE_E_HEAD_TIMEOUT 121

/*
 No more of the response within `read_timeout`: cut the client's response.
 */
#define FCGATE_E_READ_TIMEOUT 122

/*
 The exchange took longer than `total_timeout`: HTTP status 504.
 */
#define FCGATE_E_TOTAL_TIMEOUT 123

/*
 The response head is not one: HTTP status 502.
 */
#define FCGATE_E_BAD_HEAD 130

/*
 The application ended the request without a response head: HTTP status 502.
 */
#define FCGATE_E_NO_HEAD 131

/*
 The body is shorter than its Content-Length: cut the client's response.
 */
#define FCGATE_E_SHORT_BODY 132

/*
 The application said that it is overloaded: HTTP status 503.
 */
#define FCGATE_E_OVERLOADED 140

/*
 The application refused to multiplex, twice: HTTP status 502.
 */
#define FCGATE_E_CANT_MULTIPLEX 141

/*
 The application does not know the role: HTTP status 502.
 */
#define FCGATE_E_UNKNOWN_ROLE 142

/*
 The application ended the request with a protocol status of its own: HTTP status 502.
 */
#define FCGATE_E_UNKNOWN_STATUS 143

/*
 The client closed its connection: nobody is left to answer.
 */
#define FCGATE_E_CLIENT_GONE 150

/*
 The request body ended before its length: HTTP status 400.
 */
#define FCGATE_E_BODY_SHORT 151

/*
 The request body could not be read: HTTP status 400.
 */
#define FCGATE_E_BODY 152

/*
 The host gave the exchange up: a callback said so, or `fcgate_exchange_abort`.
 */
#define FCGATE_E_ABORTED 153

/*
 The application wrote a line to STDERR that `catch_stderr` names: HTTP status 500.
 */
#define FCGATE_E_CAUGHT_STDERR 154

/*
 The application answered with an error status, which `error_override` leaves to the host:
 answer with `http_status`.
 */
#define FCGATE_E_ERROR_OVERRIDE 155

/*
 On a shared connection the client took too little of its response, beyond what may be held for it.
 */
#define FCGATE_E_CLIENT_SLOW 156

/*
 Descriptors, memory or disk ran out in this process: HTTP status 503.
 */
#define FCGATE_E_RESOURCES 160

/*
 Bytes of fcgate_error.pool.
 */
#define FCGATE_ERROR_POOL 128

/*
 Bytes of fcgate_error.text.
 */
#define FCGATE_ERROR_TEXT 640

/*
 A request failed.
 */
#define FCGATE_LOG_ERROR 1

/*
 Something is wrong, but no request failed by it.
 */
#define FCGATE_LOG_WARNING 2

/*
 Worth knowing; also what applications write to STDERR.
 */
#define FCGATE_LOG_NOTICE 3

/*
 A setting of pools.
 */
#define FCGATE_SCOPE_POOL 1

/*
 A setting of balancers.
 */
#define FCGATE_SCOPE_BALANCER 2

/*
 A setting of routes.
 */
#define FCGATE_SCOPE_ROUTE 3

/*
 The param is left out when its value is empty.
 */
#define FCGATE_IF_NOT_EMPTY 1

/*
 `request_body = spool`: the host takes the whole body before it starts the exchange.
 */
#define FCGATE_BODY_SPOOL 1

/*
 `request_body = stream`: the host passes the body on as it comes.
 */
#define FCGATE_BODY_STREAM 2

/*
 `flush = auto`: what has come goes out to the client whenever the application pauses.
 */
#define FCGATE_FLUSH_AUTO 1

/*
 `flush = on`: each piece goes out.
 */
#define FCGATE_FLUSH_ON 2

/*
 `flush = off`: as the host's own buffers have it.
 */
#define FCGATE_FLUSH_OFF 3

/*
 The pool answers.
 */
#define FCGATE_POOL_UP 1

/*
 The pool failed a moment ago; other pools come first.
 */
#define FCGATE_POOL_SUSPECT 2

/*
 The pool failed for longer than `restart_window`; one request at a time tries it.
 */
#define FCGATE_POOL_DOWN 3

/*
 The pool takes no new clients.
 */
#define FCGATE_POOL_DRAINING 4

/*
 Nothing is here: a place for an address that the pool's name does not have.
 */
#define FCGATE_POOL_ABSENT 5

/*
 A page for a person: `text/html`.
 */
#define FCGATE_STATUS_HTML 1

/*
 An object for a program: `application/json`.
 */
#define FCGATE_STATUS_JSON 2

/*
 Metrics for Prometheus: `text/plain; version=0.0.4`.
 */
#define FCGATE_STATUS_PROMETHEUS 3

/*
 The application answers the request: what a web application does.
 */
#define FCGATE_RESPONDER 1

/*
 The application allows or denies the request.
 */
#define FCGATE_AUTHORIZER 2

/*
 The application answers the request with a file at hand.
 */
#define FCGATE_FILTER 3

/*
 The method: `GET`.
 */
#define FCGATE_METHOD 1

/*
 The request-target as it was received: `/a%20b.php?c=d`. REQUEST_URI comes from it, and path
 and query where they are not stated.
 */
#define FCGATE_TARGET 2

/*
 The decoded path, if the server decoded or rewrote it.
 */
#define FCGATE_PATH 3

/*
 The query, as it is, without `?`.
 */
#define FCGATE_QUERY 4

/*
 `HTTP/1.1`.
 */
#define FCGATE_PROTOCOL 5

/*
 `http` or `https`.
 */
#define FCGATE_SCHEME 6

/*
 The server's name and version.
 */
#define FCGATE_SERVER_SOFTWARE 7

/*
 The server's name by its own policy.
 */
#define FCGATE_SERVER_NAME 8

/*
 The address that the client connected to.
 */
#define FCGATE_SERVER_ADDR 9

/*
 The port that the client connected to, in decimal.
 */
#define FCGATE_SERVER_PORT 10

/*
 The client's address.
 */
#define FCGATE_REMOTE_ADDR 11

/*
 The client's port, in decimal.
 */
#define FCGATE_REMOTE_PORT 12

/*
 The user, if the server itself authenticated the request; never from an unchecked header.
 */
#define FCGATE_REMOTE_USER 13

/*
 How the server authenticated the request: `Basic`.
 */
#define FCGATE_AUTH_TYPE 14

/*
 The root of the site's files.
 */
#define FCGATE_DOCUMENT_ROOT 15

/*
 The file that the server's own mapping of the path led to, what follows the script included unless
 FCGATE_PATH_INFO is stated. Left out: document root and path.
 */
#define FCGATE_FILE 16

/*
 What of the path follows the script, if the server split it. Left out: split at `.php`.
 */
#define FCGATE_PATH_INFO 17

/*
 The status of an internal redirect, such as 404 for an error page.
 */
#define FCGATE_REDIRECT_STATUS 18

/*
 `on` over TLS; otherwise leave it out.
 */
#define FCGATE_HTTPS 19

/*
 `on` if FCGATE_FILE is a regular file, `off` if not, where the server has looked already. Left
 out: fcgate looks.
 */
#define FCGATE_FILE_EXISTS 20

/*
 The prefix of the path by which the server chose the application: `/git`. Preset plain splits the
 path at the next `/` behind it.
 */
#define FCGATE_PREFIX 21

/*
 `on` if header names with underscores are to pass, because the server was told so; otherwise leave it
 out. One that makes the same param as another name then does not.
 */
#define FCGATE_UNDERSCORES 22

/*
 fcgate_request_bind: the address may be another machine's (Linux, with the privilege CAP_NET_RAW).
 */
#define FCGATE_BIND_TRANSPARENT 1

/*
 A length that is not known beforehand.
 */
#define FCGATE_LENGTH_UNKNOWN UINT64_MAX

/*
 The request body, as a stream to write to.
 */
#define FCGATE_STDIN 5

/*
 The bytes written are the last.
 */
#define FCGATE_END 1

/*
 Watch for reading; ready to be read.
 */
#define FCGATE_READABLE 1

/*
 Watch for writing; ready to be written.
 */
#define FCGATE_WRITABLE 2

/*
 The peer has closed, or the connection has failed (EPOLLRDHUP, EPOLLHUP, EPOLLERR).
 */
#define FCGATE_HANGUP 4

/*
 The host tells of readiness once, when it comes about (EPOLLET).
 */
#define FCGATE_LOOP_EDGE_TRIGGERED 1

/*
 No timer is needed.
 */
#define FCGATE_NO_TIMER UINT64_MAX

/*
 Balancers, pools and routes while they are configured. One thread at a time. It can be changed
 until fcgate_config_check or fcgate_gateway_new has succeeded with it, and freed after that: a
 gateway keeps what it needs.
 */
typedef struct fcgate_config fcgate_config;

/*
 One request on its way, of level B (fcgate_exchange_open) or C (fcgate_exchange_start). One
 thread at a time. Free it with fcgate_exchange_free; freeing one that is not over gives it up.
 */
typedef struct fcgate_exchange fcgate_exchange;

/*
 One process's connections, waiters and upkeep. Made after the process has forked, shared by all
 its threads, freed when none of them uses it any more.
 */
typedef struct fcgate_gateway fcgate_gateway;

/*
 The head of a response: status and fields as they are to be passed on; hop-by-hop fields and
 Status are taken out. Lent: in a callback until it returns, from fcgate_exchange_head until the
 exchange is freed.
 */
typedef struct fcgate_head fcgate_head;

/*
 The exchanges of one event loop. Used by one thread. Free it with fcgate_loop_free, after its
 exchanges and before the gateway.
 */
typedef struct fcgate_loop fcgate_loop;

/*
 A request to be. One thread at a time. Everything handed in is copied. It may be used again
 after fcgate_request_clear, which keeps its memory, and cleared or freed as soon as the call
 that forwards it has returned (level A), the exchange is freed (B, C).
 */
typedef struct fcgate_request fcgate_request;

/*
 The settings of one location and its balancer. Made by fcgate_config_route, set before the config
 is in use, then shared by all threads. It belongs to its config and to the gateways made of it:
 never freed by itself, valid as long as one of them is.
 */
typedef struct fcgate_route fcgate_route;

/*
 What went wrong. Yours: put it on the stack, hand in its address, or NULL if you do not care.
 Filled by each call that takes one, also with success. 1024 bytes for ever.
 */
typedef struct {
    /*
     The status that the call returned.
     */
    int32_t status;
    /*
     The system's error number, or 0.
     */
    int32_t sys_errno;
    /*
     Where the exchange stood; see fcgate_phase_name.
     */
    uint32_t phase;
    /*
     The HTTP status to answer with, as long as no head has been passed on; 0 with success.
     */
    uint32_t http_status;
    /*
     1 if the same request may be sent again without harm.
     */
    uint32_t retry_safe;
    /*
     0.
     */
    uint32_t reserved0;
    /*
     Microseconds since the start of the exchange.
     */
    uint64_t elapsed_us;
    /*
     Bytes that the application's socket took in the last attempt.
     */
    uint64_t bytes_sent;
    /*
     Bytes of the response body that came in the last attempt.
     */
    uint64_t bytes_received;
    /*
     The pool's address; NUL-terminated, cut if longer.
     */
    char pool[FCGATE_ERROR_POOL];
    /*
     What happened, where, and what to look at; NUL-terminated, cut if longer.
     */
    char text[FCGATE_ERROR_TEXT];
    /*
     0.
     */
    uint8_t reserved[208];
} fcgate_error;

/*
 One line of the table of settings. Set `struct_size` to `sizeof(fcgate_setting)` before the
 call. The texts are static.
 */
typedef struct {
    /*
     sizeof(fcgate_setting).
     */
    uint32_t struct_size;
    /*
     FCGATE_SCOPE_POOL, FCGATE_SCOPE_BALANCER or FCGATE_SCOPE_ROUTE.
     */
    uint32_t scope;
    /*
     The name by which it is set.
     */
    const char *name;
    /*
     Its default, as it would be set; may be empty.
     */
    const char *default_value;
    /*
     What values it takes.
     */
    const char *range;
    /*
     What it does.
     */
    const char *help;
} fcgate_setting;

/*
 Takes a log line of `length` bytes of UTF-8, without NUL and newline. Called by any thread that
 uses the gateway, several at once; it must not throw or longjmp, and must not free the gateway.
 */
typedef void (*fcgate_log)(void *user, uint32_t level, const char *text, size_t length);

/*
 What a route says of what the host itself does. Set `struct_size` to
 `sizeof(fcgate_route_info)` before the call.
 */
typedef struct {
    /*
     sizeof(fcgate_route_info).
     */
    uint32_t struct_size;
    /*
     FCGATE_BODY_SPOOL or FCGATE_BODY_STREAM.
     */
    uint32_t request_body;
    /*
     FCGATE_FLUSH_AUTO, FCGATE_FLUSH_ON or FCGATE_FLUSH_OFF.
     */
    uint32_t flush;
    /*
     0.
     */
    uint32_t reserved;
    /*
     The largest request body, in bytes; 0: no limit.
     */
    uint64_t max_body_bytes;
} fcgate_route_info;

/*
 What a gateway knows of one pool; its counts are those of this process since the gateway was made.
 Set `struct_size` to `sizeof(fcgate_pool_status)` before the call.
 */
typedef struct {
    /*
     sizeof(fcgate_pool_status).
     */
    uint32_t struct_size;
    /*
     FCGATE_POOL_UP, FCGATE_POOL_SUSPECT, FCGATE_POOL_DOWN, FCGATE_POOL_DRAINING or FCGATE_POOL_ABSENT.
     */
    uint32_t state;
    /*
     1 if it is asked only while no other can be reached.
     */
    uint32_t backup;
    /*
     Its share of the requests.
     */
    uint32_t weight;
    /*
     The most connections; 0 is no limit.
     */
    uint32_t max_connections;
    /*
     0.
     */
    uint32_t reserved;
    /*
     Requests under way.
     */
    uint64_t active;
    /*
     Kept connections that wait for a request.
     */
    uint64_t idle;
    /*
     Requests that wait for a connection.
     */
    uint64_t waiting;
    /*
     Requests sent to it.
     */
    uint64_t requests;
    /*
     Connections made.
     */
    uint64_t connects;
    /*
     Requests that got a kept connection.
     */
    uint64_t reuses;
    /*
     Attempts that were repeated.
     */
    uint64_t retries;
    /*
     Requests that failed.
     */
    uint64_t failures;
    /*
     Its balancer's name; NUL-terminated, cut if longer.
     */
    char balancer[FCGATE_ERROR_POOL];
    /*
     Its address; NUL-terminated, cut if longer.
     */
    char pool[FCGATE_ERROR_POOL];
} fcgate_pool_status;

/*
 The host's side of fcgate_forward. Each function may be NULL and gets `user` as its first
 argument; those that return a status give the exchange up by returning anything but FCGATE_OK:
 FCGATE_E_CLIENT_GONE where the client is gone (then, with `ignore_client_abort`, the application
 may finish, and nothing but `error_line` is called any more). They are called by the thread that called fcgate_forward, and must not throw or longjmp.
 */
typedef struct {
    /*
     sizeof(fcgate_handler).
     */
    uint32_t struct_size;
    /*
     A descriptor whose end of file or error says that the client is gone; -1 for none.
     */
    int32_t client_fd;
    /*
     Puts the next bytes of the request's body into `buffer` and their number into `got`, 0 at
     the end. Needed where fcgate_request_body_length announced a body.
     */
    int32_t (*body)(void *user, void *buffer, size_t capacity, size_t *got);
    /*
     The response head, once.
     */
    int32_t (*head)(void *user, const fcgate_head *head);
    /*
     Bytes of the response body.
     */
    int32_t (*data)(void *user, const void *bytes, size_t length);
    /*
     The application pauses: what is held back should go out to the client.
     */
    int32_t (*flush)(void *user);
    /*
     The response is whole. fcgate_forward may still wait a moment for the end of the request.
     */
    int32_t (*complete)(void *user);
    /*
     A line that the application wrote to STDERR, escaped, without a newline. NULL: it goes to
     the log.
     */
    void (*error_line)(void *user, const char *line, size_t length);
    /*
     Whether the client is gone; asked a few times a second while the application is silent.
     */
    int32_t (*client_gone)(void *user);
    /*
     In place of `data` and `complete`: the last bytes of the response body, which is whole with
     them, where its end came together with them.
     */
    int32_t (*last)(void *user, const void *bytes, size_t length);
} fcgate_handler;

/*
 Times, counts and the pool of an exchange, also of one that went well. Set `struct_size` to
 `sizeof(fcgate_info)` before the call. Times are microseconds since the start of the exchange, 0
 for what did not happen.
 */
typedef struct {
    /*
     sizeof(fcgate_info).
     */
    uint32_t struct_size;
    /*
     Where it stands; see fcgate_phase_name.
     */
    uint32_t phase;
    /*
     How often the request was tried again.
     */
    uint32_t retries;
    /*
     1 if it ran on a kept connection.
     */
    uint32_t reused;
    /*
     1 if END_REQUEST came; then the next two are what it said.
     */
    uint32_t has_end;
    /*
     The application's own status.
     */
    uint32_t app_status;
    /*
     The protocol status.
     */
    uint32_t protocol_status;
    /*
     The response's status; 0 before its head.
     */
    uint32_t http_status;
    /*
     Time spent in queues.
     */
    uint64_t queue_us;
    /*
     When the connection was made.
     */
    uint64_t connect_us;
    /*
     When the last byte of the request was sent.
     */
    uint64_t sent_us;
    /*
     When the head was whole.
     */
    uint64_t head_us;
    /*
     When the exchange was over.
     */
    uint64_t total_us;
    /*
     Bytes that the application's socket took in the last attempt.
     */
    uint64_t bytes_sent;
    /*
     Bytes of the response body that came in the last attempt.
     */
    uint64_t bytes_received;
    /*
     The pool's address; NUL-terminated, cut if longer.
     */
    char pool[FCGATE_ERROR_POOL];
} fcgate_info;

/*
 What the host's event loop does for fcgate. Both are called by the thread that uses the loop,
 from within its calls into fcgate.
 */
typedef struct {
    /*
     sizeof(fcgate_loop_hooks).
     */
    uint32_t struct_size;
    /*
     0.
     */
    uint32_t reserved;
    /*
     Watch `fd` for `interest` (FCGATE_READABLE, FCGATE_WRITABLE, both) from now on, level-triggered
     unless `flags` says otherwise; 0: not any more, which comes before the descriptor is closed. `socket`
     names it: hand it to fcgate_loop_ready. It is never used again, unlike the descriptor's number.
     */
    void (*watch)(void *user, uint64_t socket, int32_t fd, uint32_t interest);
    /*
     Call fcgate_loop_expire after so many milliseconds; a later call replaces an earlier one. 0:
     as soon as this call into fcgate has returned.
     */
    void (*timer)(void *user, uint64_t milliseconds);
    /*
     0, or FCGATE_LOOP_EDGE_TRIGGERED. Of such a host an interest is asked for once and never taken back
     until the end: at first FCGATE_READABLE as a rule, or both; then perhaps both. It has to tell what is
     so at each of these calls and what comes about afterwards, FCGATE_HANGUP too: after bytes that came
     together with the end nothing else would tell of it.
     */
    uint32_t flags;
    /*
     0.
     */
    uint32_t reserved2;
} fcgate_loop_hooks;

/*
 What happens in an exchange. Each may be NULL and gets `user` as its first argument. Within them
 the host may free, pause or abort the exchange and start others.
 */
typedef struct {
    /*
     sizeof(fcgate_events).
     */
    uint32_t struct_size;
    /*
     0.
     */
    uint32_t reserved;
    /*
     The response head, once. Anything but FCGATE_OK gives the exchange up.
     */
    int32_t (*head)(void *user, fcgate_exchange *exchange, const fcgate_head *head);
    /*
     Bytes of the response body, lent until it returns. Anything but FCGATE_OK gives the exchange up.
     */
    int32_t (*data)(void *user, fcgate_exchange *exchange, const void *bytes, size_t length);
    /*
     A line that the application wrote to STDERR, escaped. NULL: it goes to the log.
     */
    void (*error_line)(void *user, fcgate_exchange *exchange, const char *line, size_t length);
    /*
     More of an announced body is wanted: call fcgate_exchange_send, now or later.
     */
    void (*writable)(void *user, fcgate_exchange *exchange);
    /*
     The response is whole.
     */
    void (*complete)(void *user, fcgate_exchange *exchange);
    /*
     The exchange is over, with this status: the last call. Free the exchange in it or later.
     */
    void (*end)(void *user, fcgate_exchange *exchange, int32_t status, const fcgate_error *error);
    /*
     A line of the log about this exchange; `level` is one of FCGATE_LOG_. NULL: it goes to the
     gateway's log. It may come from within fcgate_exchange_start, with NULL for the exchange.
     */
    void (*log)(void *user,
                fcgate_exchange *exchange,
                uint32_t level,
                const char *text,
                size_t length);
    /*
     A large piece of the response body is about to be received, no more than `*length` bytes: returns
     where the host wants it, and lowers `*length` to the room there; NULL: it has none, and the bytes
     are lent as all others. The next call of this exchange is `data` with what came there, perhaps
     nothing; until then the memory is fcgate's to write to.
     */
    void *(*room)(void *user, fcgate_exchange *exchange, size_t *length);
} fcgate_events;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of the library that is loaded, like `0.1.0`. Static.
 */
const char *fcgate_version(void);

/*
 The ABI of the library that is loaded.
 */
uint32_t fcgate_abi(void);

/*
 Whether the library that is loaded fits the header that the program was compiled with: pass
 FCGATE_ABI. Programs that load the library at run time call this first.

 Errors: FCGATE_E_ABI.

 # Safety
 `error` is NULL or may be written to.
 */
int32_t fcgate_abi_check(uint32_t abi, fcgate_error *error);

/*
 The name of a status, as logs have it: `ok`, `connect`, `head_timeout`. Never NULL; static.
 */
const char *fcgate_status_name(int32_t status);

/*
 The name of a phase of an exchange: `queue`, `connect`, `send`, `head`, `body`, `end`. Never
 NULL; static.
 */
const char *fcgate_phase_name(uint32_t phase);

/*
 How many settings there are.
 */
size_t fcgate_setting_count(void);

/*
 The setting at a place, from 0.

 Errors: FCGATE_E_NAME beyond the last; FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0.

 # Safety
 `setting` is NULL or may be written to for its `struct_size`.
 */
int32_t fcgate_setting_at(size_t index, fcgate_setting *setting);

/*
 The candidate that a misspelt word most likely means, or NULL: for a host's own error messages. It
 is one of the pointers handed in.

 # Safety
 `word` is NULL or a NUL-terminated string; `candidates` points to `count` of them.
 */
const char *fcgate_nearest(const char *word, const char *const *candidates, size_t count);

/*
 A new, empty config. Free it with fcgate_config_free.
 */
fcgate_config *fcgate_config_new(void);

/*
 Frees a config, and its routes unless a gateway was made of it. NULL is nothing.

 # Safety
 `config` is NULL or came from fcgate_config_new and is not used any more.
 */
void fcgate_config_free(fcgate_config *config);

/*
 Declares a balancer: a named choice among pools. Give it at least one pool.

 Errors: FCGATE_E_SETTING for a name that is not 1 to 128 letters, digits, `.`, `_`, `-`, or is
 taken; FCGATE_E_STATE once the config is in use.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_config_balancer(fcgate_config *config, const char *balancer, fcgate_error *error);

/*
 Adds a pool to a balancer, by a line of words: an address, then settings as `name=value`, and
 `backup` for one that is asked only while no other is up:
 `unix:/run/php/fpm.sock weight=2 max_connections=16`. Addresses are `unix:/path`, `unix:@name`,
 `host:port`, `[::1]:9000`.

 Errors: FCGATE_E_SETTING with the setting, its value and what is allowed; FCGATE_E_STATE.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_config_pool(fcgate_config *config,
                           const char *balancer,
                           const char *line,
                           fcgate_error *error);

/*
 Sets a setting of a balancer. A setting of pools is the default of its pools, one of routes that
 of the routes that lead to it.

 Errors: FCGATE_E_SETTING; FCGATE_E_STATE.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_config_set(fcgate_config *config,
                          const char *balancer,
                          const char *name,
                          const char *value,
                          fcgate_error *error);

/*
 Sets a param for each request to a balancer, unless a route says otherwise; as
 fcgate_route_param.

 Errors: FCGATE_E_SETTING; FCGATE_E_STATE.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_config_param(fcgate_config *config,
                            const char *balancer,
                            const char *name,
                            const char *value,
                            uint32_t flags,
                            fcgate_error *error);

/*
 Removes a param from each request to a balancer, unless a route sets it.

 Errors: FCGATE_E_SETTING; FCGATE_E_STATE.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_config_param_unset(fcgate_config *config,
                                  const char *balancer,
                                  const char *name,
                                  fcgate_error *error);

/*
 Whether a param may be set by a host or its administrator: 1 to many bytes without blanks, control
 bytes and `=`, and neither CONTENT_LENGTH nor GATEWAY_INTERFACE, which must match what is sent.

 Errors: FCGATE_E_SETTING.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_param_check(const char *name, fcgate_error *error);

/*
 Makes a route to a balancer. What is set for `parent` (or NULL) holds for it too, unless it is
 set anew. Without a balancer (NULL, and none of the parent's) no request can take it: it is a
 level for fcgate_gateway_route. Returns NULL after an error.

 # Safety
 Pointers are NULL or as their types say; `parent` is a route of this config.
 */
fcgate_route *fcgate_config_route(fcgate_config *config,
                                  const char *balancer,
                                  const fcgate_route *parent,
                                  fcgate_error *error);

/*
 Sets a setting of a route.

 Errors: FCGATE_E_SETTING; FCGATE_E_STATE.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_route_set(fcgate_route *route,
                         const char *name,
                         const char *value,
                         fcgate_error *error);

/*
 Sets a param for each request of a route; `flags` is 0 or FCGATE_IF_NOT_EMPTY. It replaces what
 an outer route, fcgate or the server's environment would say. CONTENT_LENGTH and
 GATEWAY_INTERFACE can't be set.

 Errors: FCGATE_E_SETTING; FCGATE_E_STATE.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_route_param(fcgate_route *route,
                           const char *name,
                           const char *value,
                           uint32_t flags,
                           fcgate_error *error);

/*
 Removes a param from each request of a route, whoever would set it.

 Errors: FCGATE_E_SETTING; FCGATE_E_STATE.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_route_param_unset(fcgate_route *route, const char *name, fcgate_error *error);

/*
 Checks a config as a whole, as a server does when it reads its configuration. Warnings go to
 `log`, which may be NULL. After success it can't be changed any more.

 Errors: FCGATE_E_SETTING.

 # Safety
 Pointers are NULL or as their types say.
 */
int32_t fcgate_config_check(fcgate_config *config, fcgate_log log, void *user, fcgate_error *error);

/*
 The short way: a gateway for one application, from one line: an address and any settings,
 `unix:/run/php/fpm.sock max_connections=16 head_timeout=10s`. Its route is NULL. Free it with
 fcgate_gateway_free. Connects to nothing yet. Returns NULL after an error.

 Errors: FCGATE_E_SETTING with the word of the line and what is allowed.

 # Safety
 Pointers are NULL or as their types say.
 */
fcgate_gateway *fcgate_open(const char *line, fcgate_error *error);

/*
 A gateway of a config, which is checked and can't be changed from then on, but may be freed. The
 config's routes stay valid until the gateway is freed. `log`, with `user` as its first argument,
 may be NULL. Returns NULL after an error.

 Errors: FCGATE_E_SETTING.

 # Safety
 Pointers are NULL or as their types say.
 */
fcgate_gateway *fcgate_gateway_new(fcgate_config *config,
                                   fcgate_log log,
                                   void *user,
                                   fcgate_error *error);

/*
 Frees a gateway: joins its thread, closes its idle connections, drops its callbacks. Loops and
 exchanges made with it are freed before. NULL is nothing.

 # Safety
 `gateway` is NULL or came from fcgate_open or fcgate_gateway_new and is not used any more.
 */
void fcgate_gateway_free(fcgate_gateway *gateway);

/*
 Closes a gateway's idle connections; none is kept from now on. For a process that ends as soon as what
 is under way has ended: its idle connections would hold workers of the application that its
 successor needs. Any thread.

 # Safety
 `gateway` is NULL or a gateway.
 */
void fcgate_gateway_retire(const fcgate_gateway *gateway);

/*
 Sets where log lines go, or with NULL that they go nowhere. A line that another thread is writing
 meanwhile may still go the old way.

 # Safety
 `gateway` is NULL or a gateway.
 */
int32_t fcgate_gateway_set_log(const fcgate_gateway *gateway, fcgate_log log, void *user);

/*
 A route that a host combines while it runs, as its sections overlap: to `balancer`, with what
 `levels` say, the outermost first; each is a route of the gateway's config. `base`, or NULL,
 holds where neither they nor the balancer say otherwise. The route belongs to the gateway and is
 never made anew for the same levels: keep it, and ask once for each combination. Any thread.
 Returns NULL after an error.

 Errors: FCGATE_E_NAME for a level that is not of this config; FCGATE_E_SETTING for an unknown
 balancer and for levels that contradict each other; FCGATE_E_RESOURCES beyond 4096 combinations.

 # Safety
 Pointers are NULL or as their types say; `levels` points to `count` routes.
 */
const fcgate_route *fcgate_gateway_route(const fcgate_gateway *gateway,
                                         const char *balancer,
                                         const fcgate_route *base,
                                         const fcgate_route *const *levels,
                                         size_t count,
                                         fcgate_error *error);

/*
 What a route says of the host's own doings. `route` may be NULL: the gateway's first. Any thread.

 Errors: FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0; FCGATE_E_NAME for a route of another
 config or one that leads to no balancer.

 # Safety
 Pointers are NULL or as their types say; `info` may be written to for its `struct_size`.
 */
int32_t fcgate_gateway_route_info(const fcgate_gateway *gateway,
                                  const fcgate_route *route,
                                  fcgate_route_info *info);

/*
 How many pools a gateway has, all balancers' together. A pool that is a name has `max_addresses`.

 # Safety
 `gateway` is NULL (the answer is 0) or a gateway.
 */
size_t fcgate_gateway_pool_count(const fcgate_gateway *gateway);

/*
 What is known of the pool at a place, from 0. Any thread.

 Errors: FCGATE_E_NAME beyond the last; FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0.

 # Safety
 `gateway` is NULL or a gateway; `pool` is NULL or may be written to for its `struct_size`.
 */
int32_t fcgate_gateway_pool_at(const fcgate_gateway *gateway,
                               size_t index,
                               fcgate_pool_status *pool);

/*
 Has the pool at a place, from 0, take no new clients (`drain` is 1), or take them again (0). What is
 under way there goes on, and clients that a sticky cookie binds to it still come. Holds for this
 gateway, that is, for this process. Any thread.

 Errors: FCGATE_E_NAME beyond the last; FCGATE_E_ARGUMENT for NULL.

 # Safety
 `gateway` is NULL or a gateway.
 */
int32_t fcgate_gateway_pool_drain(const fcgate_gateway *gateway,
                                  size_t index,
                                  uint32_t drain);

/*
 Writes what a gateway knows of its pools as text, for a server's status page: `format` is
 FCGATE_STATUS_HTML, FCGATE_STATUS_JSON or FCGATE_STATUS_PROMETHEUS. `write` is called once, before
 this returns, with the bytes lent until it returns. Any thread.

 Errors: FCGATE_E_ARGUMENT for NULL and other formats.

 # Safety
 `gateway` is NULL or a gateway; `write` may be called with `user`.
 */
int32_t fcgate_gateway_status(const fcgate_gateway *gateway,
                              uint32_t format,
                              void (*write)(void *user, const char *text, size_t length),
                              void *user);

/*
 A new, empty request. Free it with fcgate_request_free.
 */
fcgate_request *fcgate_request_new(void);

/*
 Frees a request. NULL is nothing.

 # Safety
 `request` is NULL or came from fcgate_request_new and is not used any more.
 */
void fcgate_request_free(fcgate_request *request);

/*
 Empties a request for the next use; keeps its memory.

 # Safety
 `request` is NULL or a request that nobody else uses during the call.
 */
void fcgate_request_clear(fcgate_request *request);

/*
 Sets the role. In this version only FCGATE_RESPONDER, the default, is built.

 Errors: FCGATE_E_ARGUMENT for any other number.

 # Safety
 `request` is NULL or a request that nobody else uses during the call.
 */
int32_t fcgate_request_role(fcgate_request *request, uint32_t role);

/*
 States a fact of the HTTP request, by its number (FCGATE_METHOD …). The last statement holds.

 Errors: FCGATE_E_ARGUMENT for an unknown number.

 # Safety
 `request` is NULL or a request that nobody else uses during the call; `value` points to
 `length` bytes.
 */
int32_t fcgate_request_fact(fcgate_request *request,
                            uint32_t fact,
                            const char *value,
                            size_t length);

/*
 Adds a header field as the client sent it; one call for each field line. Which of them become
 params, and how, is fcgate's to decide.

 # Safety
 `request` is NULL or a request that nobody else uses during the call; the pointers point to as
 many bytes as their lengths say.
 */
int32_t fcgate_request_header(fcgate_request *request,
                              const char *name,
                              size_t name_length,
                              const char *value,
                              size_t value_length);

/*
 Adds a variable of the server's own environment (SetEnv and its like). It yields to what the
 route, the caller's params and the facts say. PHP_VALUE, PHP_ADMIN_VALUE and LD_* never pass.

 # Safety
 As for fcgate_request_header.
 */
int32_t fcgate_request_variable(fcgate_request *request,
                                const char *name,
                                size_t name_length,
                                const char *value,
                                size_t value_length);

/*
 Adds a param, as it is; it goes before what facts, headers and the route say. A program that
 speaks to an application without an HTTP request states all its params in this way.

 # Safety
 As for fcgate_request_header.
 */
int32_t fcgate_request_param(fcgate_request *request,
                             const char *name,
                             size_t name_length,
                             const char *value,
                             size_t value_length);

/*
 Has a param left out, whoever would set it. Of several statements of params about one name the
 first holds.

 # Safety
 `request` is NULL or a request that nobody else uses during the call; `name` points to
 `name_length` bytes.
 */
int32_t fcgate_request_param_unset(fcgate_request *request, const char *name, size_t name_length);

/*
 Sets the body: these bytes, which are copied.

 # Safety
 `request` is NULL or a request that nobody else uses during the call; `body` points to `length`
 bytes.
 */
int32_t fcgate_request_body(fcgate_request *request, const void *body, size_t length);

/*
 Sets the body: `length` bytes from `offset` of an open file. The descriptor stays the caller's
 and must stay open until the exchange is over; its position is not moved.

 # Safety
 `request` is NULL or a request that nobody else uses during the call.
 */
int32_t fcgate_request_body_fd(fcgate_request *request,
                               int32_t fd,
                               uint64_t offset,
                               uint64_t length);

/*
 Has the request's TCP connection come from this address, `192.0.2.1` or `192.0.2.1:7000`, in place of what
 the pool's settings say. It gets a connection of its own, which serves no other. `flags` is 0 or
 FCGATE_BIND_TRANSPARENT.

 Errors: FCGATE_E_ARGUMENT for other flags and for what is no IP address.

 # Safety
 `request` is NULL or a request that nobody else uses during the call; `address` points to `length` bytes.
 */
int32_t fcgate_request_bind(fcgate_request *request,
                            const char *address,
                            size_t length,
                            uint32_t flags);

/*
 Announces a body that comes piece by piece: by the body callback (level A) or by writing
 (levels B and C). FCGATE_LENGTH_UNKNOWN where its length is not known: then it is taken whole
 before the application is asked, because FastCGI applications need its length.

 # Safety
 `request` is NULL or a request that nobody else uses during the call.
 */
int32_t fcgate_request_body_length(fcgate_request *request, uint64_t length);

/*
 The status: 200 to 599.

 # Safety
 `head` is NULL (the answer is 0) or a head that is still lent.
 */
uint32_t fcgate_head_status(const fcgate_head *head);

/*
 The application's own reason phrase; often empty: then the host's own for the status is right.
 Not NUL-terminated.

 # Safety
 `head` is NULL or a head that is still lent; `length` is NULL or may be written to.
 */
const char *fcgate_head_reason(const fcgate_head *head, size_t *length);

/*
 How many fields there are.

 # Safety
 `head` is NULL (the answer is 0) or a head that is still lent.
 */
size_t fcgate_head_field_count(const fcgate_head *head);

/*
 The field at a place, in the application's order. Not NUL-terminated.

 Errors: FCGATE_E_NAME beyond the last field.

 # Safety
 `head` is NULL or a head that is still lent; the other pointers are NULL or may be written to.
 */
int32_t fcgate_head_field(const fcgate_head *head,
                          size_t index,
                          const char **name,
                          size_t *name_length,
                          const char **value,
                          size_t *value_length);

/*
 The value of the first field of a name, in any case of letters. Not NUL-terminated.

 Errors: FCGATE_E_NAME where there is none.

 # Safety
 `head` is NULL or a head that is still lent; the other pointers are NULL or as their types say.
 */
int32_t fcgate_head_find(const fcgate_head *head,
                         const char *name,
                         const char **value,
                         size_t *value_length);

/*
 The Content-Length, or FCGATE_LENGTH_UNKNOWN.

 # Safety
 `head` is NULL (the answer is FCGATE_LENGTH_UNKNOWN) or a head that is still lent.
 */
uint64_t fcgate_head_content_length(const fcgate_head *head);

/*
 Whether a response with this head to a request of this method has a body: not for HEAD, 204 and
 304. 1 or 0.

 # Safety
 `head` is NULL or a head that is still lent; `method` points to `method_length` bytes.
 */
uint32_t fcgate_head_has_body(const fcgate_head *head, const char *method, size_t method_length);

/*
 Whether the application wants what it sends passed on to the client at once, where the host would
 hold it back: `text/event-stream`, `X-Accel-Buffering: no`. 1 or 0.

 # Safety
 `head` is NULL or a head that is still lent.
 */
uint32_t fcgate_head_is_stream(const fcgate_head *head);

/*
 Forwards a request, gives the response to the handler, and returns when the exchange is over.
 The calling thread does all of it. `route` may be NULL: the gateway's first. `handler` and `info`
 may be NULL. The request is unchanged afterwards and may be sent again.

 FCGATE_OK means that the response was whole. After an error, as long as the head callback was not
 called, answer the client with `error->http_status`; later, cut the client's response so that it
 can't look whole. FCGATE_E_ABORTED means that a callback said so.

 Errors: FCGATE_E_ARGUMENT, FCGATE_E_NAME (a route of another config), FCGATE_E_REQUEST,
 FCGATE_E_NOT_FOUND, FCGATE_E_TOO_LARGE, FCGATE_E_PARAMS, and those from 100 on.

 # Safety
 Pointers are NULL or as their types say; nobody else uses `request` meanwhile.
 */
int32_t fcgate_forward(const fcgate_gateway *gateway,
                       const fcgate_route *route,
                       fcgate_request *request,
                       const fcgate_handler *handler,
                       void *user,
                       fcgate_info *info,
                       fcgate_error *error);

/*
 Begins an exchange that the caller pulls, and sends the request, unless its body is still to be
 written. The request is empty afterwards and may be used for another. `route` may be NULL: the
 gateway's first. Returns NULL after an error.

 Errors: FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_REQUEST, FCGATE_E_NOT_FOUND,
 FCGATE_E_TOO_LARGE, FCGATE_E_PARAMS. Failures to reach the application are told by the first call
 that waits for it.

 # Safety
 Pointers are NULL or as their types say; nobody else uses `request` meanwhile.
 */
fcgate_exchange *fcgate_exchange_open(const fcgate_gateway *gateway,
                                      const fcgate_route *route,
                                      fcgate_request *request,
                                      fcgate_error *error);

/*
 Writes `length` bytes of the body that fcgate_request_body_length announced; `stream` is
 FCGATE_STDIN, `flags` 0 or FCGATE_END with the last of them. The bytes are borrowed until it
 returns. `taken` is how many were taken: fewer only where the application answers so much that
 the caller must read first.

 Errors: FCGATE_E_STATE for more bytes than were announced or after the end; those from 100 on.

 # Safety
 `exchange` is NULL or an exchange that nobody else uses meanwhile; the other pointers are NULL
 or as their types say.
 */
int32_t fcgate_exchange_write(fcgate_exchange *exchange,
                              uint32_t stream,
                              const void *data,
                              size_t length,
                              uint32_t flags,
                              size_t *taken,
                              fcgate_error *error);

/*
 Waits for the response head. It is lent until the exchange is freed.

 Errors: those from 100 on; FCGATE_E_STATE where an announced body has not been ended.

 # Safety
 As for fcgate_exchange_write.
 */
int32_t fcgate_exchange_head(fcgate_exchange *exchange,
                             const fcgate_head **head,
                             fcgate_error *error);

/*
 Reads bytes of the response body. FCGATE_OK with `got` 0 is its end, and the true end.

 Errors: those from 100 on: what came before is not the whole response.

 # Safety
 As for fcgate_exchange_write.
 */
int32_t fcgate_exchange_read(fcgate_exchange *exchange,
                             void *buffer,
                             size_t capacity,
                             size_t *got,
                             fcgate_error *error);

/*
 Takes bytes that the application wrote to STDERR so far, as they came; the first 64 KiB are kept.
 Does not wait.

 # Safety
 As for fcgate_exchange_write.
 */
int32_t fcgate_exchange_read_error(fcgate_exchange *exchange,
                                   void *buffer,
                                   size_t capacity,
                                   size_t *got);

/*
 What is known of an exchange by now.

 Errors: FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0; FCGATE_E_STATE before the request is
 on its way.

 # Safety
 `exchange` is NULL or an exchange that nobody else uses meanwhile; `info` is NULL or may be
 written to for its `struct_size`.
 */
int32_t fcgate_exchange_info(const fcgate_exchange *exchange, fcgate_info *info);

/*
 Gives an exchange up: the application is told, where that is possible, and the connection is
 closed. In level C its `end` is still called, with FCGATE_E_ABORTED.

 # Safety
 `exchange` is NULL or an exchange that nobody else uses meanwhile.
 */
void fcgate_exchange_abort(fcgate_exchange *exchange);

/*
 Frees an exchange; one that is not over is given up. Nothing is called for it any more. NULL is
 nothing. In level C it may be called from within the exchange's own callbacks.

 # Safety
 `exchange` is NULL or an exchange that is not used any more.
 */
void fcgate_exchange_free(fcgate_exchange *exchange);

/*
 Makes a loop. The host is asked at once to watch its waker. Returns NULL after an error.

 Errors: FCGATE_E_ARGUMENT where `watch` or `timer` is missing or a flag is not known; FCGATE_E_SYSTEM.

 # Safety
 Pointers are NULL or as their types say.
 */
fcgate_loop *fcgate_loop_new(const fcgate_gateway *gateway,
                             const fcgate_loop_hooks *hooks,
                             void *user,
                             fcgate_error *error);

/*
 Frees a loop; exchanges in it are given up without a call. Not from within a callback. NULL is
 nothing.

 # Safety
 `self` is NULL or came from fcgate_loop_new, and neither it nor an exchange of it is used any
 more, but for fcgate_exchange_free.
 */
void fcgate_loop_free(fcgate_loop *event_loop);

/*
 A descriptor is ready as it was asked for: `events` is FCGATE_READABLE, FCGATE_WRITABLE or both; an
 error or hang-up counts as both. An edge-triggered host adds FCGATE_HANGUP then, also where the peer
 has closed its half only; for others it is no duty. A socket that is not watched any more is passed over.
 Callbacks come from within.

 # Safety
 `event_loop` is NULL or a loop that no other thread uses meanwhile.
 */
void fcgate_loop_ready(const fcgate_loop *event_loop,
                       uint64_t socket,
                       uint32_t events);

/*
 The time of the timer has come; earlier does no harm. Callbacks come from within.

 # Safety
 `event_loop` is NULL or a loop that no other thread uses meanwhile.
 */
void fcgate_loop_expire(const fcgate_loop *event_loop);

/*
 Starts an exchange in a loop. None of its callbacks but `log` comes before this has returned. The request
 is empty afterwards and may be used for another. `route` may be NULL: the gateway's first. Returns
 NULL after an error.

 Errors: FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_REQUEST, FCGATE_E_NOT_FOUND,
 FCGATE_E_TOO_LARGE, FCGATE_E_PARAMS; all others come by `end`.

 # Safety
 Pointers are NULL or as their types say; nobody else uses loop and request meanwhile.
 */
fcgate_exchange *fcgate_exchange_start(const fcgate_loop *event_loop,
                                       const fcgate_route *route,
                                       fcgate_request *request,
                                       const fcgate_events *events,
                                       void *user,
                                       fcgate_error *error);

/*
 Sends more of an announced body; `flags` is 0 or FCGATE_END with the last of it. What can't go at
 once is copied, up to a bound; `taken` is how much was taken. FCGATE_AGAIN: not all of it; call
 again with the rest when `writable` comes. Not from within a callback other than `writable`.

 Errors: FCGATE_E_STATE after the end of body or exchange. Where the body is refused (it is too large,
 it can't be laid aside), `end` comes from within.

 # Safety
 `exchange` is NULL or an exchange that no other thread uses meanwhile; the other pointers are NULL
 or as their types say.
 */
int32_t fcgate_exchange_send(fcgate_exchange *exchange,
                             const void *data,
                             size_t length,
                             uint32_t flags,
                             size_t *taken);

/*
 Pauses the response (1) or takes it again (0). While paused, neither `head` nor `data` comes: the
 response is held in memory up to `response_memory`, with `response_body=spool` in a file up to
 `response_file`, and only then the application has to wait. `end` comes when all has been given.

 # Safety
 `exchange` is NULL or an exchange that no other thread uses meanwhile.
 */
int32_t fcgate_exchange_pause(fcgate_exchange *exchange, uint32_t paused);

/*
 The client is gone: the exchange is given up, and `end` called with FCGATE_E_CLIENT_GONE; with
 `ignore_client_abort` the application may finish what it has begun, and `end` comes then. Until then `head`
 and `data` are still called: take what comes, it is for nobody.

 # Safety
 `exchange` is NULL or an exchange that no other thread uses meanwhile.
 */
int32_t fcgate_exchange_client_gone(fcgate_exchange *exchange);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FCGATE_H */
