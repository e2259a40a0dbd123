/*
 * mod_fcgate: FastCGI for lighttpd 1.4 by libfcgate. The hooks, one gateway and one loop for each worker, the log.
 */
#include "mod_fcgate.h"
#include "response.h"
#include "stat_cache.h"

#include <errno.h>
#include <stdlib.h>

void mod_fcgate_write_line(log_error_st *log, uint32_t level, const char *text, size_t length)
{
    log_error(log, HERE, "%s%.*s", level == FCGATE_LOG_WARNING ? "warning: " : "", (int)length, text);
}

void mod_fcgate_log(void *user, uint32_t level, const char *text, size_t length)
{
    const plugin_data *plugin = user;

    mod_fcgate_write_line(plugin->srv->errh, level, text, length);
}

INIT_FUNC(init)
{
    plugin_data *plugin = ck_calloc(1, sizeof *plugin);

    plugin->descriptor = -1;
    plugin->timer = -1;
    return plugin;
}

/* Also for "lighttpd -tt": all that is wrong in the configuration is told here. */
SETDEFAULTS_FUNC(set_defaults)
{
    plugin_data *plugin = p_d;
    fcgate_error error;

    plugin->srv = srv;
    if (fcgate_abi_check(FCGATE_ABI, &error) != FCGATE_OK) {
        log_error(srv->errh, HERE, "%s", error.text);
        return HANDLER_ERROR;
    }
    return mod_fcgate_read_config(plugin) ? HANDLER_GO_ON : HANDLER_ERROR;
}

/* In each worker, after it was forked; in lighttpd itself where it has none. */
SERVER_FUNC(worker_init)
{
    plugin_data *plugin = p_d;
    fcgate_error error;

    if (!plugin->balancers) {
        return HANDLER_GO_ON;
    }
    /* Its warnings were said when the configuration was checked, once for all workers. */
    plugin->gateway = fcgate_gateway_new(plugin->config, NULL, NULL, &error);
    if (!plugin->gateway) {
        log_error(srv->errh, HERE, "no gateway in this worker: %s", error.text);
        return HANDLER_ERROR;
    }
    fcgate_gateway_set_log(plugin->gateway, mod_fcgate_log, plugin);
    plugin->request = fcgate_request_new();
    return mod_fcgate_begin_loop(plugin) ? HANDLER_GO_ON : HANDLER_ERROR;
}

/* In each worker and in what forked them; also before a graceful restart, which loads the module anew. */
FREE_FUNC(cleanup)
{
    plugin_data *plugin = p_d;

    mod_fcgate_free_left(plugin);
    mod_fcgate_end_loop(plugin);
    mod_fcgate_drop_routes(plugin);
    fcgate_request_free(plugin->request);
    fcgate_gateway_free(plugin->gateway);
    fcgate_config_free(plugin->config);
    free(plugin->parts);
}

static int is_free(const request_st *r, const plugin_data *plugin)
{
    return plugin->gateway && !r->handler_module && r->http_method != HTTP_METHOD_CONNECT;
}

/* The status page, prefixes, and "" for all. */
URIHANDLER_FUNC(claim_by_path)
{
    plugin_data *plugin = p_d;
    claim_t claim;

    if (!r->handler_module && mod_fcgate_is_status_url(r, plugin)) {
        return mod_fcgate_status_page(r, plugin);
    }
    if (!is_free(r, plugin)) {
        return HANDLER_GO_ON;
    }
    claim = mod_fcgate_find_by_path(r, plugin);
    if (claim.balancer && (buffer_is_blank(claim.key) || claim.key->ptr[0] == '/')) {
        mod_fcgate_claim(r, plugin, claim);
    }
    return HANDLER_GO_ON;
}

/* Scripts that lighttpd does not find: perhaps the application does, on another machine. */
PHYSICALPATH_FUNC(claim_unseen)
{
    plugin_data *plugin = p_d;
    claim_t claim;

    if (!is_free(r, plugin) || buffer_is_blank(&r->physical.path)) {
        return HANDLER_GO_ON;
    }
    claim = mod_fcgate_find_by_path(r, plugin);
    if (claim.balancer && !stat_cache_path_stat(&r->physical.path) && errno == ENOENT) {
        mod_fcgate_claim(r, plugin, claim);
    }
    return HANDLER_GO_ON;
}

/* Scripts that lighttpd has found. */
URIHANDLER_FUNC(claim_by_file)
{
    plugin_data *plugin = p_d;
    claim_t claim;

    if (!is_free(r, plugin)) {
        return HANDLER_GO_ON;
    }
    claim = mod_fcgate_find_by_file(r, plugin);
    if (claim.balancer) {
        mod_fcgate_claim(r, plugin, claim);
    }
    return HANDLER_GO_ON;
}

__attribute__((visibility("default"))) int mod_fcgate_plugin_init(plugin *p);

int mod_fcgate_plugin_init(plugin *p)
{
    p->version = LIGHTTPD_VERSION_ID;
    p->name = "fcgate";
    p->init = init;
    p->set_defaults = set_defaults;
    p->worker_init = worker_init;
    p->cleanup = cleanup;
    p->handle_uri_clean = claim_by_path;
    p->handle_physical = claim_unseen;
    p->handle_subrequest_start = claim_by_file;
    p->handle_subrequest = mod_fcgate_handle;
    p->handle_response_start = mod_fcgate_add_retry_after;
    p->handle_request_reset = mod_fcgate_reset;
    return 0;
}
