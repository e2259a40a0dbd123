/* Level C as a C program meets it: callbacks that free, pause, abort and start. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <cmocka.h>
#include <fcgate.h>

#define MOST 64

static struct { uint64_t socket; int fd; uint32_t interest; } watched[MOST];
static int64_t timer_ms = -1;
static fcgate_gateway *gateway;
static fcgate_loop *loop;
static fcgate_error error;

/* What one exchange is to do, and did. */
struct story {
    int free_in_head, free_in_data, free_in_log, abort_in_data, pause_in_head, is_chunked;
    int heads, completes, ends, writables, lines;
    size_t length, body_left;
    int32_t status;
    fcgate_exchange *exchange;
};

static void watch(void *user, uint64_t socket, int32_t fd, uint32_t interest)
{
    int i, place = -1;

    (void)user;
    for (i = 0; i < MOST; i++)
        if (watched[i].interest && watched[i].socket == socket)
            place = i;
    for (i = 0; place < 0 && i < MOST; i++)
        if (!watched[i].interest)
            place = i;
    assert_true(place >= 0);
    watched[place].socket = socket, watched[place].fd = fd, watched[place].interest = interest;
}

static void timer(void *user, uint64_t milliseconds)
{
    (void)user;
    timer_ms = milliseconds == FCGATE_NO_TIMER ? -1 : (int64_t)milliseconds;
}

static int32_t on_head(void *user, fcgate_exchange *exchange, const fcgate_head *head)
{
    struct story *story = user;

    story->heads++;
    assert_int_equal(fcgate_head_status(head), 200);
    if (story->pause_in_head)
        fcgate_exchange_pause(exchange, 1);
    if (story->free_in_head)
        fcgate_exchange_free(exchange), story->exchange = NULL;
    return FCGATE_OK;
}

static int32_t on_data(void *user, fcgate_exchange *exchange, const void *bytes, size_t length)
{
    struct story *story = user;

    assert_non_null(bytes);
    story->length += length;
    if (story->abort_in_data)
        fcgate_exchange_abort(exchange);
    if (story->free_in_data)
        fcgate_exchange_free(exchange), story->exchange = NULL;
    return FCGATE_OK;
}

static void on_writable(void *user, fcgate_exchange *exchange)
{
    static char piece[50000];
    struct story *story = user;
    size_t taken, length;
    int32_t status = FCGATE_OK;

    story->writables++;
    memset(piece, 'p', sizeof piece);
    while (story->body_left > 0 && status == FCGATE_OK && story->exchange) {
        length = story->body_left < sizeof piece ? story->body_left : sizeof piece;
        status = fcgate_exchange_send(exchange, piece, length, length == story->body_left ? FCGATE_END : 0, &taken);
        assert_true(status == FCGATE_OK || status == FCGATE_AGAIN);
        story->body_left -= taken;
    }
}

static void on_complete(void *user, fcgate_exchange *exchange)
{
    (void)exchange;
    ((struct story *)user)->completes++;
}

static void on_end(void *user, fcgate_exchange *exchange, int32_t status, const fcgate_error *told)
{
    struct story *story = user;
    fcgate_info info = { .struct_size = sizeof info };

    assert_int_equal(told->status, status);
    assert_int_equal(fcgate_exchange_info(exchange, &info), status == FCGATE_E_TOO_LARGE ? FCGATE_E_STATE : FCGATE_OK);
    story->ends++;
    story->status = status;
    fcgate_exchange_free(exchange);
    story->exchange = NULL;
}

static void on_log(void *user, fcgate_exchange *exchange, uint32_t level, const char *text, size_t length)
{
    struct story *story = user;

    assert_ptr_equal(exchange, story->exchange);
    assert_true(level >= FCGATE_LOG_ERROR && level <= FCGATE_LOG_NOTICE);
    assert_true(length > 0 && !memchr(text, '\n', length));
    story->lines++;
    if (story->free_in_log)
        fcgate_exchange_free(exchange), story->exchange = NULL;
}

static const fcgate_events events = { .struct_size = sizeof events, .head = on_head, .data = on_data,
                                      .writable = on_writable, .complete = on_complete, .end = on_end,
                                      .log = on_log };

static void start(struct story *story, const char *method, const char *target)
{
    fcgate_request *request = fcgate_request_new();

    fcgate_request_fact(request, FCGATE_METHOD, method, strlen(method));
    fcgate_request_fact(request, FCGATE_TARGET, target, strlen(target));
    if (story->body_left)
        fcgate_request_body_length(request, story->is_chunked ? FCGATE_LENGTH_UNKNOWN : story->body_left);
    story->exchange = fcgate_exchange_start(loop, NULL, request, &events, story, &error);
    assert_non_null(story->exchange);
    assert_int_equal(story->heads + story->ends + story->writables, 0);
    fcgate_request_free(request);
}

/* One turn of the loop; 0 when nothing happened for so long. */
static int turn(int milliseconds)
{
    struct pollfd ready[MOST];
    uint64_t sockets[MOST];
    int i, count = 0, some, wait = timer_ms >= 0 && timer_ms < milliseconds ? (int)timer_ms : milliseconds;

    for (i = 0; i < MOST; i++)
        if (watched[i].interest) {
            ready[count].fd = watched[i].fd;
            ready[count].events = (short)((watched[i].interest & FCGATE_READABLE ? POLLIN : 0)
                                          | (watched[i].interest & FCGATE_WRITABLE ? POLLOUT : 0));
            sockets[count++] = watched[i].socket;
        }
    some = poll(ready, (nfds_t)count, wait);
    for (i = 0; i < count; i++)
        if (ready[i].revents)
            fcgate_loop_ready(loop, sockets[i], (ready[i].revents & ~POLLOUT ? FCGATE_READABLE : 0u)
                                                    | (ready[i].revents & ~POLLIN ? FCGATE_WRITABLE : 0u));
    if (some == 0 && timer_ms >= 0 && timer_ms <= milliseconds) {
        timer_ms = -1;
        fcgate_loop_expire(loop);
        return 1;
    }
    return some > 0;
}

static void run_to_end(struct story *story)
{
    int turns;

    for (turns = 0; story->exchange && turns < 100000; turns++)
        turn(2000);
    assert_null(story->exchange);
}

static int open_with(const char *settings)
{
    fcgate_loop_hooks hooks = { .struct_size = sizeof hooks, .watch = watch, .timer = timer };
    char line[512];

    snprintf(line, sizeof line, "%s %s", getenv("FCGATE_TEST_POOL"), settings);
    gateway = fcgate_open(line, &error);
    loop = fcgate_loop_new(gateway, &hooks, NULL, &error);
    return gateway && loop ? 0 : 1;
}

static int set_up(void **state)
{
    (void)state;
    return open_with("max_connections=2 request_body=stream");
}

static int tear_down(void **state)
{
    int i;

    (void)state;
    fcgate_loop_free(loop);
    for (i = 0; i < MOST; i++)
        assert_int_equal(watched[i].interest, 0);
    fcgate_gateway_free(gateway);
    timer_ms = -1;
    return 0;
}

static void exchanges_run_side_by_side(void **state)
{
    struct story stories[20] = { { 0 } };
    size_t i;

    (void)state;
    for (i = 0; i < 20; i++)
        start(&stories[i], "GET", "/large?bytes=200000");
    for (i = 0; i < 20; i++) {
        run_to_end(&stories[i]);
        assert_int_equal(stories[i].status, FCGATE_OK);
        assert_int_equal(stories[i].length, 200000);
        assert_int_equal(stories[i].completes, 1);
    }
}

static void a_body_is_sent_as_it_is_wanted(void **state)
{
    struct story story = { .body_left = 3000000 };

    (void)state;
    start(&story, "POST", "/echo");
    run_to_end(&story);
    assert_int_equal(story.status, FCGATE_OK);
    assert_int_equal(story.length, 3000000);
    assert_true(story.writables > 0);
}

static void callbacks_may_free(void **state)
{
    struct story in_head = { .free_in_head = 1 }, in_data = { .free_in_data = 1 }, after = { 0 };

    (void)state;
    start(&in_head, "GET", "/large?bytes=500000");
    run_to_end(&in_head);
    assert_int_equal(in_head.length + (size_t)in_head.ends, 0);
    start(&in_data, "GET", "/large?bytes=500000");
    run_to_end(&in_data);
    assert_int_equal(in_data.ends, 0);
    start(&after, "GET", "/large?bytes=500000");
    run_to_end(&after);
    assert_int_equal(after.length, 500000);
}

static void callbacks_may_abort(void **state)
{
    struct story story = { .abort_in_data = 1 };

    (void)state;
    start(&story, "GET", "/large?bytes=5000000");
    run_to_end(&story);
    assert_int_equal(story.ends, 1);
    assert_int_equal(story.status, FCGATE_E_ABORTED);
    assert_true(story.length < 5000000);
}

static void a_paused_exchange_waits(void **state)
{
    struct story story = { .pause_in_head = 1 };
    size_t before;

    (void)state;
    start(&story, "GET", "/large?bytes=2000000");
    while (story.heads == 0)
        turn(2000);
    before = story.length;
    while (turn(100))
        ;
    assert_int_equal(story.length, before);
    fcgate_exchange_pause(story.exchange, 0);
    run_to_end(&story);
    assert_int_equal(story.length, 2000000);
}

static void a_refused_body_ends_its_exchange(void **state)
{
    struct story story = { .body_left = 200000, .is_chunked = 1 };
    struct story freed = { .body_left = 200000, .is_chunked = 1, .free_in_log = 1 };

    tear_down(state);
    assert_int_equal(open_with("max_body_bytes=60000"), 0);
    start(&story, "POST", "/echo");
    run_to_end(&story);
    assert_int_equal(story.status, FCGATE_E_TOO_LARGE);
    assert_int_equal(story.ends, 1);
    assert_int_equal(story.lines, 1);
    start(&freed, "POST", "/echo");
    run_to_end(&freed);
    assert_int_equal(freed.lines, 1);
    assert_int_equal(freed.ends, 0);
}

static void a_client_may_go_away(void **state)
{
    static const char *const settings[] = { "ignore_client_abort=off", "ignore_client_abort=on" };
    size_t i;

    for (i = 0; i < 2; i++) {
        struct story story = { 0 };

        tear_down(state);
        assert_int_equal(open_with(settings[i]), 0);
        start(&story, "GET", "/slow?ms=50");
        assert_int_equal(fcgate_exchange_client_gone(story.exchange), FCGATE_OK);
        run_to_end(&story);
        assert_int_equal(story.status, i == 0 ? FCGATE_E_CLIENT_GONE : FCGATE_OK);
        assert_int_equal(story.ends, 1);
        assert_int_equal(story.lines, i == 0);
    }
}

static void the_last_line_of_the_log_may_free(void **state)
{
    struct story story = { .free_in_log = 1 };

    tear_down(state);
    assert_int_equal(open_with("head_timeout=20ms"), 0);
    start(&story, "GET", "/slow?ms=20000");
    run_to_end(&story);
    assert_int_equal(story.lines, 1);
    assert_int_equal(story.ends, 0);
}

/* There is no exchange yet that it could be told of. */
static void a_request_that_is_not_started_is_logged(void **state)
{
    static char large[2000];
    struct story story = { 0 };
    fcgate_request *request = fcgate_request_new();

    tear_down(state);
    assert_int_equal(open_with("max_params_bytes=1k"), 0);
    memset(large, 'x', sizeof large);
    fcgate_request_fact(request, FCGATE_METHOD, "GET", 3);
    fcgate_request_fact(request, FCGATE_TARGET, "/", 1);
    fcgate_request_header(request, "X-Large", 7, large, sizeof large);
    assert_null(fcgate_exchange_start(loop, NULL, request, &events, &story, &error));
    assert_int_equal(error.http_status, 431);
    assert_int_equal(story.lines, 1);
    assert_int_equal(story.ends, 0);
    fcgate_request_free(request);
}

/* A host that was built before there were flags is level-triggered; one that is newer than the library is told. */
static void a_host_says_how_it_tells_of_readiness(void **state)
{
    static const struct {
        size_t size;
        uint32_t flags;
        int taken;
    } hosts[] = {
        { sizeof(fcgate_loop_hooks), FCGATE_LOOP_EDGE_TRIGGERED, 1 },
        { offsetof(fcgate_loop_hooks, flags), 0xFFFFFFFF, 1 },
        { sizeof(fcgate_loop_hooks), FCGATE_LOOP_EDGE_TRIGGERED << 1, 0 },
    };
    size_t i;

    (void)state;
    fcgate_loop_free(loop);
    for (i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        fcgate_loop_hooks hooks = { .struct_size = (uint32_t)hosts[i].size, .watch = watch, .timer = timer,
                                    .flags = hosts[i].flags };

        loop = fcgate_loop_new(gateway, &hooks, NULL, &error);
        assert_int_equal(loop != NULL, hosts[i].taken);
        assert_int_equal(error.status, hosts[i].taken ? FCGATE_OK : FCGATE_E_ARGUMENT);
        fcgate_loop_free(loop);
    }
    loop = NULL;
}

static void a_stale_socket_is_passed_over(void **state)
{
    (void)state;
    fcgate_loop_ready(loop, UINT64_MAX, FCGATE_READABLE);
    fcgate_loop_ready(loop, (uint64_t)1 << 32 | 1, FCGATE_READABLE);
    fcgate_loop_ready(loop, (uint64_t)7 << 32, FCGATE_READABLE);
    fcgate_loop_expire(loop);
}

static void an_exchange_in_flight_ends_with_its_loop(void **state)
{
    struct story story = { 0 };

    (void)state;
    start(&story, "GET", "/slow?ms=20000");
    turn(50);
    fcgate_exchange_free(story.exchange);
    assert_int_equal(story.ends, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exchanges_run_side_by_side, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_is_sent_as_it_is_wanted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(callbacks_may_free, set_up, tear_down),
        cmocka_unit_test_setup_teardown(callbacks_may_abort, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_paused_exchange_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_body_ends_its_exchange, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_may_go_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_line_of_the_log_may_free, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_that_is_not_started_is_logged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_host_says_how_it_tells_of_readiness, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stale_socket_is_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_exchange_in_flight_ends_with_its_loop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
