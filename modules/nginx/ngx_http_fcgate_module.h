/*
 * ngx_http_fcgate_module for nginx: what its files share.
 *
 * ngx_http_fcgate_directives.c  the directives: settings, fcgate_pass, what is refused
 * ngx_http_fcgate_words.c       nginx's own words for settings of other names
 * ngx_http_fcgate_params.c      params that lines set or unset
 * ngx_http_fcgate_hints.c       what was meant by an unknown directive
 * ngx_http_fcgate_balancer.c    balancers and pools as they are declared
 * ngx_http_fcgate_config.c      what http, server and location have, merged and checked
 * ngx_http_fcgate_route.c       from a location to a route of libfcgate
 * ngx_http_fcgate_request.c     what libfcgate is told of a request
 * ngx_http_fcgate_body.c        the request's body handed over
 * ngx_http_fcgate_head.c        the head of a response made nginx's own
 * ngx_http_fcgate_response.c    the body of a response passed on
 * ngx_http_fcgate_handler.c     a request forwarded, from its start to its end
 * ngx_http_fcgate_variables.c   what logs and configurations can show of a request
 * ngx_http_fcgate_status.c      the status page
 * ngx_http_fcgate_loop.c        one gateway and one loop for each worker
 * ngx_http_fcgate_module.c      the hooks
 *
 * All that is FastCGI or CGI is done by libfcgate; here stands what is nginx's own.
 */
#ifndef NGX_HTTP_FCGATE_MODULE_H
#define NGX_HTTP_FCGATE_MODULE_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include <fcgate.h>

extern ngx_module_t ngx_http_fcgate_module;

/* ---- configuration ---- */

/* A balancer as it was declared, or one that stands for an address. Its names end with NUL. */
typedef struct {
    ngx_str_t   name;     /* as fcgate_pass has it */
    const char *internal; /* as libfcgate has it */
    ngx_uint_t  pools;
    unsigned    declared:1;
} ngx_http_fcgate_balancer_t;

/* Where a directive stands, for a message that comes after all lines are read. */
typedef struct {
    ngx_str_t  file;
    ngx_uint_t line;
} ngx_http_fcgate_place_t;

/* A setting of libfcgate's table, or one that a later version brings. */
typedef struct {
    const char *name;
    uint32_t    scope; /* of FCGATE_SCOPE_, or 0 for a later one */
} ngx_http_fcgate_setting_t;

/* A setting of pools outside a balancer: it holds for the addresses that fcgate_pass names. */
typedef struct {
    const char *name;
    const char *value;
} ngx_http_fcgate_pool_setting_t;

/* One fcgate_param or fcgate_param_unset. */
typedef struct {
    ngx_str_t                name;
    ngx_http_complex_value_t value;
    unsigned                 unset:1;
    unsigned                 if_not_empty:1;
} ngx_http_fcgate_param_t;

typedef struct {
    fcgate_config *config;
    fcgate_route  *base;      /* where nginx's defaults are others than libfcgate's */
    ngx_array_t    balancers; /* of ngx_http_fcgate_balancer_t * */
} ngx_http_fcgate_main_conf_t;

/* A route of libfcgate, and what it says of nginx's own doings. */
typedef struct {
    const ngx_http_fcgate_balancer_t *balancer;
    const ngx_array_t                *levels;
    const fcgate_route               *route;
    fcgate_route_info                 info;
} ngx_http_fcgate_route_t;

#define NGX_HTTP_FCGATE_STDERR_OFF ((ngx_uint_t) -2)

/* The X-Accel- fields that nginx acts on. */
#define NGX_HTTP_FCGATE_ACCEL_REDIRECT   0x01
#define NGX_HTTP_FCGATE_ACCEL_EXPIRES    0x02
#define NGX_HTTP_FCGATE_ACCEL_LIMIT_RATE 0x04
#define NGX_HTTP_FCGATE_ACCEL_BUFFERING  0x08
#define NGX_HTTP_FCGATE_ACCEL_CHARSET    0x10
#define NGX_HTTP_FCGATE_ACCEL_NONE       0x80000000

/* A flag of nginx's that is a setting of another name. */
typedef struct {
    const char *setting;
    const char *on;
    const char *off;
} ngx_http_fcgate_synonym_t;

/* A fcgate_bind; one without variables is a setting of pools, and only ends what an outer level has. */
typedef struct {
    ngx_http_complex_value_t address;
    unsigned                 is_set:1;
    unsigned                 transparent:1;
} ngx_http_fcgate_bind_t;

typedef struct {
    fcgate_route            *own;           /* this level's settings, or NULL */
    ngx_array_t             *levels;        /* of const fcgate_route *, the outermost first; or NULL */
    ngx_array_t             *params;        /* of ngx_http_fcgate_param_t, the outermost first; or NULL */
    ngx_array_t             *pool_settings; /* of ngx_http_fcgate_pool_setting_t, the outermost first; or NULL */
    ngx_array_t             *hidden;        /* of ngx_str_t: fields that the client does not get; or NULL */
    ngx_array_t             *passed;        /* of ngx_str_t: fields that it gets all the same; or NULL */
    ngx_http_fcgate_bind_t  *bind;          /* where connections come from, or NULL */
    ngx_str_t                index;
#if (NGX_PCRE)
    ngx_regex_t             *split;
#endif
    ngx_str_t                pass;          /* what fcgate_pass names; empty without one */
    ngx_http_fcgate_place_t  place;         /* of fcgate_pass */
    ngx_http_complex_value_t *variable;     /* fcgate_pass with a variable, or NULL */
    const ngx_http_fcgate_balancer_t *balancer;
    ngx_array_t             *routes;        /* of ngx_http_fcgate_route_t *: those used so far in this process */
    ngx_uint_t               ignored;       /* of NGX_HTTP_FCGATE_ACCEL_ */
    ngx_uint_t               stderr_level;
    ngx_flag_t               pass_body;
    ngx_flag_t               pass_headers;
    ngx_flag_t               force_ranges;
    unsigned                 has_head_timeout:1; /* fcgate_head_timeout stands on this level itself */
    unsigned                 has_pool_setting:1; /* a setting of pools does */
} ngx_http_fcgate_loc_conf_t;

/* ---- a request ---- */

typedef struct ngx_http_fcgate_ctx_s ngx_http_fcgate_ctx_t;

/* An exchange. It outlives its request where the answer is whole and only the end of the request is
 * awaited, so that the connection can be kept; and where the application may finish for nobody. */
typedef struct {
    ngx_queue_t            queue;
    fcgate_exchange       *exchange;
    ngx_http_fcgate_ctx_t *ctx;  /* NULL once the request is gone */
    ngx_log_t             *log;  /* for what the application writes to its standard error then */
    ngx_uint_t             stderr_level;
    ngx_fd_t               body; /* its own descriptor of the file that has the request's body, or none */
} ngx_http_fcgate_link_t;

struct ngx_http_fcgate_ctx_s {
    ngx_http_request_t            *request;
    const ngx_http_fcgate_route_t *route;
    ngx_http_fcgate_link_t        *link;    /* NULL once the exchange is over */
    ngx_queue_t                    touched; /* among those that something has happened to */

    ngx_chain_t *body; /* of the request's body, what libfcgate has not taken yet */
    u_char      *piece;

    ngx_chain_t *free;
    ngx_chain_t *busy;
    ngx_chain_t *out;
    ngx_chain_t *tail;     /* of out */
    ngx_chain_t *room;     /* where libfcgate receives a piece, between two of its calls */
    size_t       gathered;
    ngx_str_t    redirect; /* X-Accel-Redirect */

    fcgate_info info;
    int32_t     status; /* of the exchange, once it is over */
    uint32_t    http_status;
    ngx_int_t   rc;     /* what the filters have said */

    unsigned is_touched:1;
    unsigned has_info:1;
    unsigned streams:1;     /* the body goes on as it comes */
    unsigned announced:1;   /* the body comes piece by piece */
    unsigned wants_body:1;  /* libfcgate takes more of the body */
    unsigned body_ended:1;
    unsigned flush:1;
    unsigned has_head:1;
    unsigned header_sent:1;
    unsigned complete:1;
    unsigned ended:1;
    unsigned paused:1;
    unsigned discards:1;    /* nobody takes the response any more */
    unsigned finalized:1;
};

/* hints.c */
/* From now on nginx's message about an unknown directive of ours offers the nearest one. */
void ngx_http_fcgate_begin_hints(ngx_conf_t *cf);
void ngx_http_fcgate_end_hints(void);

/* directives.c */
extern ngx_command_t ngx_http_fcgate_commands[];
/* The setting of this name, or NULL. */
const ngx_http_fcgate_setting_t *ngx_http_fcgate_find_setting(const char *name);
/* The words of cf->args from `first` on as one line, each between these quotes. NULL without memory. */
const char *ngx_http_fcgate_join(ngx_conf_t *cf, ngx_uint_t first, const char *quote);
/* Says what libfcgate has against a line. */
char *ngx_http_fcgate_said(ngx_conf_t *cf, const fcgate_error *error);

/* Workers are to come from addresses of other machines: nginx lets them keep the privilege for it. */
void ngx_http_fcgate_keep_privilege(ngx_conf_t *cf);

/* A value on a level of the configuration, checked: of a setting of requests, and of one of pools for the
 * addresses that fcgate_pass names there. */
char *ngx_http_fcgate_set_on_level(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf, const char *name,
    const char *value);
char *ngx_http_fcgate_set_for_addresses(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf, const char *name,
    const char *value);

/* words.c */
extern const ngx_http_fcgate_synonym_t ngx_http_fcgate_request_buffering;
extern const ngx_http_fcgate_synonym_t ngx_http_fcgate_buffering;
extern const ngx_http_fcgate_synonym_t ngx_http_fcgate_intercept_errors;
char *ngx_http_fcgate_synonym(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_fcgate_renamed(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_fcgate_buffer_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_fcgate_buffers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_fcgate_bind(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_fcgate_next_upstream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* params.c */
char *ngx_http_fcgate_param_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_fcgate_param_unset_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* Whether a param may be named here, and whether the line says what is sent anyway. */
char *ngx_http_fcgate_check_param(ngx_conf_t *cf, ngx_uint_t name, ngx_uint_t value, ngx_uint_t *needless);
/* Tells the params of the request's location. */
ngx_int_t ngx_http_fcgate_params(ngx_http_request_t *r, fcgate_request *request);

/* balancer.c */
char *ngx_http_fcgate_balancer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_fcgate_pool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_http_fcgate_balancer_t *ngx_http_fcgate_find_balancer(ngx_http_fcgate_main_conf_t *mcf, const ngx_str_t *name);
/* The balancer that a merged location's fcgate_pass leads to. */
ngx_int_t ngx_http_fcgate_resolve_pass(ngx_conf_t *cf, ngx_http_fcgate_loc_conf_t *lcf);

/* config.c */
void *ngx_http_fcgate_create_main_conf(ngx_conf_t *cf);
void *ngx_http_fcgate_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_fcgate_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
ngx_int_t ngx_http_fcgate_check_config(ngx_conf_t *cf);

/* route.c */
const ngx_http_fcgate_route_t *ngx_http_fcgate_find_route(ngx_http_request_t *r);
void ngx_http_fcgate_forget_routes(void);

/* request.c */
/* Tells what the request is, but for its body. */
ngx_int_t ngx_http_fcgate_describe(ngx_http_request_t *r, fcgate_request *request);
/* Of the path: what fcgate_split_path_info makes of it, and the index behind a last slash. */
ngx_int_t ngx_http_fcgate_split(ngx_http_request_t *r, ngx_str_t *script, ngx_str_t *path_info);

/* body.c */
/* Whether the body is this request's, and to be passed on. */
ngx_uint_t ngx_http_fcgate_has_body(ngx_http_request_t *r);
/* Announces the body, or hands it over whole. */
ngx_int_t ngx_http_fcgate_give_body(ngx_http_fcgate_ctx_t *ctx, ngx_http_fcgate_link_t *link, fcgate_request *request);
/* Sends more of a body that was announced. */
void ngx_http_fcgate_send_body(ngx_http_fcgate_ctx_t *ctx);
/* Takes more of a streamed body from the client. */
void ngx_http_fcgate_read_body(ngx_http_request_t *r);

/* head.c */
/* Makes the head nginx's own. */
ngx_int_t ngx_http_fcgate_take_head(ngx_http_fcgate_ctx_t *ctx, const fcgate_head *head);

/* response.c */
/* Where a large piece of the response is to be received; lowers the length to the room there. */
void *ngx_http_fcgate_room(ngx_http_fcgate_ctx_t *ctx, size_t *length);
/* Gathers bytes of the response, those that were received there too. */
ngx_int_t ngx_http_fcgate_gather(ngx_http_fcgate_ctx_t *ctx, const u_char *bytes, size_t length);
/* Passes on what was gathered. */
ngx_int_t ngx_http_fcgate_pass_on(ngx_http_fcgate_ctx_t *ctx, ngx_uint_t last);
void ngx_http_fcgate_writable(ngx_http_request_t *r);

/* handler.c */
ngx_int_t ngx_http_fcgate_handler(ngx_http_request_t *r);
void ngx_http_fcgate_watch_client(ngx_http_fcgate_ctx_t *ctx);
/* Does what has become due for a request since something happened to it. */
void ngx_http_fcgate_advance(ngx_http_fcgate_ctx_t *ctx);
/* The context of a request, also after an internal redirect; NULL if it was never forwarded. */
ngx_http_fcgate_ctx_t *ngx_http_fcgate_ctx_of(ngx_http_request_t *r);

/* variables.c */
ngx_int_t ngx_http_fcgate_add_variables(ngx_conf_t *cf);

/* status.c */
ngx_int_t ngx_http_fcgate_status(ngx_http_request_t *r);
char *ngx_http_fcgate_status_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* loop.c */
ngx_int_t ngx_http_fcgate_init_process(ngx_cycle_t *cycle);
void ngx_http_fcgate_exit_process(ngx_cycle_t *cycle);
const fcgate_gateway *ngx_http_fcgate_gateway(void);
fcgate_loop *ngx_http_fcgate_loop(void);
/* The one that each request is described in, in turn. */
fcgate_request *ngx_http_fcgate_request(void);
void ngx_http_fcgate_touch(ngx_http_fcgate_ctx_t *ctx);
void ngx_http_fcgate_untouch(ngx_http_fcgate_ctx_t *ctx);
ngx_http_fcgate_link_t *ngx_http_fcgate_new_link(ngx_http_fcgate_ctx_t *ctx);
void ngx_http_fcgate_free_link(ngx_http_fcgate_link_t *link);
/* Writes a line of libfcgate's to a log of nginx's. */
void ngx_http_fcgate_log(void *log, uint32_t level, const char *text, size_t length);
/* The same for a line of nobody's request. */
void ngx_http_fcgate_log_here(uint32_t level, const char *text, size_t length);

#endif
