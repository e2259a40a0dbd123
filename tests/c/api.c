/* The rules of the C API, as a C program meets them. FCGATE_TEST_POOL is an application's address. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <fcgate.h>

static fcgate_error error;

static fcgate_gateway *open_pool(const char *settings)
{
    char line[512];
    fcgate_gateway *gateway;

    snprintf(line, sizeof line, "%s %s", getenv("FCGATE_TEST_POOL"), settings);
    gateway = fcgate_open(line, &error);
    if (!gateway)
        fail_msg("%s", error.text);
    return gateway;
}

static fcgate_request *request_for(const char *method, const char *target)
{
    fcgate_request *request = fcgate_request_new();

    assert_non_null(request);
    fcgate_request_fact(request, FCGATE_METHOD, method, strlen(method));
    fcgate_request_fact(request, FCGATE_TARGET, target, strlen(target));
    return request;
}

/* What a handler took. */
struct taken {
    unsigned status, heads, completes;
    size_t length, body_left, body_step;
    char bytes[4096];
    int32_t give_up_in_head, give_up_in_data;
};

static int32_t on_body(void *user, void *buffer, size_t capacity, size_t *got)
{
    struct taken *taken = user;
    size_t step = taken->body_left < taken->body_step ? taken->body_left : taken->body_step;

    *got = step < capacity ? step : capacity;
    memset(buffer, 'b', *got);
    taken->body_left -= *got;
    return FCGATE_OK;
}

static int32_t on_head(void *user, const fcgate_head *head)
{
    struct taken *taken = user;

    taken->heads++;
    taken->status = fcgate_head_status(head);
    return taken->give_up_in_head;
}

static int32_t on_data(void *user, const void *bytes, size_t length)
{
    struct taken *taken = user;
    size_t room = sizeof taken->bytes - 1 - (taken->length < sizeof taken->bytes ? taken->length : sizeof taken->bytes - 1);

    memcpy(taken->bytes + (sizeof taken->bytes - 1 - room), bytes, length < room ? length : room);
    taken->length += length;
    return taken->give_up_in_data;
}

static int32_t on_complete(void *user)
{
    ((struct taken *)user)->completes++;
    return FCGATE_OK;
}

static const fcgate_handler handler = { .struct_size = sizeof handler, .client_fd = -1, .body = on_body,
                                        .head = on_head, .data = on_data, .complete = on_complete };

static void free_takes_null(void **state)
{
    (void)state;
    fcgate_config_free(NULL);
    fcgate_gateway_free(NULL);
    fcgate_request_free(NULL);
    fcgate_exchange_free(NULL);
    fcgate_loop_free(NULL);
    fcgate_request_clear(NULL);
    fcgate_exchange_abort(NULL);
}

static void version_and_abi_are_told(void **state)
{
    (void)state;
    assert_int_equal(fcgate_abi(), FCGATE_ABI);
    assert_int_equal(fcgate_abi_check(FCGATE_ABI, &error), FCGATE_OK);
    assert_int_equal(fcgate_abi_check(FCGATE_ABI + 1, &error), FCGATE_E_ABI);
    assert_non_null(strstr(error.text, "rebuild"));
    assert_true(strlen(fcgate_version()) > 0);
    assert_int_equal(sizeof(fcgate_error), 1024);
}

static void names_are_never_null(void **state)
{
    int32_t status;

    (void)state;
    for (status = -5; status < 300; status++)
        assert_non_null(fcgate_status_name(status));
    assert_string_equal(fcgate_status_name(FCGATE_E_HEAD_TIMEOUT), "head_timeout");
    assert_string_equal(fcgate_phase_name(4), "head");
    assert_string_equal(fcgate_phase_name(99), "unknown");
}

static void count_text(void *user, const char *text, size_t length)
{
    assert_int_equal(text[0], '{');
    *(size_t *)user = length;
}

static void pools_tell_their_status(void **state)
{
    fcgate_gateway *gateway = fcgate_open("unix:/run/none.sock max_connections=3", &error);
    fcgate_pool_status pool = { .struct_size = sizeof pool };
    size_t length = 0;

    (void)state;
    assert_int_equal(fcgate_gateway_pool_count(gateway), 1);
    assert_int_equal(fcgate_gateway_pool_at(gateway, 0, &pool), FCGATE_OK);
    assert_string_equal(pool.pool, "unix:/run/none.sock");
    assert_int_equal(pool.state, FCGATE_POOL_UP);
    assert_int_equal(pool.max_connections, 3);
    assert_int_equal(fcgate_gateway_pool_at(gateway, 1, &pool), FCGATE_E_NAME);
    assert_int_equal(fcgate_gateway_pool_drain(gateway, 0, 1), FCGATE_OK);
    assert_int_equal(fcgate_gateway_pool_at(gateway, 0, &pool), FCGATE_OK);
    assert_int_equal(pool.state, FCGATE_POOL_DRAINING);
    assert_int_equal(fcgate_gateway_pool_drain(gateway, 0, 0), FCGATE_OK);
    assert_int_equal(fcgate_gateway_pool_at(gateway, 0, &pool), FCGATE_OK);
    assert_int_equal(pool.state, FCGATE_POOL_UP);
    assert_int_equal(fcgate_gateway_pool_drain(gateway, 1, 1), FCGATE_E_NAME);
    assert_int_equal(fcgate_gateway_pool_drain(NULL, 0, 1), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_gateway_pool_at(NULL, 0, &pool), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_gateway_status(gateway, FCGATE_STATUS_JSON, count_text, &length), FCGATE_OK);
    assert_true(length > 50);
    assert_int_equal(fcgate_gateway_status(gateway, 9, count_text, &length), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_gateway_status(gateway, FCGATE_STATUS_HTML, NULL, NULL), FCGATE_E_ARGUMENT);
    fcgate_gateway_free(gateway);
}

static void bad_arguments_are_told(void **state)
{
    fcgate_request *request = fcgate_request_new();

    (void)state;
    assert_null(fcgate_open(NULL, &error));
    assert_int_equal(error.status, FCGATE_E_ARGUMENT);
    assert_true(error.text[0] != '\0');
    assert_null(fcgate_open("/run/php.sock", &error));
    assert_non_null(strstr(error.text, "unix:/run/php.sock"));
    assert_null(fcgate_open("unix:/x max_conections=4", NULL));
    assert_null(fcgate_open("unix:/x max_conections=4", &error));
    assert_int_equal(error.status, FCGATE_E_SETTING);
    assert_non_null(strstr(error.text, "max_connections"));
    assert_int_equal(fcgate_forward(NULL, NULL, request, NULL, NULL, NULL, &error), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_request_fact(request, 0, "x", 1), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_request_fact(request, 99, "x", 1), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_request_fact(request, FCGATE_METHOD, NULL, 1), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_request_header(request, "", 0, "x", 1), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_request_role(request, 9), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_request_body_fd(request, -1, 0, 1), FCGATE_E_ARGUMENT);
    fcgate_request_free(request);
}

static void every_setting_takes_its_default(void **state)
{
    size_t i, count = fcgate_setting_count();

    (void)state;
    assert_true(count > 30);
    for (i = 0; i < count; i++) {
        fcgate_setting setting = { .struct_size = sizeof setting };
        fcgate_config *config = fcgate_config_new();

        assert_int_equal(fcgate_setting_at(i, &setting), FCGATE_OK);
        assert_int_equal(setting.struct_size, sizeof setting);
        assert_true(setting.name[0] && setting.help[0] && setting.range[0]);
        assert_int_equal(fcgate_config_balancer(config, "b", &error), FCGATE_OK);
        if (setting.default_value[0]
            && fcgate_config_set(config, "b", setting.name, setting.default_value, &error) != FCGATE_OK)
            fail_msg("%s", error.text);
        fcgate_config_free(config);
    }
    {
        fcgate_setting setting = { .struct_size = sizeof setting };
        assert_int_equal(fcgate_setting_at(count, &setting), FCGATE_E_NAME);
    }
}

static void older_and_newer_structures_are_taken(void **state)
{
    struct { fcgate_setting setting; char more[64]; } newer;
    fcgate_setting older;

    (void)state;
    memset(&newer, 0x55, sizeof newer);
    newer.setting.struct_size = sizeof newer;
    assert_int_equal(fcgate_setting_at(0, &newer.setting), FCGATE_OK);
    assert_int_equal(newer.more[0], 0x55);
    memset(&older, 0x55, sizeof older);
    older.struct_size = offsetof(fcgate_setting, help);
    assert_int_equal(fcgate_setting_at(0, &older), FCGATE_OK);
    assert_int_equal(*(unsigned char *)&older.help, 0x55);
    older.struct_size = 0;
    assert_int_equal(fcgate_setting_at(0, &older), FCGATE_E_ARGUMENT);
}

static void a_config_in_use_is_frozen(void **state)
{
    fcgate_config *config = fcgate_config_new(), *other = fcgate_config_new();
    fcgate_route *outer, *inner, *foreign;
    fcgate_gateway *gateway;
    fcgate_request *request = request_for("GET", "/");

    (void)state;
    assert_int_equal(fcgate_config_balancer(config, "php", &error), FCGATE_OK);
    assert_int_equal(fcgate_config_pool(config, "phq", "unix:/x", &error), FCGATE_E_SETTING);
    assert_non_null(strstr(error.text, "php"));
    assert_int_equal(fcgate_config_pool(config, "php", "unix:/nowhere weight=2", &error), FCGATE_OK);
    assert_int_equal(fcgate_config_set(config, "php", "restart_window", "0", &error), FCGATE_OK);
    outer = fcgate_config_route(config, "php", NULL, &error);
    assert_int_equal(fcgate_route_param(outer, "APP_ENV", "test", 0, &error), FCGATE_OK);
    assert_int_equal(fcgate_route_param(outer, "CONTENT_LENGTH", "1", 0, &error), FCGATE_E_SETTING);
    inner = fcgate_config_route(config, "php", outer, &error);
    assert_int_equal(fcgate_route_set(inner, "head_timeout", "1s", &error), FCGATE_OK);
    assert_int_equal(fcgate_route_set(inner, "head_timeout", "soon", &error), FCGATE_E_SETTING);
    assert_int_equal(fcgate_route_param_unset(inner, "HTTP_ACCEPT", &error), FCGATE_OK);
    assert_int_equal(fcgate_config_check(config, NULL, NULL, &error), FCGATE_OK);
    assert_int_equal(fcgate_route_set(inner, "head_timeout", "2s", &error), FCGATE_E_STATE);
    gateway = fcgate_gateway_new(config, NULL, NULL, &error);
    assert_non_null(gateway);
    fcgate_config_free(config); /* the gateway keeps what it needs, its routes included */

    assert_int_equal(fcgate_config_balancer(other, "php", &error), FCGATE_OK);
    assert_int_equal(fcgate_config_pool(other, "php", "unix:/nowhere", &error), FCGATE_OK);
    foreign = fcgate_config_route(other, "php", NULL, &error);
    assert_int_equal(fcgate_forward(gateway, foreign, request, NULL, NULL, NULL, &error), FCGATE_E_NAME);
    assert_int_equal(fcgate_forward(gateway, inner, request, NULL, NULL, NULL, &error), FCGATE_E_CONNECT);
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
    fcgate_config_free(other);
}

static void a_missing_application_explains_itself(void **state)
{
    fcgate_gateway *gateway = fcgate_open("unix:/nowhere/app.sock restart_window=100ms", &error);
    fcgate_request *request = request_for("POST", "/form");

    (void)state;
    fcgate_request_body(request, "a=b", 3);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, NULL, NULL, &error), FCGATE_E_CONNECT);
    assert_int_equal(error.http_status, 502);
    assert_int_equal(error.retry_safe, 1);
    assert_int_equal(error.sys_errno, 2);
    assert_string_equal(error.pool, "unix:/nowhere/app.sock");
    assert_string_equal(fcgate_phase_name(error.phase), "connect");
    assert_non_null(strstr(error.text, "is the application running"));
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
}

static void a_request_is_forwarded(void **state)
{
    fcgate_gateway *gateway = open_pool("max_connections=2");
    fcgate_request *request = fcgate_request_new();
    int round;

    (void)state;
    for (round = 0; round < 3; round++) {
        struct taken taken = { 0 };
        fcgate_info info = { .struct_size = sizeof info };

        fcgate_request_clear(request);
        fcgate_request_fact(request, FCGATE_METHOD, "POST", 4);
        fcgate_request_fact(request, FCGATE_TARGET, "/echo", 5);
        fcgate_request_body(request, "hello", 5);
        assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &taken, &info, &error), FCGATE_OK);
        assert_int_equal(taken.status, 200);
        assert_int_equal(taken.completes, 1);
        assert_string_equal(taken.bytes, "hello");
        assert_int_equal(info.has_end, 1);
        assert_int_equal(info.http_status, 200);
        assert_int_equal(error.status, FCGATE_OK);
    }
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
}

static void a_body_comes_by_callback(void **state)
{
    fcgate_gateway *gateway = open_pool("request_body=stream");
    fcgate_gateway *spooling = open_pool("request_body=spool request_memory=1000 max_body_bytes=300000");
    fcgate_request *request = request_for("POST", "/echo");
    struct taken streamed = { .body_left = 200000, .body_step = 777 };
    struct taken spooled = { .body_left = 200000, .body_step = 100000 };
    struct taken unknown = { .body_left = 200000, .body_step = 5000 };
    struct taken shorter = { .body_left = 10, .body_step = 100 };
    struct taken larger = { .body_left = 400000, .body_step = 5000 };

    (void)state;
    fcgate_request_body_length(request, 200000);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &streamed, NULL, &error), FCGATE_OK);
    assert_int_equal(streamed.length, 200000);
    assert_int_equal(fcgate_forward(spooling, NULL, request, &handler, &spooled, NULL, &error), FCGATE_OK);
    assert_int_equal(spooled.length, 200000);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &shorter, NULL, &error), FCGATE_E_BODY_SHORT);
    assert_int_equal(error.http_status, 400);
    fcgate_request_body_length(request, FCGATE_LENGTH_UNKNOWN);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &unknown, NULL, &error), FCGATE_OK);
    assert_int_equal(unknown.length, 200000);
    assert_int_equal(fcgate_forward(spooling, NULL, request, &handler, &larger, NULL, &error), FCGATE_E_TOO_LARGE);
    assert_int_equal(error.http_status, 413);
    fcgate_request_free(request);
    fcgate_gateway_free(spooling);
    fcgate_gateway_free(gateway);
}

static void a_body_comes_from_a_file(void **state)
{
    fcgate_gateway *gateway = open_pool("");
    fcgate_request *request = request_for("POST", "/echo");
    struct taken taken = { 0 };
    FILE *file = tmpfile();

    (void)state;
    fputs("skip:the part of the file:skip", file);
    fflush(file);
    assert_int_equal(fcgate_request_body_fd(request, fileno(file), 5, 20), FCGATE_OK);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &taken, NULL, &error), FCGATE_OK);
    assert_string_equal(taken.bytes, "the part of the file");
    fclose(file);
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
}

static void a_callback_gives_up(void **state)
{
    fcgate_gateway *gateway = open_pool("max_connections=1");
    fcgate_request *request = request_for("GET", "/large?bytes=3000000");
    struct taken in_head = { .give_up_in_head = 1 }, in_data = { .give_up_in_data = 1 }, whole = { 0 };

    (void)state;
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &in_head, NULL, &error), FCGATE_E_ABORTED);
    assert_int_equal(in_head.length, 0);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &in_data, NULL, &error), FCGATE_E_ABORTED);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, &whole, NULL, &error), FCGATE_OK);
    assert_int_equal(whole.length, 3000000);
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
}

static void hostile_requests_are_refused(void **state)
{
    fcgate_gateway *gateway = open_pool("");
    fcgate_request *request = request_for("GET", "/x");
    static char large[70000];

    (void)state;
    fcgate_request_header(request, "X-Nul", 5, "a\0b", 3);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, NULL, NULL, &error), FCGATE_E_REQUEST);
    assert_int_equal(error.http_status, 400);
    fcgate_request_clear(request);
    fcgate_request_fact(request, FCGATE_TARGET, "/a%00", 5);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, NULL, NULL, &error), FCGATE_E_REQUEST);
    fcgate_request_clear(request);
    memset(large, 'x', sizeof large);
    fcgate_request_param(request, "LARGE", 5, large, sizeof large);
    assert_int_equal(fcgate_forward(gateway, NULL, request, &handler, NULL, NULL, &error), FCGATE_E_PARAMS);
    assert_int_equal(error.http_status, 431);
    assert_non_null(strstr(error.text, "LARGE"));
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
}

static void an_exchange_is_pulled(void **state)
{
    fcgate_gateway *gateway = open_pool("request_body=stream");
    fcgate_request *request = request_for("POST", "/echo");
    fcgate_exchange *exchange;
    fcgate_info info = { .struct_size = sizeof info };
    const fcgate_head *head;
    char buffer[1000];
    size_t taken, got, total = 0;

    (void)state;
    fcgate_request_body_length(request, 10);
    exchange = fcgate_exchange_open(gateway, NULL, request, &error);
    assert_non_null(exchange);
    assert_int_equal(fcgate_exchange_write(exchange, FCGATE_STDIN, "01234", 5, 0, &taken, &error), FCGATE_OK);
    assert_int_equal(fcgate_exchange_write(exchange, FCGATE_STDIN, "567890", 6, 0, &taken, &error), FCGATE_E_STATE);
    assert_int_equal(fcgate_exchange_write(exchange, 9, "5", 1, 0, &taken, &error), FCGATE_E_ARGUMENT);
    assert_int_equal(fcgate_exchange_write(exchange, FCGATE_STDIN, "56789", 5, FCGATE_END, &taken, &error), FCGATE_OK);
    assert_int_equal(fcgate_exchange_head(exchange, &head, &error), FCGATE_OK);
    assert_int_equal(fcgate_head_status(head), 200);
    do {
        assert_int_equal(fcgate_exchange_read(exchange, buffer + total, 3, &got, &error), FCGATE_OK);
        total += got;
    } while (got > 0);
    assert_memory_equal(buffer, "0123456789", 10);
    assert_int_equal(total, 10);
    assert_int_equal(fcgate_exchange_read(exchange, buffer, 3, &got, &error), FCGATE_OK);
    assert_int_equal(got, 0);
    assert_int_equal(fcgate_exchange_info(exchange, &info), FCGATE_OK);
    assert_int_equal(info.bytes_received, 10);
    fcgate_exchange_free(exchange);

    fcgate_request_fact(request, FCGATE_TARGET, "/slow?ms=20000", 14);
    exchange = fcgate_exchange_open(gateway, NULL, request, &error);
    fcgate_exchange_free(exchange); /* given up */
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
}

static void count_line(void *user, uint32_t level, const char *text, size_t length)
{
    assert_true(level >= FCGATE_LOG_ERROR && level <= FCGATE_LOG_NOTICE && length > 0 && text[0] != '\0');
    ++*(int *)user;
}

static void errors_go_to_the_log(void **state)
{
    fcgate_gateway *gateway = fcgate_open("unix:/nowhere restart_window=0", &error);
    fcgate_request *request = request_for("GET", "/");
    int lines = 0;

    (void)state;
    fcgate_gateway_set_log(gateway, count_line, &lines);
    fcgate_forward(gateway, NULL, request, NULL, NULL, NULL, NULL);
    assert_int_equal(lines, 1);
    fcgate_gateway_set_log(gateway, NULL, NULL);
    fcgate_forward(gateway, NULL, request, NULL, NULL, NULL, NULL);
    assert_int_equal(lines, 1);
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_takes_null),
        cmocka_unit_test(version_and_abi_are_told),
        cmocka_unit_test(names_are_never_null),
        cmocka_unit_test(pools_tell_their_status),
        cmocka_unit_test(bad_arguments_are_told),
        cmocka_unit_test(every_setting_takes_its_default),
        cmocka_unit_test(older_and_newer_structures_are_taken),
        cmocka_unit_test(a_config_in_use_is_frozen),
        cmocka_unit_test(a_missing_application_explains_itself),
        cmocka_unit_test(a_request_is_forwarded),
        cmocka_unit_test(a_body_comes_by_callback),
        cmocka_unit_test(a_body_comes_from_a_file),
        cmocka_unit_test(a_callback_gives_up),
        cmocka_unit_test(hostile_requests_are_refused),
        cmocka_unit_test(an_exchange_is_pulled),
        cmocka_unit_test(errors_go_to_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
