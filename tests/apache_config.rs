//! The configuration of mod_fcgate: what Apache says of a wrong line, and what operators see; the whole
//! example is in servers/.

use fcgate::protocol::ProtocolStatus;
use fcgate_kit::{Apache, Application, Mpm, Reply, Request};

/// What `apache2 -t` says of these lines, which are wrong; the number of their first line is `{line}`.
fn refused(lines: &str) -> String {
    let (right, said) = Apache::with(Mpm::Event).config(lines).check();
    assert!(!right, "was taken: {lines}");
    said
}

/// S10: what is wrong is said when the configuration is read, with file, line and the nearest name.
#[test]
fn wrong_lines_are_named() {
    for (lines, words) in [
        ("FcgateBalancer php unix:/run/a.sock\nFcgateHeadTimeut 5s", "did you mean FcgateHeadTimeout?"),
        ("FcgateBalancr php unix:/run/a.sock", "did you mean FcgateBalancer?"),
        ("FcgateParm A b", "did you mean FcgateParam?"),
        ("<FcgateBalancer php>\nFcgatePol unix:/run/a.sock\n</FcgateBalancer>", "did you mean FcgatePool?"),
        ("<Directory />\nFcgateColour red\n</Directory>", "FcgateColour is no directive of mod_fcgate"),
        ("FcgateBalancer php unix:/run/a.sock max_conections=4", "did you mean max_connections?"),
        ("FcgateBalancer php unix:/run/a.sock weight=many", "weight"),
        ("FcgateBalancer php /run/a.sock", "unix:/run/a.sock"),
        ("FcgateBalancer php", "FcgateBalancer takes a name and an address"),
        ("FcgateBalancer php:x unix:/run/a.sock", "a name is 1 to 128 letters"),
        ("FcgateBalancer p@hp unix:/run/a.sock", "a name can't have @"),
        ("FcgateBalancer php unix:/run/a.sock\nFcgateBalancer php unix:/run/b.sock", "declared twice"),
        ("<FcgateBalancer php>\n</FcgateBalancer>", "<FcgateBalancer php> has no FcgatePool"),
        (
            "<FcgateBalancer php>\nFcgateBalancer b unix:/run/b.sock\n</FcgateBalancer>",
            "another <FcgateBalancer>",
        ),
        ("FcgatePool unix:/run/a.sock", "FcgatePool belongs into <FcgateBalancer NAME>"),
        ("FcgateQueue length=4", "FcgateQueue belongs into <FcgateBalancer NAME>"),
        ("FcgateMethod round_robin", "FcgateMethod belongs into <FcgateBalancer NAME>"),
        ("FcgateMaxConnections 4", "write max_connections=4 on a FcgatePool"),
        ("FcgateHeadTimeout soon", "head_timeout"),
        ("FcgateIndex index.php", "Apache's own DirectoryIndex"),
        ("FcgateDocumentRoot /srv", "Apache's own DocumentRoot"),
        ("FcgateMap php php", "\"php\" is no extension"),
        ("FcgateMap .tar.gz php", "\".tar.gz\" is no extension"),
        ("FcgateMap .php php", "there is no FcgateBalancer at all"),
        ("FcgateBalancer php unix:/run/a.sock\nFcgateMap .php pph", "did you mean php?"),
        (
            "FcgateBalancer php unix:/run/a.sock\nFcgateMap .php unix:/run/a.sock",
            "an address can't stand here",
        ),
        ("FcgateParam CONTENT_LENGTH 5", "CONTENT_LENGTH must match what is sent"),
        ("FcgateParamUnset GATEWAY_INTERFACE", "GATEWAY_INTERFACE must match"),
        ("FcgateParam A b c", "\"c\" is neither if_not_empty nor"),
        ("FcgateParam A b \"expr=%{nonsense\"", "FcgateParam: expression"),
        (
            "<FcgateBalancer a>\nFcgatePool b:1\nFcgateParam A expr=%{HTTP_HOST}\n</FcgateBalancer>",
            "not possible in a <FcgateBalancer>",
        ),
        ("FcgateLogStderr loud", "\"loud\" is no level of LogLevel"),
        (
            "<VirtualHost *:1>\nFcgateBalancer php unix:/run/a.sock\n</VirtualHost>\nFcgateMap .php php",
            "there is no FcgateBalancer at all",
        ),
    ] {
        let said = refused(lines);
        assert!(said.contains(words), "{lines}\n--- is told so, without \"{words}\":\n{said}");
        assert!(
            said.contains("httpd.conf") && said.contains("line "),
            "{lines}\n--- without its place:\n{said}"
        );
    }
}

/// A line whose engine part comes with a later version is an error that says so.
#[test]
fn lines_of_later_versions_are_refused_by_name() {
    for line in [
        "FcgateMethod busyness",
        "FcgateCheck ping path=/ping interval=5s rise=2 fall=3",
        "FcgatePool app2.example.net:9000 check=ping",
        "FcgatePool b:1 max_connections=auto",
    ] {
        let said = refused(&format!("<FcgateBalancer php>\nFcgatePool a:1\n{line}\n</FcgateBalancer>"));
        assert!(said.contains("comes with a later version"), "{line}: {said}");
    }
    for line in ["FcgateShare 25%", "FcgateLocalRedirect on"] {
        let said = refused(line);
        assert!(said.contains("comes with a later version"), "{line}: {said}");
    }
}

/// The README's two pieces of configuration are right.
#[test]
fn the_configurations_of_the_readme_load() {
    let pages = [include_str!("../README.md"), include_str!("../docs/servers.md")];
    let pieces: Vec<&str> = pages
        .iter()
        .flat_map(|page| page.split("```apache\n").skip(1).map(|piece| piece.split("```").next().unwrap()))
        .collect();
    assert_eq!(pieces.len(), 4);
    for piece in pieces {
        let lines: Vec<&str> = piece.lines().filter(|line| !line.starts_with("LoadModule")).collect();
        let (right, said) = Apache::with(Mpm::Event).config(lines.join("\n")).check();
        assert!(right, "{said}");
    }
}

/// What operators see: the status page in three forms, and what a log can show of each request.
#[test]
fn operators_see_pools_and_requests() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("fail") => Reply::new().close().to(request),
            _ => Reply::new()
                .stdout("X: y\r\n\r\n")
                .end_stdout()
                .end_with(3, ProtocolStatus::RequestComplete)
                .to(request),
        })
        .start();
    let address = application.address();
    let apache = Apache::with(Mpm::Prefork)
        .config("ServerLimit 1\nStartServers 1\nMaxRequestWorkers 1\nMinSpareServers 1\nMaxSpareServers 1")
        .config(format!("FcgateBalancer php {address} max_connections=2\nFcgateMap .php php"))
        .config("<Location /fcgate-status>\nSetHandler fcgate-status\n</Location>")
        .config("LogFormat \"%U%q %s pool=%{FCGATE_POOL}e queue=%{FCGATE_QUEUE_TIME}e connect=%{FCGATE_CONNECT_TIME}e head=%{FCGATE_HEAD_TIME}e time=%{FCGATE_TIME}e retries=%{FCGATE_RETRIES}e error=%{FCGATE_ERROR}e app=%{FCGATE_APP_STATUS}e\" told\nCustomLog {directory}/told.log told")
        .file("x.php", "")
        .start();
    let mut client = apache.client();
    client.get("/x.php").expect(200);
    client.get("/x.php").expect(200);
    client.get("/x.php?fail").expect(502);
    client.get("/robots.txt").expect(200);

    let page = client.get("/fcgate-status").expect(200);
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains(&address) && page.text().contains("<td>php</td>"), "{}", page.text());
    let json = client.get("/fcgate-status?json").expect(200).text();
    for part in [
        format!("\"pool\":\"{address}\""),
        "\"max_connections\":2".into(),
        "\"active\":0".into(),
        "\"failures\":1".into(),
        "\"state\":\"up\"".into(),
    ] {
        assert!(json.contains(&part), "{part} is not in {json}");
    }
    let metrics = client.get("/fcgate-status?prometheus").expect(200).text();
    let failures = format!("fcgate_pool_failures_total{{balancer=\"php\",pool=\"{address}\"}} 1\n");
    assert!(metrics.contains(&failures), "{metrics}");
    client.get("/fcgate-status?other").expect(404);
    client.send(&Request::post("/fcgate-status", "")).expect(405);

    let log = std::fs::read_to_string(apache.directory().join("told.log")).unwrap();
    let line = |start: &str| {
        log.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {log}"))
    };
    let good = line("/x.php 200");
    assert!(good.contains(&format!("pool={address} queue=0.000 connect=0.")), "{good}");
    assert!(good.contains("retries=0 error=- app=3"), "{good}");
    let bad = line("/x.php?fail 502");
    assert!(bad.contains("error=closed app=-"), "{bad}");
    assert!(line("/robots.txt 200").contains("pool=- queue=-"));
    apache.wait_for_log(&["error closed, phase head", "php ("]);
}
