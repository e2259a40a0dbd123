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

static const char *listen_on = "127.0.0.1:8080", *port, *root, *pool;
static char address[64]; /* of listen_on, where there is one */
static fcgate_gateway *gateway;

/* One request: what its callbacks need to know. Clients that expect 100 Continue civetweb leaves to us. */
struct answer { struct mg_connection *client; const char *method, *version; int has_head, chunked, expects; };

static int32_t on_body(void *user, void *buffer, size_t capacity, size_t *got)
{
    struct answer *answer = user;
    int count;
    if (answer->expects) answer->expects = 0, mg_printf(answer->client, "HTTP/1.1 100 Continue\r\n\r\n");
    count = mg_read(answer->client, buffer, capacity);
    *got = count > 0 ? (size_t)count : 0;
    /* Of a body whose length is known fcgate sees for itself that it was cut. */
    return count >= 0 || mg_get_request_info(answer->client)->content_length > 0 ? FCGATE_OK : FCGATE_E_CLIENT_GONE;
}

static int32_t on_head(void *user, const fcgate_head *head)
{
    struct answer *answer = user;
    const char *name, *value, *reason;
    size_t name_length, value_length, reason_length, i;
    int status = (int)fcgate_head_status(head), unsized = fcgate_head_content_length(head) == FCGATE_LENGTH_UNKNOWN
        && fcgate_head_has_body(head, answer->method, strlen(answer->method));
    answer->has_head = 1;
    answer->chunked = unsized && strcmp(answer->version, "1.0") != 0;
    reason = fcgate_head_reason(head, &reason_length);
    mg_printf(answer->client, "HTTP/1.1 %d %.*s%s\r\nX-Fcgate-Example: civetweb\r\n%s", status, (int)reason_length, reason,
              reason_length ? "" : mg_get_response_code_text(answer->client, status), answer->chunked ? "Transfer-Encoding: chunked\r\n" : "");
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

static void on_log(void *user, uint32_t level, const char *text, size_t length) { (void)user, (void)level, fprintf(stderr, "%.*s\n", (int)length, text); }

/* Whether the path is a script's: .php at its end or before a slash, or a directory with an index. */
static int is_script(const char *path)
{
    char file[16384];
    const char *dot = path;
    struct stat found;
    while ((dot = strstr(dot, ".php")) != NULL)
        if (*(dot += 4) == '\0' || *dot == '/')
            return 1;
    snprintf(file, sizeof file, "%s%sindex.php", root, path);
    return path[strlen(path) - 1] == '/' && stat(file, &found) == 0;
}

static int on_request(struct mg_connection *client)
{
    const struct mg_request_info *asked = mg_get_request_info(client);
    struct answer answer = { client, asked->request_method, asked->http_version, 0, 0, 0 };
    fcgate_handler handler = { .struct_size = sizeof handler, .client_fd = -1, .body = on_body, .head = on_head, .data = on_data };
    const char *query = asked->query_string, *expects = mg_get_header(client, "Expect");
    char target[16384], path[8192], remote_port[8];
    const char *facts[] = { [FCGATE_METHOD] = asked->request_method, [FCGATE_TARGET] = target, [FCGATE_SERVER_SOFTWARE] = "civetweb",
        [FCGATE_PROTOCOL] = strcmp(asked->http_version, "1.0") ? "HTTP/1.1" : "HTTP/1.0", [FCGATE_SERVER_PORT] = port,
        [FCGATE_SERVER_ADDR] = *address ? address : NULL, [FCGATE_REMOTE_ADDR] = asked->remote_addr,
        [FCGATE_REMOTE_PORT] = remote_port, [FCGATE_DOCUMENT_ROOT] = root };
    fcgate_error error;
    fcgate_request *request;
    if (mg_url_decode(asked->local_uri, (int)strlen(asked->local_uri), path, sizeof path, 0) < 0 || strstr(path, "/.."))
        return mg_send_http_error(client, 404, "%s", "There is no such file."), 404;
    if (!is_script(path)) return snprintf(target, sizeof target, "%s%s", root, path), mg_send_mime_file(client, target, NULL), 200;
    snprintf(target, sizeof target, "%s%s%s", asked->request_uri, query ? "?" : "", query ? query : "");
    snprintf(remote_port, sizeof remote_port, "%d", asked->remote_port);
    request = fcgate_request_new();
    for (uint32_t number = 0; number < sizeof facts / sizeof *facts; number++)
        if (facts[number]) fcgate_request_fact(request, number, facts[number], strlen(facts[number]));
    answer.expects = expects && !strcmp(expects, "100-continue");
    for (int i = 0; i < asked->num_headers; i++) {
        const char *name = asked->http_headers[i].name, *value = asked->http_headers[i].value;
        fcgate_request_header(request, name, strlen(name), value, strlen(value));
    }
    if (asked->content_length > 0) fcgate_request_body_length(request, (uint64_t)asked->content_length);
    else if (mg_get_header(client, "Transfer-Encoding")) fcgate_request_body_length(request, FCGATE_LENGTH_UNKNOWN);
    if (fcgate_forward(gateway, NULL, request, &handler, &answer, NULL, &error) == FCGATE_OK) {
        if (answer.chunked) mg_send_chunk(client, "", 0);
    } else {
        if (!answer.has_head) /* else no last chunk, no further request: a cut response never looks whole */
            mg_printf(client, "HTTP/1.1 %u %s\r\nX-Fcgate-Example: civetweb\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n",
                      error.http_status, mg_get_response_code_text(client, (int)error.http_status),
                      error.http_status == 503 ? "Retry-After: 5\r\n" : "");
        mg_disable_connection_keep_alive(client);
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
    fcgate_gateway_set_log(gateway, on_log, NULL);
    port = strrchr(listen_on, ':') ? strrchr(listen_on, ':') + 1 : listen_on;
    snprintf(address, sizeof address, "%.*s", port > listen_on ? (int)(port - listen_on - 1) : 0, listen_on);
    sigemptyset(&ends), sigaddset(&ends, SIGINT), sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* all threads inherit this: the main one waits for them */
    callbacks.begin_request = on_request;
    const char *options[] = { "listening_ports", listen_on, "document_root", root, "num_threads", "50",
                              "enable_keep_alive", "yes", "keep_alive_timeout_ms", "5000", "decode_url", "no", NULL }; /* REQUEST_URI is what was sent */
    server = mg_start(&callbacks, NULL, options);
    printf(server ? "listening on %s\n" : "can't listen on %s\n", listen_on), fflush(stdout);
    if (server) sigwait(&ends, &ended_by), mg_stop(server);
    fcgate_gateway_free(gateway);
    return server ? 0 : 1;
}
