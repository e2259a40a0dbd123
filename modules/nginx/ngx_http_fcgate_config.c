/*
 * What http, server and location have of their own, how it is merged, and what is checked when all
 * lines are read.
 */
#include "ngx_http_fcgate_module.h"

static void drop_config(void *data)
{
    ngx_http_fcgate_main_conf_t *mcf = data;

    ngx_http_fcgate_end_hints();
    fcgate_config_free(mcf->config);
}

void *ngx_http_fcgate_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_fcgate_main_conf_t *mcf = ngx_pcalloc(cf->pool, sizeof *mcf);
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    fcgate_error error;

    if (!mcf || !cleanup
        || ngx_array_init(&mcf->balancers, cf->pool, 4, sizeof(ngx_http_fcgate_balancer_t *)) != NGX_OK)
    {
        return NULL;
    }
    if (fcgate_abi_check(FCGATE_ABI, &error) != FCGATE_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "fcgate: %s", error.text);
        return NULL;
    }
    mcf->config = fcgate_config_new();
    cleanup->handler = drop_config;
    cleanup->data = mcf;
    mcf->base = fcgate_config_route(mcf->config, NULL, NULL, &error);
    if (!mcf->base || fcgate_route_set(mcf->base, "pass_authorization", "on", &error) != FCGATE_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "fcgate: %s", error.text);
        return NULL;
    }
    ngx_http_fcgate_begin_hints(cf);
    return mcf;
}

void *ngx_http_fcgate_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_fcgate_loc_conf_t *lcf = ngx_pcalloc(cf->pool, sizeof *lcf);

    if (lcf) {
        lcf->stderr_level = NGX_CONF_UNSET_UINT;
        lcf->pass_body = NGX_CONF_UNSET;
        lcf->pass_headers = NGX_CONF_UNSET;
        lcf->force_ranges = NGX_CONF_UNSET;
    }
    return lcf;
}

/* Both arrays as one, the outer's elements first; NULL without memory. */
static ngx_array_t *appended(ngx_conf_t *cf, ngx_array_t *outer, ngx_array_t *inner)
{
    ngx_array_t *both = ngx_array_create(cf->pool, outer->nelts + inner->nelts, outer->size);
    u_char *place = both ? ngx_array_push_n(both, outer->nelts + inner->nelts) : NULL;

    if (!place) {
        return NULL;
    }
    place = ngx_cpymem(place, outer->elts, outer->nelts * outer->size);
    ngx_memcpy(place, inner->elts, inner->nelts * inner->size);
    return both;
}

static ngx_int_t merge_arrays(ngx_conf_t *cf, ngx_array_t *outer, ngx_array_t **inner)
{
    if (outer) {
        *inner = *inner ? appended(cf, outer, *inner) : outer;
        return *inner ? NGX_OK : NGX_ERROR;
    }
    return NGX_OK;
}

/* An "if" or a "limit_except" is a part of its location, not one of its own. */
static void inherit_pass(ngx_conf_t *cf, const ngx_http_fcgate_loc_conf_t *outer, ngx_http_fcgate_loc_conf_t *inner)
{
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (outer->pass.len > 0 && inner->pass.len == 0 && core->noname) {
        inner->pass = outer->pass;
        inner->place = outer->place;
        inner->variable = outer->variable;
        if (core->lmt_excpt && !core->handler) {
            core->handler = ngx_http_fcgate_handler;
        }
    }
}

char *ngx_http_fcgate_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_fcgate_loc_conf_t *outer = parent, *inner = child;

    if (merge_arrays(cf, outer->levels, &inner->levels) != NGX_OK
        || merge_arrays(cf, outer->params, &inner->params) != NGX_OK
        || merge_arrays(cf, outer->pool_settings, &inner->pool_settings) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }
    if (!inner->hidden) {
        inner->hidden = outer->hidden;
    }
    if (!inner->bind) {
        inner->bind = outer->bind;
    }
    if (!inner->passed) {
        inner->passed = outer->passed;
    }
#if (NGX_PCRE)
    if (!inner->split) {
        inner->split = outer->split;
    }
#endif
    if (inner->index.len == 0) {
        inner->index = outer->index;
    }
    if (inner->ignored == 0) {
        inner->ignored = outer->ignored;
    }
    ngx_conf_merge_uint_value(inner->stderr_level, outer->stderr_level, NGX_LOG_ERR);
    ngx_conf_merge_value(inner->pass_body, outer->pass_body, 1);
    ngx_conf_merge_value(inner->pass_headers, outer->pass_headers, 1);
    ngx_conf_merge_value(inner->force_ranges, outer->force_ranges, 0);
    inherit_pass(cf, outer, inner);
    return ngx_http_fcgate_resolve_pass(cf, inner) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}

ngx_int_t ngx_http_fcgate_check_config(ngx_conf_t *cf)
{
    ngx_http_fcgate_main_conf_t *mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcgate_module);
    fcgate_error error;

    ngx_http_fcgate_end_hints();
    if (fcgate_config_check(mcf->config, ngx_http_fcgate_log, cf->log, &error) != FCGATE_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "fcgate: %s", error.text);
        return NGX_ERROR;
    }
    return NGX_OK;
}
