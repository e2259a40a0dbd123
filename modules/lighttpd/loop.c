/*
 * libfcgate's sockets and timer in lighttpd's event loop.
 *
 * lighttpd frees what it knows of a descriptor as soon as it is taken out of its loop, while an event for it may
 * still be at hand; and libfcgate closes its sockets itself. So they have an epoll of their own, which is one
 * descriptor of lighttpd's loop, whichever event-handler that has.
 */
#include "mod_fcgate.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The name of the timer among the sockets, which count up from 0. */
#define TIMER UINT64_MAX
#define EVENTS 64

static void watch(void *user, uint64_t socket, int32_t fd, uint32_t interest)
{
    plugin_data *plugin = user;
    struct epoll_event event = {0};

    if (interest == 0) {
        epoll_ctl(plugin->descriptor, EPOLL_CTL_DEL, fd, NULL);
        plugin->srv->cur_fds--;
        return;
    }
    event.events = (interest & FCGATE_READABLE ? EPOLLIN : 0u) | (interest & FCGATE_WRITABLE ? EPOLLOUT : 0u);
    event.data.u64 = socket;
    if (epoll_ctl(plugin->descriptor, EPOLL_CTL_ADD, fd, &event) == 0) {
        plugin->srv->cur_fds++;
    }
    else if (errno != EEXIST || epoll_ctl(plugin->descriptor, EPOLL_CTL_MOD, fd, &event) != 0) {
        log_perror(plugin->srv->errh, HERE, "a socket can't be watched");
    }
}

static void set_timer(plugin_data *plugin, uint64_t nanoseconds)
{
    struct itimerspec time = {0};

    time.it_value.tv_sec = (time_t)(nanoseconds / 1000000000);
    time.it_value.tv_nsec = (long)(nanoseconds % 1000000000);
    timerfd_settime(plugin->timer, 0, &time, NULL);
}

static void timer(void *user, uint64_t milliseconds)
{
    plugin_data *plugin = user;

    if (milliseconds == 0) {
        plugin->is_due = 1;
    }
    else {
        set_timer(plugin, milliseconds > UINT32_MAX ? 0 : milliseconds * 1000000);
    }
}

void mod_fcgate_settle(plugin_data *plugin)
{
    if (!plugin->is_due) {
        return;
    }
    plugin->is_due = 0;
    fcgate_loop_expire(plugin->loop);
    /* What is due again is for the next turn: other connections have theirs before. */
    if (plugin->is_due) {
        plugin->is_due = 0;
        set_timer(plugin, 1);
    }
}

static handler_t handle_events(void *context, int revents)
{
    plugin_data *plugin = context;
    struct epoll_event events[EVENTS];
    int count = epoll_wait(plugin->descriptor, events, EVENTS, 0);

    UNUSED(revents);
    for (int i = 0; i < count; i++) {
        uint32_t ready = (events[i].events & ~(uint32_t)EPOLLOUT ? FCGATE_READABLE : 0u)
                         | (events[i].events & ~(uint32_t)EPOLLIN ? FCGATE_WRITABLE : 0u);
        uint64_t times;

        if (events[i].data.u64 != TIMER) {
            fcgate_loop_ready(plugin->loop, events[i].data.u64, ready);
        }
        else if (read(plugin->timer, &times, sizeof times) == sizeof times) {
            fcgate_loop_expire(plugin->loop);
        }
    }
    mod_fcgate_settle(plugin);
    return HANDLER_FINISHED;
}

int mod_fcgate_begin_loop(plugin_data *plugin)
{
    server *srv = plugin->srv;
    fcgate_loop_hooks hooks = {.struct_size = sizeof hooks, .watch = watch, .timer = timer};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = TIMER};
    fcgate_error error;

    plugin->descriptor = epoll_create1(EPOLL_CLOEXEC);
    plugin->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (plugin->descriptor < 0 || plugin->timer < 0
        || epoll_ctl(plugin->descriptor, EPOLL_CTL_ADD, plugin->timer, &event) != 0) {
        log_perror(srv->errh, HERE, "no event loop in this worker");
        return 0;
    }
    plugin->loop = fcgate_loop_new(plugin->gateway, &hooks, plugin, &error);
    if (!plugin->loop) {
        log_error(srv->errh, HERE, "no event loop in this worker: %s", error.text);
        return 0;
    }
    srv->cur_fds += 2;
    plugin->node = fdevent_register(srv->ev, plugin->descriptor, handle_events, plugin);
    fdevent_fdnode_event_set(srv->ev, plugin->node, FDEVENT_IN);
    return 1;
}

void mod_fcgate_end_loop(plugin_data *plugin)
{
    fcgate_loop_free(plugin->loop);
    if (plugin->node) {
        fdevent_fdnode_event_del(plugin->srv->ev, plugin->node);
        fdevent_unregister(plugin->srv->ev, plugin->node);
    }
    if (plugin->descriptor >= 0) {
        close(plugin->descriptor);
    }
    if (plugin->timer >= 0) {
        close(plugin->timer);
    }
}
