/*
 * Balancers and pools as they are declared, and the one that a fcgate_pass leads to.
 */
#include "ngx_http_fcgate_module.h"

/* Bytes of a balancer's name in libfcgate. */
#define NAME_MAX_BYTES 128

static ngx_http_fcgate_main_conf_t *main_conf(ngx_conf_t *cf)
{
    return ngx_http_conf_get_module_main_conf(cf, ngx_http_fcgate_module);
}

ngx_http_fcgate_balancer_t *ngx_http_fcgate_find_balancer(ngx_http_fcgate_main_conf_t *mcf, const ngx_str_t *name)
{
    ngx_http_fcgate_balancer_t **balancers = mcf->balancers.elts;

    for (ngx_uint_t i = 0; i < mcf->balancers.nelts; i++) {
        if (balancers[i]->declared && balancers[i]->name.len == name->len
            && !ngx_strncmp(balancers[i]->name.data, name->data, name->len))
        {
            return balancers[i];
        }
    }
    return NULL;
}

/* ---- declared by name ---- */

/* NULL after an error, which is told. */
static ngx_http_fcgate_balancer_t *declare(ngx_conf_t *cf, const ngx_str_t *name)
{
    ngx_http_fcgate_main_conf_t *mcf = main_conf(cf);
    ngx_http_fcgate_balancer_t *balancer = ngx_pcalloc(cf->pool, sizeof *balancer);
    ngx_http_fcgate_balancer_t **place;
    fcgate_error error;

    if (!balancer) {
        return NULL;
    }
    balancer->name = *name;
    balancer->internal = (const char *) name->data;
    balancer->declared = 1;
    if (fcgate_config_balancer(mcf->config, balancer->internal, &error) != FCGATE_OK) {
        ngx_http_fcgate_said(cf, &error);
        return NULL;
    }
    place = ngx_array_push(&mcf->balancers);
    if (!place) {
        return NULL;
    }
    *place = balancer;
    return balancer;
}

static char *add_pool(ngx_conf_t *cf, ngx_http_fcgate_balancer_t *balancer, ngx_uint_t first)
{
    const char *line = ngx_http_fcgate_join(cf, first, "\"");
    fcgate_error error;

    if (!line) {
        return NGX_CONF_ERROR;
    }
    balancer->pools++;
    if (ngx_strstr(line, "bind_transparent")) {
        ngx_http_fcgate_keep_privilege(cf);
    }
    return fcgate_config_pool(main_conf(cf)->config, balancer->internal, line, &error) == FCGATE_OK
               ? NGX_CONF_OK : ngx_http_fcgate_said(cf, &error);
}

/* fcgate_pool NAME ADDRESS name=value ... : a balancer of one pool, or one more pool of it. nginx can't
 * have one directive with a block and without, so that this has a name of its own. */
char *ngx_http_fcgate_pool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t *words = cf->args->elts;
    ngx_http_fcgate_balancer_t *balancer = ngx_http_fcgate_find_balancer(main_conf(cf), &words[1]);

    (void) cmd;
    (void) conf;
    if (!balancer) {
        balancer = declare(cf, &words[1]);
    }
    return balancer ? add_pool(cf, balancer, 2) : NGX_CONF_ERROR;
}

static char *param_line(ngx_conf_t *cf, ngx_http_fcgate_balancer_t *balancer)
{
    ngx_str_t *words = cf->args->elts;
    uint32_t flags = 0;
    ngx_uint_t needless;
    char *wrong;
    fcgate_error error;

    if (cf->args->nelts < 3 || cf->args->nelts > 4) {
        return "param takes a name and a value, then perhaps if_not_empty";
    }
    if (cf->args->nelts == 4) {
        if (ngx_strcmp(words[3].data, "if_not_empty")) {
            return "what follows the value of a param is if_not_empty or nothing";
        }
        flags = FCGATE_IF_NOT_EMPTY;
    }
    if (ngx_http_script_variables_count(&words[2]) > 0) {
        return "a param of a balancer has no variables; write fcgate_param into http, server or location";
    }
    wrong = ngx_http_fcgate_check_param(cf, 1, 2, &needless);
    if (wrong != NGX_CONF_OK || needless) {
        return wrong;
    }
    return fcgate_config_param(main_conf(cf)->config, balancer->internal, (const char *) words[1].data,
                               (const char *) words[2].data, flags, &error) == FCGATE_OK
               ? NGX_CONF_OK : ngx_http_fcgate_said(cf, &error);
}

static char *param_unset_line(ngx_conf_t *cf, ngx_http_fcgate_balancer_t *balancer)
{
    ngx_str_t *words = cf->args->elts;
    fcgate_error error;

    if (cf->args->nelts != 2) {
        return "param_unset takes one name";
    }
    return fcgate_config_param_unset(main_conf(cf)->config, balancer->internal, (const char *) words[1].data, &error)
                   == FCGATE_OK
               ? NGX_CONF_OK : ngx_http_fcgate_said(cf, &error);
}

/* What was meant by a word that no line in a balancer begins with. */
static char *unknown_word(ngx_conf_t *cf, const char *word)
{
    static const char *const words[] = {
        "pool", "queue", "param", "param_unset",
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) #name,
#define FCGATE_LATER(name, Name) #name,
#include "../settings.h"
    };
    const char *near = fcgate_nearest(word, words, sizeof words / sizeof *words);

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "unknown word \"%s\" in fcgate_balancer%s%s%s", word,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return NGX_CONF_ERROR;
}

static char *line_in_balancer(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    ngx_http_fcgate_balancer_t *balancer = conf;
    const char *word = (const char *) ((ngx_str_t *) cf->args->elts)[0].data;
    const char *value;
    fcgate_error error;

    (void) dummy;
    if (cf->args->nelts < 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%s\" in fcgate_balancer has no value", word);
        return NGX_CONF_ERROR;
    }
    if (!ngx_strcmp(word, "pool") || !ngx_strcmp(word, "server")) {
        return add_pool(cf, balancer, 1);
    }
    if (!ngx_strcmp(word, "param")) {
        return param_line(cf, balancer);
    }
    if (!ngx_strcmp(word, "param_unset")) {
        return param_unset_line(cf, balancer);
    }
    if (!ngx_strcmp(word, "bind_transparent")) {
        ngx_http_fcgate_keep_privilege(cf);
    }
    if (ngx_strcmp(word, "queue") && !ngx_http_fcgate_find_setting(word)) {
        return unknown_word(cf, word);
    }
    value = ngx_http_fcgate_join(cf, 1, ngx_strcmp(word, "queue") ? "" : "\"");
    if (!value) {
        return NGX_CONF_ERROR;
    }
    return fcgate_config_set(main_conf(cf)->config, balancer->internal, word, value, &error) == FCGATE_OK
               ? NGX_CONF_OK : ngx_http_fcgate_said(cf, &error);
}

/* fcgate_balancer NAME { pool ADDRESS ...; ... } */
char *ngx_http_fcgate_balancer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t *words = cf->args->elts;
    ngx_http_fcgate_balancer_t *balancer = declare(cf, &words[1]);
    ngx_conf_t outer = *cf;
    char *wrong;

    (void) cmd;
    (void) conf;
    if (!balancer) {
        return NGX_CONF_ERROR;
    }
    cf->handler = line_in_balancer;
    cf->handler_conf = (void *) balancer;
    wrong = ngx_conf_parse(cf, NULL);
    *cf = outer;
    if (wrong == NGX_CONF_OK && balancer->pools == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "fcgate_balancer %V has no pool: pool unix:/run/php/php-fpm.sock;",
                           &balancer->name);
        return NGX_CONF_ERROR;
    }
    return wrong;
}

/* ---- one that stands for an address ---- */

/* The line of such a pool: the address, and the settings of pools that hold in the location. */
static char *line_of(ngx_conf_t *cf, const ngx_http_fcgate_loc_conf_t *lcf)
{
    const ngx_http_fcgate_pool_setting_t *settings = lcf->pool_settings ? lcf->pool_settings->elts : NULL;
    ngx_uint_t count = lcf->pool_settings ? lcf->pool_settings->nelts : 0;
    size_t size = lcf->pass.len + 1;
    u_char *line, *end;

    for (ngx_uint_t i = 0; i < count; i++) {
        size += ngx_strlen(settings[i].name) + ngx_strlen(settings[i].value) + sizeof " =\"\"";
    }
    line = ngx_pnalloc(cf->pool, size);
    if (!line) {
        return NULL;
    }
    end = ngx_cpymem(line, lcf->pass.data, lcf->pass.len);
    for (ngx_uint_t i = 0; i < count; i++) {
        end = ngx_sprintf(end, " %s=\"%s\"", settings[i].name, settings[i].value);
    }
    *end = '\0';
    return (char *) line;
}

/* A name that libfcgate takes and nobody has yet: the line with all else replaced. */
static char *internal_name(ngx_conf_t *cf, const char *line)
{
    ngx_http_fcgate_main_conf_t *mcf = main_conf(cf);
    ngx_http_fcgate_balancer_t **balancers = mcf->balancers.elts;
    size_t length = ngx_min(ngx_strlen(line), NAME_MAX_BYTES - NGX_INT_T_LEN - 1);
    u_char *name = ngx_pnalloc(cf->pool, NAME_MAX_BYTES + 1);
    u_char *end;

    if (!name) {
        return NULL;
    }
    end = ngx_cpymem(name, line, length);
    for (u_char *byte = name; byte < end; byte++) {
        u_char lower = (u_char) (*byte | 0x20);

        if ((lower < 'a' || lower > 'z') && (*byte < '0' || *byte > '9') && *byte != '.' && *byte != '-') {
            *byte = '_';
        }
    }
    *end = '\0';
    for (ngx_uint_t i = 0; i < mcf->balancers.nelts; i++) {
        if (!ngx_strcmp(balancers[i]->internal, name)) {
            ngx_sprintf(end, "-%ui%Z", mcf->balancers.nelts);
            break;
        }
    }
    return (char *) name;
}

static ngx_int_t say(ngx_conf_t *cf, const ngx_http_fcgate_loc_conf_t *lcf, const char *what)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"fcgate_pass\" %s in %V:%ui", what, &lcf->place.file, lcf->place.line);
    return NGX_ERROR;
}

static ngx_int_t resolve_address(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf)
{
    ngx_http_fcgate_main_conf_t *mcf = main_conf(cf);
    ngx_http_fcgate_balancer_t **balancers = mcf->balancers.elts, **place, *balancer;
    char *line = line_of(cf, lcf);
    fcgate_error error;

    if (!line) {
        return NGX_ERROR;
    }
    for (ngx_uint_t i = 0; i < mcf->balancers.nelts; i++) {
        if (!balancers[i]->declared && !ngx_strcmp(balancers[i]->name.data, line)) {
            lcf->balancer = balancers[i];
            return NGX_OK;
        }
    }
    balancer = ngx_pcalloc(cf->pool, sizeof *balancer);
    if (!balancer) {
        return NGX_ERROR;
    }
    balancer->name.data = (u_char *) line;
    balancer->name.len = ngx_strlen(line);
    balancer->internal = internal_name(cf, line);
    place = balancer->internal ? ngx_array_push(&mcf->balancers) : NULL;
    if (!place) {
        return NGX_ERROR;
    }
    *place = balancer;
    if (fcgate_config_balancer(mcf->config, balancer->internal, &error) != FCGATE_OK
        || fcgate_config_pool(mcf->config, balancer->internal, line, &error) != FCGATE_OK)
    {
        return say(cf, lcf, error.text);
    }
    lcf->balancer = balancer;
    return NGX_OK;
}

/* ---- where a fcgate_pass leads to ---- */

/* The lines that do with fcgate what an "upstream" of this name does. NULL if there is none. */
static const char *as_balancer(ngx_conf_t *cf, const ngx_str_t *name)
{
    ngx_http_upstream_main_conf_t *umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    ngx_http_upstream_srv_conf_t **upstreams = umcf->upstreams.elts;

    for (ngx_uint_t i = 0; i < umcf->upstreams.nelts; i++) {
        const ngx_array_t *servers = upstreams[i]->servers;
        const ngx_http_upstream_server_t *server = servers ? servers->elts : NULL;
        size_t size = name->len + sizeof "fcgate_balancer  { }";
        u_char *text, *end;

        if (upstreams[i]->host.len != name->len || ngx_strncasecmp(upstreams[i]->host.data, name->data, name->len)) {
            continue;
        }
        for (ngx_uint_t n = 0; servers && n < servers->nelts; n++) {
            size += server[n].name.len + sizeof " pool weight= backup;" + NGX_INT_T_LEN;
        }
        text = ngx_pnalloc(cf->pool, size);
        if (!text) {
            return NULL;
        }
        end = ngx_sprintf(text, "fcgate_balancer %V {", name);
        for (ngx_uint_t n = 0; servers && n < servers->nelts; n++) {
            end = ngx_sprintf(end, " pool %V", &server[n].name);
            if (server[n].weight > 1) {
                end = ngx_sprintf(end, " weight=%ui", server[n].weight);
            }
            end = ngx_sprintf(end, "%s;", server[n].backup ? " backup" : "");
        }
        ngx_sprintf(end, " }%Z");
        return (const char *) text;
    }
    return NULL;
}

static ngx_int_t say_unknown(ngx_conf_t *cf, const ngx_http_fcgate_loc_conf_t *lcf)
{
    ngx_http_fcgate_main_conf_t *mcf = main_conf(cf);
    ngx_http_fcgate_balancer_t **balancers = mcf->balancers.elts;
    const char **names = ngx_palloc(cf->pool, (mcf->balancers.nelts + 1) * sizeof *names);
    const char *lines = as_balancer(cf, &lcf->pass), *near;
    ngx_uint_t count = 0;

    if (!names) {
        return NGX_ERROR;
    }
    for (ngx_uint_t i = 0; i < mcf->balancers.nelts; i++) {
        if (balancers[i]->declared) {
            names[count++] = balancers[i]->internal;
        }
    }
    near = fcgate_nearest((const char *) lcf->pass.data, names, count);
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"fcgate_pass\": no balancer \"%V\" is declared%s%s%s in %V:%ui",
                  &lcf->pass, lines ? ", and an \"upstream\" is not one; write into http: "
                              : near ? "; did you mean \"" : "; an address has a colon: unix:/run/php/php-fpm.sock",
                  lines ? lines : near ? near : "", !lines && near ? "\"?" : "", &lcf->place.file, lcf->place.line);
    return NGX_ERROR;
}

ngx_int_t ngx_http_fcgate_resolve_pass(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf)
{
    if (lcf->pass.len == 0) {
        return NGX_OK;
    }
    if (!lcf->variable && (ngx_strchr(lcf->pass.data, ':') || ngx_strchr(lcf->pass.data, '/'))) {
        return resolve_address(cf, lcf);
    }
    if (lcf->has_pool_setting) {
        return say(cf, lcf, "leads to a balancer, and a setting of pools stands beside it: write it into the"
                            " fcgate_balancer block");
    }
    if (lcf->variable) {
        return NGX_OK;
    }
    lcf->balancer = ngx_http_fcgate_find_balancer(main_conf(cf), &lcf->pass);
    return lcf->balancer ? NGX_OK : say_unknown(cf, lcf);
}
