/*
 * From the sections that hold for a request to a route of libfcgate.
 *
 * Which sections overlap is known with each request only. Each combination is made once in a child
 * and found again without a lock: entries are only ever added, and never change.
 */
#include "mod_fcgate.h"
#include "apr_thread_mutex.h"

#define BUCKETS 256

typedef struct combination {
    const struct combination *next;
    const balancer_t *balancer;
    const fcgate_route *base;
    const fcgate_route *route;
    size_t count;
    const fcgate_route *levels[];
} combination_t;

static struct {
    const combination_t *buckets[BUCKETS];
    apr_pool_t *pool;
    apr_thread_mutex_t *adding;
} state;

int mod_fcgate_begin_routes(apr_pool_t *pool)
{
    memset(&state, 0, sizeof state);
    if (apr_pool_create(&state.pool, pool) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
#if APR_HAS_THREADS
    if (apr_thread_mutex_create(&state.adding, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
#endif
    return OK;
}

static size_t bucket_of(const balancer_t *balancer, const fcgate_route *const *levels, size_t count)
{
    apr_uint64_t hash = (apr_uintptr_t)balancer;

    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ (apr_uintptr_t)levels[i]) * 0x9E3779B97F4A7C15u;
    }
    return (size_t)((hash * 0x9E3779B97F4A7C15u) >> 56) % BUCKETS;
}

static const combination_t *find(size_t bucket, const balancer_t *balancer, const fcgate_route *base,
                                 const fcgate_route *const *levels, size_t count)
{
    const combination_t *entry = __atomic_load_n(&state.buckets[bucket], __ATOMIC_ACQUIRE);

    for (; entry; entry = entry->next) {
        if (entry->balancer == balancer && entry->base == base && entry->count == count
            && (count == 0 || !memcmp(entry->levels, levels, count * sizeof *levels))) {
            return entry;
        }
    }
    return NULL;
}

static const fcgate_route *add(size_t bucket, const fcgate_gateway *gateway, const balancer_t *balancer,
                               const fcgate_route *base, const fcgate_route *const *levels, size_t count,
                               fcgate_error *error)
{
    combination_t *entry;
    const fcgate_route *route = fcgate_gateway_route(gateway, balancer->internal, base, levels, count, error);

    if (!route) {
        return NULL;
    }
    entry = apr_palloc(state.pool, sizeof *entry + count * sizeof *levels);
    entry->next = state.buckets[bucket];
    entry->balancer = balancer;
    entry->base = base;
    entry->route = route;
    entry->count = count;
    if (count > 0) {
        memcpy(entry->levels, levels, count * sizeof *levels);
    }
    __atomic_store_n(&state.buckets[bucket], entry, __ATOMIC_RELEASE);
    return route;
}

const fcgate_route *mod_fcgate_find_route(request_rec *r, const fcgate_gateway *gateway,
                                          const balancer_t *balancer, const directory_config_t *directory,
                                          fcgate_error *error)
{
    const server_config_t *server = ap_get_module_config(r->server->module_config, &fcgate_module);
    const fcgate_route *const *levels = (const fcgate_route *const *)directory->levels->elts;
    size_t count = (size_t)directory->levels->nelts;
    size_t bucket = bucket_of(balancer, levels, count);
    const combination_t *known = find(bucket, balancer, server->base, levels, count);
    const fcgate_route *route;

    if (known) {
        return known->route;
    }
#if APR_HAS_THREADS
    apr_thread_mutex_lock(state.adding);
#endif
    known = find(bucket, balancer, server->base, levels, count);
    route = known ? known->route : add(bucket, gateway, balancer, server->base, levels, count, error);
#if APR_HAS_THREADS
    apr_thread_mutex_unlock(state.adding);
#endif
    return route;
}
