//! Two hundred clients that hardly read, and two hundred that hardly write: what they take of Apache's
//! memory is bounded, and all of them are served in the end.

use fcgate_kit::{Apache, Application, Client, Mpm, Reply, Request};

const CLIENTS: usize = 200;
/// What one of them may take: a buffer each way, Apache's own, and what the allocator makes of it.
const EACH: u64 = 512 << 10;
const BODY: usize = 2 << 20;

fn serve(application: &Application, config: &str) -> Apache {
    Apache::with(Mpm::Worker)
        .config("ServerLimit 4\nStartServers 4\nThreadsPerChild 64\nMaxRequestWorkers 256\nTimeout 120")
        .config(format!("FcgateBalancer php {} {config}\nFcgateMap .php php", application.address()))
        .config("FcgateSendTimeout 2m\nFcgateReadTimeout 2m")
        .file("x.php", "")
        .start()
}

fn large() -> Vec<u8> {
    (0..BODY).map(|at| (at % 251) as u8).collect()
}

fn answer(body: &[u8]) -> Reply {
    let mut reply = Reply::new().stdout("Content-Type: text/plain\r\n\r\n");
    for piece in body.chunks(60_000) {
        reply = reply.stdout(piece);
    }
    reply.end_stdout().end()
}

fn clients(apache: &Apache) -> Vec<Client> {
    (0..CLIENTS).map(|_| apache.client()).collect()
}

fn assert_bounded(apache: &Apache, before: u64, what: &str) {
    let growth = apache.memory().saturating_sub(before);
    println!("{what}: {} bytes each", growth / CLIENTS as u64);
    assert!(growth < CLIENTS as u64 * EACH, "{what}: Apache grew by {growth} bytes");
}

/// F9, A12: of a large response no more is taken from the application than the client takes, but for a
/// buffer.
#[test]
fn slow_readers_take_little_memory() {
    let body = large();
    let application = Application::unix().reply(answer(&body)).start();
    let apache = serve(&application, "");
    apache.client().get("/x.php").expect(200);
    let before = apache.memory();
    let mut clients = clients(&apache);
    for client in &mut clients {
        client.send_part(&Request::get("/x.php"), 0).unwrap();
    }
    for client in &mut clients {
        client.wait_for(b"\r\n\r\n");
    }
    application.wait_for_requests(CLIENTS + 1);
    assert_bounded(&apache, before, "slow readers");
    for client in &mut clients {
        let page = client.read_response("GET").unwrap().expect(200);
        assert!(page.body == body, "{} bytes came of {BODY}", page.body.len());
    }
}

/// F9, X11: of a large body that comes slowly no more stays in memory than is set, and the application is
/// not bothered with it before it is whole.
#[test]
fn slow_writers_take_little_memory() {
    let application = Application::unix().start();
    let apache = serve(&application, "");
    let body: Vec<u8> = (0..BODY / 4).map(|at| (at % 251) as u8).collect();
    apache.client().send(&Request::post("/x.php", body.clone())).expect(200);
    let before = apache.memory();
    let mut clients = clients(&apache);
    for client in &mut clients {
        client.send_part(&Request::post("/x.php", body.clone()), BODY / 5).unwrap();
    }
    assert_bounded(&apache, before, "slow writers");
    assert_eq!(application.requests().len(), 1);
    for client in &mut clients {
        client.write(&body[BODY / 5..]).unwrap();
    }
    for client in &mut clients {
        client.read_response("POST").unwrap().expect(200);
    }
    assert_bounded(&apache, before, "slow writers, served");
    assert!(application.requests().iter().all(|request| request.stdin == body));
}

/// A12: laid aside, responses that nobody takes hold no worker of the application: its only one serves
/// all, and each client gets its own in the end.
#[test]
fn responses_laid_aside_free_the_application() {
    let body = large();
    let application = Application::unix().reply(answer(&body)).start();
    let apache =
        serve(&application, "max_connections=1\nFcgateResponseBody spool\nFcgateResponseMemory 128k");
    apache.client().get("/x.php").expect(200);
    let before = apache.memory();
    let mut clients: Vec<Client> = (0..CLIENTS / 4).map(|_| apache.client()).collect();
    for client in &mut clients {
        client.send_part(&Request::get("/x.php"), 0).unwrap();
    }
    application.wait_for("all requests end", |requests| {
        requests.iter().filter(|request| request.is_complete()).count() == CLIENTS / 4 + 1
    });
    assert_bounded(&apache, before, "responses laid aside");
    for client in &mut clients {
        let page = client.read_response("GET").unwrap().expect(200);
        assert!(page.body == body, "{} bytes came of {BODY}", page.body.len());
    }
}
