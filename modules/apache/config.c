/*
 * What servers and sections have of their own, how it is merged, and what is checked when all lines are
 * read.
 */
#include "mod_fcgate.h"

APLOG_USE_MODULE(fcgate);

reading_t mod_fcgate_reading;

fcgate_config *mod_fcgate_the_config(void)
{
    return mod_fcgate_reading.balancers > 0 ? mod_fcgate_reading.config : NULL;
}

int mod_fcgate_notes_are_used(void)
{
    return mod_fcgate_reading.notes_are_used;
}

/* ---- configurations of servers and sections ---- */

void *mod_fcgate_create_server_config(apr_pool_t *pool, server_rec *server)
{
    server_config_t *config = apr_pcalloc(pool, sizeof *config);

    (void)server;
    config->balancers = apr_hash_make(pool);
    config->maps = apr_array_make(pool, 0, sizeof(map_t));
    return config;
}

void *mod_fcgate_merge_server_config(apr_pool_t *pool, void *base, void *add)
{
    const server_config_t *outer = base, *inner = add;
    server_config_t *config = apr_pcalloc(pool, sizeof *config);

    config->balancers = apr_hash_overlay(pool, inner->balancers, outer->balancers);
    config->maps = apr_array_append(pool, inner->maps, outer->maps);
    return config;
}

void *mod_fcgate_create_directory_config(apr_pool_t *pool, char *path)
{
    directory_config_t *config = apr_pcalloc(pool, sizeof *config);

    (void)path;
    config->levels = apr_array_make(pool, 1, sizeof(const fcgate_route *));
    config->params = apr_array_make(pool, 0, sizeof(param_t));
    config->stderr_level = STDERR_UNSET;
    return config;
}

/* Adds a level. What a .htaccess file further out says of the same setting goes: so there are only so
 * many combinations as the server's own sections make. */
void mod_fcgate_add_level(apr_array_header_t *levels, const fcgate_route *level)
{
    for (int i = 0; i < levels->nelts; i++) {
        if (mod_fcgate_is_same_spare(APR_ARRAY_IDX(levels, i, const fcgate_route *), level)) {
            for (int at = i; at + 1 < levels->nelts; at++) {
                APR_ARRAY_IDX(levels, at, const fcgate_route *) = APR_ARRAY_IDX(levels, at + 1, const fcgate_route *);
            }
            levels->nelts--;
            break;
        }
    }
    APR_ARRAY_PUSH(levels, const fcgate_route *) = level;
}

void *mod_fcgate_merge_directory_config(apr_pool_t *pool, void *base, void *add)
{
    const directory_config_t *outer = base, *inner = add;
    directory_config_t *config = apr_pcalloc(pool, sizeof *config);

    config->levels = outer->levels;
    if (inner->levels->nelts > 0) {
        config->levels = apr_array_copy(pool, outer->levels);
        for (int i = 0; i < inner->levels->nelts; i++) {
            mod_fcgate_add_level(config->levels, APR_ARRAY_IDX(inner->levels, i, const fcgate_route *));
        }
    }
    config->params = outer->params;
    if (inner->params->nelts > 0) {
        config->params = apr_array_append(pool, outer->params, inner->params);
    }
    config->stderr_level = inner->stderr_level == STDERR_UNSET ? outer->stderr_level : inner->stderr_level;
    return config;
}

/* ---- the whole ---- */

const char *mod_fcgate_hint(apr_pool_t *pool, const server_config_t *server, const char *name)
{
    size_t count = 0, most = apr_hash_count(server->balancers);
    const char **names = apr_palloc(pool, (most + 1) * sizeof *names);
    const char *near;

    for (apr_hash_index_t *index = apr_hash_first(pool, server->balancers); index; index = apr_hash_next(index)) {
        names[count++] = ((const balancer_t *)apr_hash_this_val(index))->name;
    }
    near = fcgate_nearest(name, names, count);
    if (near) {
        return apr_psprintf(pool, "; did you mean %s?", near);
    }
    if (strpbrk(name, ":/")) {
        return "; an address can't stand here: declare it (FcgateBalancer NAME ADDRESS) and write the name";
    }
    return count > 0 ? "" : "; there is no FcgateBalancer at all";
}

/* Looks through all lines before they are read: for unknown directives of ours, of which Apache itself
 * would say no more than that they are unknown; and whether FCGATE_ variables are used at all, which
 * cost a little with each request. */
static int look_through(const ap_directive_t *directive)
{
    for (; directive; directive = directive->next) {
        const char *name = directive->directive;
        const char *bare = name[0] == '<' ? name + 1 : name;

        if (!strncasecmp(bare, "Fcgate", 6) && !mod_fcgate_is_directive(name)) {
            const char *near = mod_fcgate_nearest_directive(bare);

            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, NULL,
                         "Syntax error on line %d of %s: %s is no directive of mod_fcgate%s%s%s", directive->line_num,
                         directive->filename, name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (directive->args && strstr(directive->args, "{FCGATE_")) {
            mod_fcgate_reading.notes_are_used = 1;
        }
        if (directive->first_child && look_through(directive->first_child) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

static apr_status_t drop_config(void *unused)
{
    (void)unused;
    fcgate_config_free(mod_fcgate_reading.config);
    memset(&mod_fcgate_reading, 0, sizeof mod_fcgate_reading);
    return APR_SUCCESS;
}

int mod_fcgate_begin_config(apr_pool_t *pool)
{
    fcgate_error error;

    if (fcgate_abi_check(FCGATE_ABI, &error) != FCGATE_OK) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, NULL, "mod_fcgate: %s", error.text);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    memset(&mod_fcgate_reading, 0, sizeof mod_fcgate_reading);
    mod_fcgate_reading.config = fcgate_config_new();
    apr_pool_cleanup_register(pool, NULL, drop_config, apr_pool_cleanup_null);
    if (mod_fcgate_make_spares(&error) != FCGATE_OK) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, NULL, "mod_fcgate: %s", error.text);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return look_through(ap_conftree);
}

static int check_maps(server_rec *server, const server_config_t *config)
{
    for (int i = 0; i < config->maps->nelts; i++) {
        const map_t *map = &APR_ARRAY_IDX(config->maps, i, map_t);

        if (!apr_hash_get(config->balancers, map->balancer, APR_HASH_KEY_STRING)) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, server,
                         "Syntax error on line %d of %s: FcgateMap: no balancer \"%s\" is declared%s", map->line,
                         map->file, map->balancer, mod_fcgate_hint(server->process->pool, config, map->balancer));
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

/* Apache's own Timeout holds where nothing else is said. */
static int set_base(server_rec *server, server_config_t *config)
{
    static const char *const names[] = {"head_timeout", "read_timeout"};
    char value[32];
    fcgate_error error;

    config->base = fcgate_config_route(mod_fcgate_reading.config, NULL, NULL, &error);
    apr_snprintf(value, sizeof value, "%" APR_INT64_T_FMT "ms", (apr_int64_t)apr_time_as_msec(server->timeout));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!config->base || fcgate_route_set(config->base, names[i], value, &error) != FCGATE_OK) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, server, "mod_fcgate: Timeout: %s", error.text);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

int mod_fcgate_finish_config(server_rec *main_server)
{
    fcgate_error error;

    for (server_rec *server = main_server; server; server = server->next) {
        server_config_t *config = ap_get_module_config(server->module_config, &fcgate_module);

        if (check_maps(server, config) != OK || set_base(server, config) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    if (fcgate_config_check(mod_fcgate_reading.config, mod_fcgate_log, main_server, &error) != FCGATE_OK) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, main_server, "mod_fcgate: %s", error.text);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}
