/*
 * epoll_many: as many requests as you like in one thread, so many of them in flight (level C).
 *
 *     cc epoll_many.c -o epoll_many $(pkg-config --cflags --libs fcgate)
 *     ./epoll_many "unix:/run/app.sock multiplex=on max_connections=1" /srv/app/index 1000 100
 *
 * Makes 1000 GET requests, numbered in QUERY_STRING, never more than 100 of them at once. With
 * `multiplex=on` they share connections; without it each in flight has one, up to
 * `max_connections`, and the rest wait in the pool's queue. Exits with 0 if every answer was whole.
 */
#define _POSIX_C_SOURCE 200809L
#include <fcgate.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* What epoll tells of the timer: no socket of fcgate's has this number. */
#define TIMER UINT64_MAX

/* The whole program: what the hooks and the callbacks get as their `user`. */
struct client {
    int epoll, timer;
    fcgate_loop *loop;
    const char *script;
    unsigned long to_start, started, in_flight, whole, failed;
};

/* The first hook: epoll watches a socket for fcgate, level-triggered. */
static void watch(void *user, uint64_t socket, int32_t fd, uint32_t interest)
{
    struct client *client = user;
    struct epoll_event event = {
        .events = (interest & FCGATE_READABLE ? EPOLLIN : 0u) | (interest & FCGATE_WRITABLE ? EPOLLOUT : 0u),
        .data = { .u64 = socket },
    };
    if (interest == 0)
        epoll_ctl(client->epoll, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(client->epoll, EPOLL_CTL_MOD, fd, &event) != 0)
        epoll_ctl(client->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* The second hook: one timer for all of fcgate's. An it_value of nothing stops a timerfd. */
static void timer(void *user, uint64_t milliseconds)
{
    struct client *client = user;
    struct itimerspec after = { .it_value = { .tv_nsec = 1 } };
    if (milliseconds == FCGATE_NO_TIMER)
        after.it_value.tv_nsec = 0;
    else if (milliseconds > 0)
        after.it_value = (struct timespec){ .tv_sec = (time_t)(milliseconds / 1000),
                                            .tv_nsec = (long)(milliseconds % 1000) * 1000000 };
    timerfd_settime(client->timer, 0, &after, NULL);
}

/* The last call of every exchange: FCGATE_OK means that the answer came whole. */
static void on_end(void *user, fcgate_exchange *exchange, int32_t status, const fcgate_error *error)
{
    struct client *client = user;
    client->in_flight--;
    status == FCGATE_OK ? client->whole++ : client->failed++;
    if (status != FCGATE_OK)
        fprintf(stderr, "%s: %s\n", fcgate_status_name(status), error->text);
    fcgate_exchange_free(exchange);
}

static void param(fcgate_request *request, const char *name, const char *value)
{
    fcgate_request_param(request, name, strlen(name), value, strlen(value));
}

static void start(struct client *client, fcgate_request *request)
{
    /* A host that passes answers on has `head` and `data` here; what is not set is not called. */
    static const fcgate_events events = { .struct_size = sizeof events, .end = on_end };
    fcgate_error error;
    char number[32];

    snprintf(number, sizeof number, "%lu", client->started++);
    param(request, "REQUEST_METHOD", "GET");
    param(request, "SCRIPT_FILENAME", client->script);
    param(request, "SCRIPT_NAME", client->script);
    param(request, "QUERY_STRING", number);
    client->to_start--;
    if (fcgate_exchange_start(client->loop, NULL, request, &events, client, &error)) {
        client->in_flight++; /* from here on `end` counts it */
    } else {
        client->failed++;
        fprintf(stderr, "%s\n", error.text);
    }
}

/* Waits once, and tells fcgate what is ready. All callbacks come from within these calls. */
static void turn(struct client *client)
{
    struct epoll_event ready[64];
    int i, count = epoll_wait(client->epoll, ready, 64, -1);
    for (i = 0; i < count; i++) {
        if (ready[i].data.u64 == TIMER) {
            uint64_t times;
            if (read(client->timer, &times, sizeof times) == sizeof times)
                fcgate_loop_expire(client->loop);
            continue;
        }
        /* An error or a hang-up counts as both. A socket that is not watched any more is passed over. */
        fcgate_loop_ready(client->loop, ready[i].data.u64,
                          (ready[i].events & ~(uint32_t)EPOLLOUT ? FCGATE_READABLE : 0u)
                              | (ready[i].events & ~(uint32_t)EPOLLIN ? FCGATE_WRITABLE : 0u));
    }
}

int main(int argc, char **argv)
{
    fcgate_error error = { .text = "usage: epoll_many \"ADDRESS [SETTING=VALUE ...]\" SCRIPT COUNT IN_FLIGHT" };
    fcgate_gateway *gateway = argc == 5 ? fcgate_open(argv[1], &error) : NULL;
    fcgate_request *request = fcgate_request_new(); /* empty again after each start */
    fcgate_loop_hooks hooks = { .struct_size = sizeof hooks, .watch = watch, .timer = timer };
    struct epoll_event expiry = { .events = EPOLLIN, .data = { .u64 = TIMER } };
    struct client client = { .epoll = epoll_create1(EPOLL_CLOEXEC),
                             .timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) };
    struct timespec begin, end;
    unsigned long most;
    double seconds;

    epoll_ctl(client.epoll, EPOLL_CTL_ADD, client.timer, &expiry);
    if (!gateway || !(client.loop = fcgate_loop_new(gateway, &hooks, &client, &error))) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    client.script = argv[2], client.to_start = strtoul(argv[3], NULL, 10), most = strtoul(argv[4], NULL, 10);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (client.to_start > 0 || client.in_flight > 0) {
        while (client.to_start > 0 && client.in_flight < (most > 0 ? most : 1))
            start(&client, request);
        if (client.in_flight > 0)
            turn(&client);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%lu whole, %lu failed, %.0f requests per second\n", client.whole, client.failed, (double)client.whole / seconds);
    fcgate_loop_free(client.loop), fcgate_request_free(request), fcgate_gateway_free(gateway);
    close(client.timer), close(client.epoll);
    return client.failed ? 1 : 0;
}
