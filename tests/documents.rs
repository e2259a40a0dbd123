//! What is made from the table of settings: the README's table, the page of Apache's directives, and
//! `modules/settings.h`.

use std::path::Path;

const BEGIN: &str = "<!-- settings: made by `make header` -->\n";
const END: &str = "<!-- end of settings -->";

fn is_as_made(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("FCGATE_WRITE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{name} is not what the table of settings says: run `make header` and commit it"
    );
}

/// What stands between the marks of a page is as it was made.
fn has_part(name: &str, made: &str) {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let start = page.find(BEGIN).expect("the mark before the part") + BEGIN.len();
    let end = page.find(END).expect("the mark behind the part");
    is_as_made(name, &format!("{}{made}{}", &page[..start], &page[end..]));
}

/// S10: the README's table is the code's.
#[test]
fn the_readme_tells_the_settings() {
    has_part("README.md", &fcgate::config::document::markdown());
}

/// The page of Apache's directives is the code's.
#[test]
fn the_apache_page_tells_the_directives() {
    has_part("docs/apache.md", &fcgate::config::document::apache());
}

/// The page of lighttpd's lines is the code's.
#[test]
fn the_lighttpd_page_tells_the_lines() {
    has_part("docs/lighttpd.md", &fcgate::config::document::lighttpd());
}

/// The page of nginx's directives is the code's.
#[test]
fn the_nginx_page_tells_the_directives() {
    has_part("docs/nginx.md", &fcgate::config::document::nginx());
}

/// The page of nginx and its module know the same directives and variables.
#[test]
fn every_directive_of_nginx_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/nginx.md")).unwrap();
    let source = |name: &str| {
        std::fs::read_to_string(root.join(format!("modules/nginx/ngx_http_fcgate_{name}.c"))).unwrap()
    };
    let listed = |text: &str, before: &str| {
        let names = text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let directives = source("directives");
    let known: Vec<String> =
        ["    DIRECTIVE(\"", "REFUSED(\""].iter().flat_map(|before| listed(&directives, before)).collect();
    assert!(known.len() > 40, "{known:?}");
    for name in known {
        assert!(
            page.contains(&format!("`fcgate_{name}`")) || page.contains(&format!("### fcgate_{name}\n")),
            "{name}"
        );
    }
    for name in listed(&source("variables"), "    VARIABLE(\"") {
        assert!(page.contains(&format!("`$fcgate_{name}`")), "{name}");
    }
}

/// The page of errors is the code's.
#[test]
fn the_page_of_errors_tells_every_error() {
    has_part("docs/errors.md", &fcgate::drive::report::markdown());
}

/// The page and the module know the same directives, and every one is explained.
#[test]
fn every_directive_of_apache_is_explained() {
    let listed = fcgate_kit::Apache::with(fcgate_kit::Mpm::Event).directives();
    assert!(listed.len() > 40, "{listed:?}");
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/apache.md")).unwrap();
    for directive in listed {
        let heading = format!("### {}\n", directive.trim_start_matches('<'));
        let named = format!("`{directive}`");
        assert!(
            page.contains(&heading) || page.contains(&named),
            "docs/apache.md does not explain {directive}"
        );
    }
}

/// The servers' directive tables are made from the code's.
#[test]
fn the_modules_are_told_the_settings() {
    is_as_made("modules/settings.h", &fcgate::config::document::header());
}

/// The README's first C program compiles as it stands.
#[test]
fn the_readme_program_compiles() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let program = readme.split("```c\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = fcgate_kit::Directory::new();
    let source = directory.write("request.c", program);
    let output = std::process::Command::new("cc")
        .args(["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
