//! The table of settings as text: Markdown for the docs, X-macros for the server modules.
//!
//! The modules' directive tables are static C arrays, so they can't ask the library; a header that is
//! made from the table, committed and compared in a test, can't drift from it either.

use super::setting::Setting;
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
