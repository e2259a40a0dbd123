/*
 * What libfcgate is told of a request: facts, headers, params. Which of them reach the application, and
 * how, libfcgate decides: nothing of nginx's own fastcgi module is used here.
 */
#include "ngx_http_fcgate_module.h"

static void fact(fcgate_request *request, uint32_t number, const ngx_str_t *value)
{
    fcgate_request_fact(request, number, (const char *) value->data, value->len);
}

static void text_fact(fcgate_request *request, uint32_t number, const char *value)
{
    fcgate_request_fact(request, number, value, ngx_strlen(value));
}

static void number_fact(fcgate_request *request, uint32_t number, ngx_uint_t value)
{
    u_char digits[NGX_INT_T_LEN];
    u_char *end = ngx_sprintf(digits, "%ui", value);

    fcgate_request_fact(request, number, (const char *) digits, (size_t) (end - digits));
}

/* The request-target as the client sent it; what follows the method, up to the next blank. */
static void target(ngx_http_request_t *r, fcgate_request *request)
{
    const u_char *end = r->request_line.data + r->request_line.len;
    const u_char *begin = r->request_line.data, *blank;

    while (begin < end && *begin != ' ') {
        begin++;
    }
    while (begin < end && *begin == ' ') {
        begin++;
    }
    for (blank = begin; blank < end && *blank != ' '; blank++) { /* to the end of the target */ }
    if (blank == begin) {
        fact(request, FCGATE_TARGET, &r->unparsed_uri);
        return;
    }
    fcgate_request_fact(request, FCGATE_TARGET, (const char *) begin, (size_t) (blank - begin));
}

/* server_name, where it is a name and no pattern; libfcgate has the Host header otherwise. */
static void server_name(ngx_http_request_t *r, fcgate_request *request)
{
    const ngx_http_core_srv_conf_t *server = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    const ngx_str_t *name = &server->server_name;

    if (name->len > 0 && !ngx_strchr("~*._", name->data[0])) {
        fact(request, FCGATE_SERVER_NAME, name);
    }
}

static ngx_int_t addresses(ngx_http_request_t *r, fcgate_request *request)
{
    ngx_connection_t *connection = r->connection;
    u_char text[NGX_SOCKADDR_STRLEN];
    ngx_str_t address = {sizeof text, text};
    ngx_uint_t port;

    if (ngx_connection_local_sockaddr(connection, &address, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    fact(request, FCGATE_SERVER_ADDR, &address);
    port = ngx_inet_get_port(connection->local_sockaddr);
    if (port > 0) {
        number_fact(request, FCGATE_SERVER_PORT, port);
    }
    fact(request, FCGATE_REMOTE_ADDR, &connection->addr_text);
    port = ngx_inet_get_port(connection->sockaddr);
    if (port > 0) {
        number_fact(request, FCGATE_REMOTE_PORT, port);
    }
    return NGX_OK;
}

/* ---- who and whence ---- */

/* Where the value of auth_basic stands in its module's configuration: as its directive tells. 0: not known. */
static ngx_uint_t find_auth_basic(ngx_uint_t *module, ngx_uint_t *offset)
{
    for (ngx_uint_t i = 0; ngx_cycle->modules[i]; i++) {
        const ngx_command_t *command = ngx_cycle->modules[i]->commands;

        if (ngx_strcmp(ngx_cycle->modules[i]->name, "ngx_http_auth_basic_module")) {
            continue;
        }
        for (; command && command->name.len > 0; command++) {
            if (!ngx_strcmp(command->name.data, "auth_basic") && command->set == ngx_http_set_complex_value_slot
                && command->conf == NGX_HTTP_LOC_CONF_OFFSET)
            {
                *module = ngx_cycle->modules[i]->ctx_index;
                *offset = command->offset;
                return 1;
            }
        }
    }
    return 0;
}

/* The user, where auth_basic has checked one: nginx tells nobody, so that it is asked whether this location
 * has it checked. It is not where `satisfy any` may have let others in, nor in a part of a page. */
static ngx_int_t user(ngx_http_request_t *r, fcgate_request *request)
{
    const ngx_http_core_loc_conf_t *core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    ngx_http_complex_value_t *realm;
    ngx_uint_t module, offset;
    ngx_str_t value;

    if (r != r->main || r->headers_in.user.len == 0 || core->satisfy != NGX_HTTP_SATISFY_ALL
        || !find_auth_basic(&module, &offset))
    {
        return NGX_OK;
    }
    realm = *(ngx_http_complex_value_t **) ((u_char *) r->loc_conf[module] + offset);
    if (!realm || realm == NGX_CONF_UNSET_PTR) {
        return NGX_OK;
    }
    if (ngx_http_complex_value(r, realm, &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (value.len != 3 || ngx_strncmp(value.data, "off", 3)) {
        fact(request, FCGATE_REMOTE_USER, &r->headers_in.user);
        text_fact(request, FCGATE_AUTH_TYPE, "Basic");
    }
    return NGX_OK;
}

static void variable(fcgate_request *request, const char *name, const u_char *value, size_t length)
{
    fcgate_request_variable(request, name, ngx_strlen(name), (const char *) value, length);
}

/* What error_page leaves of the request before it. */
static ngx_int_t redirect(ngx_http_request_t *r, fcgate_request *request)
{
    const ngx_str_t *uri = &r->unparsed_uri;
    u_char *mark = uri->len > 0 ? ngx_strlchr(uri->data, uri->data + uri->len, '?') : NULL;
    size_t length = mark ? (size_t) (mark - uri->data) : uri->len;
    u_char *path, *end, *from = uri->data;

    if (!r->error_page || r->err_status == 0) {
        return NGX_OK;
    }
    number_fact(request, FCGATE_REDIRECT_STATUS, r->err_status);
    if (length == 0 || *uri->data != '/') {
        return NGX_OK;
    }
    path = end = ngx_pnalloc(r->pool, length);
    if (!path) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_unescape_uri(&end, &from, length, 0);
    /* One that nginx has refused for its bytes. */
    if (!ngx_strlchr(path, end, '\0')) {
        variable(request, "REDIRECT_URL", path, (size_t) (end - path));
    }
    if (mark) {
        variable(request, "REDIRECT_QUERY_STRING", mark + 1, uri->len - length - 1);
    }
    return NGX_OK;
}

/* As nginx takes it: without an address, or with one that is none, the system chooses. */
static ngx_int_t source(ngx_http_request_t *r, fcgate_request *request)
{
    const ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);
    ngx_str_t address;

    if (!lcf->bind || !lcf->bind->is_set) {
        return NGX_OK;
    }
    if (ngx_http_complex_value(r, &lcf->bind->address, &address) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (address.len > 0
        && fcgate_request_bind(request, (const char *) address.data, address.len,
                               lcf->bind->transparent ? FCGATE_BIND_TRANSPARENT : 0) != FCGATE_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "fcgate_bind: \"%V\" is no address to come from", &address);
    }
    return NGX_OK;
}

/* ---- paths ---- */

ngx_int_t ngx_http_fcgate_split(ngx_http_request_t *r, ngx_str_t *script, ngx_str_t *path_info)
{
    const ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);
    static const ngx_str_t index_php = ngx_string("index.php");
    const ngx_str_t *index = lcf->index.len > 0 ? &lcf->index : &index_php;
    u_char *joined;

    *script = r->uri;
    ngx_str_null(path_info);
#if (NGX_PCRE)
    if (lcf->split) {
        int captures[(1 + 2) * 3];
        ngx_int_t found = ngx_regex_exec(lcf->split, &r->uri, captures, (1 + 2) * 3);

        if (found >= 0) {
            script->data = r->uri.data + captures[2];
            script->len = (size_t) (captures[3] - captures[2]);
            path_info->data = r->uri.data + captures[4];
            path_info->len = (size_t) (captures[5] - captures[4]);
        }
        else if (found != NGX_REGEX_NO_MATCHED) {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0, "fcgate_split_path_info failed: %i on \"%V\"", found,
                          &r->uri);
            return NGX_ERROR;
        }
    }
#endif
    if (script->len == 0 || script->data[script->len - 1] != '/') {
        return NGX_OK;
    }
    joined = ngx_pnalloc(r->pool, script->len + index->len);
    if (!joined) {
        return NGX_ERROR;
    }
    ngx_memcpy(ngx_cpymem(joined, script->data, script->len), index->data, index->len);
    script->data = joined;
    script->len += index->len;
    return NGX_OK;
}

static ngx_int_t find_root(ngx_http_request_t *r, ngx_str_t *root)
{
    ngx_http_core_loc_conf_t *core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    *root = core->root;
    if (core->root_lengths
        && (!ngx_http_script_run(r, root, core->root_lengths->elts, 0, core->root_values->elts)
            || ngx_get_full_name(r->pool, (ngx_str_t *) &ngx_cycle->prefix, root) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return NGX_OK;
}

/* The file that root or alias maps a path to. */
static ngx_int_t map(ngx_http_request_t *r, const ngx_str_t *path, ngx_str_t *file)
{
    ngx_str_t uri = r->uri;
    size_t root;
    u_char *end;

    r->uri = *path;
    end = ngx_http_map_uri_to_path(r, file, &root, 0);
    r->uri = uri;
    if (!end) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    file->len = (size_t) (end - file->data);
    return NGX_OK;
}

static ngx_int_t document_root(ngx_http_request_t *r, fcgate_request *request)
{
    ngx_str_t root;
    ngx_int_t rc = find_root(r, &root);

    if (rc == NGX_OK) {
        fact(request, FCGATE_DOCUMENT_ROOT, &root);
    }
    return rc;
}

#if (NGX_PCRE)
/* The file of a script. One that fcgate_split_path_info has taken the location's name off, which alias stands
 * for, follows what alias says. */
static ngx_int_t map_script(ngx_http_request_t *r, const ngx_str_t *script, ngx_str_t *file)
{
    const ngx_http_core_loc_conf_t *core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    size_t alias = core->alias == NGX_MAX_SIZE_T_VALUE ? 0 : core->alias;
    ngx_str_t root;

    if (script->len >= alias && r->uri.len >= alias && !ngx_memcmp(script->data, r->uri.data, alias)) {
        return map(r, script, file);
    }
    if (find_root(r, &root) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    file->len = root.len + script->len;
    file->data = ngx_pnalloc(r->pool, file->len);
    if (!file->data) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_memcpy(ngx_cpymem(file->data, root.data, root.len), script->data, script->len);
    return NGX_OK;
}

/* Script and path info as fcgate_split_path_info has them. */
static ngx_int_t split_paths(ngx_http_request_t *r, fcgate_request *request)
{
    ngx_str_t script, path_info, file, path;
    u_char *end;

    if (ngx_http_fcgate_split(r, &script, &path_info) != NGX_OK || map_script(r, &script, &file) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    path.len = script.len + path_info.len;
    path.data = end = ngx_pnalloc(r->pool, path.len);
    if (!end) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    end = ngx_cpymem(end, script.data, script.len);
    if (path_info.len > 0) {
        ngx_memcpy(end, path_info.data, path_info.len);
    }
    fact(request, FCGATE_PATH, &path);
    fact(request, FCGATE_FILE, &file);
    fact(request, FCGATE_PATH_INFO, &path_info);
    return NGX_OK;
}
#endif

/* The location's name, where that is the beginning of paths; for an application without scripts. */
static void prefix(ngx_http_request_t *r, fcgate_request *request)
{
    const ngx_http_core_loc_conf_t *core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    ngx_str_t name = core->name;

#if (NGX_PCRE)
    if (core->regex) {
        name.len = 0;
    }
#endif
    if (core->named) {
        name.len = 0;
    }
    if (name.len > 0 && name.data[name.len - 1] == '/') {
        name.len--;
    }
    fact(request, FCGATE_PREFIX, &name);
}

static ngx_int_t paths(ngx_http_request_t *r, fcgate_request *request)
{
    ngx_str_t file;

#if (NGX_PCRE)
    if (((ngx_http_fcgate_loc_conf_t *) ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module))->split) {
        return split_paths(r, request);
    }
#endif
    if (map(r, &r->uri, &file) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    fact(request, FCGATE_PATH, &r->uri);
    fact(request, FCGATE_FILE, &file);
    return NGX_OK;
}

/* ---- headers ---- */

static void headers(ngx_http_request_t *r, fcgate_request *request, ngx_uint_t all)
{
    for (const ngx_list_part_t *part = &r->headers_in.headers.part; part; part = part->next) {
        const ngx_table_elt_t *lines = part->elts;

        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (all || &lines[i] == r->headers_in.content_type) {
                fcgate_request_header(request, (const char *) lines[i].key.data, lines[i].key.len,
                                      (const char *) lines[i].value.data, lines[i].value.len);
            }
        }
    }
}

ngx_int_t ngx_http_fcgate_describe(ngx_http_request_t *r, fcgate_request *request)
{
    const ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);
    const ngx_http_core_srv_conf_t *server = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    ngx_int_t rc;

    fact(request, FCGATE_METHOD, &r->method_name);
    target(r, request);
    fact(request, FCGATE_QUERY, &r->args);
    fact(request, FCGATE_PROTOCOL, &r->http_protocol);
#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        text_fact(request, FCGATE_SCHEME, "https");
        text_fact(request, FCGATE_HTTPS, "on");
    }
#endif
    text_fact(request, FCGATE_SERVER_SOFTWARE, NGINX_VER);
    server_name(r, request);
    prefix(r, request);
    if (server->underscores_in_headers) {
        text_fact(request, FCGATE_UNDERSCORES, "on");
    }
    rc = redirect(r, request);
    rc = rc == NGX_OK ? user(r, request) : rc;
    rc = rc == NGX_OK ? source(r, request) : rc;
    rc = rc == NGX_OK ? addresses(r, request) : rc;
    rc = rc == NGX_OK ? document_root(r, request) : rc;
    rc = rc == NGX_OK ? paths(r, request) : rc;
    if (rc != NGX_OK) {
        return rc;
    }
    headers(r, request, (ngx_uint_t) lcf->pass_headers);
    return ngx_http_fcgate_params(r, request);
}
