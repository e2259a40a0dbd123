/*
 * mod_fcgate for Apache httpd 2.4: what its files share.
 *
 * directives.c  the directives
 * config.c      what servers and sections have, merged and checked
 * route.c       from the sections that hold for a request to a route of libfcgate
 * request.c     what libfcgate is told of a request
 * handler.c     a request forwarded, the response passed on
 * status.c      the status page; what logs can show of a request
 * mod_fcgate.c  the hooks, one gateway for each child, the log
 *
 * All that is FastCGI or CGI is done by libfcgate; here stands what is Apache's own.
 */
#ifndef MOD_FCGATE_H
#define MOD_FCGATE_H

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "ap_expr.h"
#include "apr_hash.h"
#include "apr_strings.h"
#include "apr_tables.h"

#include <fcgate.h>

extern module AP_MODULE_DECLARE_DATA fcgate_module;

/* The handler of a request is this, followed by the name of a balancer. */
#define HANDLER_PREFIX "fcgate:"
/* The handler of the status page. */
#define STATUS_HANDLER "fcgate-status"

/* A balancer as it was declared. It lives as long as the configuration. */
typedef struct {
    const char *name;     /* as SetHandler has it */
    const char *internal; /* as libfcgate has it: a virtual host's carries the host's place */
    int pools;
} balancer_t;

/* One FcgateMap. */
typedef struct {
    const char *extension; /* with its dot */
    const char *balancer;
    const char *file; /* where it stands, for messages */
    int line;
} map_t;

/* What a server or virtual host has of its own; merged, all that holds there. */
typedef struct {
    apr_hash_t *balancers;    /* name to balancer_t */
    apr_array_header_t *maps; /* of map_t, the innermost first */
    fcgate_route *base;       /* what the server's Timeout says */
} server_config_t;

/* One FcgateParam or FcgateParamUnset. */
typedef struct {
    const char *name;
    const char *value; /* NULL for FcgateParamUnset */
    int if_not_empty;
    const ap_expr_info_t *expression; /* in place of the value, or NULL */
    const ap_expr_info_t *condition;  /* or NULL */
} param_t;

#define STDERR_UNSET (-1)
#define STDERR_OFF (-2)
#define STDERR_DEFAULT APLOG_ERR

/* What the sections that hold for a request say together. */
typedef struct {
    fcgate_route *own;          /* this section's settings, or NULL */
    apr_array_header_t *levels; /* of const fcgate_route *, the outermost section first */
    apr_array_header_t *params; /* of param_t, the outermost section first */
    int stderr_level;           /* of APLOG_, or one of the above */
} directory_config_t;

/* The configuration that is being read, or is in force. */
typedef struct {
    fcgate_config *config;
    balancer_t *section; /* the <FcgateBalancer> that is being read */
    unsigned balancers;
    int notes_are_used;
} reading_t;

extern reading_t mod_fcgate_reading;

/* directives.c */
extern const command_rec mod_fcgate_commands[];
int mod_fcgate_is_directive(const char *name);
/* The directive that was meant, or NULL. */
const char *mod_fcgate_nearest_directive(const char *name);
/* Makes the levels that .htaccess files can have: before the fork, since none can be made after it. */
int mod_fcgate_make_spares(fcgate_error *error);
/* Whether both levels come from .htaccess files and speak of the same setting. */
int mod_fcgate_is_same_spare(const fcgate_route *one, const fcgate_route *other);

/* config.c */
void *mod_fcgate_create_server_config(apr_pool_t *pool, server_rec *server);
void *mod_fcgate_merge_server_config(apr_pool_t *pool, void *base, void *add);
void *mod_fcgate_create_directory_config(apr_pool_t *pool, char *path);
void *mod_fcgate_merge_directory_config(apr_pool_t *pool, void *base, void *add);
/* Adds a level to those of a section. */
void mod_fcgate_add_level(apr_array_header_t *levels, const fcgate_route *level);
/* Whether a line of the configuration speaks of FCGATE_POOL or its like. */
int mod_fcgate_notes_are_used(void);
/* Before directives are read: a new, empty configuration; unknown directives are found. */
int mod_fcgate_begin_config(apr_pool_t *pool);
/* After they were read: checks what no single line shows. */
int mod_fcgate_finish_config(server_rec *main_server);
/* The configuration, or NULL if no balancer was declared. */
fcgate_config *mod_fcgate_the_config(void);
/* What was meant by a balancer that is not declared, for the end of a message. */
const char *mod_fcgate_hint(apr_pool_t *pool, const server_config_t *server, const char *name);

/* route.c */
int mod_fcgate_begin_routes(apr_pool_t *pool);
/* The route to a balancer by what the request's sections say; NULL after an error. */
const fcgate_route *mod_fcgate_find_route(request_rec *r, const fcgate_gateway *gateway, const balancer_t *balancer,
                                      const directory_config_t *directory, fcgate_error *error);

/* request.c */
/* Tells what the request is; returns an HTTP status if that can't be. */
int mod_fcgate_describe(request_rec *r, const directory_config_t *directory, fcgate_request *request);

/* status.c */
int mod_fcgate_status_page(request_rec *r);
/* Sets what LogFormat can show, FCGATE_POOL and its like. */
void mod_fcgate_note(request_rec *r, const fcgate_info *info, const fcgate_error *error);

/* handler.c */
int mod_fcgate_handler(request_rec *r);
void mod_fcgate_free_spares(void);
int mod_fcgate_map(request_rec *r);

/* mod_fcgate.c */
const fcgate_gateway *mod_fcgate_the_gateway(void);
/* The request that this thread is forwarding, for the log; returns the one before it. */
request_rec *mod_fcgate_set_current(request_rec *r);
void mod_fcgate_log(void *user, uint32_t level, const char *text, size_t length);
int mod_fcgate_is_https(conn_rec *connection);

#endif
