//! Changing over from mod_proxy_fcgi and mod_fcgid: what an application is told differs just as the docs
//! say.

use fcgate_kit::{Apache, Application, Directory, Mpm, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The field by which a request says who is to forward it.
const WAY: &str = "X-Way";

type Params = BTreeMap<String, String>;

/// What differs by nature: between any two requests, or because it says who forwards.
fn is_incidental(name: &str) -> bool {
    // mod_proxy_fcgi passes LD_LIBRARY_PATH on where Apache itself was started with one.
    ["REMOTE_PORT", "HTTP_X_WAY", "UNIQUE_ID", "LD_LIBRARY_PATH"].contains(&name)
}

/// Requests of the kinds that applications live on.
fn requests() -> Vec<Request> {
    vec![
        Request::get("/x.php?a=b&c=%20d"),
        Request::get("/x.php/path/in%20fo?q"),
        Request::post("/x.php", "a body").field("Content-Type", "text/plain"),
        Request::head("/x.php"),
        Request::get("/x.php").field("Authorization", "Basic YW5uOnBhc3N3b3Jk"),
        Request::get("/private/x.php").field("Authorization", "Basic YW5uOnBhc3N3b3Jk"),
        Request::get("/front/deep/page?a=b"),
        Request::get("/no/such/page"),
        Request::get("/alias/y.php/more"),
        Request::get("/dir/"),
        Request::get("/x.php")
            .field("X_Under", "1")
            .field("Proxy", "evil")
            .field("X-Twice", "1")
            .field("X-Twice", "2"),
        Request::get("/x.php")
            .field("X-Forwarded-For", "203.0.113.7")
            .field("Cookie", "a=1")
            .field("Cookie", "b=2"),
        Request::get("/x.php").field("TE", "trailers").field("Connection", "TE"),
        Request::get("/x.php").http_1_0(),
    ]
}

/// The sites that both serve.
const SITE: &str =
    "SetEnv SET_BY_SETENV yes\nSetEnvIf Host . SET_BY_SETENVIF=yes\nErrorDocument 404 /error.php
<Directory {root}/front>
FallbackResource /front/index.php
</Directory>
Alias /alias {directory}/aliased
DirectoryIndex index.php
<Location /private>
AuthType Basic
AuthName x
AuthUserFile {directory}/users
Require valid-user
</Location>
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
AcceptPathInfo on
";

fn serve(old: &str, new: &Application, modules: &[&str]) -> Apache {
    let builder = Apache::with(Mpm::Event)
        .module("auth_basic")
        .module("authn_core")
        .module("authn_file")
        .module("authz_user")
        .module("setenvif")
        .module("remoteip");
    let builder = modules.iter().fold(builder, |builder, name| builder.module(name));
    let builder = builder
        .config(format!("FcgateBalancer php {}\nFcgateMap .php php", new.address()))
        .config(format!(
            "<FilesMatch \"\\.php$\">\n<If \"%{{HTTP:{WAY}}} == 'old'\">\n{old}\n</If>\n</FilesMatch>"
        ))
        .config(SITE);
    builder.directory().write("users", "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"); // password
    builder.directory().write("aliased/y.php", "");
    ["x.php", "private/x.php", "front/index.php", "error.php", "dir/index.php"]
        .into_iter()
        .fold(builder, |builder, name| builder.file(name, ""))
        .start()
}

/// Of what an application saw last.
fn seen(application: &Application) -> Params {
    let request = application.requests().pop().expect("it was asked");
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    request.params.iter().map(|(name, value)| (text(name), text(value))).collect()
}

type Differences = BTreeMap<String, (Option<String>, Option<String>)>;

/// Every name whose param is not the same, with an example of each. `params` sends a request one way and
/// tells the params, if they can be told.
fn differences(params: impl Fn(&Request, &str) -> Option<Params>) -> Differences {
    let mut all = BTreeMap::new();
    for request in requests() {
        let [Some(before), Some(after)] =
            ["old", "new"].map(|way| params(&request.clone().field(WAY, way), way))
        else {
            continue;
        };
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names.into_iter().filter(|name| !is_incidental(name)) {
            let (was, is) = (before.get(name), after.get(name));
            if was != is {
                all.entry(name.clone()).or_insert((was.cloned(), is.cloned()));
            }
        }
    }
    all
}

/// The names in the first column of the table between the marks of a page.
fn told(page: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let table = text.split("<!-- differences -->").nth(1).expect("the marks").to_owned();
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

fn agree(page: &str, found: Differences) {
    let told = told(page);
    for (name, (was, is)) in &found {
        assert!(told.contains(name), "{page} does not tell of {name}: {was:?}, now {is:?}\n{found:#?}");
    }
    for name in told {
        assert!(found.contains_key(&name), "{page} tells of {name}, which does not differ");
    }
}

/// X1 to X7: beside mod_proxy_fcgi.
#[test]
fn params_differ_from_mod_proxy_fcgi_as_the_page_says() {
    let (old, new) = (Application::unix().start(), Application::unix().start());
    let handler = format!("SetHandler \"proxy:{}|fcgi://localhost/\"", old.address());
    let apache = serve(&handler, &new, &["proxy", "proxy_fcgi"]);
    let found = differences(|request, way| {
        apache.client().send(request);
        Some(seen(if way == "old" { &old } else { &new }))
    });
    agree("docs/from-mod_proxy_fcgi.md", found);
}

/// X1 to X7: beside mod_fcgid, which starts its applications itself.
#[test]
fn params_differ_from_mod_fcgid_as_the_page_says() {
    let new = Application::unix().start();
    // Beside the tests' own programs, where Apache's user need not get at.
    let directory = Directory::new();
    let program = directory.join("fcgate-dump");
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(Path::parent).unwrap().join("fcgate-dump");
    std::fs::copy(&built, &program).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let handler = format!("SetHandler fcgid-script\nOptions +ExecCGI\nFcgidWrapper {}", program.display());
    let apache = serve(&handler, &new, &["fcgid"]);
    let found = differences(|request, way| {
        let page = apache.client().send(request);
        if way == "new" {
            return Some(seen(&new));
        }
        let text = page.text();
        if text.is_empty() {
            return None; // HEAD
        }
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    });
    agree("docs/from-mod_fcgid.md", found);
}
