//! Changing over from lighttpd's own mod_fastcgi.

mod changing;
#[path = "changing/pairs.rs"]
mod pairs;

use changing::{WAY, agree, differences, seen};
use fcgate_kit::{Application, Lighttpd};
use pairs::{Applications, answers, pairs};

/// X1 to X7: beside mod_fastcgi.
#[test]
fn params_differ_from_mod_fastcgi_as_the_page_says() {
    let (old, new) = (Application::unix().start(), Application::unix().start());
    let socket = old.address().strip_prefix("unix:").expect("it is on a unix socket").to_owned();
    let builder = Lighttpd::builder()
        .module("mod_auth")
        .module("mod_authn_file")
        .module("mod_extforward")
        .module("mod_fastcgi")
        .config(format!("fcgate.balancers = ( \"php\" => \"{}\" )", new.address()))
        .config(format!(
            "$REQUEST_HEADER[\"{WAY}\"] == \"old\" {{\nfastcgi.server = ( \".php\" => (( \"socket\" => \"{socket}\" )) )\n}}
            else {{\nfcgate.map = ( \".php\" => \"php\" )\n}}"
        ))
        .config(
            "setenv.add-environment = ( \"SET_BY_SETENV\" => \"yes\" )
            server.error-handler-404 = \"/error.php\"
            url.rewrite-if-not-file = ( \"^/front/.*\" => \"/front/index.php\" )
            alias.url = ( \"/alias\" => \"{directory}/aliased\" )
            auth.backend = \"htpasswd\"
            auth.backend.htpasswd.userfile = \"{directory}/users\"
            auth.require = ( \"/private\" => ( \"method\" => \"basic\", \"realm\" => \"x\", \"require\" => \"valid-user\" ) )
            extforward.forwarder = ( \"127.0.0.1\" => \"trust\" )",
        );
    builder.directory().write("users", "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"); // password
    builder.directory().write("aliased/y.php", "");
    let lighttpd = ["x.php", "private/x.php", "front/index.php", "error.php", "dir/index.php"]
        .into_iter()
        .fold(builder, |builder, name| builder.file(name, ""))
        .start();
    let found = differences(|request, way| {
        lighttpd.client().send(request);
        Some(seen(if way == "old" { &old } else { &new }))
    });
    agree("docs/from-lighttpd.md", found);
}

/// The pieces without lines that the kit's own configuration has.
fn lines(piece: &str) -> String {
    let lines = piece.lines().filter(|line| !line.starts_with("server.modules"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The status and the params of a table of requests, with a piece of the page.
fn with(piece: &str) -> Vec<String> {
    let builder = Lighttpd::builder().module("mod_fastcgi").file("x.php", "").file("index.php", "");
    let root = builder.directory().join("root").display().to_string();
    let (applications, piece) = Applications::start(piece, &root);
    let lighttpd = builder.config(lines(&piece)).start();
    answers(&mut lighttpd.client(), &applications, &root)
}

/// Each pair of the page loads, and tells an application the same.
#[test]
fn the_pairs_of_the_page_do_the_same() {
    let pairs = pairs(include_str!("../docs/from-lighttpd.md"), "lighttpd");
    assert_eq!(pairs.len(), 5);
    for pair in pairs {
        assert_eq!(with(&pair.before), with(&pair.after), "{}", pair.heading);
    }
}

/// What the page says of an application that is away: a 503 before, a 502 after restart_window.
#[test]
fn an_application_that_is_away_is_answered_for() {
    let pairs = pairs(include_str!("../docs/from-lighttpd.md"), "lighttpd");
    let pair = pairs.iter().find(|pair| pair.heading == "A program below a prefix").unwrap();
    let after = pair.after.replace("\"preset\"", "\"restart_window\" => \"10ms\", \"preset\"");
    for (piece, status) in [(&pair.before, 503), (&after, 502)] {
        let builder = Lighttpd::builder().module("mod_fastcgi");
        let socket = builder.directory().join("nobody.sock").display().to_string();
        let lighttpd = builder.config(lines(&piece.replace("/run/app.sock", &socket))).start();
        lighttpd.client().get("/app").expect(status);
    }
}
