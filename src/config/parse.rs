//! Values as they stand in a configuration: flags, counts, sizes, times and choices.
//!
//! Every server spells its directives its own way, but a value means the same in all of them, so it
//! is read here and nowhere else. Each function's error says what the text is not and how to write
//! it; whoever knows the setting puts its name and range around that.

use super::suggest::nearest;
use std::time::Duration;

/// The units of time, largest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// The units of size, largest first, in bytes.
const SIZE_UNITS: [(&str, u64); 3] = [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)];

/// The words of a flag. lighttpd's own are `enable` and `disable`.
const FLAGS: [(&str, bool); 10] = [
    ("on", true),
    ("off", false),
    ("yes", true),
    ("no", false),
    ("enable", true),
    ("disable", false),
    ("true", true),
    ("false", false),
    ("1", true),
    ("0", false),
];

/// A flag, in any case of letters.
pub fn flag(text: &str) -> Result<bool, String> {
    FLAGS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
        .map(|(_, on)| *on)
        .ok_or_else(|| "not a flag; write on or off".into())
}

/// A count: digits only, no sign, no unit.
pub fn count(text: &str) -> Result<u64, String> {
    digits(text).ok_or_else(|| String::from("not a number; write digits only (16)"))?
}

/// A size in bytes, alone or with `k`, `m` or `g` (powers of 1024).
pub fn size(text: &str) -> Result<u64, String> {
    measured(text, &SIZE_UNITS, 1)
        .ok_or_else(|| String::from("not a size; write a number, alone for bytes or with k, m or g (64k)"))?
}

/// A time; a bare number is seconds.
pub fn time(text: &str) -> Result<Duration, String> {
    measured(text, &TIME_UNITS, 1000)
        .ok_or_else(|| {
            String::from("not a time; write a number, alone for seconds or with ms, s, m, h or d (500ms)")
        })?
        .map(Duration::from_millis)
}

/// The place of a choice among its words, in any case of letters. Where the words `on` and `off` are
/// among them, every spelling of a flag is taken.
pub fn choice(text: &str, words: &[&str]) -> Result<usize, String> {
    let place = |text: &str| words.iter().position(|word| word.eq_ignore_ascii_case(text));
    let as_flag = || flag(text).ok().and_then(|on| place(if on { "on" } else { "off" }));
    place(text).or_else(as_flag).ok_or_else(|| {
        let meant = nearest(text, words).map(|word| format!("; did you mean {word}?")).unwrap_or_default();
        format!("not one of {}{meant}", words.join(", "))
    })
}

/// Two words with blanks between them. Empty text is no pair.
pub fn pair(text: &str) -> Result<Option<(&str, &str)>, String> {
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(None),
        (Some(first), Some(second), None) => Ok(Some((first, second))),
        _ => Err("not a pair; write two words with a blank between them".into()),
    }
}

/// A time in its largest whole unit: the spelling that `time` reads back.
pub fn time_text(time: Duration) -> String {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    in_units(milliseconds, &TIME_UNITS)
}

/// A size in its largest whole unit: the spelling that `size` reads back.
pub fn size_text(size: u64) -> String {
    in_units(size, &SIZE_UNITS)
}

fn in_units(number: u64, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, unit)| number > 0 && number.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", number / unit),
        None => number.to_string(),
    }
}

/// A number: `None` where the text is none, an error where it is too large.
fn digits(text: &str) -> Option<Result<u64, String>> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().map_err(|_| too_large()))
}

fn measured(text: &str, units: &[(&str, u64)], bare: u64) -> Option<Result<u64, String>> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, name) = text.split_at(end);
    let number = digits(number)?;
    let unit = match name {
        "" => bare,
        _ => units.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name))?.1,
    };
    Some(number.and_then(|number| number.checked_mul(unit).ok_or_else(too_large)))
}

fn too_large() -> String {
    "too large".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every spelling of a flag, in any case of letters, and nothing else.
    #[test]
    fn flags() {
        for (word, on) in FLAGS {
            assert_eq!(flag(word), Ok(on));
            assert_eq!(flag(&word.to_uppercase()), Ok(on));
        }
        for text in ["", "o", "onn", "2", " on"] {
            assert_eq!(flag(text), Err("not a flag; write on or off".into()), "{text}");
        }
    }

    /// A count takes no sign, no blank, no unit, and says when it is too large.
    #[test]
    fn counts() {
        assert_eq!(count("0"), Ok(0));
        assert_eq!(count("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(count("18446744073709551616"), Err("too large".into()));
        for text in ["", "-1", "+1", "1k", " 1", "1.5", "many", "١"] {
            assert!(count(text).is_err_and(|reason| reason.starts_with("not a number")), "{text}");
        }
    }

    /// Sizes are powers of 1024; a bare number is bytes.
    #[test]
    fn sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64k"), Ok(65536));
        assert_eq!(size("8M"), Ok(8 << 20));
        assert_eq!(size("2g"), Ok(2 << 30));
        assert_eq!(size("17179869184g"), Err("too large".into()));
        for text in ["", "k", "1kb", "1 k", "-1k", "1.5m", "1t", "1é"] {
            assert!(size(text).is_err_and(|reason| reason.starts_with("not a size")), "{text}");
        }
    }

    /// Times have a unit; a bare number is seconds.
    #[test]
    fn times() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5000),
            ("5", 5000),
            ("2m", 120_000),
            ("1H", 3_600_000),
            ("1d", 86_400_000),
            ("0", 0),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(time("99999999999999999999s"), Err("too large".into()));
        for text in ["", "s", "5sec", "1m30s", "1.5s", "-1s", "5 s", "never"] {
            assert!(time(text).is_err_and(|reason| reason.starts_with("not a time")), "{text}");
        }
    }

    /// A choice in any case of letters; a flag's other spellings where on and off are choices.
    #[test]
    fn choices() {
        assert_eq!(choice("Stream", &["spool", "stream"]), Ok(1));
        assert_eq!(choice("enable", &["auto", "on", "off"]), Ok(1));
        assert_eq!(choice("0", &["auto", "on", "off"]), Ok(2));
        assert_eq!(choice("on", &["spool", "stream"]), Err("not one of spool, stream".into()));
        assert_eq!(
            choice("steam", &["spool", "stream"]),
            Err("not one of spool, stream; did you mean stream?".into())
        );
    }

    /// A pair is two words; nothing is no pair; one or three are an error.
    #[test]
    fn pairs() {
        assert_eq!(pair(""), Ok(None));
        assert_eq!(pair(" /a \t /b "), Ok(Some(("/a", "/b"))));
        assert!(pair("/a").is_err());
        assert!(pair("/a /b /c").is_err());
    }

    proptest! {
        /// What is written is read back as the same.
        #[test]
        fn texts_are_read_back(number in any::<u64>(), shift in 0u32..64) {
            let number = number >> shift;
            prop_assert_eq!(size(&size_text(number)), Ok(number));
            let millis = Duration::from_millis(number / 1000 * 1000);
            prop_assert_eq!(time(&time_text(millis)), Ok(millis));
            if number % 1000 != 0 {
                prop_assert_eq!(time(&time_text(Duration::from_millis(number))), Ok(Duration::from_millis(number)));
            }
        }

        /// No text makes a parser panic.
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = (flag(&text), count(&text), size(&text), time(&text), pair(&text));
            let _ = choice(&text, &["auto", "on", "off"]);
        }
    }
}
