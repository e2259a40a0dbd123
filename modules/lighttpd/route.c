/*
 * Which balancer answers a request, and the route that the conditions which hold for it make together.
 *
 * Which conditions hold is known with each request only. Each combination is made once in a worker and
 * found again.
 */
#include "mod_fcgate.h"

#include <stdlib.h>
#include <string.h>

static int holds(request_st *r, const part_t *part)
{
    return part->condition == 0 || config_check_cond(r, part->condition);
}

/* As with all of lighttpd's lists, that of the last condition which has one holds. */
static const array *find_map(request_st *r, const plugin_data *plugin)
{
    for (size_t i = plugin->part_count; i > 0; i--) {
        const part_t *part = &plugin->parts[i - 1];

        if (part->map && holds(r, part)) {
            return part->map;
        }
    }
    return NULL;
}

const char *mod_fcgate_find_stderr_mark(request_st *r, const plugin_data *plugin)
{
    for (size_t i = plugin->part_count; i > 0; i--) {
        const part_t *part = &plugin->parts[i - 1];

        if (part->stderr_level && holds(r, part)) {
            return part->stderr_level->mark;
        }
    }
    return "";
}

int mod_fcgate_is_status_url(request_st *r, const plugin_data *plugin)
{
    for (size_t i = plugin->part_count; i > 0; i--) {
        const part_t *part = &plugin->parts[i - 1];

        if (part->status_url && holds(r, part)) {
            return !buffer_is_blank(part->status_url) && buffer_is_equal(&r->uri.path, part->status_url);
        }
    }
    return 0;
}

/* Whether a part of a path has the extension: / or the end of the path follows it. */
static int has_script(const buffer *path, const buffer *extension)
{
    size_t tail = buffer_clen(extension);

    for (const char *at = strstr(path->ptr, extension->ptr); at; at = strstr(at + 1, extension->ptr)) {
        if (at > path->ptr && at[-1] != '/' && (at[tail] == '/' || !at[tail])) {
            return 1;
        }
    }
    return 0;
}

static int has_extension(const buffer *file, const buffer *extension)
{
    size_t length = buffer_clen(file), tail = buffer_clen(extension);

    return length > tail && !memcmp(file->ptr + length - tail, extension->ptr, tail)
           && file->ptr[length - tail - 1] != '/';
}

static int has_prefix(const buffer *path, const buffer *prefix)
{
    return buffer_clen(path) >= buffer_clen(prefix) && !memcmp(path->ptr, prefix->ptr, buffer_clen(prefix));
}

static claim_t claim_of(const data_unset *entry, int is_found)
{
    claim_t claim = {((const data_string *)entry)->value.ptr, &entry->key, is_found};

    return claim;
}

claim_t mod_fcgate_find_by_path(request_st *r, const plugin_data *plugin)
{
    const array *map = find_map(r, plugin);
    claim_t none = {0};

    for (uint32_t i = 0; map && i < map->used; i++) {
        const buffer *key = &map->data[i]->key;

        if (buffer_is_blank(key) || (key->ptr[0] == '/' && has_prefix(&r->uri.path, key))
            || (key->ptr[0] == '.' && has_script(&r->uri.path, key))) {
            return claim_of(map->data[i], 0);
        }
    }
    return none;
}

claim_t mod_fcgate_find_by_file(request_st *r, const plugin_data *plugin)
{
    const array *map = find_map(r, plugin);
    claim_t none = {0};

    for (uint32_t i = 0; map && i < map->used; i++) {
        const buffer *key = &map->data[i]->key;

        if (!buffer_is_blank(key) && key->ptr[0] == '.' && has_extension(&r->physical.path, key)) {
            return claim_of(map->data[i], 1);
        }
    }
    return none;
}

static combination_t *make(plugin_data *plugin, const char *balancer, const fcgate_route *const *levels, size_t count,
                           fcgate_error *error)
{
    const fcgate_route *route =
        fcgate_gateway_route(plugin->gateway, balancer, plugin->base, levels, count, error);
    fcgate_route_info info = {.struct_size = sizeof info};
    combination_t *made;

    if (!route) {
        return NULL;
    }
    fcgate_gateway_route_info(plugin->gateway, route, &info);
    made = ck_malloc(sizeof *made + count * sizeof *levels);
    made->next = plugin->combinations;
    made->balancer = balancer;
    made->route = route;
    made->is_streamed = info.flush == FCGATE_FLUSH_ON;
    made->is_spooled = info.request_body == FCGATE_BODY_SPOOL;
    made->max_body_bytes = info.max_body_bytes;
    made->count = count;
    memcpy(made->levels, levels, count * sizeof *levels);
    plugin->combinations = made;
    return made;
}

const combination_t *mod_fcgate_find_route(request_st *r, plugin_data *plugin, const char *balancer, int has_body,
                                           fcgate_error *error)
{
    const fcgate_route *levels[plugin->part_count + 2];
    size_t count = 0;

    for (size_t i = 0; i < plugin->part_count; i++) {
        if (plugin->parts[i].level && holds(r, &plugin->parts[i])) {
            levels[count++] = plugin->parts[i].level;
        }
    }
    if (has_body || mod_fcgate_is_body_streamed(r)) {
        levels[count++] = plugin->streamed;
    }
    if ((r->conf.stream_response_body & (FDEVENT_STREAM_RESPONSE | FDEVENT_STREAM_RESPONSE_BUFMIN))
        == FDEVENT_STREAM_RESPONSE) {
        levels[count++] = plugin->laid_aside;
    }
    for (const combination_t *known = plugin->combinations; known; known = known->next) {
        if (known->count == count && !memcmp(known->levels, levels, count * sizeof *levels)
            && !strcmp(known->balancer, balancer)) {
            return known;
        }
    }
    return make(plugin, balancer, levels, count, error);
}

void mod_fcgate_drop_routes(plugin_data *plugin)
{
    combination_t *next;

    for (combination_t *each = plugin->combinations; each; each = next) {
        next = each->next;
        free(each);
    }
    plugin->combinations = NULL;
}
