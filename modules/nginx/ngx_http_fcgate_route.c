/*
 * From a location to a route of libfcgate. Each is made once in a worker: locations that have the same
 * levels share it, and each location keeps those it has used.
 */
#include "ngx_http_fcgate_module.h"

static struct {
    ngx_pool_t *pool;
    ngx_array_t made; /* of ngx_http_fcgate_route_t * */
} routes;

void ngx_http_fcgate_forget_routes(void)
{
    if (routes.pool) {
        ngx_destroy_pool(routes.pool);
    }
    ngx_memzero(&routes, sizeof routes);
}

static ngx_uint_t are_same(const ngx_array_t *one, const ngx_array_t *other)
{
    if (!one || !other || one == other) {
        return one == other;
    }
    return one->nelts == other->nelts && !ngx_memcmp(one->elts, other->elts, one->nelts * one->size);
}

static ngx_http_fcgate_route_t *make(ngx_http_request_t *r, const ngx_http_fcgate_balancer_t *balancer,
    const ngx_array_t *levels)
{
    const ngx_http_fcgate_main_conf_t *mcf = ngx_http_get_module_main_conf(r, ngx_http_fcgate_module);
    const fcgate_gateway *gateway = ngx_http_fcgate_gateway();
    ngx_http_fcgate_route_t *route, **place;
    fcgate_error error;

    if (!routes.pool) {
        routes.pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
        if (!routes.pool || ngx_array_init(&routes.made, routes.pool, 16, sizeof(ngx_http_fcgate_route_t *)) != NGX_OK) {
            return NULL;
        }
    }
    route = ngx_pcalloc(routes.pool, sizeof *route);
    if (!route) {
        return NULL;
    }
    route->balancer = balancer;
    route->levels = levels;
    route->route = fcgate_gateway_route(gateway, balancer->internal, mcf->base, levels ? levels->elts : NULL,
                                        levels ? levels->nelts : 0, &error);
    if (!route->route) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "fcgate_pass %V: %s", &balancer->name, error.text);
        return NULL;
    }
    route->info.struct_size = sizeof route->info;
    fcgate_gateway_route_info(gateway, route->route, &route->info);
    place = ngx_array_push(&routes.made);
    if (!place) {
        return NULL;
    }
    *place = route;
    return route;
}

static ngx_http_fcgate_route_t *find_or_make(ngx_http_request_t *r, const ngx_http_fcgate_balancer_t *balancer,
    const ngx_array_t *levels)
{
    ngx_http_fcgate_route_t **made = routes.made.elts;

    for (ngx_uint_t i = 0; i < routes.made.nelts; i++) {
        if (made[i]->balancer == balancer && are_same(made[i]->levels, levels)) {
            return made[i];
        }
    }
    return make(r, balancer, levels);
}

/* The balancer that the variable of a fcgate_pass names: only what was declared by name. */
static const ngx_http_fcgate_balancer_t *named_balancer(ngx_http_request_t *r, const ngx_http_fcgate_loc_conf_t *lcf)
{
    ngx_http_fcgate_main_conf_t *mcf = ngx_http_get_module_main_conf(r, ngx_http_fcgate_module);
    const ngx_http_fcgate_balancer_t *balancer;
    ngx_str_t name;

    if (ngx_http_complex_value(r, lcf->variable, &name) != NGX_OK) {
        return NULL;
    }
    balancer = ngx_http_fcgate_find_balancer(mcf, &name);
    if (!balancer) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "fcgate_pass %V: no balancer \"%V\" is declared, and no address is taken from a variable",
                      &lcf->pass, &name);
    }
    return balancer;
}

const ngx_http_fcgate_route_t *ngx_http_fcgate_find_route(ngx_http_request_t *r)
{
    ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);
    const ngx_http_fcgate_balancer_t *balancer = lcf->variable ? named_balancer(r, lcf) : lcf->balancer;
    ngx_http_fcgate_route_t **used = lcf->routes ? lcf->routes->elts : NULL;
    ngx_http_fcgate_route_t *route, **place;

    if (!balancer) {
        return NULL;
    }
    for (ngx_uint_t i = 0; lcf->routes && i < lcf->routes->nelts; i++) {
        if (used[i]->balancer == balancer) {
            return used[i];
        }
    }
    route = find_or_make(r, balancer, lcf->levels);
    if (!route) {
        return NULL;
    }
    if (!lcf->routes) {
        lcf->routes = ngx_array_create(routes.pool, 1, sizeof route);
    }
    place = lcf->routes ? ngx_array_push(lcf->routes) : NULL;
    if (place) {
        *place = route;
    }
    return route;
}
