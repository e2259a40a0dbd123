/*
 * Params that lines set or unset: as they are read, and as a request has them.
 */
#include "ngx_http_fcgate_module.h"

/* ---- lines ---- */

char *ngx_http_fcgate_check_param(ngx_conf_t *cf, ngx_uint_t name, ngx_uint_t value, ngx_uint_t *needless)
{
    /* Debian's fastcgi_params has both; fcgate sends the same by itself. */
    static const char *const fixed[][2] = {{"CONTENT_LENGTH", "$content_length"}, {"GATEWAY_INTERFACE", "CGI/1.1"}};
    const ngx_str_t *words = cf->args->elts;
    fcgate_error error;

    *needless = 0;
    for (size_t i = 0; value && i < sizeof fixed / sizeof *fixed; i++) {
        if (!ngx_strcmp(words[name].data, fixed[i][0]) && !ngx_strcmp(words[value].data, fixed[i][1])) {
            *needless = 1;
            return NGX_CONF_OK;
        }
    }
    return fcgate_param_check((const char *) words[name].data, &error) == FCGATE_OK ? NGX_CONF_OK
                                                                                    : ngx_http_fcgate_said(cf, &error);
}

static ngx_http_fcgate_param_t *add_param(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf)
{
    const ngx_str_t *words = cf->args->elts;
    ngx_http_fcgate_param_t *param;

    if (!lcf->params) {
        lcf->params = ngx_array_create(cf->pool, 4, sizeof *param);
    }
    param = lcf->params ? ngx_array_push(lcf->params) : NULL;
    if (param) {
        ngx_memzero(param, sizeof *param);
        param->name = words[1];
    }
    return param;
}

/* fcgate_param NAME VALUE [if_not_empty] */
char *ngx_http_fcgate_param_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t *words = cf->args->elts;
    ngx_http_compile_complex_value_t compiled = {0};
    ngx_http_fcgate_param_t *param;
    ngx_uint_t needless;
    char *wrong = ngx_http_fcgate_check_param(cf, 1, 2, &needless);

    (void) cmd;
    if (wrong != NGX_CONF_OK || needless) {
        return wrong;
    }
    if (cf->args->nelts == 4 && ngx_strcmp(words[3].data, "if_not_empty")) {
        return "takes if_not_empty or nothing behind the value";
    }
    param = add_param(cf, conf);
    if (!param) {
        return NGX_CONF_ERROR;
    }
    param->if_not_empty = cf->args->nelts == 4;
    compiled.cf = cf;
    compiled.value = &words[2];
    compiled.complex_value = &param->value;
    return ngx_http_compile_complex_value(&compiled) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}

/* fcgate_param_unset NAME */
char *ngx_http_fcgate_param_unset_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcgate_param_t *param;
    ngx_uint_t needless;
    char *wrong = ngx_http_fcgate_check_param(cf, 1, 0, &needless);

    (void) cmd;
    if (wrong != NGX_CONF_OK) {
        return wrong;
    }
    param = add_param(cf, conf);
    if (!param) {
        return NGX_CONF_ERROR;
    }
    param->unset = 1;
    return NGX_CONF_OK;
}

/* ---- a request ---- */

/* The innermost line about a name holds. */
ngx_int_t ngx_http_fcgate_params(ngx_http_request_t *r, fcgate_request *request)
{
    const ngx_http_fcgate_loc_conf_t *lcf = ngx_http_get_module_loc_conf(r, ngx_http_fcgate_module);
    ngx_http_fcgate_param_t *lines = lcf->params ? lcf->params->elts : NULL;

    for (ngx_uint_t i = lcf->params ? lcf->params->nelts : 0; i-- > 0;) {
        const char *name = (const char *) lines[i].name.data;
        ngx_str_t value;

        if (lines[i].unset) {
            fcgate_request_param_unset(request, name, lines[i].name.len);
            continue;
        }
        if (ngx_http_complex_value(r, &lines[i].value, &value) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        if (value.len > 0 || !lines[i].if_not_empty) {
            fcgate_request_param(request, name, lines[i].name.len, (const char *) value.data, value.len);
        }
    }
    return NGX_OK;
}
