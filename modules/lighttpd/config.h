/*
 * What lighttpd's headers look at of its own config.h: for Debian's lighttpd on Linux. HAVE_PCRE2_H, HAVE_IPV6,
 * HAVE_SYS_UN_H and HAVE_MMAP decide the layout of its structures. The version comes from the makefile.
 */
#ifndef FCGATE_LIGHTTPD_CONFIG_H
#define FCGATE_LIGHTTPD_CONFIG_H

#define _GNU_SOURCE

#define HAVE_PCRE2_H 1
#define HAVE_IPV6 1
#define HAVE_SYS_UN_H 1
#define HAVE_MMAP 1

#define HAVE_STDINT_H 1
#define HAVE_SOCKLEN_T 1
#define HAVE_SYS_TIME_H 1
#define HAVE_LOCALTIME_R 1
#define HAVE_GMTIME_R 1
#define HAVE_TIMEGM 1
#define HAVE_CLOCK_GETTIME 1
#define HAVE_SPLICE 1
#define HAVE_POLL 1
#define HAVE_SYS_POLL_H 1
#define HAVE_EPOLL_CTL 1
#define HAVE_SYS_EPOLL_H 1

#endif
