//! A response that is laid aside for a client that takes a little of it: the thread that serves it never waits for
//! the client while the application has something to say.

use fcgate::cgi::ResponseHead;
use fcgate::config::Config;
use fcgate::drive::{Client, Fact, GiveUp, Host, Request, forward};
use fcgate::gateway::Gateway;
use fcgate_kit::application::PATIENCE;
use fcgate_kit::{Application, Gate, Reply, Step};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use crate::reader::{body, set};

const LENGTH: usize = 2 << 20;

/// A host as Apache is one: what it is given it writes, and waits until that is done.
struct Writing(UnixStream);

impl Client for Writing {
    fn fd(&self) -> Option<RawFd> {
        Some(self.0.as_raw_fd())
    }

    fn is_gone(&mut self) -> bool {
        false
    }
}

impl Host for Writing {
    fn body(&mut self, _: &mut [u8]) -> Result<usize, GiveUp> {
        Ok(0)
    }

    fn head(&mut self, _: &ResponseHead) -> Result<(), GiveUp> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), GiveUp> {
        self.0.write_all(bytes).map_err(|_| GiveUp::ClientGone)
    }

    fn wants_flush(&self) -> bool {
        true
    }

    fn flush(&mut self) -> Result<(), GiveUp> {
        Ok(())
    }

    fn complete(&mut self) -> Result<(), GiveUp> {
        Ok(())
    }

    fn stderr_line(&mut self, _: &str) -> bool {
        true
    }
}

/// A12: a client that takes some of a response and then nothing holds no worker of the application.
#[test]
fn a_client_that_takes_a_little_holds_no_worker() {
    let (written, large) = (Gate::new(), body(LENGTH));
    let is_written = written.clone();
    let application = Application::unix()
        .on_request(move |request| {
            let head = Reply::new().stdout("X: y\r\n\r\n");
            let reply = large.chunks(60_000).fold(head, |reply, piece| {
                // A pause for each, in which the client would be given more.
                reply.stdout(piece).then(Step::Run(Arc::new(thread::yield_now)))
            });
            reply.end_stdout().end().then(Step::Open(is_written.clone())).to(request)
        })
        .start();
    let line = format!("{} response_body=spool response_memory=64k preset=plain", application.address());
    let config = Config::from_line(&line).unwrap().freeze().unwrap();
    let gateway = Gateway::new(Arc::new(config), None).unwrap();
    let (server, client) = UnixStream::pair().unwrap();
    // Less than one piece of the response.
    set(&server, libc::SOL_SOCKET, libc::SO_SNDBUF, 8 << 10);
    thread::scope(move |scope| {
        scope.spawn(move || {
            let mut request = Request::default();
            request.fact(Fact::Method, b"GET");
            request.fact(Fact::Target, b"/x");
            let mut host = Writing(server);
            let engine = gateway.engine();
            let over =
                forward(engine, engine.route(0).unwrap(), &mut request, &mut host).expect("not started");
            assert!(over.scratch.exchange.failure().is_none());
        });
        // Closed when a test fails, so that nobody waits for it.
        let mut client = client;
        let mut came = vec![0; LENGTH];
        client.read_exact(&mut came[..100_000]).unwrap();
        assert!(written.wait(PATIENCE), "the application waits for the client");
        client.read_exact(&mut came[100_000..]).unwrap();
        assert!(came == body(LENGTH));
    });
    application.assert_no_violations();
}
