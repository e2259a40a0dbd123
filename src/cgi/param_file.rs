//! Params from text: lines of `NAME value`, as nginx's `fastcgi_params` files and mounted
//! Kubernetes ConfigMaps have them.

use super::environment::check_param_name;
use super::settings::ParamRule;

/// Reads lines of `NAME value`. `#` begins a comment line, the value may stand in quotes, and
/// nginx's own spelling (`fastcgi_param NAME value;`) is taken too. The error names the line.
pub fn parse(text: &str) -> Result<Vec<ParamRule>, String> {
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let nginx = line.strip_prefix("fastcgi_param").filter(|rest| rest.starts_with([' ', '\t']));
        let (body, is_nginx) = nginx.map_or((line, false), |rest| (rest.trim_start(), true));
        let (name, rest) = body.split_once([' ', '\t']).unwrap_or((body, ""));
        let mut value = rest.trim();
        let mut if_not_empty = false;
        if is_nginx {
            value =
                value.strip_suffix(';').ok_or_else(|| format!("line {number}: no ; at its end"))?.trim_end();
            if let Some(rest) = value.strip_suffix("if_not_empty") {
                (value, if_not_empty) = (rest.trim_end(), true);
            }
            if value.contains('$') {
                return Err(format!(
                    "line {number}: {name} has an nginx variable in its value, which only nginx knows"
                ));
            }
        }
        for quote in ['"', '\''] {
            if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                value = inner;
                break;
            }
        }
        rules.push(rule(name, value, if_not_empty).map_err(|error| format!("line {number}: {error}"))?);
    }
    Ok(rules)
}

/// The param of a file in a directory that holds one file a name: its content, without the newline
/// at its end.
pub fn from_entry(name: &str, content: &[u8]) -> Result<ParamRule, String> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    let value = std::str::from_utf8(content).map_err(|_| format!("{name}: the value is not UTF-8"))?;
    rule(name, value, false)
}

fn rule(name: &str, value: &str, if_not_empty: bool) -> Result<ParamRule, String> {
    check_param_name(name.as_bytes())?;
    if value.bytes().any(|byte| byte == 0) {
        return Err(format!("{name}: a NUL byte in the value"));
    }
    Ok(ParamRule::Set { name: name.into(), value: value.into(), if_not_empty })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str, if_not_empty: bool) -> ParamRule {
        ParamRule::Set { name: name.into(), value: value.into(), if_not_empty }
    }

    /// X1: lines, comments, quotes and nginx's spelling.
    #[test]
    fn lines_of_params_are_read() {
        let text = "# comment\n\nAPP_ENV production\r\n  DB  host=a b  \nEMPTY\nQ \"a # b\"\nfastcgi_param HTTPS on if_not_empty;\n";
        let expected = [
            set("APP_ENV", "production", false),
            set("DB", "host=a b", false),
            set("EMPTY", "", false),
            set("Q", "a # b", false),
            set("HTTPS", "on", true),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    /// X1: what is wrong is told with its line.
    #[test]
    fn a_bad_line_is_told() {
        for (text, word) in [
            ("A b\nCONTENT_LENGTH 5", "line 2: CONTENT_LENGTH"),
            ("fastcgi_param A b", "line 1: no ;"),
            ("fastcgi_param A $host;", "line 1: A has an nginx variable"),
            ("A=B c", "line 1"),
            ("A b\0", "NUL"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    /// X1: one file a name, as a mounted ConfigMap has them.
    #[test]
    fn an_entry_is_a_param() {
        assert_eq!(from_entry("A", b"b\n"), Ok(set("A", "b", false)));
        assert_eq!(from_entry("A", b"two\nlines\r\n"), Ok(set("A", "two\nlines", false)));
        assert!(from_entry("GATEWAY_INTERFACE", b"x").is_err() && from_entry("A", b"\xFF").is_err());
    }
}
