/*
 * mod_fcgate: FastCGI for Apache httpd 2.4 by libfcgate. The hooks, one gateway for each child, the log.
 */
#include "mod_fcgate.h"
#include "http_request.h"
#include "ap_mpm.h"
#include "apr_optional.h"

APLOG_USE_MODULE(fcgate);

APR_DECLARE_OPTIONAL_FN(int, ssl_is_https, (conn_rec *));

static struct {
    fcgate_gateway *gateway;
    server_rec *server;
    int is_threaded;
} child;

static APR_OPTIONAL_FN_TYPE(ssl_is_https) *is_https;

/* libfcgate logs within the call that forwards a request, in the thread that made it. */
static __thread request_rec *current;

const fcgate_gateway *mod_fcgate_the_gateway(void)
{
    return child.gateway;
}

request_rec *mod_fcgate_set_current(request_rec *r)
{
    request_rec *before = current;

    current = r;
    return before;
}

int mod_fcgate_is_https(conn_rec *connection)
{
    return is_https && is_https(connection);
}

void mod_fcgate_log(void *user, uint32_t level, const char *text, size_t length)
{
    int own = level == FCGATE_LOG_ERROR ? APLOG_ERR : level == FCGATE_LOG_WARNING ? APLOG_WARNING : APLOG_NOTICE;

    if (current) {
        ap_log_rerror(APLOG_MARK, own, 0, current, "%.*s", (int)length, text);
    }
    else {
        ap_log_error(APLOG_MARK, own, 0, (server_rec *)user, "%.*s", (int)length, text);
    }
}

static int pre_config(apr_pool_t *config, apr_pool_t *log, apr_pool_t *temporary)
{
    (void)log;
    (void)temporary;
    return mod_fcgate_begin_config(config);
}

/* Not post_config: "apache2 -t" ends before that. */
static int check_config(apr_pool_t *config, apr_pool_t *log, apr_pool_t *temporary, server_rec *server)
{
    (void)config;
    (void)log;
    (void)temporary;
    is_https = APR_RETRIEVE_OPTIONAL_FN(ssl_is_https);
    return mod_fcgate_finish_config(server);
}

static apr_status_t end_child(void *unused)
{
    (void)unused;
    /* prefork ends a child from within a signal handler: what a request has begun there, and the
     * locks it may hold, go with the process. */
    if (!child.is_threaded && current) {
        return APR_SUCCESS;
    }
    fcgate_gateway_free(child.gateway);
    child.gateway = NULL;
    mod_fcgate_free_spares();
    return APR_SUCCESS;
}

static void child_init(apr_pool_t *pool, server_rec *server)
{
    fcgate_config *config = mod_fcgate_the_config();
    fcgate_error error;

    if (!config || mod_fcgate_begin_routes(pool) != OK) {
        return;
    }
    ap_mpm_query(AP_MPMQ_IS_THREADED, &child.is_threaded);
    child.server = server;
    /* Its warnings were said when the configuration was checked, once for all children. */
    child.gateway = fcgate_gateway_new(config, NULL, NULL, &error);
    if (!child.gateway) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server, "mod_fcgate: no gateway in this process: %s", error.text);
        return;
    }
    fcgate_gateway_set_log(child.gateway, mod_fcgate_log, server);
    apr_pool_cleanup_register(pool, NULL, end_child, apr_pool_cleanup_null);
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    /* After the core has looked at SetHandler, before mod_dir looks for indexes. */
    ap_hook_fixups(mod_fcgate_map, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(mod_fcgate_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

__attribute__((visibility("default"))) module AP_MODULE_DECLARE_DATA fcgate_module = {
    STANDARD20_MODULE_STUFF,           mod_fcgate_create_directory_config, mod_fcgate_merge_directory_config,
    mod_fcgate_create_server_config, mod_fcgate_merge_server_config,     mod_fcgate_commands,
    register_hooks,
    0,
};
