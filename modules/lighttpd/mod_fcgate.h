/*
 * mod_fcgate for lighttpd 1.4: what its files share.
 *
 * config.c      lighttpd's configuration read: settings, params and maps of each condition
 * balancers.c   fcgate.balancers
 * route.c       which balancer answers a request, and the route that its conditions make
 * request.c     what libfcgate is told of a request
 * loop.c        libfcgate's sockets and timer in lighttpd's event loop
 * handler.c     a request forwarded: its body, its end
 * response.c    the response passed on
 * status.c      the status page, and variables for the access log
 * mod_fcgate.c  the hooks, one gateway and one loop for each worker, the log
 *
 * All that is FastCGI or CGI is done by libfcgate; here stands what is lighttpd's own.
 */
#ifndef MOD_FCGATE_H
#define MOD_FCGATE_H

#include "first.h"
#include "base.h"
#include "plugin.h"
#include "fdevent.h"
#include "ck.h"
#include "log.h"

#include <fcgate.h>

/* Where a line of the log comes from, as log_error has it. */
#define HERE "mod_fcgate", __LINE__

/* How lines of an application's standard error are logged. */
typedef struct {
    const char *word;
    const char *mark; /* in front of a line; NULL: it is not logged */
} stderr_level_t;

/* A part of lighttpd's configuration that has lines of ours: its global part, or a condition. */
typedef struct {
    int condition;       /* its number; 0 for the global part */
    fcgate_route *level; /* its settings and params, or NULL */
    const array *map;    /* its fcgate.map, or NULL */
    const buffer *status_url; /* its fcgate.status_url, or NULL */
    const stderr_level_t *stderr_level; /* its fcgate.log_stderr, or NULL */
} part_t;

typedef struct forward forward_t;

/* A route that conditions which hold together have made. */
typedef struct combination {
    struct combination *next;
    const char *balancer;
    const fcgate_route *route;
    int is_streamed; /* its responses are passed on at once */
    int is_spooled; /* a body is taken whole before the application is asked */
    uint64_t max_body_bytes; /* 0: no limit */
    size_t count;
    const fcgate_route *levels[];
} combination_t;

/* PLUGIN_DATA: what lighttpd puts in front of it. */
typedef struct {
    PLUGIN_DATA;
    server *srv;

    /* The configuration. */
    fcgate_config *config;
    fcgate_route *base;     /* where lighttpd's defaults are others than libfcgate's */
    fcgate_route *laid_aside; /* what server.stream-response-body = 1 says */
    fcgate_route *streamed; /* what server.stream-request-body says where it is set */
    part_t *parts;          /* in lighttpd's order: a later one goes before */
    size_t part_count;
    const array *balancers; /* fcgate.balancers, or NULL */
    int notes_are_used; /* the configuration has a FCGATE_ variable */

    /* The worker's own. */
    fcgate_gateway *gateway;
    fcgate_loop *loop;
    fcgate_request *request; /* empty between two requests */
    combination_t *combinations;
    forward_t *left; /* those that outlive their requests */
    fdnode *node;    /* of the descriptor below */
    int descriptor;  /* an epoll of libfcgate's sockets and of the timer; -1 for none */
    int timer;
    int is_due; /* fcgate_loop_expire is to be called */
} plugin_data;

/* The part of a fcgate.map that a request was claimed by. */
typedef struct {
    const char *balancer;
    const buffer *key; /* .extension, /prefix, or nothing for all */
    int is_found;      /* lighttpd has found the file and split the path */
} claim_t;

/* A request on its way to an application and back. */
struct forward {
    plugin_data *plugin;
    request_st *r; /* NULL once lighttpd has done with it */
    claim_t claim;
    log_error_st *log;       /* of the request's condition */
    void *room;              /* where libfcgate receives a piece of the response, between two calls */
    chunk *last_chunk;       /* of the queue to the client, before it */
    const char *stderr_mark; /* in front of lines of its standard error; NULL: they are not logged */
    fcgate_exchange *exchange; /* NULL before it is started */
    forward_t *next, *previous; /* in `left` */
    unsigned is_started : 1;
    unsigned has_body : 1;    /* the request */
    unsigned wants_body : 1;  /* libfcgate, more of it */
    unsigned body_ended : 1;  /* the whole of it was handed over */
    unsigned has_no_body : 1; /* the response: nothing but its head will be sent */
    unsigned is_paused : 1;
    unsigned is_whole : 1; /* the response */
    unsigned is_over : 1;
    unsigned is_noted : 1; /* what was known when the head came */
    unsigned is_unstorable : 1; /* lighttpd could not take a piece of the response */
    uint32_t error_status; /* what to answer with, once it is over with an error */
    unsigned retry_after;  /* seconds, for the client; 0 for nothing */
};

/* config.c */
int mod_fcgate_read_config(plugin_data *plugin);
/* The value of a line as text, in `text` if it is a number; NULL for a list. */
const char *mod_fcgate_value(const data_unset *line, char text[24]);
/* What was meant by a word, for the end of a message: in `text`. */
const char *mod_fcgate_hint(const char *word, const char *const *candidates, size_t count, char text[160]);
int mod_fcgate_set_params(plugin_data *plugin, const data_unset *line, const char *balancer, fcgate_route *level,
                          const char *place);
int mod_fcgate_map_root(plugin_data *plugin, const data_unset *line, char text[1024], const char *place);

/* balancers.c */
int mod_fcgate_read_balancers(plugin_data *plugin, const data_unset *line);
/* Whether a map can name this balancer; otherwise it is told why not. */
int mod_fcgate_has_balancer(plugin_data *plugin, const char *name, const char *place);

/* route.c */
/* What the map that holds for a request says of its path; the balancer is NULL if nothing. */
claim_t mod_fcgate_find_by_path(request_st *r, const plugin_data *plugin);
/* What it says of the file that lighttpd has found. */
claim_t mod_fcgate_find_by_file(request_st *r, const plugin_data *plugin);
/* `has_body`: lighttpd has the whole body, libfcgate need not lay it aside. */
const combination_t *mod_fcgate_find_route(request_st *r, plugin_data *plugin, const char *balancer, int has_body,
                                           fcgate_error *error);
void mod_fcgate_drop_routes(plugin_data *plugin);
/* What stands in front of a line of the application's standard error; NULL: it is not logged. */
const char *mod_fcgate_find_stderr_mark(request_st *r, const plugin_data *plugin);
/* Whether the path is that of the status page. */
int mod_fcgate_is_status_url(request_st *r, const plugin_data *plugin);

/* request.c */
void mod_fcgate_describe(request_st *r, const claim_t *claim, fcgate_request *request);

/* loop.c */
int mod_fcgate_begin_loop(plugin_data *plugin);
void mod_fcgate_end_loop(plugin_data *plugin);
/* After each call into libfcgate that is not within one of its callbacks. */
void mod_fcgate_settle(plugin_data *plugin);

/* handler.c */
void mod_fcgate_claim(request_st *r, plugin_data *plugin, claim_t claim);
handler_t mod_fcgate_handle(request_st *r, void *plugin_data);
handler_t mod_fcgate_reset(request_st *r, void *plugin_data);
void mod_fcgate_free_left(plugin_data *plugin);

void mod_fcgate_fail(forward_t *forward, const fcgate_error *error);

/* Whether server.stream-request-body is set; lighttpd keeps other marks beside it. */
static inline int mod_fcgate_is_body_streamed(const request_st *r)
{
    return (r->conf.stream_request_body & (FDEVENT_STREAM_REQUEST | FDEVENT_STREAM_REQUEST_BUFMIN)) != 0;
}

/* Whether the request has a body that is still there. server.error-handler-404 begins a request anew with its
 * length, but of what an application has had nothing is left. */
static inline int mod_fcgate_has_body(const request_st *r)
{
    return r->reqbody_length != 0 && r->reqbody_queue.bytes_out == 0;
}

/* response.c */
extern const fcgate_events mod_fcgate_response_events;
/* Has lighttpd pass the response on as it comes, where server.stream-response-body does not say how. */
void mod_fcgate_stream(request_st *r);
/* Has lighttpd go on with the request. */
void mod_fcgate_wake(forward_t *forward);
/* What lighttpd is told of the response so far. */
handler_t mod_fcgate_pass_on(forward_t *forward);
handler_t mod_fcgate_answer_with(request_st *r, int status);
handler_t mod_fcgate_add_retry_after(request_st *r, void *plugin_data);

/* status.c */
handler_t mod_fcgate_status_page(request_st *r, const plugin_data *plugin);
void mod_fcgate_note(const forward_t *forward, const fcgate_error *error);
void mod_fcgate_forget_notes(request_st *r);

/* mod_fcgate.c */
void mod_fcgate_write_line(log_error_st *log, uint32_t level, const char *text, size_t length);
void mod_fcgate_log(void *user, uint32_t level, const char *text, size_t length);

#endif
