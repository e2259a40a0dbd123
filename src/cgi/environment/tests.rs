//! The rules of the environment, each against the params that come out.

use super::*;
use crate::protocol::{HEADER_LEN, Pairs};
use proptest::prelude::*;
use std::collections::BTreeMap;

struct Tree(&'static [&'static str]);

impl Files for Tree {
    fn is_regular_file(&self, path: &[u8]) -> bool {
        self.0.iter().any(|file| file.as_bytes() == path)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.0.iter().any(|file| file.as_bytes().starts_with(path))
    }

    fn resolve(&self, path: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"/real");
        out.extend_from_slice(path);
        true
    }
}

const TREE: Tree =
    Tree(&["/srv/www/index.php", "/srv/www/a.php", "/srv/www/dir/index.php", "/alias/doku.php"]);

type Params = BTreeMap<String, String>;

fn decode(encoded: &[u8]) -> Params {
    let (mut params, mut at, mut count) = (Params::new(), 0, 0);
    while at < encoded.len() {
        let length = usize::from(u16::from_be_bytes([encoded[at + 4], encoded[at + 5]]));
        for (name, value) in Pairs::new(&encoded[at + HEADER_LEN..at + HEADER_LEN + length]) {
            count += 1;
            params.insert(String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into());
        }
        at += HEADER_LEN + length;
    }
    assert_eq!(params.len(), count, "a name stands there twice");
    params
}

fn settings(change: impl FnOnce(&mut EnvironmentSettings)) -> EnvironmentSettings {
    let mut settings = EnvironmentSettings { document_root: "/srv/www".into(), ..Default::default() };
    change(&mut settings);
    settings
}

fn build(settings: &EnvironmentSettings, facts: &Facts<'_>) -> Result<Params, EnvironmentError> {
    let mut environment = Environment::default();
    environment.build(settings, &[], facts, &TREE, None)?;
    Ok(decode(environment.encoded()))
}

fn get(target: &str) -> Facts<'_> {
    Facts { method: Some(b"GET"), target: Some(target.as_bytes()), ..Facts::default() }
}

fn params(target: &str) -> Result<Params, EnvironmentError> {
    build(&settings(|_| {}), &get(target))
}

fn status(result: Result<Params, EnvironmentError>) -> u16 {
    result.map_or_else(|error| error.http_status(), |_| 200)
}

/// X6: every meta-variable, as it should be.
#[test]
fn a_whole_request_gives_the_whole_environment() {
    let headers = [
        ("Host", "www.example.org:8080"),
        ("Content-Type", "text/plain"),
        ("User-Agent", "me"),
        ("Accept", "*/*"),
    ];
    let facts = Facts {
        method: Some(b"POST"),
        target: Some(b"/a.php/in%20fo?x=%20y"),
        protocol: Some(b"HTTP/1.1"),
        server_software: Some(b"test/1"),
        server_addr: Some(b"10.0.0.1"),
        server_port: Some(b"8080"),
        remote_addr: Some(b"[::1]"),
        remote_port: Some(b"4711"),
        https: true,
        headers: &headers,
        ..Facts::default()
    };
    let mut environment = Environment::default();
    environment.build(&settings(|_| {}), &[], &facts, &TREE, Some(5)).unwrap();
    let expected = [
        ("AUTH", None),
        ("CONTENT_LENGTH", Some("5")),
        ("CONTENT_TYPE", Some("text/plain")),
        ("DOCUMENT_ROOT", Some("/srv/www")),
        ("GATEWAY_INTERFACE", Some("CGI/1.1")),
        ("HTTPS", Some("on")),
        ("HTTP_ACCEPT", Some("*/*")),
        ("HTTP_HOST", Some("www.example.org:8080")),
        ("HTTP_USER_AGENT", Some("me")),
        ("PATH_INFO", Some("/in fo")),
        ("PATH_TRANSLATED", Some("/srv/www/in fo")),
        ("QUERY_STRING", Some("x=%20y")),
        ("REDIRECT_STATUS", Some("200")),
        ("REMOTE_ADDR", Some("::1")),
        ("REMOTE_PORT", Some("4711")),
        ("REQUEST_METHOD", Some("POST")),
        ("REQUEST_SCHEME", Some("https")),
        ("REQUEST_URI", Some("/a.php/in%20fo?x=%20y")),
        ("SCRIPT_FILENAME", Some("/srv/www/a.php")),
        ("SCRIPT_NAME", Some("/a.php")),
        ("SERVER_ADDR", Some("10.0.0.1")),
        ("SERVER_NAME", Some("www.example.org")),
        ("SERVER_PORT", Some("8080")),
        ("SERVER_PROTOCOL", Some("HTTP/1.1")),
        ("SERVER_SOFTWARE", Some("test/1")),
    ];
    let params = decode(environment.encoded());
    for (name, value) in expected {
        assert_eq!(params.get(name).map(String::as_str), value, "{name}");
    }
    assert_eq!(params.len(), expected.len() - 1, "{params:?}");
}

/// X6: no TLS, no user, no path info, no body: no params of them; QUERY_STRING always, SERVER_NAME
/// never empty.
#[test]
fn what_is_not_known_is_left_out() {
    let params = params("/a.php").unwrap();
    for absent in [
        "HTTPS",
        "REMOTE_USER",
        "AUTH_TYPE",
        "PATH_INFO",
        "PATH_TRANSLATED",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
    ] {
        assert!(!params.contains_key(absent), "{absent}");
    }
    assert_eq!((params["QUERY_STRING"].as_str(), params["SERVER_NAME"].as_str()), ("", "localhost"));
    let facts = get("http://[::1]:80/a.php?q");
    let params = build(&settings(|_| {}), &facts).unwrap();
    assert_eq!((params["HTTP_HOST"].as_str(), params["SERVER_NAME"].as_str()), ("[::1]:80", "[::1]"));
    assert_eq!(params["REQUEST_URI"], "/a.php?q");
}

/// X6: SCRIPT_FILENAME is the file the host's own mapping led to, outside the root as well.
#[test]
fn the_hosts_own_mapping_holds() {
    let facts = Facts {
        file: Some(b"/alias/doku.php"),
        path: Some(b"/doku/doku.php/page"),
        path_info: Some(b"/page"),
        ..get("/x")
    };
    let params = build(&settings(|_| {}), &facts).unwrap();
    assert_eq!(params["SCRIPT_FILENAME"], "/alias/doku.php");
    assert_eq!((params["SCRIPT_NAME"].as_str(), params["PATH_INFO"].as_str()), ("/doku/doku.php", "/page"));
    let facts = Facts { redirect_status: Some(b"404"), ..get("/a.php") };
    assert_eq!(build(&settings(|_| {}), &facts).unwrap()["REDIRECT_STATUS"], "404");
}

/// X9: where the host has looked already, nobody looks again.
#[test]
fn what_the_host_saw_is_believed() {
    let seen = |exists| Facts { file: Some(b"/nowhere/a.php"), file_exists: Some(exists), ..get("/a.php") };
    let checking = settings(|settings| settings.script_exists = Onoff::On);
    assert!(build(&checking, &seen(true)).is_ok());
    assert!(build(&checking, &Facts { file_exists: None, ..seen(true) }).is_err());
    assert!(build(&checking, &seen(false)).is_err());
    assert!(build(&settings(|settings| settings.script_exists = Onoff::Off), &seen(false)).is_ok());
}

/// X1: each name once, the highest source first; levels merge, unset removes.
#[test]
fn the_highest_source_wins() {
    let set = |name: &str, value: &str, if_not_empty| ParamRule::Set {
        name: name.into(),
        value: value.into(),
        if_not_empty,
    };
    let settings = settings(|settings| {
        settings.params = vec![
            set("A", "inner", false),
            set("A", "outer", false),
            set("SERVER_SOFTWARE", "mine", false),
            set("EMPTY", "", true),
            ParamRule::Unset { name: b"HTTP_ACCEPT".to_vec() },
            ParamRule::Unset { name: b"REMOTE_PORT".to_vec() },
        ];
    });
    let facts = Facts {
        server_software: Some(b"theirs"),
        remote_port: Some(b"1"),
        params: &[("B", "host")],
        variables: &[
            ("A", "variable"),
            ("B", "variable"),
            ("EMPTY", "variable"),
            ("QUERY_STRING", "forged"),
            ("V", "v"),
        ],
        headers: &[("Accept", "x"), ("V", "header")],
        ..get("/a.php")
    };
    let params = build(&settings, &facts).unwrap();
    for (name, value) in [
        ("A", "inner"),
        ("B", "host"),
        ("SERVER_SOFTWARE", "mine"),
        ("EMPTY", "variable"),
        ("QUERY_STRING", ""),
        ("V", "v"),
        ("HTTP_V", "header"),
    ] {
        assert_eq!(params[name], value, "{name}");
    }
    assert!(!params.contains_key("HTTP_ACCEPT") && !params.contains_key("REMOTE_PORT"));
}

/// X1: what must match the bytes sent can't be named.
#[test]
fn fixed_params_cannot_be_named() {
    for name in ["CONTENT_LENGTH", "GATEWAY_INTERFACE", "", "A B", "A=B"] {
        assert!(check_param_name(name.as_bytes()).is_err());
        let params = [(name, "1")];
        assert_eq!(status(build(&settings(|_| {}), &Facts { params: &params, ..get("/a.php") })), 400);
    }
    let facts = Facts { variables: &[("CONTENT_LENGTH", "99"), ("GATEWAY_INTERFACE", "x")], ..get("/a.php") };
    let params = build(&settings(|_| {}), &facts).unwrap();
    assert!(!params.contains_key("CONTENT_LENGTH") && params["GATEWAY_INTERFACE"] == "CGI/1.1");
}

/// X3, X5: which header names pass, and which never do.
#[test]
fn only_plain_header_names_pass() {
    let headers = [
        ("X-Good", "1"),
        ("Under_Score", "1"),
        ("Dot.Ted", "1"),
        ("Pl+us", "1"),
        ("PROXY", "1"),
        ("Proxy-Connection", "1"),
        ("proxy-authorization", "1"),
        ("Proxyish", "1"),
        ("redirect-STATUS", "1"),
        ("Connection", "x-good"),
        ("Keep-Alive", "1"),
        ("TE", "1"),
        ("Trailer", "1"),
        ("Upgrade", "1"),
        ("", "1"),
    ];
    let params = build(&settings(|_| {}), &Facts { headers: &headers, ..get("/a.php") }).unwrap();
    let names: Vec<&str> =
        params.keys().filter(|name| name.starts_with("HTTP_")).map(String::as_str).collect();
    assert_eq!(names, ["HTTP_PROXYISH", "HTTP_X_GOOD"]);
}

/// X3: where the host lets them, names with underscores pass, and no others; one that folds onto another
/// name is dropped, and so is every spelling of a name that means something.
#[test]
fn underscores_pass_where_the_host_lets_them() {
    let headers = [
        ("Under_Score", "1"),
        ("X_One", "client"),
        ("X-One", "proxy"),
        ("x-one", "another"),
        ("X-Two", "proxy"),
        ("X_Two", "client"),
        ("X_Three-Four", "first"),
        ("X-Three_Four", "second"),
        ("x_three-four", "third"),
        ("Dot.Ted_", "1"),
        ("Content_Length", "9"),
        ("Content_Type", "x/y"),
        ("Proxy_", "1"),
        ("REDIRECT_status", "1"),
        ("Keep_Alive", "1"),
        ("Transfer_Encoding", "chunked"),
        ("_", "1"),
    ];
    let facts = Facts { headers: &headers, underscores: true, ..get("/a.php") };
    let params = build(&settings(|_| {}), &facts).unwrap();
    let made: Vec<(&str, &str)> = params
        .iter()
        .filter(|(name, _)| name.starts_with("HTTP_"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        made,
        [
            ("HTTP_UNDER_SCORE", "1"),
            ("HTTP_X_ONE", "proxy, another"),
            ("HTTP_X_THREE_FOUR", "first, third"),
            ("HTTP_X_TWO", "proxy"),
            ("HTTP__", "1"),
        ]
    );
    assert!(!params.contains_key("CONTENT_TYPE") && !params.contains_key("CONTENT_LENGTH"));
}

/// X4: repeated fields are joined; those of which two mean two things are refused.
#[test]
fn repeated_headers_are_joined_or_refused() {
    let headers = [("X-A", "1"), ("Cookie", "a=1"), ("x-a", "2"), ("Cookie", "b=2"), ("X-A", "3")];
    let params = build(&settings(|_| {}), &Facts { headers: &headers, ..get("/a.php") }).unwrap();
    assert_eq!((params["HTTP_X_A"].as_str(), params["HTTP_COOKIE"].as_str()), ("1, 2, 3", "a=1; b=2"));
    for name in ["Host", "Content-Length", "Content-Type", "Authorization"] {
        let headers = [(name, "a"), (name, "a")];
        assert_eq!(
            status(build(&settings(|_| {}), &Facts { headers: &headers, ..get("/a.php") })),
            400,
            "{name}"
        );
    }
    let headers = [("Content-Length", "1"), ("Transfer-Encoding", "chunked")];
    assert_eq!(status(build(&settings(|_| {}), &Facts { headers: &headers, ..get("/a.php") })), 400);
}

/// X7: Authorization passes unless the server authenticated the request, or as set.
#[test]
fn authorization_passes_unless_the_server_took_it() {
    let headers = [("Authorization", "Basic eA==")];
    let open = Facts { headers: &headers, ..get("/a.php") };
    let taken = Facts { remote_user: Some(b"x"), auth_type: Some(b"Basic"), ..open };
    for (setting, of_open, of_taken) in
        [(Onoff::Auto, true, false), (Onoff::On, true, true), (Onoff::Off, false, false)]
    {
        let settings = settings(|settings| settings.pass_authorization = setting);
        for (facts, passes) in [(&open, of_open), (&taken, of_taken)] {
            assert_eq!(build(&settings, facts).unwrap().contains_key("HTTP_AUTHORIZATION"), passes);
        }
    }
}

/// X8: control bytes and bad escapes in the path.
#[test]
fn hostile_paths_are_refused() {
    for target in ["/a%00.php", "/a%0a.php", "/%7f", "/a%", "/../a.php", "nonsense"] {
        assert_eq!(status(params(target)), 400, "{target}");
    }
    for path in [&b"/a\n.php"[..], b"/../a.php"] {
        assert_eq!(status(build(&settings(|_| {}), &Facts { path: Some(path), ..get("/") })), 400);
    }
}

/// X9: the script must be a regular file; `/upload/a.jpg/x.php` never runs a.jpg.
#[test]
fn the_script_must_exist() {
    assert_eq!(status(params("/none.php")), 404);
    assert_eq!(status(params("/upload/a.jpg/x.php")), 404);
    assert_eq!(params("/dir/").unwrap()["SCRIPT_FILENAME"], "/srv/www/dir/index.php");
    assert_eq!(params("/").unwrap()["SCRIPT_NAME"], "/index.php");
    let off = settings(|settings| settings.script_exists = Onoff::Off);
    assert_eq!(build(&off, &get("/none.php")).unwrap()["SCRIPT_FILENAME"], "/srv/www/none.php");
    let elsewhere = settings(|settings| settings.document_root = "/not/here".into());
    assert_eq!(build(&elsewhere, &get("/x.php")).unwrap()["SCRIPT_FILENAME"], "/not/here/x.php");
    let forced = settings(|settings| {
        settings.document_root = "/not/here".into();
        settings.script_exists = Onoff::On;
    });
    let error = build(&forced, &get("/x.php")).unwrap_err().to_string();
    assert!(error.contains("/not/here/x.php") && error.contains("script_exists=off"), "{error}");
}

/// X9: a param directive may name the script in place of what the path leads to; one of them exists.
#[test]
fn a_directive_may_name_the_script() {
    let names = |script: &'static str| {
        settings(|settings| {
            let (name, value) = (b"SCRIPT_FILENAME".to_vec(), script.into());
            settings.params = vec![ParamRule::Set { name, value, if_not_empty: false }];
        })
    };
    let front = build(&names("/srv/www/index.php"), &get("/any/path")).unwrap();
    assert_eq!(front["SCRIPT_FILENAME"], "/srv/www/index.php");
    let inside = build(&names("/container/a.php"), &get("/a.php")).unwrap();
    assert_eq!(inside["SCRIPT_FILENAME"], "/container/a.php");
    assert_eq!(status(build(&names("/srv/www/upload/a.jpg/x.php"), &get("/upload/a.jpg/x.php"))), 404);
}

/// X6, X8: a file that the server has mapped a path to is split as the path is, index included.
#[test]
fn a_mapped_file_is_split_as_the_path_is() {
    let mapped = |path: &'static str, file: &'static str| {
        let facts = Facts { path: Some(path.as_bytes()), file: Some(file.as_bytes()), ..get(path) };
        build(&settings(|_| {}), &facts)
    };
    for (path, file, expected) in [
        ("/wiki/doku.php", "/alias/doku.php", ["/alias/doku.php", "/wiki/doku.php", ""]),
        ("/wiki/doku.php/a/b", "/alias/doku.php/a/b", ["/alias/doku.php", "/wiki/doku.php", "/a/b"]),
        ("/dir/", "/srv/www/dir/", ["/srv/www/dir/index.php", "/dir/index.php", ""]),
    ] {
        let params = mapped(path, file).unwrap();
        let of = |name: &str| params.get(name).map_or("", String::as_str);
        assert_eq!(["SCRIPT_FILENAME", "SCRIPT_NAME", "PATH_INFO"].map(of), expected, "{path}");
    }
    assert_eq!(status(mapped("/wiki/none.php/a", "/alias/none.php/a")), 404);
}

/// X10: one mapping for all paths of files; links resolved on demand.
#[test]
fn the_applications_root_is_told() {
    let mapped = settings(|settings| settings.map_root = Some(("/srv/www".into(), "/var/www/html".into())));
    let params = build(&mapped, &get("/new.php/info")).unwrap();
    assert_eq!(params["SCRIPT_FILENAME"], "/var/www/html/new.php");
    assert_eq!(params["DOCUMENT_ROOT"], "/var/www/html");
    assert_eq!(params["PATH_TRANSLATED"], "/var/www/html/info");
    let resolved = settings(|settings| settings.resolve_symlinks = true);
    let params = build(&resolved, &get("/a.php")).unwrap();
    assert_eq!(
        (params["SCRIPT_FILENAME"].as_str(), params["DOCUMENT_ROOT"].as_str()),
        ("/real/srv/www/a.php", "/real/srv/www")
    );
}

/// X6: SCRIPT_NAME and PATH_INFO are the decoded path, in each preset.
#[test]
fn presets_split_the_path_in_their_way() {
    let plain = settings(|settings| settings.preset = Preset::Plain);
    let params = build(&plain, &get("/any/path.php/x")).unwrap();
    assert_eq!((params["SCRIPT_NAME"].as_str(), params["PATH_INFO"].as_str()), ("", "/any/path.php/x"));
    assert!(!params.contains_key("SCRIPT_FILENAME"));
    let script = settings(|settings| {
        settings.preset = Preset::Script;
        settings.script = "/srv/www/index.php".into();
    });
    let params = build(&script, &get("/any/path")).unwrap();
    assert_eq!(
        (params["SCRIPT_FILENAME"].as_str(), params["PATH_INFO"].as_str()),
        ("/srv/www/index.php", "/any/path")
    );
}

/// X13: what reconfigures PHP or the linker comes from param directives only.
#[test]
fn protected_variables_come_from_directives_only() {
    let variables = [("PHP_VALUE", "x"), ("PHP_ADMIN_VALUE", "x"), ("LD_PRELOAD", "x"), ("FINE", "x")];
    let params = build(&settings(|_| {}), &Facts { variables: &variables, ..get("/a.php") }).unwrap();
    assert!(params.contains_key("FINE"));
    assert!(!params.keys().any(|name| name.starts_with("PHP_") || name.starts_with("LD_")));
    let directive = settings(|settings| {
        settings.params = vec![ParamRule::Set {
            name: b"PHP_VALUE".to_vec(),
            value: b"memory_limit=1G".to_vec(),
            if_not_empty: false,
        }];
    });
    assert_eq!(build(&directive, &get("/a.php")).unwrap()["PHP_VALUE"], "memory_limit=1G");
}

/// E5: a pair beyond a record, and params beyond the limit, are 431 with the name.
#[test]
fn too_large_params_are_refused_by_name() {
    let large = "x".repeat(70_000);
    let headers = [("X-Large", large.as_str())];
    let error = build(&settings(|_| {}), &Facts { headers: &headers, ..get("/a.php") }).unwrap_err();
    assert!(error.http_status() == 431 && error.to_string().contains("HTTP_X_LARGE"));
    let small = settings(|settings| settings.max_params_bytes = 500);
    let headers = [("X-Some", &large[..400])];
    let error = build(&small, &Facts { headers: &headers, ..get("/a.php") }).unwrap_err();
    assert!(error.http_status() == 431 && error.to_string().contains("max_params_bytes (500)"));
}

/// E5: 300 KiB of params in many records arrive whole.
#[test]
#[cfg_attr(miri, ignore = "too many rounds for Miri")]
fn many_large_params_arrive_whole() {
    let values: Vec<(String, String)> = (0..10).map(|i| (format!("X-{i}"), "v".repeat(30_000 + i))).collect();
    let params = build(&settings(|_| {}), &Facts { headers: &values, ..get("/a.php") }).unwrap();
    for (i, (_, value)) in values.iter().enumerate() {
        assert_eq!(&params[&format!("HTTP_X_{i}")], value);
    }
}

/// E7: a NUL in a value is a 400.
#[test]
fn a_nul_is_refused() {
    assert_eq!(status(build(&settings(|_| {}), &Facts { headers: &[("X", "a\0b")], ..get("/a.php") })), 400);
    assert_eq!(status(build(&settings(|_| {}), &Facts { query: Some(b"\0"), ..get("/a.php") })), 400);
}

/// X1: a program that states params only gets these, and nothing that is not known.
#[test]
fn params_alone_are_passed_as_they_are() {
    let facts =
        Facts { params: &[("SCRIPT_FILENAME", "/x.php"), ("REQUEST_METHOD", "GET")], ..Facts::default() };
    let params = build(&settings(|_| {}), &facts).unwrap();
    let names: Vec<&str> = params.keys().map(String::as_str).collect();
    assert_eq!(names, ["GATEWAY_INTERFACE", "REQUEST_METHOD", "SCRIPT_FILENAME"]);
}

/// What fcgate computes; all else a client can cause begins with HTTP_.
const META: [&str; 18] = [
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "DOCUMENT_ROOT",
    "GATEWAY_INTERFACE",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "QUERY_STRING",
    "REDIRECT_STATUS",
    "REMOTE_ADDR",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
];

proptest! {
    /// X2: the client can make no param without HTTP_ other than the fixed meta-variables, whatever
    /// it sends.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn a_client_makes_no_param_of_its_own(
        target in "(/|http://h/)?(a\\.php|%[0-9a-f]{2}|\\?|/|\\.|[ -~]){0,12}",
        headers in proptest::collection::vec(("(proxy|PHP_VALUE|LD_X|x[-_]a[-_]b|Content[-_]Type|content[-_]length|redirect[-_]status|Host|REMOTE_USER|[!-~]{0,8})", "[ -~]{0,8}"), 0..8),
        underscores: bool,
    ) {
        let facts = Facts { headers: &headers, underscores, ..get(&target) };
        let mut settings = settings(|settings| settings.script_exists = Onoff::Off);
        settings.preset = if target.len() % 2 == 0 { Preset::Php } else { Preset::Plain };
        if let Ok(params) = build(&settings, &facts) {
            for name in params.keys() {
                let fine = META.contains(&name.as_str()) || name.strip_prefix("HTTP_").is_some_and(|rest| {
                    !rest.starts_with("PROXY_") && !["PROXY", "CONTENT_TYPE", "CONTENT_LENGTH", "REDIRECT_STATUS"].contains(&rest) && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                });
                prop_assert!(fine, "{}", name);
            }
        }
    }
}
