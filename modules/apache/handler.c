/*
 * A request forwarded, and the response passed on. It runs in the worker's own thread: libfcgate waits
 * for application and client together.
 */
#include "mod_fcgate.h"
#include "http_connection.h"
#include "http_protocol.h"
#include "http_request.h"
#include "util_filter.h"
#include "apr_network_io.h"
#include "apr_portable.h"

#include <sys/socket.h>

APLOG_USE_MODULE(fcgate);

/* Seconds after which a client that was refused for want of a free connection may try again. */
#define RETRY_AFTER "5"
/* The client went away before there was an answer: what nginx writes into its log, too. */
#define HTTP_CLIENT_GONE 499

typedef struct {
    request_rec *r;
    apr_bucket_brigade *input;
    apr_bucket_brigade *output;
    int stderr_level;
    int input_status; /* what reading the request's body failed with */
    int input_ended;
    int has_head;
} forward_t;

/* ---- the request's body ---- */

/* Takes what there is at the front of the brigade, at most `capacity` bytes. */
static apr_status_t take_bytes(forward_t *forward, char *buffer, size_t capacity, size_t *got)
{
    while (!APR_BRIGADE_EMPTY(forward->input) && *got < capacity) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(forward->input);
        const char *bytes;
        apr_size_t length;
        apr_status_t status;

        if (APR_BUCKET_IS_EOS(bucket)) {
            forward->input_ended = 1;
            apr_brigade_cleanup(forward->input);
            break;
        }
        if (APR_BUCKET_IS_METADATA(bucket)) {
            apr_bucket_delete(bucket);
            continue;
        }
        status = apr_bucket_read(bucket, &bytes, &length, APR_BLOCK_READ);
        if (status != APR_SUCCESS) {
            return status;
        }
        if (length > capacity - *got) {
            length = capacity - *got;
            status = apr_bucket_split(bucket, length);
            if (status != APR_SUCCESS) {
                return status;
            }
        }
        memcpy(buffer + *got, bytes, length);
        *got += length;
        apr_bucket_delete(bucket);
    }
    return APR_SUCCESS;
}

/* Waits for the first bytes only; what has come behind them goes with them. */
static int32_t take_body(void *user, void *buffer, size_t capacity, size_t *got)
{
    forward_t *forward = user;
    request_rec *r = forward->r;
    apr_status_t status = APR_SUCCESS;

    *got = 0;
    while (*got < capacity && !forward->input_ended && status == APR_SUCCESS) {
        if (APR_BRIGADE_EMPTY(forward->input)) {
            apr_read_type_e block = *got == 0 ? APR_BLOCK_READ : APR_NONBLOCK_READ;

            status = ap_get_brigade(r->input_filters, forward->input, AP_MODE_READBYTES, block,
                                    (apr_off_t)(capacity - *got));
            if (block == APR_NONBLOCK_READ
                && (APR_STATUS_IS_EAGAIN(status) || (status == APR_SUCCESS && APR_BRIGADE_EMPTY(forward->input)))) {
                return FCGATE_OK;
            }
        }
        if (status == APR_SUCCESS) {
            status = take_bytes(forward, (char *)buffer, capacity, got);
        }
    }
    if (status != APR_SUCCESS) {
        forward->input_status = ap_map_http_request_error(status, HTTP_BAD_REQUEST);
        ap_log_rerror(APLOG_MARK, APLOG_INFO, status, r, "the request body can't be read");
        return r->connection->aborted ? FCGATE_E_CLIENT_GONE : FCGATE_E_BODY;
    }
    return FCGATE_OK;
}

/* ---- the response ---- */

static char *copied(request_rec *r, const char *bytes, size_t length)
{
    return apr_pstrmemdup(r->pool, bytes, length);
}

static int is(const char *name, size_t length, const char *known)
{
    return length == strlen(known) && !strncasecmp(name, known, length);
}

/* Fields that Apache's own parts look for in headers_out. All others go where mod_cgi has them, in
 * err_headers_out: "Header always" then acts on them as it does on those of other CGI handlers. */
static int belongs_to_headers_out(const char *name, size_t length)
{
    static const char *const names[] = {"Content-Length", "Content-Encoding", "Content-Range",
                                        "Location",       "ETag",             "Last-Modified"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is(name, length, names[i])) {
            return 1;
        }
    }
    return 0;
}

static void take_field(request_rec *r, const char *name, size_t name_length, const char *value, size_t value_length)
{
    /* Both are the server's own, and it would send them twice. */
    if (is(name, name_length, "Date") || is(name, name_length, "Server")) {
        return;
    }
    if (is(name, name_length, "Content-Type")) {
        ap_set_content_type(r, copied(r, value, value_length));
        return;
    }
    apr_table_addn(belongs_to_headers_out(name, name_length) ? r->headers_out : r->err_headers_out,
                   copied(r, name, name_length), copied(r, value, value_length));
}

static int32_t take_head(void *user, const fcgate_head *head)
{
    forward_t *forward = user;
    request_rec *r = forward->r;
    size_t count = fcgate_head_field_count(head);
    size_t length;
    const char *reason = fcgate_head_reason(head, &length);

    forward->has_head = 1;
    /* An ErrorDocument that states no status of its own answers with that of the error. */
    if (fcgate_head_status(head) != HTTP_OK || !ap_is_HTTP_ERROR(r->status)) {
        r->status = (int)fcgate_head_status(head);
    }
    r->status_line = length > 0 ? apr_psprintf(r->pool, "%d %s", r->status, copied(r, reason, length)) : NULL;
    /* What the script's file is says nothing about what it answers. */
    ap_set_content_type(r, NULL);
    r->content_encoding = NULL;
    r->content_languages = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *name, *value;
        size_t name_length, value_length;

        if (fcgate_head_field(head, i, &name, &name_length, &value, &value_length) == FCGATE_OK) {
            take_field(r, name, name_length, value, value_length);
        }
    }
    return FCGATE_OK;
}

static int32_t pass(forward_t *forward)
{
    request_rec *r = forward->r;
    apr_status_t status = ap_pass_brigade(r->output_filters, forward->output);

    apr_brigade_cleanup(forward->output);
    if (status == APR_SUCCESS && !r->connection->aborted) {
        return FCGATE_OK;
    }
    return r->connection->aborted ? FCGATE_E_CLIENT_GONE : FCGATE_E_ABORTED;
}

static int32_t take_data(void *user, const void *bytes, size_t length)
{
    forward_t *forward = user;
    apr_bucket_alloc_t *allocator = forward->output->bucket_alloc;

    APR_BRIGADE_INSERT_TAIL(forward->output, apr_bucket_transient_create(bytes, length, allocator));
    return pass(forward);
}

/* One way through the filters for both, as most responses are. */
static int32_t take_last(void *user, const void *bytes, size_t length)
{
    forward_t *forward = user;
    apr_bucket_alloc_t *allocator = forward->output->bucket_alloc;

    APR_BRIGADE_INSERT_TAIL(forward->output, apr_bucket_transient_create(bytes, length, allocator));
    APR_BRIGADE_INSERT_TAIL(forward->output, apr_bucket_eos_create(allocator));
    return pass(forward);
}

static int32_t flush(void *user)
{
    forward_t *forward = user;

    APR_BRIGADE_INSERT_TAIL(forward->output, apr_bucket_flush_create(forward->output->bucket_alloc));
    return pass(forward);
}

static int32_t complete(void *user)
{
    forward_t *forward = user;

    APR_BRIGADE_INSERT_TAIL(forward->output, apr_bucket_eos_create(forward->output->bucket_alloc));
    return pass(forward);
}

static void error_line(void *user, const char *line, size_t length)
{
    forward_t *forward = user;

    if (forward->stderr_level != STDERR_OFF) {
        ap_log_rerror(APLOG_MARK, forward->stderr_level, 0, forward->r, "application: %.*s", (int)length, line);
    }
}

/* A request of HTTP/2 has no socket of its own; its connection is told. */
static int32_t client_gone(void *user)
{
    forward_t *forward = user;

    return forward->r->connection->aborted ? 1 : 0;
}

static int32_t client_descriptor(const conn_rec *connection)
{
    apr_socket_t *socket;
    apr_os_sock_t descriptor;

    if (connection->master) {
        return -1;
    }
    socket = ap_get_conn_socket((conn_rec *)connection);
    return socket && apr_os_sock_get(&descriptor, socket) == APR_SUCCESS ? descriptor : -1;
}

/* ---- the end ---- */

/* Cuts the response so that it can't look whole: no last chunk (HTTP/1.1), a reset (HTTP/2, and
 * HTTP/1.0, where the end of the connection would be the end of the response). */
static void cut(forward_t *forward)
{
    request_rec *r = forward->r;
    conn_rec *connection = r->connection;
    apr_bucket_brigade *output = forward->output;
    int32_t descriptor = client_descriptor(connection);
    int ends_with_connection = !r->chunked && !apr_table_get(r->headers_out, "Content-Length");

    connection->keepalive = AP_CONN_CLOSE;
    apr_brigade_cleanup(output);
    APR_BRIGADE_INSERT_TAIL(output, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, output->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(output, apr_bucket_eos_create(output->bucket_alloc));
    ap_pass_brigade(r->output_filters, output);
    apr_brigade_cleanup(output);
    if (ends_with_connection && !r->chunked && descriptor >= 0) {
        struct linger none = {1, 0};

        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        connection->aborted = 1;
    }
}

static int finish(forward_t *forward, const fcgate_error *error)
{
    request_rec *r = forward->r;

    if (error->status == FCGATE_OK) {
        return OK;
    }
    if (forward->has_head) {
        if (!r->connection->aborted) {
            cut(forward);
        }
        return OK;
    }
    if (error->status == FCGATE_E_CLIENT_GONE) {
        r->connection->aborted = 1;
        r->status = HTTP_CLIENT_GONE;
        return DONE;
    }
    if (forward->input_status) {
        return forward->input_status;
    }
    if (error->http_status == HTTP_SERVICE_UNAVAILABLE) {
        apr_table_setn(r->err_headers_out, "Retry-After", RETRY_AFTER);
    }
    return error->http_status ? (int)error->http_status : HTTP_INTERNAL_SERVER_ERROR;
}

/* Requests that are not in use, which keep their memory. A slot is taken and filled by one thread at a
 * time; a connection tends to find its own again. */
#define SPARE_REQUESTS 128
static fcgate_request *spare_requests[SPARE_REQUESTS];

static fcgate_request **spare_of(const request_rec *r)
{
    return &spare_requests[(apr_uintptr_t)r->connection->id % SPARE_REQUESTS];
}

static fcgate_request *take_request(const request_rec *r)
{
    fcgate_request *spare = __atomic_exchange_n(spare_of(r), NULL, __ATOMIC_ACQUIRE);

    return spare ? spare : fcgate_request_new();
}

static void give_request_back(const request_rec *r, fcgate_request *request)
{
    fcgate_request *none = NULL;

    fcgate_request_clear(request);
    if (!__atomic_compare_exchange_n(spare_of(r), &none, request, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
        fcgate_request_free(request);
    }
}

void mod_fcgate_free_spares(void)
{
    for (size_t i = 0; i < SPARE_REQUESTS; i++) {
        fcgate_request_free(__atomic_exchange_n(&spare_requests[i], NULL, __ATOMIC_ACQUIRE));
    }
}

static int forward_request(request_rec *r, const balancer_t *balancer)
{
    const directory_config_t *directory = ap_get_module_config(r->per_dir_config, &fcgate_module);
    const fcgate_gateway *gateway = mod_fcgate_the_gateway();
    apr_bucket_alloc_t *allocator = r->connection->bucket_alloc;
    forward_t forward = {0};
    fcgate_handler handler = {0};
    fcgate_request *request;
    const fcgate_route *route;
    fcgate_info info = {.struct_size = sizeof info};
    fcgate_error error;
    request_rec *before;
    int status;

    route = gateway ? mod_fcgate_find_route(r, gateway, balancer, directory, &error) : NULL;
    if (!route) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "%s: %s", balancer->internal,
                      gateway ? error.text : "this process has no gateway; look at what it logged when it started");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    request = take_request(r);
    status = mod_fcgate_describe(r, directory, request);
    if (status != OK) {
        give_request_back(r, request);
        return status;
    }
    forward.r = r;
    forward.input = apr_brigade_create(r->pool, allocator);
    forward.output = apr_brigade_create(r->pool, allocator);
    forward.stderr_level = directory->stderr_level == STDERR_UNSET ? STDERR_DEFAULT : directory->stderr_level;

    handler.struct_size = sizeof handler;
    handler.client_fd = client_descriptor(r->connection);
    handler.body = take_body;
    handler.head = take_head;
    handler.data = take_data;
    handler.flush = flush;
    handler.complete = complete;
    handler.error_line = error_line;
    handler.client_gone = client_gone;
    handler.last = take_last;

    before = mod_fcgate_set_current(r);
    fcgate_forward(gateway, route, request, &handler, &forward, &info, &error);
    mod_fcgate_set_current(before);
    if (mod_fcgate_notes_are_used()) {
        mod_fcgate_note(r, &info, &error);
    }

    give_request_back(r, request);
    apr_brigade_destroy(forward.input);
    return finish(&forward, &error);
}

/* Apache itself makes small letters of what SetHandler says. */
static const balancer_t *find_balancer(request_rec *r, const server_config_t *server, const char *name)
{
    const balancer_t *balancer = apr_hash_get(server->balancers, name, APR_HASH_KEY_STRING);
    apr_hash_index_t *index = balancer ? NULL : apr_hash_first(r->pool, server->balancers);

    for (; index; index = apr_hash_next(index)) {
        const balancer_t *other = apr_hash_this_val(index);

        if (!strcasecmp(other->name, name)) {
            return other;
        }
    }
    return balancer;
}

int mod_fcgate_handler(request_rec *r)
{
    const server_config_t *server;
    const balancer_t *balancer;
    const char *name;

    if (!r->handler || strncmp(r->handler, HANDLER_PREFIX, sizeof HANDLER_PREFIX - 1)) {
        return r->handler && !strcmp(r->handler, STATUS_HANDLER) ? mod_fcgate_status_page(r) : DECLINED;
    }
    name = r->handler + sizeof HANDLER_PREFIX - 1;
    server = ap_get_module_config(r->server->module_config, &fcgate_module);
    balancer = find_balancer(r, server, name);
    if (!balancer) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "SetHandler %s: no balancer \"%s\" is declared here%s", r->handler,
                      name, mod_fcgate_hint(r->pool, server, name));
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return forward_request(r, balancer);
}

/* ---- FcgateMap ---- */

/* Where in a path an extension ends, followed by / or the end of the path; NULL if nowhere. */
static const char *end_of_script(const char *path, const char *extension)
{
    size_t length = strlen(extension);

    for (const char *at = strstr(path, extension); at; at = strstr(at + 1, extension)) {
        if (at > path && at[-1] != '/' && (at[length] == '/' || !at[length])) {
            return at + length;
        }
    }
    return NULL;
}

static int has_extension(const char *file, const char *extension)
{
    size_t length = strlen(file), tail = strlen(extension);

    return length > tail && !strcmp(file + length - tail, extension) && file[length - tail - 1] != '/';
}

/* Whether a request is for a file that a map names. Where the files are not on this machine, Apache
 * takes the path for path info from the first part on that it does not find: then it is split anew. */
static int is_mapped(request_rec *r, const map_t *map)
{
    if (has_extension(r->filename, map->extension)) {
        return 1;
    }
    if (r->finfo.filetype == APR_NOFILE && r->path_info) {
        const char *end = end_of_script(r->path_info, map->extension);

        if (end) {
            r->filename = apr_pstrcat(r->pool, r->filename,
                                      apr_pstrmemdup(r->pool, r->path_info, (apr_size_t)(end - r->path_info)), NULL);
            r->path_info = apr_pstrdup(r->pool, end);
            return 1;
        }
    }
    return 0;
}

int mod_fcgate_map(request_rec *r)
{
    const server_config_t *server = ap_get_module_config(r->server->module_config, &fcgate_module);
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    /* Another handler, also "SetHandler none", was chosen for this place. */
    if (r->handler || core->handler || core->expr_handler || !r->filename || r->finfo.filetype == APR_DIR) {
        return DECLINED;
    }
    for (int i = 0; i < server->maps->nelts; i++) {
        const map_t *map = &APR_ARRAY_IDX(server->maps, i, map_t);

        if (is_mapped(r, map)) {
            r->handler = apr_pstrcat(r->pool, HANDLER_PREFIX, map->balancer, NULL);
            return OK;
        }
    }
    return DECLINED;
}
