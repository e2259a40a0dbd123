//! What is wrong with a configuration, told so that whoever wrote the line can act on it.
//!
//! A host knows the file and the line and puts them before the text; the text itself names the
//! setting, the value and what is allowed.

use std::fmt;

/// A setting, an address or a whole that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The whole sentence: setting, value, reason and what is allowed.
    pub text: String,
    /// The setting or directive concerned; empty where none is.
    pub setting: String,
    /// The value concerned; empty where none is.
    pub value: String,
}

impl ConfigError {
    /// An error that concerns no single setting.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), setting: String::new(), value: String::new() }
    }

    /// An error of one setting as a whole: unknown, of another scope.
    pub(crate) fn setting(setting: &str, text: impl Into<String>) -> Self {
        Self { text: text.into(), setting: setting.into(), value: String::new() }
    }

    /// An error of a value: `setting=value: reason`.
    pub(crate) fn value(setting: &str, value: &str, reason: impl fmt::Display) -> Self {
        let text = format!("{setting}={}: {reason}", value.escape_debug());
        Self { text, setting: setting.into(), value: value.into() }
    }

    /// The same error, told with the thing it was found in.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// S10: an error names setting, value and reason; control bytes can't reach a terminal.
    #[test]
    fn value_error_names_setting_value_and_reason() {
        let error = ConfigError::value("weight", "\u{1b}[2J", "not a number").within("pool a:1");
        assert_eq!(error.to_string(), "pool a:1: weight=\\u{1b}[2J: not a number");
        assert_eq!((error.setting.as_str(), error.value.as_str()), ("weight", "\u{1b}[2J"));
    }
}
