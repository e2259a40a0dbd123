//! What a server does not do by its nature. Nothing is left out in silence: where one stands here, the cases
//! hold that it behaves as this table says.

use crate::server::Kind::{self, Civetweb, Libevent, Lighttpd};

/// Something that not every server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Passes on the application's own words behind the status.
    Reason,
    /// Takes any method.
    AnyMethod,
    /// Takes the methods of WebDAV.
    WebDav,
    /// Has error pages of its administrator's.
    ErrorPages,
    /// Adds a Date.
    Date,
    /// Ends a response before the end of its request.
    Complete,
    /// Notices that a client has left though there is nothing to send to it.
    NoticeWhileSilent,
    /// Resets the connection of a client of HTTP/1.0 whose response is cut.
    Reset,
    /// Takes a response to a file that its client does not take.
    LayAside,
    /// Speaks HTTP/2.
    Http2,
    /// Can pass a body on while it comes.
    StreamBody,
    /// Refuses a body that is too large before it asks for it.
    RefuseAtOnce,
    /// Reads its configuration anew and ends what is under way as it began.
    Restart,
}

const NOT_DONE: &[(Kind, Deed, &str)] = &[
    (Lighttpd, Deed::Reason, "its status is a number, the words are its own"),
    (Civetweb, Deed::Date, "civetweb leaves the head to who answers, and the example adds none"),
    (Civetweb, Deed::Complete, "the example needs no more than the end of the request"),
    (Civetweb, Deed::NoticeWhileSilent, "civetweb shows nobody its clients' sockets: writing tells"),
    (Civetweb, Deed::Reset, "as it shows nobody its clients' sockets, it can only close"),
    (Civetweb, Deed::LayAside, "writing to a client waits for it"),
    (Civetweb, Deed::Http2, "this version of civetweb speaks HTTP/1.1"),
    (Libevent, Deed::Http2, "evhttp speaks HTTP/1.1"),
    (Libevent, Deed::StreamBody, "evhttp takes a body whole before it tells of the request"),
    (Libevent, Deed::RefuseAtOnce, "evhttp asks for a body before it tells of the request"),
    (Civetweb, Deed::Restart, "an example has no configuration to read"),
    (Libevent, Deed::Restart, "an example has no configuration to read"),
    (Libevent, Deed::Complete, "the example needs no more than the end of the request"),
    (Civetweb, Deed::ErrorPages, "the example answers with a status alone"),
    (Libevent, Deed::ErrorPages, "the example answers with a status alone"),
    (Libevent, Deed::AnyMethod, "evhttp knows nine methods by number and answers 501 to others"),
    (Libevent, Deed::WebDav, "evhttp knows nine methods by number and answers 501 to others"),
    (Lighttpd, Deed::AnyMethod, "it answers 501 to methods that are in no standard it knows"),
    (Civetweb, Deed::AnyMethod, "it answers 400 to a method that it does not know"),
];

impl Kind {
    /// Whether it does this.
    pub fn does(self, deed: Deed) -> bool {
        NOT_DONE.iter().all(|(kind, what, why)| (*kind, *what) != (self, deed) || why.is_empty())
    }
}
