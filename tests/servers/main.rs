//! One suite through five servers, Apache, lighttpd, nginx, and civetweb and libevent as the examples have
//! them; over unix sockets and TCP, with connections that are kept and not.

/// One test for each server, of functions that take it: their names are modules, the servers' the tests.
macro_rules! through_every_server {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        mod $name {
            use crate::server::Kind;
            #[test]
            fn apache() {
                super::$name(Kind::Apache);
            }
            #[test]
            fn lighttpd() {
                super::$name(Kind::Lighttpd);
            }
            #[test]
            fn nginx() {
                super::$name(Kind::Nginx);
            }
            #[test]
            fn civetweb() {
                super::$name(Kind::Civetweb);
            }
            #[test]
            fn libevent() {
                super::$name(Kind::Libevent);
            }
        }
    )+};
}

mod aborts;
mod applications;
mod bodies;
mod errors;
mod examples;
mod heads;
mod nature;
mod params;
mod restarts;
mod server;
mod streaming;
mod wiki;
