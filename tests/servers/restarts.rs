//! Applications and servers that are restarted: nobody sees it.

use crate::nature::Deed;
use crate::server::{Kind, Way};
use fcgate_kit::{Client, Gate, PhpFpm, Reply, Request};

through_every_server! {
    /// F1, F4, F12: php-fpm restarted: every request waits for it and is answered, once.
    php_is_restarted_unseen;
    /// F1, F4, F12: an application that is gone with its socket is waited for; connections that it closed
    /// meanwhile are not used again, by no POST either.
    an_application_that_comes_back_is_waited_for;
    /// S9: what is under way when the server reads its configuration anew ends as it began.
    a_request_under_way_outlives_a_restart;
}

const ECHO: &str = "<?php echo $_SERVER['REQUEST_METHOD'], ' ', $_GET['n'], ' ',
    strlen(file_get_contents('php://input')), ' ', str_repeat('.', 10000), 'end';";

/// A GET or a POST.
fn echo(client: &mut Client, n: usize) {
    let target = format!("/echo.php?n={n}");
    let length = if n % 4 == 3 { 100_000 } else { 10 };
    let (request, right) = match n % 2 {
        0 => (Request::get(&target), format!("GET {n} 0 ")),
        _ => (Request::post(&target, vec![b'b'; length]), format!("POST {n} {length} ")),
    };
    assert_eq!(client.send(&request).expect(200).text(), format!("{right}{}end", ".".repeat(10_000)));
}

fn php_is_restarted_unseen(kind: Kind) {
    for way in Way::ALL {
        let mut php = if way.tcp { PhpFpm::tcp() } else { PhpFpm::unix() }.children(2).start();
        let server = way.site(kind, php.address()).pool("max_connections", 2).file("echo.php", ECHO).start();
        for n in 0..8 {
            if n % 4 == 2 {
                php.restart();
            }
            echo(&mut server.client(), n);
        }
    }
}

fn an_application_that_comes_back_is_waited_for(kind: Kind) {
    for way in Way::ALL {
        let application = way
            .application()
            .on_request(|request| Reply::page(200, request.stdin.len().to_string()).to(request))
            .start();
        let server = way.site(kind, &application.address()).file("x.php", "").start();
        let mut client = server.client();
        client.get("/x.php").expect(200);
        for (n, request) in [Request::get("/x.php"), Request::post("/x.php", "body"), Request::head("/x.php")]
            .iter()
            .enumerate()
        {
            application.stop_listening();
            application.remove_socket();
            application.drop_connections();
            application.wait_for_open_connections(0);
            std::thread::scope(|scope| {
                let page = scope.spawn(|| server.client().send(request));
                application.listen();
                page.join().unwrap().expect(200);
            });
            assert_eq!(application.requests().len(), n + 2, "once");
        }
        client.get("/x.php").expect(200);
        application.assert_no_violations();
    }
}

fn a_request_under_way_outlives_a_restart(kind: Kind) {
    for way in Way::ALL {
        let gate = Gate::new();
        let reply = Reply::new().stdout("X: y\r\n\r\nbegun ").stall(&gate).stdout("done");
        let application = way.application().reply(reply.end_stdout().end()).start();
        let site = way.site(kind, &application.address()).file("x.php", "");
        let mut server = site.only(Kind::Apache, "ServerLimit 4").start();
        if !kind.does(Deed::Restart) {
            assert!(server.end().success(), "{kind:?} ends as it is told");
            return;
        }
        let mut client = server.client();
        client.send_part(&Request::get("/x.php").field("Connection", "close"), 0).unwrap();
        application.wait_for_requests(1);
        server.begin_restart();
        gate.open();
        assert_eq!(client.read_response("GET").unwrap().expect(200).text(), "begun done");
        // lighttpd listens again when what was under way has ended.
        server.wait_until_it_listens();
        assert_eq!(server.client().get("/x.php").expect(200).text(), "begun done");
        application.assert_no_violations();
    }
}
