//! What one setting is: its name, whom it belongs to, what it takes, and how it is set.
//!
//! A field's kind and the function that sets it are one value, so that a size can't be given to a
//! setter of times; everything else that is known of a setting (docs, the header of the server
//! modules, `--help`) is told by the same value.

use super::error::ConfigError;
use super::parse;
use super::route::RouteSettings;
use crate::balancer::BalancerSettings;
use crate::pool::PoolSettings;
use std::time::Duration;

/// Whose setting it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A pool's: on its line, or in its balancer as the default of all its pools.
    Pool,
    /// A balancer's.
    Balancer,
    /// A route's: at any level of the server's configuration, or in a balancer as the default of all
    /// its routes.
    Route,
}

impl Scope {
    /// The scope's name, as in messages and docs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Balancer => "balancer",
            Self::Route => "route",
        }
    }
}

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `on` or `off`.
    Flag,
    /// A number.
    Count,
    /// A number of bytes: `64k 8m 2g`.
    Size,
    /// A time: `500ms 5s 2m 1h`.
    Time,
    /// One of some words.
    Choice,
    /// Any text.
    Text,
    /// An absolute path.
    Path,
    /// Two absolute paths.
    Pair,
    /// One of some words, of which some have another one after them.
    Words,
}

impl Kind {
    /// The kind's name, as in docs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Count => "count",
            Self::Size => "size",
            Self::Time => "time",
            Self::Choice => "choice",
            Self::Text => "text",
            Self::Path => "path",
            Self::Pair => "pair",
            Self::Words => "words",
        }
    }
}

/// A word that a choice takes, and what it sets.
pub(super) type Word<T> = (&'static str, fn(&mut T));

/// A word that takes another one after it: the word, what that other one is (`KEY`; in brackets if it
/// may be left out; empty if there is none), and what they set. It says what is wrong with the other one.
pub(super) type Phrase<T> =
    (&'static str, &'static str, fn(&mut T, Option<&str>) -> Result<(), &'static str>);

/// A field of the settings `T`: what it takes and how it is set.
pub(super) enum Field<T: 'static> {
    Flag(fn(&mut T, bool)),
    Count {
        least: u64,
        most: u64,
        set: fn(&mut T, u64),
    },
    Size {
        least: u64,
        most: u64,
        set: fn(&mut T, u64),
    },
    Time {
        least: Duration,
        most: Duration,
        set: fn(&mut T, Duration),
    },
    Choice(&'static [Word<T>]),
    /// `check` says what is wrong with a text.
    Text {
        check: fn(&str) -> Result<(), &'static str>,
        set: fn(&mut T, &str),
    },
    Path(fn(&mut T, &str)),
    Pair(fn(&mut T, Option<(&str, &str)>)),
    Words(&'static [Phrase<T>]),
}

/// The settings that a field belongs to.
pub(super) enum Target {
    Pool(Field<PoolSettings>),
    Balancer(Field<BalancerSettings>),
    Route(Field<RouteSettings>),
}

/// One line of the table of settings.
pub struct Setting {
    /// The name, in every server's spelling of it.
    pub name: &'static str,
    /// The default, as one would write it; empty where there is none.
    pub default: &'static str,
    /// What it does, in a sentence that a user can act on.
    pub help: &'static str,
    pub(super) target: Target,
    /// Values that are known to come with a later version.
    pub(super) later: &'static [&'static str],
}

/// Does the same for whichever settings a target belongs to.
macro_rules! with_field {
    ($target:expr, $field:ident => $body:expr) => {
        match $target {
            Target::Pool($field) => $body,
            Target::Balancer($field) => $body,
            Target::Route($field) => $body,
        }
    };
}

impl Setting {
    /// Whose setting it is.
    pub fn scope(&self) -> Scope {
        match self.target {
            Target::Pool(_) => Scope::Pool,
            Target::Balancer(_) => Scope::Balancer,
            Target::Route(_) => Scope::Route,
        }
    }

    /// What kind of value it takes.
    pub fn kind(&self) -> Kind {
        with_field!(&self.target, field => field.kind())
    }

    /// What is allowed, as in docs and messages: `1 to 10000`, `auto, on, off`.
    pub fn range(&self) -> String {
        with_field!(&self.target, field => field.range())
    }

    /// Whether the value can be set, without setting it anywhere.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        match &self.target {
            Target::Pool(_) => self.set_pool(&mut PoolSettings::default(), value),
            Target::Balancer(_) => self.set_balancer(&mut BalancerSettings::default(), value),
            Target::Route(_) => self.set_route(&mut RouteSettings::default(), value),
        }
    }

    /// Sets a pool's setting; one of another scope changes nothing.
    pub fn set_pool(&self, pool: &mut PoolSettings, value: &str) -> Result<(), ConfigError> {
        match &self.target {
            Target::Pool(field) => field.set(pool, value).map_err(|reason| self.refuse(value, reason)),
            _ => Ok(()),
        }
    }

    /// Sets a balancer's setting; one of another scope changes nothing.
    pub fn set_balancer(&self, balancer: &mut BalancerSettings, value: &str) -> Result<(), ConfigError> {
        match &self.target {
            Target::Balancer(field) => {
                field.set(balancer, value).map_err(|reason| self.refuse(value, reason))
            }
            _ => Ok(()),
        }
    }

    /// Sets a route's setting; one of another scope changes nothing.
    pub fn set_route(&self, route: &mut RouteSettings, value: &str) -> Result<(), ConfigError> {
        match &self.target {
            Target::Route(field) => field.set(route, value).map_err(|reason| self.refuse(value, reason)),
            _ => Ok(()),
        }
    }

    fn refuse(&self, value: &str, reason: String) -> ConfigError {
        if self.later.iter().any(|later| later.eq_ignore_ascii_case(value)) {
            let reason = format!("comes with a later version; now there is {}", self.range());
            return ConfigError::value(self.name, value, reason);
        }
        ConfigError::value(self.name, value, reason)
    }
}

impl<T> Field<T> {
    fn kind(&self) -> Kind {
        match self {
            Self::Flag(_) => Kind::Flag,
            Self::Count { .. } => Kind::Count,
            Self::Size { .. } => Kind::Size,
            Self::Time { .. } => Kind::Time,
            Self::Choice(_) => Kind::Choice,
            Self::Text { .. } => Kind::Text,
            Self::Path(_) => Kind::Path,
            Self::Pair(_) => Kind::Pair,
            Self::Words(_) => Kind::Words,
        }
    }

    fn range(&self) -> String {
        match self {
            Self::Flag(_) => "on, off".into(),
            Self::Count { least, most, .. } => format!("{least} to {most}"),
            Self::Size { least, most, .. } => {
                format!("{} to {}", parse::size_text(*least), parse::size_text(*most))
            }
            Self::Time { least, most, .. } => {
                format!("{} to {}", parse::time_text(*least), parse::time_text(*most))
            }
            Self::Choice(words) => words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "),
            Self::Text { .. } => "text".into(),
            Self::Path(_) => "absolute path".into(),
            Self::Pair(_) => "two absolute paths".into(),
            Self::Words(phrases) => {
                let text = |(word, other, _): &Phrase<T>| format!("{word} {other}").trim_end().to_owned();
                phrases.iter().map(text).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Sets the field, or says what is wrong with the value.
    fn set(&self, settings: &mut T, value: &str) -> Result<(), String> {
        if value.contains(['\0', '\n', '\r']) {
            return Err("a value can't contain NUL or a line break".into());
        }
        match self {
            Self::Flag(set) => set(settings, parse::flag(value)?),
            Self::Count { least, most, set } => {
                set(settings, self.in_range(parse::count(value), least, most)?);
            }
            Self::Size { least, most, set } => {
                set(settings, self.in_range(parse::size(value), least, most)?);
            }
            Self::Time { least, most, set } => {
                set(settings, self.in_range(parse::time(value), least, most)?);
            }
            Self::Choice(words) => {
                let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                words[parse::choice(value, &names)?].1(settings);
            }
            Self::Text { check, set } => {
                check(value)?;
                set(settings, value);
            }
            Self::Path(set) => {
                absolute(value)?;
                set(settings, value);
            }
            Self::Pair(set) => {
                let pair = parse::pair(value)?;
                if let Some((first, second)) = pair {
                    absolute(first)?;
                    absolute(second)?;
                }
                set(settings, pair);
            }
            Self::Words(phrases) => {
                let mut words = value.split_ascii_whitespace();
                let (first, other) = (words.next().unwrap_or_default(), words.next());
                let names: Vec<_> = phrases.iter().map(|(word, ..)| *word).collect();
                let (word, expected, set) = phrases[parse::choice(first, &names)?];
                let is_optional = expected.starts_with('[');
                match other {
                    _ if words.next().is_some() => {
                        return Err(format!("too many words; write {word} {expected}").trim_end().into());
                    }
                    Some(_) if expected.is_empty() => return Err(format!("{word} has no word after it")),
                    None if !expected.is_empty() && !is_optional => {
                        return Err(format!("a word is missing; write {word} {expected}"));
                    }
                    _ => set(settings, other)?,
                }
            }
        }
        Ok(())
    }

    fn in_range<N: PartialOrd + Copy>(
        &self,
        value: Result<N, String>,
        least: &N,
        most: &N,
    ) -> Result<N, String> {
        let allowed = || format!("allowed is {}", self.range());
        let value = value.map_err(|reason| format!("{reason}; {}", allowed()))?;
        if value < *least || value > *most { Err(allowed()) } else { Ok(value) }
    }
}

/// The working directory of a server is no place that a user could name: paths are absolute.
fn absolute(path: &str) -> Result<(), String> {
    if path.is_empty() || path.starts_with('/') {
        return Ok(());
    }
    Err(format!("a path begins with /; write the absolute path (/srv/{path})"))
}

#[cfg(test)]
mod tests {
    use super::super::settings::find;
    use super::*;

    fn refused(name: &str, value: &str) -> String {
        find(name).unwrap().check(value).unwrap_err().text
    }

    /// S10: what is wrong with a value is told with the setting, the value and what is allowed.
    #[test]
    fn errors_name_setting_value_and_what_is_allowed() {
        for (name, value, text) in [
            ("weight", "0", "weight=0: allowed is 1 to 10000"),
            ("weight", "-1", "weight=-1: not a number; write digits only (16); allowed is 1 to 10000"),
            ("backup", "maybe", "backup=maybe: not a flag; write on or off"),
            ("connect_timeout", "0", "connect_timeout=0: allowed is 1ms to 1h"),
            (
                "connect_timeout",
                "10sec",
                "connect_timeout=10sec: not a time; write a number, alone for seconds or with \
                 ms, s, m, h or d (500ms); allowed is 1ms to 1h",
            ),
            ("max_head_bytes", "1", "max_head_bytes=1: allowed is 256 to 16m"),
            ("keep_conn", "maybe", "keep_conn=maybe: not one of auto, on, off"),
            ("request_body", "steam", "request_body=steam: not one of spool, stream; did you mean stream?"),
            (
                "spool_directory",
                "tmp",
                "spool_directory=tmp: a path begins with /; write the absolute path (/srv/tmp)",
            ),
            ("map_root", "/a", "map_root=/a: not a pair; write two words with a blank between them"),
            ("map_root", "/a b", "map_root=/a b: a path begins with /; write the absolute path (/srv/b)"),
            ("extension", "php", "extension=php: an extension begins with its dot (.php) and has no / in it"),
            ("method", "hash", "method=hash: a word is missing; write hash KEY"),
            ("method", "failover now", "method=failover now: failover has no word after it"),
            ("method", "sticky a b", "method=sticky a b: too many words; write sticky [COOKIE]"),
            (
                "method",
                "sticky a;b",
                "method=sticky a;b: a cookie's name has letters, digits, '-', '_' and '.' only",
            ),
            (
                "method",
                "hash A=B",
                "method=hash A=B: a key is the name of a param (REQUEST_URI), or cookie:NAME",
            ),
            ("script", "/a\0b", "script=/a\\0b: a value can't contain NUL or a line break"),
        ] {
            assert_eq!(refused(name, value), text);
        }
    }

    /// Both ends of every range are allowed, what lies outside is not.
    #[test]
    fn ranges_are_inclusive() {
        fn ends<T>(field: &Field<T>) -> Option<[String; 2]> {
            Some(match field {
                Field::Count { least, most, .. } => [least.to_string(), most.to_string()],
                Field::Size { least, most, .. } => [parse::size_text(*least), parse::size_text(*most)],
                Field::Time { least, most, .. } => [parse::time_text(*least), parse::time_text(*most)],
                _ => return None,
            })
        }
        for setting in super::super::settings::SETTINGS {
            let Some([least, most]) = with_field!(&setting.target, field => ends(field)) else { continue };
            setting.check(&least).unwrap();
            setting.check(&most).unwrap();
            let unit = most.trim_start_matches(|letter: char| letter.is_ascii_digit());
            let number: u64 = most.trim_end_matches(unit).parse().unwrap();
            assert!(setting.check(&format!("{}{unit}", number + 1)).is_err(), "{}", setting.name);
        }
    }

    /// A value of the contract that this version lacks is refused by name, in any case of letters.
    #[test]
    fn later_values_are_refused_by_name() {
        assert_eq!(
            refused("method", "Traffic"),
            "method=Traffic: comes with a later version; now there is round_robin, least_connections, \
             least_time, random_two, ip_hash, hash KEY, sticky [COOKIE], failover"
        );
        assert_eq!(
            refused("max_connections", "auto"),
            "max_connections=auto: comes with a later version; now there is 0 to 1000000"
        );
        for setting in super::super::settings::SETTINGS {
            for value in setting.later {
                assert!(refused(setting.name, value).contains("comes with a later version"));
            }
        }
    }

    /// A setting touches only settings of its own scope.
    #[test]
    fn other_scopes_are_untouched() {
        let mut route = RouteSettings::default();
        find("weight").unwrap().set_route(&mut route, "7").unwrap();
        assert_eq!(route, RouteSettings::default());
        let mut pool = PoolSettings::default();
        find("weight").unwrap().set_pool(&mut pool, "7").unwrap();
        assert_eq!(pool.weight, 7);
        find("head_timeout").unwrap().set_pool(&mut pool, "7").unwrap();
        let mut balancer = BalancerSettings::default();
        find("weight").unwrap().set_balancer(&mut balancer, "7").unwrap();
        assert_eq!(balancer, BalancerSettings::default());
    }
}
