/*
 * What libfcgate is told of a request: facts, headers, the server's environment, params. Which of them
 * reach the application, and how, libfcgate decides: none of Apache's own CGI variables are made here.
 */
#include "mod_fcgate.h"
#include "http_protocol.h"
#include "http_request.h"

APLOG_USE_MODULE(fcgate);

static void fact(fcgate_request *request, uint32_t number, const char *value)
{
    if (value) {
        fcgate_request_fact(request, number, value, strlen(value));
    }
}

/* The request-target of the client's own request, also after internal redirects. */
static void target(request_rec *r, fcgate_request *request)
{
    const char *begin = r->the_request ? strchr(r->the_request, ' ') : NULL;
    const char *end;

    if (!begin) {
        fact(request, FCGATE_TARGET, r->unparsed_uri);
        return;
    }
    begin++;
    end = strchr(begin, ' ');
    fcgate_request_fact(request, FCGATE_TARGET, begin, end ? (size_t)(end - begin) : strlen(begin));
}

static void number(request_rec *r, fcgate_request *request, uint32_t fact_number, unsigned value)
{
    if (value > 0) {
        fact(request, fact_number, apr_itoa(r->pool, (int)value));
    }
}

static int header(void *request, const char *name, const char *value)
{
    fcgate_request_header(request, name, strlen(name), value, strlen(value));
    return 1;
}

static int variable(void *request, const char *name, const char *value)
{
    fcgate_request_variable(request, name, strlen(name), value, strlen(value));
    return 1;
}

/* What an internal redirect leaves of the request before it. */
static void redirect(request_rec *r, fcgate_request *request)
{
    fact(request, FCGATE_REDIRECT_STATUS, apr_table_get(r->subprocess_env, "REDIRECT_STATUS"));
    variable(request, "REDIRECT_URL", r->prev->uri);
    if (r->prev->args) {
        variable(request, "REDIRECT_QUERY_STRING", r->prev->args);
    }
}

/* CGIPassAuth, where it stands, decides; otherwise libfcgate does, which knows whether the server has
 * authenticated the request itself. */
static void headers(request_rec *r, fcgate_request *request)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const char *authorization = apr_table_get(r->headers_in, "Authorization");

    if (authorization && core->cgi_pass_auth == AP_CGI_PASS_AUTH_OFF) {
        apr_table_t *others = apr_table_clone(r->pool, r->headers_in);

        apr_table_unset(others, "Authorization");
        apr_table_do(header, request, others, NULL);
        return;
    }
    if (authorization && core->cgi_pass_auth == AP_CGI_PASS_AUTH_ON) {
        variable(request, "HTTP_AUTHORIZATION", authorization);
    }
    apr_table_do(header, request, r->headers_in, NULL);
}

/* The innermost line about a name holds. */
static int params(request_rec *r, const directory_config_t *directory, fcgate_request *request)
{
    for (int i = directory->params->nelts - 1; i >= 0; i--) {
        const param_t *param = &APR_ARRAY_IDX(directory->params, i, param_t);
        const char *value = param->value;
        const char *wrong = NULL;

        if (!value) {
            fcgate_request_param_unset(request, param->name, strlen(param->name));
            continue;
        }
        if (param->condition && ap_expr_exec(r, param->condition, &wrong) <= 0 && !wrong) {
            continue;
        }
        if (param->expression && !wrong) {
            value = ap_expr_str_exec(r, param->expression, &wrong);
        }
        if (wrong) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "FcgateParam %s: the expression failed: %s", param->name, wrong);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (*value || !param->if_not_empty) {
            fcgate_request_param(request, param->name, strlen(param->name), value, strlen(value));
        }
    }
    return OK;
}

/* How long the body is that the client sends; FCGATE_LENGTH_UNKNOWN if that shows at its end only. */
static int body(request_rec *r, fcgate_request *request)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    int chunked = apr_table_get(r->headers_in, "Transfer-Encoding") != NULL;
    apr_off_t bytes = 0;
    char *end;

    /* Neither a part of a page nor an error page has a body: it is its main request's. */
    if (r->main || (r->prev && ap_is_HTTP_ERROR(r->prev->status))) {
        return OK;
    }
    if (!chunked && !length) {
        return OK;
    }
    if (!chunked && (apr_strtoff(&bytes, length, &end, 10) != APR_SUCCESS || *end || bytes < 0)) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "Content-Length \"%s\" is no length", length);
        return HTTP_BAD_REQUEST;
    }
    if (!chunked && bytes == 0) {
        return OK;
    }
    /* A filter may make the body longer or shorter than the client said. */
    if (chunked || r->input_filters != r->proto_input_filters) {
        fcgate_request_body_length(request, FCGATE_LENGTH_UNKNOWN);
        return OK;
    }
    fcgate_request_body_length(request, (uint64_t)bytes);
    return OK;
}

int mod_fcgate_describe(request_rec *r, const directory_config_t *directory, fcgate_request *request)
{
    conn_rec *connection = r->connection;
    int status;

    fact(request, FCGATE_METHOD, r->method);
    target(r, request);
    fact(request, FCGATE_PATH, r->uri);
    fact(request, FCGATE_QUERY, r->args ? r->args : "");
    fact(request, FCGATE_PROTOCOL, r->protocol);
    fact(request, FCGATE_SCHEME, ap_http_scheme(r));
    fact(request, FCGATE_HTTPS, mod_fcgate_is_https(connection) ? "on" : NULL);
    fact(request, FCGATE_SERVER_SOFTWARE, ap_get_server_banner());
    fact(request, FCGATE_SERVER_NAME, ap_get_server_name_for_url(r));
    fact(request, FCGATE_SERVER_ADDR, connection->local_ip);
    number(r, request, FCGATE_SERVER_PORT, ap_get_server_port(r));
    fact(request, FCGATE_REMOTE_ADDR, r->useragent_ip);
    number(r, request, FCGATE_REMOTE_PORT, r->useragent_addr ? r->useragent_addr->port : 0);
    if (r->user && r->ap_auth_type) {
        fact(request, FCGATE_REMOTE_USER, r->user);
        fact(request, FCGATE_AUTH_TYPE, r->ap_auth_type);
    }
    fact(request, FCGATE_DOCUMENT_ROOT, ap_document_root(r));
    fact(request, FCGATE_FILE, r->filename);
    fact(request, FCGATE_FILE_EXISTS, r->finfo.filetype == APR_REG ? "on" : NULL);
    fact(request, FCGATE_PATH_INFO, r->path_info ? r->path_info : "");
    if (r->prev) {
        redirect(r, request);
    }
    headers(r, request);
    apr_table_do(variable, request, r->subprocess_env, NULL);
    status = params(r, directory, request);
    return status == OK ? body(r, request) : status;
}
