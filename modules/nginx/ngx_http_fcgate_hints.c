/*
 * What was meant by an unknown directive. nginx itself says only that it is unknown; while the
 * configuration is read, its log has a handler that adds the nearest one.
 */
#include "ngx_http_fcgate_module.h"

/* More than there are. */
#define DIRECTIVES 256

static struct {
    const ngx_conf_t *cf;
    ngx_log_t *log;
    ngx_log_handler_pt handler;
} hints;

static const char *nearest_directive(const char *name)
{
    const char *names[DIRECTIVES];
    size_t count = 0;

    for (const ngx_command_t *command = ngx_http_fcgate_commands; command->name.len > 0; command++) {
        if (!ngx_strcmp(command->name.data, name)) {
            return NULL;
        }
        if (count < DIRECTIVES) {
            names[count++] = (const char *) command->name.data;
        }
    }
    return fcgate_nearest(name, names, count);
}

static u_char *add_hint(ngx_log_t *log, u_char *buffer, size_t length)
{
    const ngx_str_t *words = hints.cf->args->elts;
    const char *name = hints.cf->args->nelts > 0 ? (const char *) words[0].data : "";
    const char *near = ngx_strncmp(name, "fcgate", 6) ? NULL : nearest_directive(name);

    (void) log;
    if (near) {
        return ngx_snprintf(buffer, length, "; did you mean \"%s\"?", near);
    }
    if (!ngx_strcmp(name, "fcgate_balancer") && hints.cf->args->nelts > 2) {
        return ngx_snprintf(buffer, length, "; a balancer of one pool has a line of its own: fcgate_pool %V %V;",
                            &words[1], &words[2]);
    }
    return buffer;
}

void ngx_http_fcgate_begin_hints(ngx_conf_t *cf)
{
    ngx_http_fcgate_end_hints();
    hints.cf = cf;
    hints.log = cf->log;
    hints.handler = cf->log->handler;
    cf->log->handler = add_hint;
}

void ngx_http_fcgate_end_hints(void)
{
    if (hints.log) {
        hints.log->handler = hints.handler;
        hints.log = NULL;
    }
}
