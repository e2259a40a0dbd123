/*
 * civetweb_server: a threaded C web server with fcgate as its FastCGI handler.
 *
 *     cc civetweb_server.c -o civetweb_server $(pkg-config --cflags --libs fcgate) -lcivetweb -lpthread
 *     ./civetweb_server --listen 127.0.0.1:8080 --root /srv/www --pool "unix:/run/php/fpm.sock max_connections=4"
 *
 * Scripts (.php) go to the application, streaming both ways; all else is a file below the root.
 * Prints "listening on ..." when it is ready; ends with 0 on SIGINT or SIGTERM.
 */
#define _POSIX_C_SOURCE 200809L
#include <civetweb.h>
#include <fcgate.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *listen_on = "127.0.0.1:8080", *root, *pool;
static fcgate_gateway *gateway;

/* One request: what its callbacks need to know. */
struct answer {
    struct mg_connection *client;
    const char *method, *version;
    int has_head, chunked;
};

static int32_t on_body(void *user, void *buffer, size_t capacity, size_t *got)
{
    int count = mg_read(((struct answer *)user)->client, buffer, capacity);
    *got = count > 0 ? (size_t)count : 0;
    return count >= 0 ? FCGATE_OK : FCGATE_E_CLIENT_GONE;
}

static int32_t on_head(void *user, const fcgate_head *head)
{
    struct answer *answer = user;
    const char *name, *value;
    size_t name_length, value_length, i;
    int status = (int)fcgate_head_status(head), unsized = fcgate_head_content_length(head) == FCGATE_LENGTH_UNKNOWN
        && fcgate_head_has_body(head, answer->method, strlen(answer->method));
    answer->has_head = 1;
    answer->chunked = unsized && strcmp(answer->version, "1.0") != 0;
    mg_printf(answer->client, "HTTP/1.1 %d %s\r\nX-Fcgate-Example: civetweb\r\n%s", status,
              mg_get_response_code_text(answer->client, status), answer->chunked ? "Transfer-Encoding: chunked\r\n" : "");
    for (i = 0; fcgate_head_field(head, i, &name, &name_length, &value, &value_length) == FCGATE_OK; i++)
        mg_printf(answer->client, "%.*s: %.*s\r\n", (int)name_length, name, (int)value_length, value);
    if (unsized && !answer->chunked)
        mg_disable_connection_keep_alive(answer->client);
    return mg_printf(answer->client, "\r\n") > 0 ? FCGATE_OK : FCGATE_E_CLIENT_GONE;
}

static int32_t on_data(void *user, const void *bytes, size_t length)
{
    struct answer *answer = user;
    int sent = answer->chunked ? mg_send_chunk(answer->client, bytes, (unsigned)length)
                               : mg_write(answer->client, bytes, length);
    return sent > 0 ? FCGATE_OK : FCGATE_E_CLIENT_GONE;
}

static void fact(fcgate_request *request, uint32_t number, const char *value)
{
    if (value)
        fcgate_request_fact(request, number, value, strlen(value));
}

/* Whether the path is a script's: .php at its end or before a slash, or a directory with an index. */
static int is_script(const char *path)
{
    char file[4096];
    const char *dot = path;
    struct stat found;
    while ((dot = strstr(dot, ".php")) != NULL)
        if (*(dot += 4) == '\0' || *dot == '/')
            return 1;
    snprintf(file, sizeof file, "%s%sindex.php", root, path);
    return path[strlen(path) - 1] == '/' && !strstr(path, "..") && stat(file, &found) == 0;
}

static int on_request(struct mg_connection *client)
{
    const struct mg_request_info *asked = mg_get_request_info(client);
    struct answer answer = { client, asked->request_method, asked->http_version, 0, 0 };
    fcgate_handler handler = { .struct_size = sizeof handler, .client_fd = -1,
        .body = on_body, .head = on_head, .data = on_data };
    const char *query = asked->query_string;
    char target[16384];
    fcgate_error error;
    fcgate_request *request;
    if (!is_script(asked->local_uri)) return 0; /* a file: civetweb's own handler */
    snprintf(target, sizeof target, "%s%s%s", asked->request_uri, query ? "?" : "", query ? query : "");
    request = fcgate_request_new();
    fact(request, FCGATE_METHOD, asked->request_method);
    fact(request, FCGATE_TARGET, target);
    fact(request, FCGATE_PROTOCOL, strcmp(asked->http_version, "1.0") ? "HTTP/1.1" : "HTTP/1.0");
    fact(request, FCGATE_SERVER_SOFTWARE, "civetweb");
    fact(request, FCGATE_SERVER_PORT, strrchr(listen_on, ':') ? strrchr(listen_on, ':') + 1 : listen_on);
    fact(request, FCGATE_REMOTE_ADDR, asked->remote_addr);
    fact(request, FCGATE_DOCUMENT_ROOT, root);
    for (int i = 0; i < asked->num_headers; i++) {
        const char *name = asked->http_headers[i].name, *value = asked->http_headers[i].value;
        fcgate_request_header(request, name, strlen(name), value, strlen(value));
    }
    if (asked->content_length > 0)
        fcgate_request_body_length(request, (uint64_t)asked->content_length);
    else if (mg_get_header(client, "Transfer-Encoding"))
        fcgate_request_body_length(request, FCGATE_LENGTH_UNKNOWN);
    if (fcgate_forward(gateway, NULL, request, &handler, &answer, NULL, &error) == FCGATE_OK) {
        if (answer.chunked)
            mg_send_chunk(client, "", 0);
    } else {
        fprintf(stderr, "%s: %s\n", fcgate_status_name(error.status), error.text);
        if (answer.has_head) /* no last chunk, no further request: a cut response never looks whole */
            mg_disable_connection_keep_alive(client);
        else
            mg_send_http_error(client, (int)error.http_status, "%s", "The application gave no answer.");
    }
    fcgate_request_free(request);
    return 200;
}

int main(int argc, char **argv)
{
    struct mg_callbacks callbacks = { 0 };
    struct mg_context *server;
    fcgate_error error;
    sigset_t ends;
    int i, ended_by;
    for (i = 1; i + 1 < argc; i += 2)
        *(!strcmp(argv[i], "--root") ? &root : !strcmp(argv[i], "--pool") ? &pool : &listen_on) = argv[i + 1];
    if (!root || !pool || !(gateway = fcgate_open(pool, &error))) {
        fprintf(stderr, "%s\n", root && pool ? error.text : "usage: --root DIR --pool \"ADDRESS ...\" [--listen HOST:PORT]");
        return 2;
    }
    sigemptyset(&ends), sigaddset(&ends, SIGINT), sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* all threads inherit this: the main one waits for them */
    callbacks.begin_request = on_request;
    const char *options[] = { "listening_ports", listen_on, "document_root", root, "num_threads", "50",
                              "enable_keep_alive", "yes", NULL };
    server = mg_start(&callbacks, NULL, options);
    printf(server ? "listening on %s\n" : "can't listen on %s\n", listen_on);
    fflush(stdout);
    if (server) {
        sigwait(&ends, &ended_by);
        mg_stop(server);
    }
    fcgate_gateway_free(gateway);
    return server ? 0 : 1;
}
