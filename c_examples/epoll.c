/*
 * epoll: many requests at once in one event loop (level C), which watches fcgate's sockets itself.
 *
 *     cc epoll.c -o epoll $(pkg-config --cflags --libs fcgate)
 *     ./epoll "unix:/run/php/fpm.sock max_connections=4" /srv/www/index.php 1000 50
 *
 * Makes 1000 requests, 50 at a time; with a count of 1 prints the response. A fifth argument is a
 * body to POST. Prints what became of them; exits with 0 if every response was whole.
 */
#define _POSIX_C_SOURCE 200809L
#include <fcgate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

static int loop_fd, to_start, running, whole, failed, verbose;
static int64_t due = -1; /* when the timer expires, in milliseconds */
static unsigned long long received;
static const char *script, *body;
static fcgate_loop *loop;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void watch(void *user, uint64_t socket, int32_t fd, uint32_t interest)
{
    struct epoll_event event = { .events = (interest & FCGATE_READABLE ? EPOLLIN : 0u)
                                     | (interest & FCGATE_WRITABLE ? EPOLLOUT : 0u), .data.u64 = socket };
    (void)user;
    if (interest == 0)
        epoll_ctl(loop_fd, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(loop_fd, EPOLL_CTL_MOD, fd, &event) != 0)
        epoll_ctl(loop_fd, EPOLL_CTL_ADD, fd, &event);
}

static void timer(void *user, uint64_t milliseconds)
{
    (void)user;
    due = milliseconds == FCGATE_NO_TIMER ? -1 : now() + (int64_t)milliseconds;
}

static int32_t on_head(void *user, fcgate_exchange *exchange, const fcgate_head *head)
{
    (void)user, (void)exchange;
    if (verbose)
        printf("status %u\n", fcgate_head_status(head));
    return FCGATE_OK;
}

static int32_t on_data(void *user, fcgate_exchange *exchange, const void *bytes, size_t length)
{
    (void)user, (void)exchange;
    received += length;
    if (verbose)
        fwrite(bytes, 1, length, stdout);
    return FCGATE_OK;
}

static void on_writable(void *user, fcgate_exchange *exchange)
{
    size_t *sent = user;
    size_t taken = 0;
    fcgate_exchange_send(exchange, body + *sent, strlen(body) - *sent, FCGATE_END, &taken);
    *sent += taken;
}

static void on_end(void *user, fcgate_exchange *exchange, int32_t status, const fcgate_error *error)
{
    running--;
    status == FCGATE_OK ? whole++ : failed++;
    if (status != FCGATE_OK)
        fprintf(stderr, "%s: %s\n", fcgate_status_name(status), error->text);
    fcgate_exchange_free(exchange);
    free(user);
}

static void start(fcgate_request *request)
{
    static const fcgate_events events = { .struct_size = sizeof events, .head = on_head, .data = on_data,
                                          .writable = on_writable, .end = on_end };
    const char *params[] = { "SCRIPT_FILENAME", script, "SCRIPT_NAME", script, "REQUEST_METHOD", body ? "POST" : "GET" };
    fcgate_error error;
    size_t i, *sent = calloc(1, sizeof *sent);

    for (i = 0; i < sizeof params / sizeof *params; i += 2)
        fcgate_request_param(request, params[i], strlen(params[i]), params[i + 1], strlen(params[i + 1]));
    if (body)
        fcgate_request_body_length(request, strlen(body));
    to_start--;
    if (fcgate_exchange_start(loop, NULL, request, &events, sent, &error)) {
        running++;
        return;
    }
    fprintf(stderr, "%s\n", error.text);
    failed++;
    free(sent);
}

int main(int argc, char **argv)
{
    fcgate_loop_hooks hooks = { .struct_size = sizeof hooks, .watch = watch, .timer = timer };
    struct epoll_event ready[64];
    fcgate_error error;
    fcgate_request *request = fcgate_request_new();
    fcgate_gateway *gateway = argc > 4 ? fcgate_open(argv[1], &error) : NULL;
    int i, count, most;

    loop_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!gateway || !(loop = fcgate_loop_new(gateway, &hooks, NULL, &error))) {
        fprintf(stderr, "%s\n", argc > 4 ? error.text : "usage: epoll \"ADDRESS ...\" SCRIPT COUNT AT_ONCE [BODY]");
        return 2;
    }
    script = argv[2], to_start = atoi(argv[3]), most = atoi(argv[4]), body = argc > 5 ? argv[5] : NULL;
    verbose = to_start == 1;
    while (to_start > 0 || running > 0) {
        while (to_start > 0 && running < most)
            start(request);
        count = epoll_wait(loop_fd, ready, 64, due < 0 ? -1 : due > now() ? (int)(due - now()) : 0);
        for (i = 0; i < count; i++)
            fcgate_loop_ready(loop, ready[i].data.u64, (ready[i].events & ~(unsigned)EPOLLOUT ? FCGATE_READABLE : 0u)
                                  | (ready[i].events & ~(unsigned)EPOLLIN ? FCGATE_WRITABLE : 0u));
        if (due >= 0 && now() >= due) {
            due = -1;
            fcgate_loop_expire(loop);
        }
    }
    fprintf(stderr, "%d whole, %d failed, %llu bytes\n", whole, failed, received);
    fcgate_loop_free(loop);
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
    return failed ? 1 : 0;
}
