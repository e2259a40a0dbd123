/*
 * ngx_http_fcgate_module: FastCGI for nginx by libfcgate. The hooks.
 */
#include "ngx_http_fcgate_module.h"

static ngx_http_module_t context = {
    ngx_http_fcgate_add_variables,
    ngx_http_fcgate_check_config,
    ngx_http_fcgate_create_main_conf,
    NULL,
    NULL,
    NULL,
    ngx_http_fcgate_create_loc_conf,
    ngx_http_fcgate_merge_loc_conf,
};

ngx_module_t ngx_http_fcgate_module = {
    NGX_MODULE_V1,
    &context,
    ngx_http_fcgate_commands,
    NGX_HTTP_MODULE,
    NULL,
    NULL,
    ngx_http_fcgate_init_process,
    NULL,
    NULL,
    ngx_http_fcgate_exit_process,
    NULL,
    NGX_MODULE_V1_PADDING,
};
