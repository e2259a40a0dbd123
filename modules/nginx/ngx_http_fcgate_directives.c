/*
 * The directives: libfcgate's settings, fcgate_pass, and what nginx's own fastcgi_ directives have beyond them.
 *
 * Every value is checked by libfcgate as its line is read, so that nginx names file and line of what is
 * wrong. The settings of one level become one fcgate_route without a balancer; which levels hold for a
 * location is known when all are merged.
 */
#include "ngx_http_fcgate_module.h"

enum {
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) SETTING_##name,
#define FCGATE_LATER(name, Name) SETTING_##name,
#include "../settings.h"
    SETTING_COUNT
};

#define FCGATE_SCOPE_LATER 0
static const ngx_http_fcgate_setting_t settings[] = {
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) {#name, FCGATE_SCOPE_##SCOPE},
#define FCGATE_LATER(name, Name) {#name, FCGATE_SCOPE_LATER},
#include "../settings.h"
};

const ngx_http_fcgate_setting_t *ngx_http_fcgate_find_setting(const char *name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (!ngx_strcmp(settings[i].name, name)) {
            return &settings[i];
        }
    }
    return NULL;
}

char *ngx_http_fcgate_said(ngx_conf_t *cf, const fcgate_error *error)
{
    const ngx_str_t *words = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s", &words[0], error->text);
    return NGX_CONF_ERROR;
}

const char *ngx_http_fcgate_join(ngx_conf_t *cf, ngx_uint_t first, const char *quote)
{
    const ngx_str_t *words = cf->args->elts;
    size_t size = 1;
    u_char *line, *end;

    for (ngx_uint_t i = first; i < cf->args->nelts; i++) {
        size += 2 * words[i].len + sizeof "\"\" ";
    }
    line = end = ngx_pnalloc(cf->pool, size);
    if (!line) {
        return NULL;
    }
    for (ngx_uint_t i = first; i < cf->args->nelts; i++) {
        end = ngx_sprintf(end, "%s%s", i > first ? " " : "", quote);
        for (size_t n = 0; n < words[i].len; n++) {
            if (*quote && (words[i].data[n] == '"' || words[i].data[n] == '\\')) {
                *end++ = '\\';
            }
            *end++ = words[i].data[n];
        }
        end = ngx_sprintf(end, "%s", quote);
    }
    *end = '\0';
    return (const char *) line;
}

/* ---- settings ---- */

/* What nginx itself decides: accepted, such a line would do nothing. */
static const char *elsewhere(const ngx_http_fcgate_setting_t *setting)
{
    static const struct {
        const ngx_http_fcgate_setting_t *setting;
        const char *way;
    } ways[] = {
        {&settings[SETTING_document_root], "nginx's own root and alias say where the files are"},
        {&settings[SETTING_request_memory], "nginx's own client_body_buffer_size says how much of a body is kept in memory"},
        {&settings[SETTING_spool_directory], "nginx's own client_body_temp_path says where bodies are laid aside"},
        {&settings[SETTING_weight], "it stands on a pool's line in a fcgate_balancer block"},
        {&settings[SETTING_backup], "it stands on a pool's line in a fcgate_balancer block"},
        {&settings[SETTING_drain], "it stands on a pool's line in a fcgate_balancer block"},
    };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (ways[i].setting == setting) {
            return ways[i].way;
        }
    }
    return NULL;
}

char *ngx_http_fcgate_set_on_level(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf, const char *name,
    const char *value)
{
    ngx_http_fcgate_main_conf_t *mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcgate_module);
    const fcgate_route **place;
    fcgate_error error;

    if (!lcf->own) {
        lcf->own = fcgate_config_route(mcf->config, NULL, NULL, &error);
        if (!lcf->own) {
            return ngx_http_fcgate_said(cf, &error);
        }
        lcf->levels = ngx_array_create(cf->pool, 1, sizeof(const fcgate_route *));
        place = lcf->levels ? ngx_array_push(lcf->levels) : NULL;
        if (!place) {
            return NGX_CONF_ERROR;
        }
        *place = lcf->own;
    }
    return fcgate_route_set(lcf->own, name, value, &error) == FCGATE_OK ? NGX_CONF_OK : ngx_http_fcgate_said(cf, &error);
}

/* A setting of pools on a level: checked by a balancer that nobody will ever use. */
char *ngx_http_fcgate_set_for_addresses(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf, const char *name,
    const char *value)
{
    ngx_http_fcgate_pool_setting_t *setting;
    fcgate_config *scratch = fcgate_config_new();
    fcgate_error error;
    int32_t status = fcgate_config_balancer(scratch, "check", &error);

    if (status == FCGATE_OK) {
        status = fcgate_config_set(scratch, "check", name, value, &error);
    }
    fcgate_config_free(scratch);
    if (status != FCGATE_OK) {
        return ngx_http_fcgate_said(cf, &error);
    }
    if (!lcf->pool_settings) {
        lcf->pool_settings = ngx_array_create(cf->pool, 1, sizeof *setting);
    }
    setting = lcf->pool_settings ? ngx_array_push(lcf->pool_settings) : NULL;
    if (!setting) {
        return NGX_CONF_ERROR;
    }
    setting->name = name;
    setting->value = value;
    lcf->has_pool_setting = 1;
    return NGX_CONF_OK;
}

void ngx_http_fcgate_keep_privilege(ngx_conf_t *cf)
{
#if (NGX_HAVE_TRANSPARENT_PROXY)
    ((ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx, ngx_core_module))->transparent = 1;
#else
    (void) cf;
#endif
}

static char *set_setting(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    const ngx_http_fcgate_setting_t *setting = cmd->post;
    ngx_http_fcgate_loc_conf_t *lcf = conf;
    const ngx_str_t *words = cf->args->elts;
    const char *value = ngx_http_fcgate_join(cf, 1, "");
    char *wrong;

    if (!value) {
        return NGX_CONF_ERROR;
    }
    if (elsewhere(setting)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s", &words[0], elsewhere(setting));
        return NGX_CONF_ERROR;
    }
    if (setting->scope == FCGATE_SCOPE_BALANCER) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" belongs into a fcgate_balancer block: %s %s;", &words[0],
                           setting->name, value);
        return NGX_CONF_ERROR;
    }
    if (setting == &settings[SETTING_bind_transparent]) {
        ngx_http_fcgate_keep_privilege(cf);
    }
    if (setting->scope == FCGATE_SCOPE_POOL) {
        return ngx_http_fcgate_set_for_addresses(cf, lcf, setting->name, value);
    }
    wrong = ngx_http_fcgate_set_on_level(cf, lcf, setting->name, value);
    if (wrong != NGX_CONF_OK) {
        return wrong;
    }
    if (setting == &settings[SETTING_index]) {
        lcf->index = words[1];
    }
    if (setting == &settings[SETTING_head_timeout]) {
        lcf->has_head_timeout = 1;
    }
    /* nginx's word speaks of the head, too, unless that has a line of its own. */
    if (setting == &settings[SETTING_read_timeout] && !lcf->has_head_timeout) {
        return ngx_http_fcgate_set_on_level(cf, lcf, "head_timeout", value);
    }
    return NGX_CONF_OK;
}

/* ---- fields and lines ---- */

static char *add_field(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_array_t **fields = (ngx_array_t **) ((u_char *) conf + cmd->offset);
    const ngx_str_t *words = cf->args->elts;
    ngx_str_t *field;

    if (!*fields) {
        *fields = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
    }
    field = *fields ? ngx_array_push(*fields) : NULL;
    if (!field) {
        return NGX_CONF_ERROR;
    }
    *field = words[1];
    return NGX_CONF_OK;
}

/* Those that nginx's cache looks at are taken without effect: there is no cache. */
static ngx_conf_bitmask_t ignorable[] = {
    {ngx_string("X-Accel-Redirect"), NGX_HTTP_FCGATE_ACCEL_REDIRECT},
    {ngx_string("X-Accel-Expires"), NGX_HTTP_FCGATE_ACCEL_EXPIRES},
    {ngx_string("X-Accel-Limit-Rate"), NGX_HTTP_FCGATE_ACCEL_LIMIT_RATE},
    {ngx_string("X-Accel-Buffering"), NGX_HTTP_FCGATE_ACCEL_BUFFERING},
    {ngx_string("X-Accel-Charset"), NGX_HTTP_FCGATE_ACCEL_CHARSET},
    {ngx_string("Expires"), NGX_HTTP_FCGATE_ACCEL_NONE},
    {ngx_string("Cache-Control"), NGX_HTTP_FCGATE_ACCEL_NONE},
    {ngx_string("Set-Cookie"), NGX_HTTP_FCGATE_ACCEL_NONE},
    {ngx_string("Vary"), NGX_HTTP_FCGATE_ACCEL_NONE},
    {ngx_null_string, 0},
};

static char *set_split(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
#if (NGX_PCRE)
    ngx_http_fcgate_loc_conf_t *lcf = conf;
    const ngx_str_t *words = cf->args->elts;
    u_char wrong[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t regex = {0};

    (void) cmd;
    regex.pattern = words[1];
    regex.pool = cf->pool;
    regex.err.len = sizeof wrong;
    regex.err.data = wrong;
    if (ngx_regex_compile(&regex) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &regex.err);
        return NGX_CONF_ERROR;
    }
    if (regex.captures != 2) {
        return "takes an expression with two groups: script and path info";
    }
    lcf->split = regex.regex;
    return NGX_CONF_OK;
#else
    (void) cf;
    (void) cmd;
    (void) conf;
    return "needs an nginx with PCRE; without the line the path is split at .php";
#endif
}

/* fcgate_log_stderr LEVEL|off */
static char *set_stderr_level(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    static const char *const levels[] = {"emerg", "alert", "crit", "error", "warn", "notice", "info"};
    ngx_http_fcgate_loc_conf_t *lcf = conf;
    const ngx_str_t *words = cf->args->elts;

    (void) cmd;
    if (!ngx_strcmp(words[1].data, "off")) {
        lcf->stderr_level = NGX_HTTP_FCGATE_STDERR_OFF;
        return NGX_CONF_OK;
    }
    for (ngx_uint_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!ngx_strcmp(words[1].data, levels[i])) {
            lcf->stderr_level = NGX_LOG_EMERG + i;
            return NGX_CONF_OK;
        }
    }
    return "takes a level of error_log, or off";
}

/* ---- what has no counterpart ---- */

static const char no_cache[] = "fcgate has no cache; keep fastcgi_pass for this location, or cache in front by proxy_cache";
static const char no_store[] = "fcgate stores no responses; keep fastcgi_pass for this location";
static const char no_file[] = "fcgate_response_memory says how much of a response is read ahead in memory, fcgate_response_body spool and fcgate_response_file what goes to a file";
static const char no_lowat[] = "leave the line out: nginx itself passes it over on Linux";
static const char core_rate[] = "nginx's own limit_rate does it, and so does X-Accel-Limit-Rate";
static const char later[] = "it comes with a later version; limits and counts are those of each worker till then";

static char *refuse(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    const ngx_str_t *words = cf->args->elts;

    (void) conf;
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" does nothing in fcgate: %s", &words[0], (char *) cmd->post);
    return NGX_CONF_ERROR;
}

/* ---- fcgate_pass ---- */

/* fcgate_pass NAME | ADDRESS | $variable */
static char *pass_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_http_fcgate_loc_conf_t *lcf = conf;
    ngx_str_t *words = cf->args->elts;
    ngx_http_compile_complex_value_t compiled = {0};

    (void) cmd;
    if (lcf->pass.len > 0) {
        return "is duplicate";
    }
    if (core->handler == ngx_http_fcgate_status) {
        return "stands beside a fcgate_status: a location has one of them";
    }
    if (words[1].len == 0) {
        return "takes the name of a balancer or an address: unix:/run/php/php-fpm.sock";
    }
    lcf->pass = words[1];
    lcf->place.file = cf->conf_file->file.name;
    lcf->place.line = cf->conf_file->line;
    if (ngx_http_script_variables_count(&words[1]) > 0) {
        lcf->variable = ngx_pcalloc(cf->pool, sizeof *lcf->variable);
        compiled.cf = cf;
        compiled.value = &words[1];
        compiled.complex_value = lcf->variable;
        if (!lcf->variable || ngx_http_compile_complex_value(&compiled) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }
    core->handler = ngx_http_fcgate_handler;
    if (core->name.len > 0 && core->name.data[core->name.len - 1] == '/') {
        core->auto_redirect = 1;
    }
    return NGX_CONF_OK;
}

/* ---- the table ---- */

#define ANYWHERE (NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF)

#define TAKES_FLAG NGX_CONF_TAKE1
#define TAKES_COUNT NGX_CONF_TAKE1
#define TAKES_SIZE NGX_CONF_TAKE1
#define TAKES_TIME NGX_CONF_TAKE1
#define TAKES_CHOICE NGX_CONF_TAKE1
#define TAKES_TEXT NGX_CONF_TAKE1
#define TAKES_PATH NGX_CONF_TAKE1
#define TAKES_PAIR NGX_CONF_TAKE2
#define TAKES_WORDS NGX_CONF_TAKE12

#define AT(field) offsetof(ngx_http_fcgate_loc_conf_t, field)
#define DIRECTIVE(name, type, set, offset, post) \
    {ngx_string("fcgate_" name), type, set, NGX_HTTP_LOC_CONF_OFFSET, offset, (void *) post}
#define REFUSED(name, way) DIRECTIVE(name, ANYWHERE | NGX_CONF_ANY, refuse, 0, way)

ngx_command_t ngx_http_fcgate_commands[] = {
    {ngx_string("fcgate_balancer"), NGX_HTTP_MAIN_CONF | NGX_CONF_BLOCK | NGX_CONF_TAKE1, ngx_http_fcgate_balancer,
     NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},
    {ngx_string("fcgate_pool"), NGX_HTTP_MAIN_CONF | NGX_CONF_2MORE, ngx_http_fcgate_pool, NGX_HTTP_MAIN_CONF_OFFSET,
     0, NULL},
    DIRECTIVE("pass", NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_CONF_TAKE1, pass_line, 0, NULL),
    DIRECTIVE("status", NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, ngx_http_fcgate_status_line, 0, NULL),
    DIRECTIVE("param", ANYWHERE | NGX_CONF_TAKE23, ngx_http_fcgate_param_line, 0, NULL),
    DIRECTIVE("param_unset", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_param_unset_line, 0, NULL),
    DIRECTIVE("log_stderr", ANYWHERE | NGX_CONF_TAKE1, set_stderr_level, 0, NULL),
    DIRECTIVE("split_path_info", ANYWHERE | NGX_CONF_TAKE1, set_split, 0, NULL),
    DIRECTIVE("request_buffering", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_synonym, 0, &ngx_http_fcgate_request_buffering),
    DIRECTIVE("buffering", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_synonym, 0, &ngx_http_fcgate_buffering),
    DIRECTIVE("intercept_errors", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_synonym, 0, &ngx_http_fcgate_intercept_errors),
    DIRECTIVE("buffer_size", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_buffer_size, 0, NULL),
    DIRECTIVE("buffers", ANYWHERE | NGX_CONF_TAKE2, ngx_http_fcgate_buffers, 0, NULL),
    DIRECTIVE("next_upstream", ANYWHERE | NGX_CONF_1MORE, ngx_http_fcgate_next_upstream, 0, NULL),
    DIRECTIVE("next_upstream_tries", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_renamed, 0, &settings[SETTING_max_tries]),
    DIRECTIVE("next_upstream_timeout", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_renamed, 0, &settings[SETTING_retry_timeout]),
    DIRECTIVE("socket_keepalive", ANYWHERE | NGX_CONF_TAKE1, ngx_http_fcgate_renamed, 0, &settings[SETTING_tcp_keepalive]),
    /* Before the setting of that name: nginx's own word has another behind it. */
    DIRECTIVE("bind", ANYWHERE | NGX_CONF_TAKE12, ngx_http_fcgate_bind, 0, NULL),
    DIRECTIVE("pass_header", ANYWHERE | NGX_CONF_TAKE1, add_field, AT(passed), NULL),
    DIRECTIVE("hide_header", ANYWHERE | NGX_CONF_TAKE1, add_field, AT(hidden), NULL),
    DIRECTIVE("ignore_headers", ANYWHERE | NGX_CONF_1MORE, ngx_conf_set_bitmask_slot, AT(ignored), &ignorable),
    DIRECTIVE("pass_request_body", ANYWHERE | NGX_CONF_FLAG, ngx_conf_set_flag_slot, AT(pass_body), NULL),
    DIRECTIVE("pass_request_headers", ANYWHERE | NGX_CONF_FLAG, ngx_conf_set_flag_slot, AT(pass_headers), NULL),
    DIRECTIVE("force_ranges", ANYWHERE | NGX_CONF_FLAG, ngx_conf_set_flag_slot, AT(force_ranges), NULL),
    REFUSED("cache", no_cache),
    REFUSED("cache_background_update", no_cache),
    REFUSED("cache_bypass", no_cache),
    REFUSED("cache_key", no_cache),
    REFUSED("cache_lock", no_cache),
    REFUSED("cache_lock_age", no_cache),
    REFUSED("cache_lock_timeout", no_cache),
    REFUSED("cache_max_range_offset", no_cache),
    REFUSED("cache_methods", no_cache),
    REFUSED("cache_min_uses", no_cache),
    REFUSED("cache_path", no_cache),
    REFUSED("cache_revalidate", no_cache),
    REFUSED("cache_use_stale", no_cache),
    REFUSED("cache_valid", no_cache),
    REFUSED("no_cache", no_cache),
    REFUSED("store", no_store),
    REFUSED("store_access", no_store),
    REFUSED("busy_buffers_size", no_file),
    REFUSED("max_temp_file_size", no_file),
    REFUSED("temp_file_write_size", no_file),
    REFUSED("temp_path", no_file),
    REFUSED("limit_rate", core_rate),
    REFUSED("send_lowat", no_lowat),
    REFUSED("zone", later),
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) \
    DIRECTIVE(#name, ANYWHERE | TAKES_##KIND, set_setting, 0, &settings[SETTING_##name]),
#define FCGATE_LATER(name, Name) DIRECTIVE(#name, ANYWHERE | NGX_CONF_1MORE, set_setting, 0, &settings[SETTING_##name]),
#include "../settings.h"
    ngx_null_command};
