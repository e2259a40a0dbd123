//! A request as a host builds it: facts of an HTTP request, headers, variables, params and a body.
//! Everything is copied into one arena that is kept from request to request.

use super::body::Body;
use super::dial::Source;
use crate::cgi::{Facts, PairList};
use crate::protocol::Role;
use std::ops::Range;

/// A fact of the HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Fact {
    /// The method.
    Method = 1,
    /// The request-target as it was received.
    Target = 2,
    /// The decoded path; left out, it is taken from the target.
    Path = 3,
    /// The query; left out, it is taken from the target.
    Query = 4,
    /// The protocol: `HTTP/1.1`.
    Protocol = 5,
    /// The scheme: `http` or `https`.
    Scheme = 6,
    /// The server's name and version.
    ServerSoftware = 7,
    /// The server's name by its own policy.
    ServerName = 8,
    /// The address the client connected to.
    ServerAddr = 9,
    /// The port the client connected to.
    ServerPort = 10,
    /// The client's address.
    RemoteAddr = 11,
    /// The client's port.
    RemotePort = 12,
    /// The user that the server itself authenticated.
    RemoteUser = 13,
    /// How it did.
    AuthType = 14,
    /// The root of the site's files.
    DocumentRoot = 15,
    /// The file that the host's own mapping led to.
    File = 16,
    /// The rest of the path behind the script, if the host split it.
    PathInfo = 17,
    /// The status of an internal redirect.
    RedirectStatus = 18,
    /// `on` over TLS.
    Https = 19,
    /// Whether the file is a regular one: `on` or `off`.
    FileExists = 20,
    /// The prefix of the path by which the host chose the application.
    Prefix = 21,
    /// `on` where the host lets header names have underscores.
    Underscores = 22,
}

impl Fact {
    /// All facts, in the order of their numbers.
    pub const ALL: [Self; 22] = [
        Self::Method,
        Self::Target,
        Self::Path,
        Self::Query,
        Self::Protocol,
        Self::Scheme,
        Self::ServerSoftware,
        Self::ServerName,
        Self::ServerAddr,
        Self::ServerPort,
        Self::RemoteAddr,
        Self::RemotePort,
        Self::RemoteUser,
        Self::AuthType,
        Self::DocumentRoot,
        Self::File,
        Self::PathInfo,
        Self::RedirectStatus,
        Self::Https,
        Self::FileExists,
        Self::Prefix,
        Self::Underscores,
    ];

    /// The fact of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

type Pair = (Range<usize>, Range<usize>);

/// A list of pairs in an arena.
struct Arena<'a> {
    bytes: &'a [u8],
    pairs: &'a [Pair],
}

impl PairList for Arena<'_> {
    fn count(&self) -> usize {
        self.pairs.len()
    }

    fn pair(&self, index: usize) -> (&[u8], &[u8]) {
        let (name, value) = &self.pairs[index];
        (&self.bytes[name.clone()], &self.bytes[value.clone()])
    }
}

/// A request to be. Empty after [`clear`](Self::clear) and reusable.
#[derive(Debug, Default)]
pub struct Request {
    /// The role that the application is asked to play.
    pub role: Role,
    /// The body.
    pub body: Body,
    /// Where its connection is to come from, in place of what the pool's settings say; it then has one of
    /// its own.
    pub source: Option<Source>,
    arena: Vec<u8>,
    facts: [Option<Range<usize>>; Fact::ALL.len()],
    headers: Vec<Pair>,
    variables: Vec<Pair>,
    params: Vec<Pair>,
    unset: Vec<Pair>,
}

impl Request {
    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.role = Role::Responder;
        self.body = Body::None;
        self.source = None;
        self.arena.clear();
        self.facts = Default::default();
        self.headers.clear();
        self.variables.clear();
        self.params.clear();
        self.unset.clear();
    }

    /// Bytes that it has room for.
    pub(super) fn memory(&self) -> usize {
        self.arena.capacity()
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        start..self.arena.len()
    }

    /// States a fact; the last statement holds.
    pub fn fact(&mut self, fact: Fact, value: &[u8]) {
        self.facts[fact as usize - 1] = Some(self.keep(value));
    }

    /// Adds a header field of the HTTP request.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        let pair = (self.keep(name), self.keep(value));
        self.headers.push(pair);
    }

    /// Adds a variable of the server's own environment.
    pub fn variable(&mut self, name: &[u8], value: &[u8]) {
        let pair = (self.keep(name), self.keep(value));
        self.variables.push(pair);
    }

    /// Adds a param, as it is, unless it was stated before that there is none.
    pub fn param(&mut self, name: &[u8], value: &[u8]) {
        if self.unset.iter().any(|(unset, _)| &self.arena[unset.clone()] == name) {
            return;
        }
        let pair = (self.keep(name), self.keep(value));
        self.params.push(pair);
    }

    /// Has a param left out, unless it was added here.
    pub fn unset(&mut self, name: &[u8]) {
        let pair = (self.keep(name), 0..0);
        self.unset.push(pair);
    }

    /// What was stated of a fact.
    pub fn get(&self, fact: Fact) -> Option<&[u8]> {
        self.facts[fact as usize - 1].clone().map(|range| &self.arena[range])
    }

    /// The value of the first param of this name.
    pub fn get_param(&self, name: &[u8]) -> Option<&[u8]> {
        self.params.iter().find(|(n, _)| &self.arena[n.clone()] == name).map(|(_, v)| &self.arena[v.clone()])
    }

    /// The method, from its fact or from a param REQUEST_METHOD.
    pub fn method(&self) -> &[u8] {
        self.get(Fact::Method).or_else(|| self.get_param(b"REQUEST_METHOD")).unwrap_or(b"GET")
    }

    /// Calls `look` with the facts.
    pub fn with_facts<T>(&self, look: impl FnOnce(&Facts<'_>) -> T) -> T {
        let is_on = |fact| self.get(fact).is_some_and(|value| value.eq_ignore_ascii_case(b"on"));
        let list = |pairs| Arena { bytes: &self.arena, pairs };
        let (headers, variables, params) = (list(&self.headers), list(&self.variables), list(&self.params));
        let unset = list(&self.unset);
        look(&Facts {
            method: self.get(Fact::Method),
            target: self.get(Fact::Target),
            path: self.get(Fact::Path),
            query: self.get(Fact::Query),
            protocol: self.get(Fact::Protocol),
            scheme: self.get(Fact::Scheme),
            https: is_on(Fact::Https),
            server_software: self.get(Fact::ServerSoftware),
            server_name: self.get(Fact::ServerName),
            server_addr: self.get(Fact::ServerAddr),
            server_port: self.get(Fact::ServerPort),
            remote_addr: self.get(Fact::RemoteAddr),
            remote_port: self.get(Fact::RemotePort),
            remote_user: self.get(Fact::RemoteUser),
            auth_type: self.get(Fact::AuthType),
            document_root: self.get(Fact::DocumentRoot),
            file: self.get(Fact::File),
            file_exists: self.get(Fact::FileExists).map(|value| value.eq_ignore_ascii_case(b"on")),
            path_info: self.get(Fact::PathInfo),
            prefix: self.get(Fact::Prefix),
            redirect_status: self.get(Fact::RedirectStatus),
            underscores: is_on(Fact::Underscores),
            headers: &headers,
            variables: &variables,
            params: &params,
            unset: &unset,
            without_nul: memchr::memchr(0, &self.arena).is_none(),
        })
    }

    /// Bytes of the body, as far as they are known.
    pub fn body_length(&self) -> Option<u64> {
        match &self.body {
            Body::None => Some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::File(file) => Some(file.len()),
            Body::Pieces(length) => *length,
        }
    }

    /// Lends the body's bytes to an exchange.
    pub(super) fn lend_body(&mut self) -> Vec<u8> {
        match &mut self.body {
            Body::Bytes(bytes) => std::mem::take(bytes),
            _ => Vec::new(),
        }
    }

    /// Takes the bytes back that were lent.
    pub(super) fn take_back_body(&mut self, lent: Vec<u8>) {
        if let Body::Bytes(bytes) = &mut self.body {
            *bytes = lent;
        }
    }
}
