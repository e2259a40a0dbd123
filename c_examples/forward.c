/*
 * forward: one request from the command line.
 *
 *     cc forward.c -o forward $(pkg-config --cflags --libs fcgate)
 *     ./forward "unix:/run/php/fpm.sock" /srv/www/index.php "a=b"
 *
 * Prints the response head and body; says on stderr what went wrong. Exits with 0 if the response
 * was whole.
 */
#include <fcgate.h>
#include <stdio.h>
#include <string.h>

static int32_t on_head(void *user, const fcgate_head *head)
{
    const char *name, *value;
    size_t name_length, value_length, i;

    (void)user;
    printf("Status: %u\n", fcgate_head_status(head));
    for (i = 0; fcgate_head_field(head, i, &name, &name_length, &value, &value_length) == FCGATE_OK; i++)
        printf("%.*s: %.*s\n", (int)name_length, name, (int)value_length, value);
    putchar('\n');
    return FCGATE_OK;
}

static int32_t on_data(void *user, const void *bytes, size_t length)
{
    (void)user;
    return fwrite(bytes, 1, length, stdout) == length ? FCGATE_OK : FCGATE_E_ABORTED;
}

static void on_error_line(void *user, const char *line, size_t length)
{
    (void)user;
    fprintf(stderr, "application: %.*s\n", (int)length, line);
}

static void param(fcgate_request *request, const char *name, const char *value)
{
    fcgate_request_param(request, name, strlen(name), value, strlen(value));
}

int main(int argc, char **argv)
{
    fcgate_error error;
    fcgate_gateway *gateway;
    fcgate_request *request;
    fcgate_handler handler = { 0 };
    int32_t status;

    if (argc < 3) {
        fprintf(stderr, "usage: %s \"ADDRESS [setting=value ...]\" SCRIPT [QUERY]\n", argv[0]);
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
    param(request, "REQUEST_METHOD", "GET");
    param(request, "SERVER_PROTOCOL", "HTTP/1.1");
    param(request, "QUERY_STRING", argc > 3 ? argv[3] : "");

    handler.struct_size = sizeof handler;
    handler.client_fd = -1;
    handler.head = on_head;
    handler.data = on_data;
    handler.error_line = on_error_line;
    status = fcgate_forward(gateway, NULL, request, &handler, NULL, NULL, &error);
    if (status != FCGATE_OK)
        fprintf(stderr, "%s: %s\n", fcgate_status_name(status), error.text);

    fcgate_request_free(request);
    fcgate_gateway_free(gateway);
    return status == FCGATE_OK ? 0 : 1;
}
