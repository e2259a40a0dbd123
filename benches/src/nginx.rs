//! nginx with ngx_http_fcgate_module beside its own fastcgi_pass.

use crate::Effort;
use crate::load::{CLIENTS, DOWN, Load, MANY_HEADERS, SMALL, Server, UP, responder};
use crate::report::Result;
use fcgate_kit::{Client, Directory, Nginx};

/// Clients at once, at the most.
const MOST: usize = 512;

fn server(address: &str) -> Server {
    // The peer as it comes, and with buffers as large as the module's.
    let nginx = Nginx::builder()
        .workers(1)
        .connections(4 * MOST)
        .http(format!(
            "fcgate_pool app {address} max_connections={MOST} max_idle={MOST};\n\
             upstream peer {{ server {address}; keepalive {MOST}; }}\n\
             keepalive_requests 100000000;\nclient_max_body_size 0;\naccess_log off;"
        ))
        .server(
            "location ~ \\.fcgate$ { fcgate_pass app; fcgate_preset plain; fcgate_reuse_non_idempotent on; }\n\
             include /etc/nginx/fastcgi_params;\n\
             fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n\
             location ~ \\.peer$ { fastcgi_pass peer; fastcgi_keep_conn on; }\n\
             location ~ \\.large$ { fastcgi_pass peer; fastcgi_keep_conn on; fastcgi_buffer_size 64k;\n\
             fastcgi_buffers 16 64k; fastcgi_busy_buffers_size 128k; }",
        )
        .start();
    Client::new(nginx.address()).get("/x.fcgate?bytes=1").expect(200);
    let workers = nginx.workers();
    Server::new("nginx", nginx.address(), workers, Box::new(nginx))
}

/// P4: beside fastcgi_pass with connections that are kept.
pub fn against_fastcgi(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let loads = [
        Load { goal: 0.78, ..SMALL },
        Load { name: "100 bytes, 512 clients", clients: MOST, goal: 0.72, ..SMALL },
        Load { goal: 0.77, ..MANY_HEADERS },
        Load { name: "16 KiB", query: "bytes=16384", clients: CLIENTS, goal: 0.55, ..SMALL },
        Load { goal: 0.34, ..DOWN },
        Load { goal: 0.40, ..UP },
    ];
    let both = server(&address);
    let mut results: Vec<Result> =
        loads.iter().flat_map(|load| both.compare("P4", "fastcgi_pass", "x.peer", load, effort)).collect();
    for load in &loads[3..5] {
        let load = Load { goal: 1.0, ..*load };
        results.extend(both.compare("P4", "fastcgi_pass with buffers of 64 KiB", "x.large", &load, effort));
    }
    drop(both);
    for load in [&loads[0], &loads[4]] {
        results.push(Server::memory(|| server(&address), "P4", "fastcgi_pass", "x.peer", load, effort));
    }
    results
}
