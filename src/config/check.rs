//! What must hold of a configuration beyond each single value.
//!
//! What can't work is an error. What works, but not as its author seems to expect, is a warning: the
//! server starts, and says it once.

use super::error::ConfigError;
use super::level::{Level, name_of};
use super::route::RouteSettings;
use crate::cgi::{ParamRule, Preset, check_param_name};
use crate::os::Address;
use crate::pool::{KeepConn, PoolSettings};

/// The longest name of a balancer: it stands in every log line.
const MAX_NAME: usize = 128;

/// The longest cycle of a balancer's weights, divided by what they have in common: its order is
/// computed beforehand.
const MAX_CYCLE: u64 = 16_384;

/// The canonical spelling of an address; equal for equal addresses.
pub(super) fn address(text: &str) -> Result<String, ConfigError> {
    text.parse::<Address>()
        .map(|address| address.to_string())
        .map_err(|error| ConfigError::new(error.to_string()))
}

/// A balancer's name can stand in every server's configuration, in a log and in a metric.
pub(super) fn balancer_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    if !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "balancer \"{}\": a name is 1 to {MAX_NAME} letters, digits, '.', '_', '-' and '@'",
        name.escape_debug()
    )))
}

/// A param directive can name every param but those that fcgate alone can get right.
pub(super) fn param(rule: &ParamRule) -> Result<(), ConfigError> {
    let name = name_of(rule);
    let shown = name.escape_ascii();
    check_param_name(name).map_err(|reason| ConfigError::new(format!("param {shown}: {reason}")))?;
    match rule {
        ParamRule::Set { value, .. } if value.contains(&0) => {
            Err(ConfigError::new(format!("param {shown}: a value can't contain NUL")))
        }
        _ => Ok(()),
    }
}

/// One pool in its balancer; `levels` are those that its settings were merged from.
pub(super) fn pool(
    place: &str,
    address: &str,
    settings: &PoolSettings,
    levels: &[&Level],
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let says = |name: &str| levels.iter().any(|level| level.says(name).is_some());
    let limited = settings.max_connections > 0;
    if settings.keep_conn == KeepConn::On && settings.max_idle == 0 {
        return Err(ConfigError::new(format!(
            "{place}: keep_conn=on keeps no connection with max_idle=0; raise max_idle or set keep_conn=off"
        )));
    }
    if settings.multiplex && settings.keep_conn == KeepConn::Off {
        return Err(ConfigError::new(format!(
            "{place}: multiplex=on needs connections that are kept; leave keep_conn=off out"
        )));
    }
    if settings.multiplex {
        warnings.push(format!(
            "{place}: multiplex=on is for event-driven servers and for applications that are known to do it; \
             a blocking server uses one connection for each request"
        ));
    }
    if settings.keep_conn == KeepConn::On && !limited {
        warnings.push(format!(
            "{place}: keep_conn=on without max_connections: idle connections may occupy all workers of the \
             application; set max_connections to their number"
        ));
    }
    if let (Some(source), Ok(Address::Literal(peer))) = (settings.bind, address.parse())
        && source.is_ipv4() != peer.is_ipv4()
    {
        return Err(ConfigError::new(format!(
            "{place}: no connection leads from bind={source} to there: one is IPv4, the other IPv6"
        )));
    }
    if settings.bind_transparent && settings.bind.is_none() {
        warnings.push(format!("{place}: bind_transparent has no effect without bind"));
    }
    for name in ["queue_length", "queue_timeout"] {
        if says(name) && !limited {
            warnings.push(format!("{place}: {name} has no effect without max_connections"));
        }
    }
    Ok(())
}

/// A balancer's pools as a whole: at least one that is no backup, weights whose order can be computed.
pub(super) fn pools(place: &str, pools: &[&PoolSettings]) -> Result<(), ConfigError> {
    if pools.is_empty() {
        return Err(ConfigError::new(format!(
            "{place} has no pool; add one, for example unix:/run/php/fpm.sock"
        )));
    }
    if pools.iter().all(|pool| pool.backup) {
        return Err(ConfigError::new(format!(
            "{place} has only backup pools; at least one must be no backup"
        )));
    }
    if pools.iter().all(|pool| pool.drain) {
        return Err(ConfigError::new(format!(
            "{place}: all its pools drain; at least one must take new clients"
        )));
    }
    for backup in [false, true] {
        let weights = || pools.iter().filter(|pool| pool.backup == backup).map(|pool| u64::from(pool.weight));
        let common = weights().fold(0, gcd).max(1);
        let sum = weights().map(|weight| weight / common).sum::<u64>();
        if sum > MAX_CYCLE {
            return Err(ConfigError::new(format!(
                "{place}: the weights add up to {sum}, at most {MAX_CYCLE} is possible; choose smaller \
                 weights of about the same proportions"
            )));
        }
    }
    Ok(())
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One route that is in use; `levels` are those that its settings were merged from.
///
/// Routes inherit, so that one line may concern hundreds of them: a warning is given for the first.
pub(super) fn route(
    place: &str,
    settings: &RouteSettings,
    levels: &[&Level],
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let preset = settings.environment.preset;
    if preset == Preset::Script && settings.environment.script.is_empty() {
        return Err(ConfigError::new(format!("{place}: preset=script needs script=/path/of/the/script")));
    }
    let mut warn_once = |reason: &str| {
        if !warnings.iter().any(|warning| warning.ends_with(reason)) {
            warnings.push(format!("{place}: {reason}"));
        }
    };
    if preset != Preset::Script && levels.iter().any(|level| level.names_unused_script()) {
        warn_once("script has no effect with the preset that is set beside it; leave one of them out");
    }
    if settings.reuse_non_idempotent && preset == Preset::Php {
        warn_once(
            "reuse_non_idempotent=on with preset=php: php-fpm may close a kept connection just as a POST is \
             sent, which is then lost",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each spelling of an address has one canonical one.
    #[test]
    fn addresses_have_one_spelling() {
        for (text, canonical) in [
            ("unix:/run/php/fpm.sock", "unix:/run/php/fpm.sock"),
            ("unix:@fpm", "unix:@fpm"),
            ("App.example.net:9000", "app.example.net:9000"),
            ("tcp:10.0.0.9:9000", "10.0.0.9:9000"),
            ("fcgi://localhost:9000", "localhost:9000"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(address(text).unwrap(), canonical);
        }
    }

    /// What is no address is refused; a bare path with the right spelling.
    #[test]
    fn bare_path_names_the_right_spelling() {
        let error = address("/run/php/fpm.sock").unwrap_err();
        assert!(error.text.ends_with("write \"unix:/run/php/fpm.sock\""), "{error}");
        for text in
            ["", "php", "unix:", "unix:run", ":9000", "a:0", "a:65536", "a:+1", "a:", "::1:9", "http://a:1"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    /// Names of balancers are letters, digits, dot, underscore and hyphen.
    #[test]
    fn balancer_names() {
        for name in ["php", "php8.2_a-B", &"a".repeat(MAX_NAME)] {
            balancer_name(name).unwrap();
        }
        for name in ["", "a b", "a:1", "a/b", "é", "a\n", &"a".repeat(MAX_NAME + 1)] {
            assert!(balancer_name(name).unwrap_err().text.contains("a name is 1 to 128 letters"), "{name}");
        }
    }

    /// X1: directives can't name what must match the bytes sent, neither to set nor to unset it.
    #[test]
    fn reserved_params_are_refused() {
        for name in [b"CONTENT_LENGTH".as_slice(), b"GATEWAY_INTERFACE"] {
            let set = ParamRule::Set { name: name.into(), value: b"1".into(), if_not_empty: false };
            let unset = ParamRule::Unset { name: name.into() };
            for rule in [set, unset] {
                assert!(param(&rule).unwrap_err().text.contains("fcgate sets it itself"));
            }
        }
    }

    /// E7: no NUL in a name or a value; nor any other byte that no param's name has.
    #[test]
    fn names_and_values_of_params() {
        let set = |name: &[u8], value: &[u8]| {
            param(&ParamRule::Set { name: name.into(), value: value.into(), if_not_empty: false })
        };
        set(b"PHP_VALUE", b"a=1\nb=2").unwrap();
        set(b"caf\xe9", b"\xff\x01").unwrap();
        for byte in (0..=b' ').chain([0x7f, b'=']) {
            assert!(set(&[b'A', byte], b"").is_err(), "{byte}");
        }
        assert!(set(b"", b"").is_err());
        assert_eq!(set(b"A", b"1\x002").unwrap_err().text, "param A: a value can't contain NUL");
    }

    fn weights(weights: &[(u32, bool)]) -> Result<(), ConfigError> {
        let settings: Vec<_> = weights
            .iter()
            .map(|(weight, backup)| PoolSettings { weight: *weight, backup: *backup, ..Default::default() })
            .collect();
        pools("balancer php", &settings.iter().collect::<Vec<_>>())
    }

    /// A source address of the other family than the application's can't work, one without use is said.
    #[test]
    fn source_addresses_fit_their_pool() {
        let check = |address: &str, source: &str, transparent| {
            let settings = PoolSettings {
                bind: source.parse().ok(),
                bind_transparent: transparent,
                ..PoolSettings::default()
            };
            let mut warnings = Vec::new();
            pool("pool a", address, &settings, &[], &mut warnings).map(|()| warnings)
        };
        for address in ["127.0.0.1:9000", "app.example.net:9000", "unix:/run/a.sock"] {
            assert!(check(address, "127.0.0.2:0", true).unwrap().is_empty());
        }
        let error = check("127.0.0.1:9000", "[::1]:0", false).unwrap_err();
        assert!(error.text.contains("one is IPv4, the other IPv6"), "{error}");
        assert!(check("[::1]:9000", "127.0.0.2:0", false).is_err());
        assert!(check("127.0.0.1:9000", "", true).unwrap()[0].contains("no effect without bind"));
    }

    /// A balancer has a pool that is no backup.
    #[test]
    fn balancer_has_a_primary() {
        assert!(weights(&[]).unwrap_err().text.starts_with("balancer php has no pool"));
        assert!(weights(&[(1, true)]).unwrap_err().text.starts_with("balancer php has only backup pools"));
        weights(&[(1, false), (1, true)]).unwrap();
    }

    /// The sum of the weights is bounded for primaries and backups each, after what they share.
    #[test]
    fn sum_of_weights_is_bounded() {
        weights(&[(10_000, false); 100]).unwrap();
        weights(&[(10_000, false), (6_384 - 1, false), (9_999, true), (1, true)]).unwrap();
        let error = weights(&[(10_000, false), (6_385, true), (9_999, false)]).unwrap_err();
        assert!(error.text.contains("add up to 19999, at most 16384"), "{error}");
        assert!(weights(&[(1, false), (10_000, true), (9_999, true)]).is_err());
    }
}
