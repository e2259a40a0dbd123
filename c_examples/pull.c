/*
 * pull: a request whose body is written and whose response is read, step by step (level B).
 *
 *     cc pull.c -o pull $(pkg-config --cflags --libs fcgate)
 *     printf 'a=b' | ./pull "unix:/run/php/fpm.sock" /srv/www/form.php
 *
 * Sends its standard input as a POST; prints the response body, and what became of the exchange on
 * stderr. Exits with 0 if the response was whole.
 */
#include <fcgate.h>
#include <stdio.h>
#include <string.h>

static void param(fcgate_request *request, const char *name, const char *value)
{
    fcgate_request_param(request, name, strlen(name), value, strlen(value));
}

/* Passes standard input on; the length is not known, so fcgate takes it whole before it asks. */
static int32_t write_body(fcgate_exchange *exchange, fcgate_error *error)
{
    char buffer[16384];
    size_t length, taken, sent;
    int32_t status;

    do {
        length = fread(buffer, 1, sizeof buffer, stdin);
        for (sent = 0; sent < length || length == 0; sent += taken) {
            uint32_t flags = length == 0 ? FCGATE_END : 0;
            status = fcgate_exchange_write(exchange, FCGATE_STDIN, buffer + sent, length - sent, flags, &taken, error);
            if (status != FCGATE_OK || length == 0)
                return status;
        }
    } while (1);
}

static int32_t read_response(fcgate_exchange *exchange, fcgate_error *error)
{
    const fcgate_head *head;
    char buffer[16384];
    size_t got;
    int32_t status = fcgate_exchange_head(exchange, &head, error);

    if (status == FCGATE_OK)
        fprintf(stderr, "status %u, %zu fields\n", fcgate_head_status(head), fcgate_head_field_count(head));
    while (status == FCGATE_OK) {
        status = fcgate_exchange_read(exchange, buffer, sizeof buffer, &got, error);
        if (status == FCGATE_OK && got == 0)
            return FCGATE_OK; /* the true end */
        if (status == FCGATE_OK)
            fwrite(buffer, 1, got, stdout);
    }
    return status;
}

int main(int argc, char **argv)
{
    fcgate_error error;
    fcgate_info info = { .struct_size = sizeof info };
    fcgate_gateway *gateway;
    fcgate_request *request;
    fcgate_exchange *exchange;
    int32_t status;

    if (argc != 3) {
        fprintf(stderr, "usage: %s \"ADDRESS [setting=value ...]\" SCRIPT < BODY\n", argv[0]);
        return 2;
    }
    gateway = fcgate_open(argv[1], &error);
    if (!gateway) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    request = fcgate_request_new();
    param(request, "SCRIPT_FILENAME", argv[2]);
    param(request, "SCRIPT_NAME", argv[2]);
    param(request, "REQUEST_METHOD", "POST");
    param(request, "CONTENT_TYPE", "application/x-www-form-urlencoded");
    fcgate_request_body_length(request, FCGATE_LENGTH_UNKNOWN);

    exchange = fcgate_exchange_open(gateway, NULL, request, &error);
    status = exchange ? write_body(exchange, &error) : error.status;
    if (status == FCGATE_OK)
        status = read_response(exchange, &error);
    if (status != FCGATE_OK)
        fprintf(stderr, "%s: %s\n", fcgate_status_name(status), error.text);
    if (fcgate_exchange_info(exchange, &info) == FCGATE_OK)
        fprintf(stderr, "%s: %llu bytes sent, %llu received, %llu us\n", info.pool, (unsigned long long)info.bytes_sent,
                (unsigned long long)info.bytes_received, (unsigned long long)info.total_us);

    fcgate_exchange_free(exchange);
    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
    return status == FCGATE_OK ? 0 : 1;
}
