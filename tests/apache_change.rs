//! Changing over from mod_proxy_fcgi and mod_fcgid: what an application is told differs just as the docs
//! say.

mod changing;

use changing::{WAY, agree, differences, seen};
use fcgate_kit::{Apache, Application, Directory, Mpm};
use std::path::Path;

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
