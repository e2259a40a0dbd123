/*
 * The words of nginx's own fastcgi_ directives that libfcgate has by other names, or with other values.
 */
#include "ngx_http_fcgate_module.h"

const ngx_http_fcgate_synonym_t ngx_http_fcgate_request_buffering = {"request_body", "spool", "stream"};
const ngx_http_fcgate_synonym_t ngx_http_fcgate_buffering = {"flush", "auto", "on"};
const ngx_http_fcgate_synonym_t ngx_http_fcgate_intercept_errors = {"error_override", "on", "off"};

char *ngx_http_fcgate_synonym(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    const ngx_http_fcgate_synonym_t *synonym = cmd->post;
    const ngx_str_t *words = cf->args->elts;

    if (!ngx_strcmp(words[1].data, "on")) {
        return ngx_http_fcgate_set_on_level(cf, conf, synonym->setting, synonym->on);
    }
    if (!ngx_strcmp(words[1].data, "off")) {
        return ngx_http_fcgate_set_on_level(cf, conf, synonym->setting, synonym->off);
    }
    return "takes on or off";
}

char *ngx_http_fcgate_buffer_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    const ngx_str_t *words = cf->args->elts;

    (void) cmd;
    return ngx_http_fcgate_set_on_level(cf, conf, "max_head_bytes", (const char *) words[1].data);
}

/* NUMBER SIZE: what a response may take together. */
char *ngx_http_fcgate_buffers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t *words = cf->args->elts;
    ngx_int_t count = ngx_atoi(words[1].data, words[1].len);
    ssize_t size = ngx_parse_size(&words[2]);
    u_char bytes[NGX_SIZE_T_LEN + 1];

    (void) cmd;
    if (count < 1 || size < 1 || size > NGX_MAX_SIZE_T_VALUE / 2 / count) {
        return "takes a number and a size: 8 16k";
    }
    ngx_sprintf(bytes, "%uz%Z", (size_t) count * (size_t) size);
    return ngx_http_fcgate_set_on_level(cf, conf, "response_memory", (const char *) bytes);
}

/* A directive of nginx's that is a setting of another name, of pools or of requests. */
char *ngx_http_fcgate_renamed(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    const ngx_http_fcgate_setting_t *setting = cmd->post;
    const ngx_str_t *words = cf->args->elts;
    const char *value = (const char *) words[1].data;

    return setting->scope == FCGATE_SCOPE_POOL ? ngx_http_fcgate_set_for_addresses(cf, conf, setting->name, value)
                                               : ngx_http_fcgate_set_on_level(cf, conf, setting->name, value);
}

/* What differs from request to request: each then has a connection of its own. */
static char *bind_requests(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf, ngx_str_t *value, ngx_uint_t transparent)
{
    ngx_http_compile_complex_value_t compiled = {0};

    lcf->bind = ngx_pcalloc(cf->pool, sizeof *lcf->bind);
    compiled.cf = cf;
    compiled.value = value;
    compiled.complex_value = &lcf->bind->address;
    if (!lcf->bind || ngx_http_compile_complex_value(&compiled) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    lcf->bind->is_set = 1;
    lcf->bind->transparent = transparent & 1;
    return NGX_CONF_OK;
}

/* fcgate_bind ADDRESS [transparent] | off */
char *ngx_http_fcgate_bind(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    static ngx_http_fcgate_bind_t none;
    ngx_http_fcgate_loc_conf_t *lcf = conf;
    ngx_str_t *words = cf->args->elts;
    ngx_uint_t transparent = cf->args->nelts == 3;
    char *wrong;

    (void) cmd;
    if (lcf->bind) {
        return "is duplicate";
    }
    if (transparent && ngx_strcmp(words[2].data, "transparent")) {
        return "takes transparent or nothing behind the address";
    }
    if (transparent) {
        ngx_http_fcgate_keep_privilege(cf);
    }
    if (ngx_http_script_variables_count(&words[1]) > 0) {
        return bind_requests(cf, lcf, &words[1], transparent);
    }
    lcf->bind = &none;
    wrong = ngx_http_fcgate_set_for_addresses(cf, conf, "bind", (const char *) words[1].data);
    return wrong == NGX_CONF_OK ? ngx_http_fcgate_set_for_addresses(cf, conf, "bind_transparent", transparent ? "on" : "off") : wrong;
}

/* What libfcgate does by its own rule is taken, what it never does is not. */
char *ngx_http_fcgate_next_upstream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    const ngx_str_t *words = cf->args->elts;
    ngx_uint_t off = !ngx_strcmp(words[1].data, "off");

    (void) cmd;
    if (off && cf->args->nelts > 2) {
        return "takes off alone";
    }
    if (off) {
        return ngx_http_fcgate_set_on_level(cf, conf, "retry", "off");
    }
    if (ngx_http_fcgate_set_on_level(cf, conf, "retry", "on") != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        const char *word = (const char *) words[i].data;

        if (!ngx_strcmp(word, "non_idempotent")) {
            char *wrong = ngx_http_fcgate_set_on_level(cf, conf, "retry_non_idempotent", "on");

            if (wrong != NGX_CONF_OK) {
                return wrong;
            }
        }
        else if (ngx_strcmp(word, "error") && ngx_strcmp(word, "timeout") && ngx_strcmp(word, "invalid_header")) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V %s\": what an application has answered is never asked for again, and what has"
                               " not reached one always is; of these words error, timeout, invalid_header,"
                               " non_idempotent and off are taken", &words[0], word);
            return NGX_CONF_ERROR;
        }
    }
    return NGX_CONF_OK;
}
