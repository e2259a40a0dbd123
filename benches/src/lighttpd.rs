//! lighttpd with mod_fcgate beside its own mod_fastcgi.

use crate::Effort;
use crate::load::{CLIENTS, DOWN, Load, SMALL, Server, UP, responder};
use crate::report::Result;
use fcgate_kit::{Client, Directory, Lighttpd};

fn server(address: &str) -> Server {
    let socket = address.trim_start_matches("unix:");
    let mut lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = ( \"app\" => ( \"pools\" => ( \"{address}\" => \
             ( \"max_connections\" => {CLIENTS} ) ) ) )\nfcgate.map = ( \".fcgate\" => \"app\" )\n\
             fcgate.reuse_non_idempotent = \"on\"\nfcgate.script_exists = \"off\"\n\
             server.max-keep-alive-requests = 100000000\nserver.max-request-size = 0\nserver.stream-response-body = 1\n\
             server.modules += ( \"mod_fastcgi\" )\n\
             fastcgi.server = ( \".peer\" => (( \"socket\" => \"{socket}\", \"check-local\" => \"disable\" )) )\n\
             $HTTP[\"url\"] =^ \"/stream/\" {{ server.stream-request-body = 2 }}"
        ))
        .file("x.fcgate", "")
        .file("x.peer", "")
        .file("stream/x.fcgate", "")
        .file("stream/x.peer", "")
        .start();
    Client::new(lighttpd.address()).get("/x.fcgate?bytes=1").expect(200);
    let workers = vec![lighttpd.process().pid()];
    Server::new("lighttpd", lighttpd.address(), workers, Box::new(lighttpd))
}

/// P3: beside mod_fastcgi, which never uses a connection twice.
pub fn against_fastcgi(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let loads = [
        Load { goal: 0.55, ..SMALL },
        Load { goal: 0.42, ..DOWN },
        Load { name: "1 MiB up, buffered", goal: 0.65, ..UP },
        Load { name: "1 MiB up, streamed", goal: 0.09, prefix: "stream/", ..UP },
    ];
    let both = server(&address);
    let mut results: Vec<Result> =
        loads.iter().flat_map(|load| both.compare("P3", "mod_fastcgi", "x.peer", load, effort)).collect();
    drop(both);
    for load in &loads[..2] {
        results.push(Server::memory(|| server(&address), "P3", "mod_fastcgi", "x.peer", load, effort));
    }
    results
}
