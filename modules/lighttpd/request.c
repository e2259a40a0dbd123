/*
 * What libfcgate is told of a request: facts, headers, the server's environment. Which of them reach the
 * application, and how, libfcgate decides: none of lighttpd's own CGI variables are made here.
 */
#include "mod_fcgate.h"
#include "http_header.h"
#include "sock_addr.h"
#include "stat_cache.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void fact(fcgate_request *request, uint32_t number, const char *value, size_t length)
{
    if (value) {
        fcgate_request_fact(request, number, value, length);
    }
}

static void fact_of(fcgate_request *request, uint32_t number, const buffer *value)
{
    if (value && !buffer_is_unset(value)) {
        fact(request, number, BUF_PTR_LEN(value));
    }
}

static void number(fcgate_request *request, uint32_t fact_number, int value)
{
    char text[16];
    int length = snprintf(text, sizeof text, "%d", value);

    fact(request, fact_number, text, (size_t)length);
}

/* The address that the client connected to; where lighttpd listens on all of them the system knows which. */
static void server_address(request_st *r, fcgate_request *request)
{
    const connection *con = r->con;
    const sock_addr *address = &con->srv_socket->addr;
    sock_addr own;
    socklen_t length = sizeof own;
    char text[64];
    int family = sock_addr_get_family(address);
    const char *said;

    if (family != AF_INET && family != AF_INET6) {
        return;
    }
    number(request, FCGATE_SERVER_PORT, sock_addr_get_port(address));
    if (sock_addr_is_addr_wildcard(address)) {
        if (getsockname(con->fd, (struct sockaddr *)&own, &length) != 0) {
            return;
        }
        address = &own;
    }
    said = sock_addr_inet_ntop(address, text, sizeof text);
    fact(request, FCGATE_SERVER_ADDR, said, said ? strlen(said) : 0);
}

static void client_address(request_st *r, fcgate_request *request)
{
    const connection *con = r->con;
    int family = sock_addr_get_family(&con->dst_addr);

    fact_of(request, FCGATE_REMOTE_ADDR, &con->dst_addr_buf);
    if (family == AF_INET || family == AF_INET6) {
        number(request, FCGATE_REMOTE_PORT, sock_addr_get_port(&con->dst_addr));
    }
}

/* By lighttpd's policy; what it has of it may end in a port. */
static void server_name(request_st *r, fcgate_request *request)
{
    const char *name = r->server_name ? r->server_name->ptr : NULL;
    const char *end;

    if (!name) {
        return;
    }
    end = name[0] == '[' ? strstr(name, "]:") : strchr(name, ':');
    if (end && name[0] == '[') {
        end++;
    }
    fact(request, FCGATE_SERVER_NAME, name, end ? (size_t)(end - name) : buffer_clen(r->server_name));
}

/* The path as the client meant it: lighttpd may have split it. */
static void path(request_st *r, fcgate_request *request)
{
    buffer *whole = r->tmp_buf;

    buffer_copy_buffer(whole, &r->uri.path);
    buffer_append_string_len(whole, BUF_PTR_LEN(&r->pathinfo));
    fact_of(request, FCGATE_PATH, whole);
}

/* Whether lighttpd's mapping led to a file; it keeps for a second what it has looked at. */
static int is_file(const buffer *path)
{
    const struct stat *known = buffer_is_blank(path) ? NULL : stat_cache_path_stat(path);

    return known && S_ISREG(known->st_mode);
}

/* The file that lighttpd's mapping leads to. Where lighttpd has not split the path itself, libfcgate splits both. */
static void file(request_st *r, const claim_t *claim, fcgate_request *request)
{
    fact_of(request, FCGATE_FILE, &r->physical.path);
    if (is_file(&r->physical.path)) {
        fact(request, FCGATE_FILE_EXISTS, "on", 2);
    }
    if (claim->is_found) {
        fact(request, FCGATE_PATH_INFO, buffer_is_blank(&r->pathinfo) ? "" : r->pathinfo.ptr, buffer_clen(&r->pathinfo));
    }
    if (buffer_is_blank(claim->key) || claim->key->ptr[0] == '/') {
        fact_of(request, FCGATE_PREFIX, claim->key);
    }
}

static void headers(request_st *r, fcgate_request *request)
{
    for (uint32_t i = 0; i < r->rqst_headers.used; i++) {
        const data_string *header = (const data_string *)r->rqst_headers.data[i];

        if (!buffer_is_blank(&header->value) && !buffer_is_blank(&header->key)) {
            fcgate_request_header(request, BUF_PTR_LEN(&header->key), BUF_PTR_LEN(&header->value));
        }
    }
}

static void variables(request_st *r, fcgate_request *request)
{
    for (uint32_t i = 0; i < r->env.used; i++) {
        const data_string *variable = (const data_string *)r->env.data[i];

        if (!buffer_is_unset(&variable->value) && !buffer_is_blank(&variable->key)) {
            fcgate_request_variable(request, BUF_PTR_LEN(&variable->key), BUF_PTR_LEN(&variable->value));
        }
    }
}

/* Both together are there if lighttpd itself has authenticated the request. */
static void user(request_st *r, fcgate_request *request)
{
    const buffer *name = http_header_env_get(r, CONST_STR_LEN("REMOTE_USER"));
    const buffer *type = http_header_env_get(r, CONST_STR_LEN("AUTH_TYPE"));

    if (name && type) {
        fact_of(request, FCGATE_REMOTE_USER, name);
        fact_of(request, FCGATE_AUTH_TYPE, type);
    }
}

/* What an error handler or a rewrite leaves of the request before it. */
static void redirect(request_st *r, fcgate_request *request)
{
    int status = r->error_handler_saved_status;

    if (status != 0 && status < 1000) {
        number(request, FCGATE_REDIRECT_STATUS, status < 0 ? -status : status);
    }
}

void mod_fcgate_describe(request_st *r, const claim_t *claim, fcgate_request *request)
{
    const char *protocol = get_http_version_name(r->http_version);

    /* TLS modules and others add to the environment when somebody asks for it. */
    r->con->srv->request_env(r);

    fact_of(request, FCGATE_METHOD, http_method_buf(r->http_method));
    fact_of(request, FCGATE_TARGET, &r->target_orig);
    path(r, request);
    fact(request, FCGATE_QUERY, buffer_is_blank(&r->uri.query) ? "" : r->uri.query.ptr, buffer_clen(&r->uri.query));
    fact(request, FCGATE_PROTOCOL, protocol, protocol ? strlen(protocol) : 0);
    fact_of(request, FCGATE_SCHEME, &r->uri.scheme);
    if (buffer_eq_slen(&r->uri.scheme, CONST_STR_LEN("https"))) {
        fact(request, FCGATE_HTTPS, "on", 2);
    }
    fact_of(request, FCGATE_SERVER_SOFTWARE, r->conf.server_tag);
    server_name(r, request);
    server_address(r, request);
    client_address(r, request);
    user(r, request);
    fact_of(request, FCGATE_DOCUMENT_ROOT, &r->physical.doc_root);
    file(r, claim, request);
    redirect(r, request);
    headers(r, request);
    variables(r, request);
    if (mod_fcgate_has_body(r)) {
        fcgate_request_body_length(request,
                                   r->reqbody_length > 0 ? (uint64_t)r->reqbody_length : FCGATE_LENGTH_UNKNOWN);
    }
}
