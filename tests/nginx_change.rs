//! Changing over from nginx's own fastcgi_pass.

mod changing;
#[path = "changing/pairs.rs"]
mod pairs;

use changing::{Params, agree, differences, seen};
use fcgate_kit::nginx::Builder;
use fcgate_kit::{Application, Nginx};
use pairs::{Applications, answers, pairs};

/// What Debian's snippets/fastcgi-php.conf has, and the file that it includes.
const BEFORE: &str = "include snippets/fastcgi-php.conf;\nfastcgi_pass";

/// Debian's files, which stand beside nginx.conf.
fn copy_debian(builder: &Builder) {
    for name in ["fastcgi.conf", "fastcgi_params", "snippets/fastcgi-php.conf"] {
        let path = format!("/etc/nginx/{name}");
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        builder.directory().write(name, text);
    }
}

/// A server of its own: what names its directory and port is the same in all.
struct Way {
    nginx: Nginx,
    application: Application,
}

impl Way {
    fn new(lines: &str) -> Self {
        let application = Application::unix().start();
        let builder = Nginx::builder()
            .server("server_name www.example.net;\nindex index.php;\nerror_page 404 /error.php;")
            .server("location /front/ { try_files $uri /front/index.php?$args; }")
            .server(format!("location ~ \\.php(/|$) {{ {lines} {}; }}", application.address()));
        copy_debian(&builder);
        let nginx = ["x.php", "private/x.php", "front/index.php", "error.php", "dir/index.php"]
            .into_iter()
            .fold(builder, |builder, name| builder.file(name, ""))
            .start();
        Self { nginx, application }
    }

    fn params(&self, request: &fcgate_kit::Request) -> Params {
        self.nginx.client().host("www.example.net").send(request);
        let (port, directory) =
            (self.nginx.address().port().to_string(), self.nginx.directory().path().display().to_string());
        let same = |value: String| value.replace(&directory, "{directory}").replace(&port, "{port}");
        seen(&self.application).into_iter().map(|(name, value)| (name, same(value))).collect()
    }
}

/// X1 to X7: beside fastcgi_pass.
#[test]
fn params_differ_from_fastcgi_pass_as_the_page_says() {
    let (old, new) = (Way::new(BEFORE), Way::new("fcgate_pass"));
    let found = differences(|request, way| Some(if way == "old" { &old } else { &new }.params(request)));
    agree("docs/from-nginx.md", found);
}

/// The status and the params of a table of requests, with a piece of the page; what stands before its locations
/// is for http.
fn with(piece: &str) -> Vec<String> {
    let builder = Nginx::builder().file("x.php", "").file("index.php", "");
    copy_debian(&builder);
    let root = builder.directory().join("root").display().to_string();
    let (applications, lines) = Applications::start(piece, &root);
    let (http, server) = lines.split_at(lines.find("location ").expect("a piece has a location"));
    let nginx = builder.http(http).server("index index.php;").server(server).start();
    answers(&mut nginx.client(), &applications, &root)
}

/// Each pair of the page loads, and tells an application the same.
#[test]
fn the_pairs_of_the_page_do_the_same() {
    let pairs = pairs(include_str!("../docs/from-nginx.md"), "nginx");
    assert_eq!(pairs.len(), 5);
    for pair in pairs {
        assert_eq!(with(&pair.before), with(&pair.after), "{}", pair.heading);
    }
}

/// The page tells of each word that the nginx which is installed knows.
#[test]
fn the_page_tells_of_every_word() {
    let page = include_str!("../docs/from-nginx.md");
    let program =
        std::fs::read(fcgate_kit::process::find_program("nginx").expect("nginx is installed")).unwrap();
    let is_word = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    let words =
        program.split(|byte| *byte == 0).filter(|text| text.starts_with(b"fastcgi_") && is_word(text));
    // Names of tables, which nginx only logs.
    let words = words.map(String::from_utf8_lossy).filter(|word| !word.ends_with("_hash"));
    let missing: Vec<_> = words
        .filter(|word| !page.contains(&format!("`{word}")) && !page.contains(&format!("`${word}")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
