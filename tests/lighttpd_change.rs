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

/// The status and the params of a table of requests, with a piece of the page.
fn with(piece: &str) -> Vec<String> {
    let builder = Lighttpd::builder().module("mod_fastcgi").file("x.php", "").file("index.php", "");
    let root = builder.directory().join("root").display().to_string();
    let (applications, lines) = Applications::start(piece, &root);
    // The kit's own list has them.
    let lines: Vec<&str> = lines.lines().filter(|line| !line.starts_with("server.modules")).collect();
    let lighttpd = builder.config(lines.join("\n")).start();
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
