//! What nginx knows of a request beside its line: who was let in, and which header fields it lets through.

use fcgate_kit::{Application, Nginx, Recorded, Reply, Request};

fn application() -> Application {
    Application::unix().reply(Reply::page(200, "hello")).start()
}

/// The params of what was asked last.
fn params<const COUNT: usize>(application: &Application, names: [&str; COUNT]) -> [Option<String>; COUNT] {
    let request: Recorded = application.requests().pop().unwrap();
    names.map(|name| request.param(name).map(str::to_owned))
}

/// `ann`, with the password `password`.
const ANN: &str = "Basic YW5uOnBhc3N3b3Jk";

/// X6, X7: a user that auth_basic has checked is REMOTE_USER, and nobody else is: not where it is off, where
/// others may be let in, or in a part of a page. The Authorization field passes all the same, or as set.
#[test]
fn a_checked_user_is_the_remote_user() {
    let application = application();
    let pass = format!("fcgate_pass {};", application.address());
    let checked = "auth_basic realm; auth_basic_user_file {directory}/users;";
    let builder = Nginx::builder()
        .server("fcgate_preset plain;")
        .server(format!("location / {{ {pass} }}"))
        .server(format!("location /in {{ {checked} {pass} location /in/off {{ auth_basic off; {pass} }} }}"))
        .server(format!("location /variable {{ {checked} auth_basic $arg_realm; {pass} }}").replacen(
            "auth_basic realm; ",
            "",
            1,
        ))
        .server(format!("location /any {{ {checked} satisfy any; allow all; {pass} }}"))
        .server(format!("location /auto {{ {checked} fcgate_pass_authorization auto; {pass} }}"))
        .server(format!("location /none {{ {checked} fcgate_pass_authorization off; {pass} }}"))
        .server(format!("location /page {{ {checked} try_files /page.html =404; ssi on; }}"))
        .file("page.html", "<!--#include virtual=\"/in/part\" -->");
    builder.directory().write("users", "ann:{PLAIN}password\n");
    let nginx = builder.start();
    let mut client = nginx.client();
    let ann = |target: &str| Request::get(target).field("Authorization", ANN);
    client.get("/in").expect(401);
    client.send(&Request::get("/in").field("Authorization", "Basic YW5uOndyb25n")).expect(401);
    assert_eq!(application.requests().len(), 0);
    let names = ["REMOTE_USER", "AUTH_TYPE", "HTTP_AUTHORIZATION"];
    let (user, basic) = (Some("ann"), Some("Basic"));
    for (target, expected) in [
        ("/", [None, None, Some(ANN)]),
        ("/in", [user, basic, Some(ANN)]),
        ("/in/off", [None, None, Some(ANN)]),
        ("/variable?realm=x", [user, basic, Some(ANN)]),
        ("/variable?realm=off", [None, None, Some(ANN)]),
        ("/any", [None, None, Some(ANN)]),
        ("/auto", [user, basic, None]),
        ("/none", [user, basic, None]),
        ("/page", [None, None, Some(ANN)]),
    ] {
        client.send(&ann(target)).expect(200);
        let told = params(&application, names);
        assert_eq!(told.each_ref().map(Option::as_deref), expected, "{target}");
    }
    application.assert_no_violations();
}

/// X3: which header names pass is fcgate's rule, with nginx's underscores_in_headers; ignore_invalid_headers
/// lets through no more than that.
#[test]
fn underscores_pass_where_nginx_lets_them() {
    for (setting, under) in [
        ("underscores_in_headers off;", None),
        ("ignore_invalid_headers off;", None),
        ("underscores_in_headers on;", Some("1")),
        ("underscores_in_headers on; ignore_invalid_headers off;", Some("1")),
    ] {
        let application = application();
        let nginx = Nginx::builder()
            .http(setting)
            .server(format!("location / {{ fcgate_preset plain; fcgate_pass {}; }}", application.address()))
            .start();
        let request = Request::get("/")
            .field("Under_Score", "1")
            .field("Do.t", "1")
            .field("Content_Length", "5")
            .field("X_Forwarded_For", "client")
            .field("X-Forwarded-For", "proxy")
            .field("Proxy", "evil");
        nginx.client().send(&request).expect(200);
        let names = [
            "HTTP_UNDER_SCORE",
            "HTTP_X_FORWARDED_FOR",
            "HTTP_CONTENT_LENGTH",
            "CONTENT_LENGTH",
            "HTTP_PROXY",
        ];
        let told = params(&application, names);
        assert_eq!(
            told.each_ref().map(Option::as_deref),
            [under, Some("proxy"), None, None, None],
            "{setting}"
        );
        let request = application.requests().pop().unwrap();
        let is_odd = |(name, _): &&(Vec<u8>, Vec<u8>)| {
            name.iter().any(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        };
        assert_eq!(request.params.iter().find(is_odd), None, "{setting}");
        application.assert_no_violations();
    }
}
