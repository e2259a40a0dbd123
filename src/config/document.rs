//! The table of settings as text: Markdown for the docs, X-macros for the server modules.
//!
//! The modules' directive tables are static C arrays, so they can't ask the library; a header that is
//! made from the table, committed and compared in a test, can't drift from it either.

use super::setting::{Scope, Setting};
use super::settings::{SETTINGS, later_names};
use std::fmt::Write;

/// One Markdown table of all settings, in their order.
pub fn markdown() -> String {
    let mut text =
        String::from("| setting | scope | value | default | what it does |\n|---|---|---|---|---|\n");
    for setting in SETTINGS {
        let Setting { name, default, help, .. } = setting;
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let (scope, kind, range) = (setting.scope().name(), setting.kind().name(), setting.range());
        let value = if range.contains(kind) { range } else { format!("{kind}: {range}") };
        // Writing to a string can't fail.
        let _ = writeln!(text, "| `{name}` | {scope} | {value} | {default} | {help} |");
    }
    text
}

/// The lines of `modules/settings.h`: `FCGATE_SETTING(name, Name, SCOPE, KIND, "default", "help")`.
pub fn header() -> String {
    let mut text = String::from(
        "/* Every setting: FCGATE_SETTING(name, Name, SCOPE, KIND, \"default\", \"help\"). Generated from the library's\n\
         \x20* table by `make header`; define FCGATE_SETTING before including this, as often as needed. */\n",
    );
    for setting in SETTINGS {
        let (scope, kind) = (setting.scope().name(), setting.kind().name());
        let _ = writeln!(
            text,
            "FCGATE_SETTING({}, {}, {}, {}, \"{}\", \"{}\")",
            setting.name,
            camel_case(setting.name),
            scope.to_ascii_uppercase(),
            kind.to_ascii_uppercase(),
            escaped(setting.default),
            escaped(setting.help)
        );
    }
    text.push_str(
        "/* And every setting that a later version brings: FCGATE_LATER(name, Name). */\n\
         #ifdef FCGATE_LATER\n",
    );
    for name in later_names() {
        let _ = writeln!(text, "FCGATE_LATER({name}, {})", camel_case(name));
    }
    text.push_str("#undef FCGATE_LATER\n#endif\n#undef FCGATE_SETTING\n");
    text
}

/// `head_timeout` as directives of Apache have it: `HeadTimeout`.
fn camel_case(name: &str) -> String {
    name.split('_')
        .flat_map(|word| word[..1].to_ascii_uppercase().chars().chain(word[1..].chars()).collect::<Vec<_>>())
        .collect()
}

/// Settings that Apache has under a name of its own, or that nothing asks for there.
const NOT_IN_APACHE: [&str; 3] = ["document_root", "index", "extension"];
/// What a .htaccess file may have of them.
const IN_HTACCESS: [&str; 2] = ["preset", "error_override"];

/// A setting's value in the syntax line of a page of directives.
fn syntax(setting: &Setting) -> String {
    let (kind, range) = (setting.kind().name(), setting.range());
    match kind {
        "flag" | "choice" | "words" => range.replace(", ", "\\|"),
        "count" => format!("NUMBER ({range})"),
        "size" => format!("SIZE ({range})"),
        "time" => format!("TIME ({range})"),
        "pair" => "PATH PATH".into(),
        "path" => "PATH".into(),
        _ => "TEXT".into(),
    }
}

/// One directive's part of such a page.
fn part(directive: &str, end: &str, setting: &Setting, default: &str, context: &str) -> String {
    let default = match default {
        "" => "none".into(),
        own if own.contains('`') => own.to_owned(),
        default => format!("`{default}`"),
    };
    format!(
        "### {directive}\n\n{}\n\n| | |\n|---|---|\n| Syntax | {directive} {}{end} |\n| Default | {default} |\n\
         | Context | {context} |\n\n",
        setting.help,
        syntax(setting)
    )
}

/// The directives of Apache's module that stand for settings, as a part of its page in the docs.
pub fn apache() -> String {
    let of_apache = SETTINGS.iter().filter(|setting| !NOT_IN_APACHE.contains(&setting.name));
    let one = |setting: &Setting| {
        let name = setting.name;
        let default = match name {
            "head_timeout" | "read_timeout" => "Apache's `Timeout`",
            _ => setting.default,
        };
        let context = match setting.scope() {
            Scope::Pool => format!("`<FcgateBalancer>`; on a pool's line as `{name}=`"),
            Scope::Balancer => "`<FcgateBalancer>`".into(),
            Scope::Route if IN_HTACCESS.contains(&name) => {
                "server, virtual host, section, .htaccess (FileInfo); `<FcgateBalancer>`".into()
            }
            Scope::Route => "server, virtual host, section; `<FcgateBalancer>`".into(),
        };
        part(&format!("Fcgate{}", camel_case(name)), "", setting, default, &context)
    };
    of_apache.map(one).collect()
}

/// Settings that lighttpd has under names of its own.
const NOT_IN_LIGHTTPD: [&str; 1] = ["document_root"];

/// The lines of lighttpd's configuration that stand for settings, as a part of their page in the docs.
pub fn lighttpd() -> String {
    let mut text = String::new();
    for setting in SETTINGS.iter().filter(|setting| !NOT_IN_LIGHTTPD.contains(&setting.name)) {
        let Setting { name, default, help, .. } = setting;
        let range = setting.range();
        let value = match setting.kind().name() {
            "flag" => "\"enable\"\\|\"disable\"".into(),
            "choice" | "words" => format!("\"{}\"", range.replace(", ", "\"\\|\"")),
            "count" => format!("NUMBER ({range})"),
            "size" => format!("\"SIZE\" ({range})"),
            "time" => format!("\"TIME\" ({range})"),
            "pair" => "( \"PATH\" => \"PATH\" )".into(),
            "path" => "\"PATH\"".into(),
            _ => "\"TEXT\"".to_owned(),
        };
        let default = match (*name, *default) {
            ("pass_authorization", _) => "`on`".into(),
            (_, "") => "none".into(),
            (_, default) => format!("`{default}`"),
        };
        let (heading, syntax, context) = match setting.scope() {
            Scope::Pool => (
                format!("\"{name}\""),
                format!("\"{name}\" => {value}"),
                "`fcgate.balancers`: a pool, or a balancer for all its pools",
            ),
            Scope::Balancer => {
                (format!("\"{name}\""), format!("\"{name}\" => {value}"), "`fcgate.balancers`: a balancer")
            }
            Scope::Route => (
                format!("fcgate.{name}"),
                format!("fcgate.{name} = {value}"),
                "everywhere; a balancer, as its default",
            ),
        };
        let _ = writeln!(
            text,
            "### {heading}\n\n{help}\n\n| | |\n|---|---|\n| Syntax | {syntax} |\n| Default | {default} |\n\
             | Context | {context} |\n"
        );
    }
    text
}

/// Settings that nginx has under a name of its own.
const NOT_IN_NGINX: [&str; 3] = ["document_root", "request_memory", "spool_directory"];
/// Settings that make sense on a pool's own line only.
const OF_ONE_POOL: [&str; 3] = ["weight", "backup", "drain"];

/// The directives of nginx's module that stand for settings, as a part of its page in the docs.
pub fn nginx() -> String {
    let of_nginx = SETTINGS.iter().filter(|setting| !NOT_IN_NGINX.contains(&setting.name));
    let one = |setting: &Setting| {
        let name = setting.name;
        let context = match setting.scope() {
            Scope::Pool if OF_ONE_POOL.contains(&name) => format!("a pool's line, as `{name}=`"),
            Scope::Pool => format!(
                "`fcgate_balancer`, as `{name}`; a pool's line, as `{name}=`; http, server, location, for addresses in `fcgate_pass`"
            ),
            Scope::Balancer => format!("`fcgate_balancer`, as `{name}`"),
            Scope::Route => format!("http, server, location, if in location; `fcgate_balancer`, as `{name}`"),
        };
        part(&format!("fcgate_{name}"), ";", setting, setting.default, &context)
    };
    of_nginx.map(one).collect()
}

/// As the inside of a C string.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every setting has one line in the docs, with its range and its default.
    #[test]
    fn markdown_has_every_setting() {
        let text = markdown();
        assert_eq!(text.lines().count(), SETTINGS.len() + 2);
        for line in text.lines() {
            assert_eq!(line.matches('|').count(), 6, "{line}");
        }
        assert!(text.contains("| `weight` | pool | count: 1 to 10000 | `1` | Share of"));
        assert!(text.contains("| `backup` | pool | flag: on, off | `off` | Use this"));
        assert!(text.contains("| `script` | route | absolute path |  | The one"));
    }

    /// Every setting that Apache has is a directive with syntax, default and context.
    #[test]
    fn apache_has_every_setting_but_its_own() {
        let text = apache();
        assert_eq!(text.matches("### Fcgate").count(), SETTINGS.len() - NOT_IN_APACHE.len());
        assert!(text.contains("| Syntax | FcgateHeadTimeout TIME (1ms to 1d) |"));
        assert!(text.contains("| Syntax | FcgatePreset php\\|plain\\|script |"));
        assert!(!text.contains("FcgateIndex"));
    }

    /// Every setting that lighttpd has is a line with syntax, default and context.
    #[test]
    fn lighttpd_has_every_setting_but_its_own() {
        let text = lighttpd();
        assert_eq!(text.matches("### ").count(), SETTINGS.len() - NOT_IN_LIGHTTPD.len());
        assert!(text.contains("| Syntax | fcgate.head_timeout = \"TIME\" (1ms to 1d) |"));
        assert!(text.contains("| Syntax | fcgate.preset = \"php\"\\|\"plain\"\\|\"script\" |"));
        assert!(text.contains("### \"max_connections\"\n"));
        assert!(!text.contains("### fcgate.document_root"));
    }

    /// Every setting is a directive of nginx, or nginx has it under a name of its own.
    #[test]
    fn nginx_has_every_setting_but_its_own() {
        let text = nginx();
        assert_eq!(text.matches("### fcgate_").count(), SETTINGS.len() - NOT_IN_NGINX.len());
        assert!(text.contains("| Syntax | fcgate_head_timeout TIME (1ms to 1d); |\n| Default | `60s` |"));
        assert!(text.contains("| Syntax | fcgate_preset php\\|plain\\|script; |"));
        assert!(text.contains("| Context | a pool's line, as `weight=` |"));
    }

    /// Every setting has one line in the modules' header, in C's spelling.
    #[test]
    fn header_has_every_setting() {
        let text = header();
        assert_eq!(text.lines().filter(|line| line.starts_with("FCGATE_SETTING(")).count(), SETTINGS.len());
        assert!(
            text.contains(
                "FCGATE_SETTING(head_timeout, HeadTimeout, ROUTE, TIME, \"60s\", \"The longest until"
            )
        );
        assert!(text.contains("FCGATE_SETTING(map_root, MapRoot, ROUTE, PAIR, \"\", "));
        assert_eq!(escaped(r#"a"b\c"#), r#"a\"b\\c"#);
    }
}
