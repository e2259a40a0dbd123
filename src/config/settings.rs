//! The one table of settings: every name, scope, kind, range, default and sentence of help.
//!
//! The docs, the header from which the server modules build their directives, the walk over settings
//! of the C API and the parser of every value read this table and nothing else.

use super::error::ConfigError;
use super::route::{Flush, RequestBody, ResponseBody, RouteSettings};
use super::setting::{Field, Setting, Target};
use super::suggest::nearest;
use crate::balancer::{BalancerSettings, HashKey, Method};
use crate::cgi::{Onoff, Preset};
use crate::os::address::source_address;
use crate::pool::{KeepConn, PoolSettings};
use Field::{Choice, Count, Flag, Pair, Path, Size, Text, Time, Words};
use std::net::SocketAddr;
use std::time::Duration;

/// The shortest time that is a time: what a timeout of 0 would mean, nobody could tell.
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// More than any file holds.
const MAX_FILE: u64 = 1 << 50;

/// The settings, by scope and then by subject.
pub static SETTINGS: &[Setting] = &[
    // Pools: the choice among them.
    pool(
        "weight",
        "1",
        Count { least: 1, most: 10_000, set: |pool, weight| pool.weight = narrow(weight) },
        "Share of the requests that this pool takes, against the weights of the other pools.",
    ),
    pool(
        "backup",
        "off",
        Flag(|pool, on| pool.backup = on),
        "Use this pool only while no other pool of the balancer can be reached.",
    ),
    pool(
        "drain",
        "off",
        Flag(|pool, on| pool.drain = on),
        "Send no new clients to this pool; those that a sticky cookie binds to it still come.",
    ),
    pool(
        "slow_start",
        "0",
        Time { least: Duration::ZERO, most: DAY, set: |pool, time| pool.slow_start = time },
        "Have a pool that came back after a failure take its full share only after this time, and little of \
         it at first; the methods hash and ip_hash pay no heed to it.",
    ),
    pool(
        "disable_time",
        "0",
        Time { least: Duration::ZERO, most: DAY, set: |pool, time| pool.disable_time = time },
        "Leave a pool that could not be reached alone for this time while others are up. 0 tries it after \
         restart_window and then ever less often, at least every 30 s.",
    ),
    // Pools: connections.
    pool(
        "max_connections",
        "0",
        Count { least: 0, most: 1_000_000, set: |pool, most| pool.max_connections = narrow(most) },
        "The most connections at once, idle ones included; set it to the number of the application's \
         workers (php-fpm: pm.max_children), divided by the server's processes. 0 is no limit.",
    )
    .later(&["auto"]),
    pool(
        "keep_conn",
        "auto",
        Choice(&[
            ("auto", |pool| pool.keep_conn = KeepConn::Auto),
            ("on", |pool| pool.keep_conn = KeepConn::On),
            ("off", |pool| pool.keep_conn = KeepConn::Off),
        ]),
        "Keep connections after a request. An idle one occupies a whole worker of most applications, so \
         auto keeps them only where max_connections is set.",
    ),
    pool(
        "max_idle",
        "64",
        Count { least: 0, most: 65_536, set: |pool, most| pool.max_idle = narrow(most) },
        "The most idle connections that are kept; the rest is closed after its request.",
    ),
    pool(
        "idle_timeout",
        "10s",
        Time { least: MILLISECOND, most: DAY, set: |pool, time| pool.idle_timeout = time },
        "Close a connection that has been idle for this time.",
    ),
    pool(
        "max_requests",
        "0",
        Count { least: 0, most: 1_000_000_000, set: |pool, most| pool.max_requests = narrow(most) },
        "Close a connection after so many requests; 0 is no limit.",
    ),
    pool(
        "max_age",
        "0",
        Time { least: Duration::ZERO, most: MONTH, set: |pool, time| pool.max_age = time },
        "Close a connection that is older than this after its request; 0 is no limit.",
    ),
    pool(
        "multiplex",
        "off",
        Flag(|pool, on| pool.multiplex = on),
        "Run several requests on one connection at once. Switch it on only for an application that is \
         known to do it (Go's net/http/fcgi, Net::Async::FastCGI, flup with multiplexed=True). Others corrupt \
         requests in silence: php-fpm, and what is built on libfcgi, answers a POST as if its body were empty or cut.",
    ),
    // Pools: waiting.
    pool(
        "queue_length",
        "1024",
        Count { least: 0, most: 1_000_000, set: |pool, length| pool.queue_length = narrow(length) },
        "The most requests that wait for a connection once max_connections is reached; the next one gets \
         a 503 at once.",
    ),
    pool(
        "queue_timeout",
        "10s",
        Time { least: MILLISECOND, most: HOUR, set: |pool, time| pool.queue_timeout = time },
        "The longest that a request waits for a connection before it gets a 503.",
    ),
    pool(
        "connect_timeout",
        "3s",
        Time { least: MILLISECOND, most: HOUR, set: |pool, time| pool.connect_timeout = time },
        "The longest that connecting may take before the next pool is tried.",
    ),
    // Pools: sockets.
    pool(
        "bind",
        "off",
        Text { check: is_source, set: |pool, text| pool.bind = source(text).unwrap_or_default() },
        "The address of this machine that TCP connections come from, with a port (192.0.2.1:7000, [2001:db8::1]:7000) \
         or without; off leaves it to the system.",
    ),
    pool(
        "bind_transparent",
        "off",
        Flag(|pool, on| pool.bind_transparent = on),
        "Let bind be an address that is not this machine's (Linux, with the privilege CAP_NET_RAW); answers \
         have to be routed back here.",
    ),
    pool(
        "tcp_keepalive",
        "off",
        Flag(|pool, on| pool.tcp_keepalive = on),
        "Have the system probe silent TCP connections (SO_KEEPALIVE), so that a peer that is gone is noticed \
         and firewalls don't forget it.",
    ),
    // Pools: names.
    pool(
        "max_addresses",
        "8",
        Count { least: 1, most: 64, set: |pool, most| pool.max_addresses = narrow(most) },
        "Of a pool that is a name, the most addresses that are used at once. Each of them is a pool of its own, \
         with these settings.",
    ),
    pool(
        "resolve_interval",
        "10s",
        Time { least: Duration::from_secs(1), most: DAY, set: |pool, time| pool.resolve_interval = time },
        "Look a name up again, beside the requests, when one comes after this time; after a failure within a \
         second. New addresses get requests, those that are gone get no more.",
    ),
    // Balancers.
    balancer(
        "method",
        "round_robin",
        Words(&[
            ("round_robin", "", |balancer, _| method(balancer, Method::RoundRobin)),
            ("least_connections", "", |balancer, _| method(balancer, Method::LeastConnections)),
            ("least_time", "", |balancer, _| method(balancer, Method::LeastTime)),
            ("random_two", "", |balancer, _| method(balancer, Method::RandomTwo)),
            ("ip_hash", "", |balancer, _| method(balancer, Method::IpHash)),
            ("hash", "KEY", |balancer, key| method(balancer, Method::Hash(hash_key(key)?))),
            ("sticky", "[COOKIE]", |balancer, name| method(balancer, Method::Sticky(cookie_name(name)?))),
            ("failover", "", |balancer, _| method(balancer, Method::Failover)),
        ]),
        "How a pool is chosen: round_robin takes them in turn, by weight; least_connections the one with the \
         fewest requests under way, by weight; least_time the one that is likely to answer soonest; random_two the \
         less busy of two that are drawn; ip_hash by the client's network (/24, IPv6 /64); hash by a param \
         (hash REQUEST_URI) or a cookie (hash cookie:NAME), so that few keys move when pools come and go; sticky by \
         a cookie that fcgate sets (named fcgate unless said otherwise); failover the first that is up.",
    )
    .later(&["traffic", "busyness"]),
    balancer(
        "restart_window",
        "5s",
        Time { least: Duration::ZERO, most: HOUR, set: |balancer, time| balancer.restart_window = time },
        "How long a request waits and tries again while the application restarts, before it gets a 502; \
         0 gives up at once.",
    ),
    // Routes: time.
    route(
        "send_timeout",
        "30s",
        Time { least: MILLISECOND, most: DAY, set: |route, time| route.send_timeout = time },
        "The longest that the application may take no byte of a request that is being sent.",
    ),
    route(
        "head_timeout",
        "60s",
        Time { least: MILLISECOND, most: DAY, set: |route, time| route.head_timeout = time },
        "The longest until the response head is complete: raise it for scripts that run long before \
         they answer.",
    ),
    route(
        "read_timeout",
        "60s",
        Time { least: MILLISECOND, most: DAY, set: |route, time| route.read_timeout = time },
        "The longest silence between two pieces of the response body.",
    ),
    route(
        "end_timeout",
        "1s",
        Time { least: Duration::ZERO, most: HOUR, set: |route, time| route.end_timeout = time },
        "How long the end of the request is awaited after the whole response has come, so that the \
         connection can be kept.",
    ),
    route(
        "total_timeout",
        "0",
        Time { least: Duration::ZERO, most: MONTH, set: |route, time| route.total_timeout = time },
        "The longest that a request may take in all; 0 is no limit.",
    ),
    // Routes: bodies.
    route(
        "request_body",
        "spool",
        Choice(&[
            ("spool", |route| route.request_body = RequestBody::Spool),
            ("stream", |route| route.request_body = RequestBody::Stream),
        ]),
        "spool takes the whole body first, so that a slow client does not hold a worker of the \
         application; stream passes it on as it comes. A body of unknown length is always spooled.",
    ),
    route(
        "request_memory",
        "64k",
        Size { least: 0, most: 1 << 30, set: |route, size| route.request_memory = size },
        "How much of a spooled body stays in memory; the rest goes to a file without a name.",
    ),
    route(
        "spool_directory",
        "/tmp",
        Path(|route, path| route.spool_directory = path.into()),
        "The directory of those files; it must be on a disk with room for the bodies of all requests.",
    ),
    route(
        "max_body_bytes",
        "0",
        Size { least: 0, most: MAX_FILE, set: |route, size| route.max_body_bytes = size },
        "The largest request body; a larger one gets a 413. 0 is no limit beside the server's own.",
    ),
    route(
        "response_memory",
        "1m",
        Size { least: 4 << 10, most: 1 << 30, set: |route, size| route.response_memory = size },
        "How much of a response is read ahead of a client that does not take it yet.",
    ),
    route(
        "response_body",
        "stream",
        Choice(&[
            ("stream", |route| route.response_body = ResponseBody::Stream),
            ("spool", |route| route.response_body = ResponseBody::Spool),
        ]),
        "Beyond response_memory, stream has the application wait for a client that is slow; spool takes the \
         response to a file in spool_directory, so that a slow client does not hold a worker of it.",
    ),
    route(
        "response_file",
        "1g",
        Size { least: 0, most: MAX_FILE, set: |route, size| route.response_file = size },
        "How much of a response that file may hold; beyond it the application waits.",
    ),
    route(
        "max_head_bytes",
        "64k",
        Size { least: 256, most: 16 << 20, set: |route, size| route.max_head_bytes = size },
        "The largest response head; a larger one is a 502. Raise it for applications that send many \
         cookies or debug fields.",
    ),
    route(
        "max_head_fields",
        "1000",
        Count { least: 1, most: 100_000, set: |route, most| route.max_head_fields = most },
        "The most fields in a response head; more are a 502.",
    ),
    // Routes: faults.
    route(
        "retry",
        "on",
        Flag(|route, on| route.retry = on),
        "Try a request again, elsewhere or a moment later, where no application has begun to answer it and a \
         second time does no harm. off fails it at once; a kept connection that was dead is still replaced.",
    ),
    route(
        "max_tries",
        "0",
        Count { least: 0, most: 1000, set: |route, most| route.max_tries = narrow(most) },
        "The most attempts of a request, the first included; a kept connection that was dead does not count. \
         0 is no limit beside restart_window.",
    ),
    route(
        "retry_timeout",
        "0",
        Time { least: Duration::ZERO, most: HOUR, set: |route, time| route.retry_timeout = time },
        "After this time since its start a request is not tried again; 0 is no limit beside restart_window.",
    ),
    route(
        "retry_non_idempotent",
        "off",
        Flag(|route, on| route.retry_non_idempotent = on),
        "Repeat POST and its like on a fresh connection as if they were GET. The application may then see \
         such a request twice.",
    ),
    route(
        "reuse_non_idempotent",
        "off",
        Flag(|route, on| route.reuse_non_idempotent = on),
        "Send POST and its like on kept connections too. Leave it off for php-fpm, which may close one \
         just as the request is sent.",
    ),
    route(
        "ignore_client_abort",
        "off",
        Flag(|route, on| route.ignore_client_abort = on),
        "Let the application finish a request whose client is gone.",
    ),
    route(
        "error_override",
        "off",
        Flag(|route, on| route.error_override = on),
        "Let the web server answer with its own error page where the application answers with a status \
         from 400 on, but for 401, which has the application's challenge.",
    ),
    route(
        "flush",
        "auto",
        Choice(&[
            ("auto", |route| route.flush = Flush::Auto),
            ("on", |route| route.flush = Flush::On),
            ("off", |route| route.flush = Flush::Off),
        ]),
        "When what has come of a response is passed on to the client: auto whenever the application \
         pauses, on after each piece, off when the server's own buffers are full.",
    ),
    route(
        "catch_stderr",
        "",
        Text { check: any_text, set: |route, text| route.catch_stderr = text.into() },
        "Fail a request with a 500 when the application writes a line that contains this text to its \
         standard error (PHP Fatal error).",
    ),
    // Routes: scripts and roots.
    route(
        "preset",
        "php",
        Choice(&[
            ("php", |route| route.environment.preset = Preset::Php),
            ("plain", |route| route.environment.preset = Preset::Plain),
            ("script", |route| route.environment.preset = Preset::Script),
        ]),
        "The kind of application: php splits the path after a script that exists, plain has no script, \
         script sends every path to one script.",
    ),
    route(
        "script",
        "",
        Path(|route, path| {
            route.environment.script = path.into();
            // Who names the script means that it is to be run.
            if !path.is_empty() {
                route.environment.preset = Preset::Script;
            }
        }),
        "The one script that answers every path (a front controller); implies preset=script.",
    ),
    route(
        "extension",
        ".php",
        Text { check: is_extension, set: |route, text| route.environment.extension = text.into() },
        "The extension of scripts, with its dot: preset php splits the path after it.",
    ),
    route(
        "index",
        "index.php",
        Text { check: is_file_name, set: |route, text| route.environment.index = text.into() },
        "The script that answers a path which ends in / (preset php).",
    ),
    route(
        "document_root",
        "",
        Path(|route, path| route.environment.document_root = path.into()),
        "The directory of the site's files, where the server names none of its own.",
    ),
    route(
        "map_root",
        "",
        Pair(|route, pair| {
            route.environment.map_root = pair.map(|(from, to)| (from.into(), to.into()));
        }),
        "The server's directory and what the application calls it (a container's, a chroot's): \
         /srv/app /var/www/html.",
    ),
    route(
        "script_exists",
        "auto",
        Choice(&[
            ("auto", |route| route.environment.script_exists = Onoff::Auto),
            ("on", |route| route.environment.script_exists = Onoff::On),
            ("off", |route| route.environment.script_exists = Onoff::Off),
        ]),
        "Answer 404 unless the script is a regular file here. auto does so unless map_root is set, the \
         document root is not on this machine or the preset is plain.",
    ),
    route(
        "resolve_symlinks",
        "off",
        Flag(|route, on| route.environment.resolve_symlinks = on),
        "Tell the application where the site's symbolic links lead, so that a deployment by link is seen \
         at once.",
    ),
    // Routes: params.
    route(
        "pass_authorization",
        "auto",
        Choice(&[
            ("auto", |route| route.environment.pass_authorization = Onoff::Auto),
            ("on", |route| route.environment.pass_authorization = Onoff::On),
            ("off", |route| route.environment.pass_authorization = Onoff::Off),
        ]),
        "Pass the Authorization header to the application; auto does so unless the server has \
         authenticated the request itself.",
    ),
    route(
        "split_params",
        "off",
        Flag(|route, on| route.environment.split_params = on),
        "Send a param of more than 65535 bytes in several records instead of answering 431. Only for \
         applications that can read it (libfcgi, Go); php-fpm can't.",
    ),
    route(
        "max_params_bytes",
        "1m",
        Size { least: 1 << 10, most: 1 << 30, set: |route, size| route.environment.max_params_bytes = size },
        "The largest sum of all params; more are a 431.",
    ),
    route(
        "params_file",
        "",
        Path(|route, path| route.params_file = path.into()),
        "A file of further params, one NAME value a line.",
    ),
    route(
        "params_directory",
        "",
        Path(|route, path| route.params_directory = path.into()),
        "A directory of further params, one file for each: its name is the param's, its content the value \
         (a mounted ConfigMap).",
    ),
];

/// A setting that is known to come with a later version.
struct Later {
    name: &'static str,
    /// The value that asks for nothing beyond what this version does, and so is taken.
    today: Option<&'static str>,
}

const fn later(name: &'static str, today: Option<&'static str>) -> Later {
    Later { name, today }
}

/// Accepted in silence they would seem to work.
const LATER: &[Later] = &[
    later("check", Some("off")),
    later("check_path", None),
    later("check_interval", None),
    later("rise", None),
    later("fall", None),
    later("share", Some("100%")),
    later("local_redirect", Some("off")),
];

/// The setting of a name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The names of settings that a later version brings.
pub(super) fn later_names() -> impl Iterator<Item = &'static str> {
    LATER.iter().map(|later| later.name)
}

/// The setting of a name, if the value can be given to it; `None` for a setting of a later version
/// whose value asks for nothing that this version doesn't do.
pub(super) fn find_for(name: &str, value: &str) -> Result<Option<&'static Setting>, ConfigError> {
    if let Some(setting) = find(name) {
        return setting.check(value).map(|()| Some(setting));
    }
    if let Some(later) = LATER.iter().find(|later| later.name == name) {
        if later.today.is_some_and(|today| today.eq_ignore_ascii_case(value)) {
            return Ok(None);
        }
        return Err(ConfigError::value(name, value, format_args!("{name} comes with a later version")));
    }
    Err(unknown(name))
}

fn unknown(name: &str) -> ConfigError {
    let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    let meant = nearest(name, &names).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    ConfigError::setting(name, format!("unknown setting {}{meant}", name.escape_debug()))
}

const fn line(name: &'static str, default: &'static str, target: Target, help: &'static str) -> Setting {
    Setting { name, default, help, target, later: &[] }
}

const fn pool(
    name: &'static str,
    default: &'static str,
    field: Field<PoolSettings>,
    help: &'static str,
) -> Setting {
    line(name, default, Target::Pool(field), help)
}

const fn balancer(
    name: &'static str,
    default: &'static str,
    field: Field<BalancerSettings>,
    help: &'static str,
) -> Setting {
    line(name, default, Target::Balancer(field), help)
}

const fn route(
    name: &'static str,
    default: &'static str,
    field: Field<RouteSettings>,
    help: &'static str,
) -> Setting {
    line(name, default, Target::Route(field), help)
}

impl Setting {
    const fn later(self, later: &'static [&'static str]) -> Self {
        let Self { name, default, help, target, .. } = self;
        Self { name, default, help, target, later }
    }
}

fn method(balancer: &mut BalancerSettings, method: Method) -> Result<(), &'static str> {
    balancer.method = method;
    Ok(())
}

const COOKIE_NAME: &str = "a cookie's name has letters, digits, '-', '_' and '.' only";

fn is_cookie_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn cookie_name(name: Option<&str>) -> Result<Box<str>, &'static str> {
    let name = name.unwrap_or("fcgate");
    if is_cookie_name(name) { Ok(name.into()) } else { Err(COOKIE_NAME) }
}

fn hash_key(key: Option<&str>) -> Result<HashKey, &'static str> {
    let key = key.unwrap_or_default();
    match key.strip_prefix("cookie:") {
        Some(name) if is_cookie_name(name) => Ok(HashKey::Cookie(name.into())),
        None if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            Ok(HashKey::Param(key.into()))
        }
        _ => Err("a key is the name of a param (REQUEST_URI), or cookie:NAME"),
    }
}

/// A count whose range lies within u32.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// `None` for off.
fn source(text: &str) -> Option<Option<SocketAddr>> {
    if text.is_empty() || text.eq_ignore_ascii_case("off") {
        return Some(None);
    }
    source_address(text).map(Some)
}

fn is_source(text: &str) -> Result<(), &'static str> {
    match source(text) {
        Some(_) => Ok(()),
        None => {
            Err("it is off or an IP address of this machine: 192.0.2.1, 192.0.2.1:7000, [2001:db8::1]:7000")
        }
    }
}

fn any_text(_: &str) -> Result<(), &'static str> {
    Ok(())
}

fn is_extension(text: &str) -> Result<(), &'static str> {
    let well = text.len() > 1 && text.starts_with('.') && text.is_ascii() && !text.contains('/');
    if well { Ok(()) } else { Err("an extension begins with its dot (.php) and has no / in it") }
}

fn is_file_name(text: &str) -> Result<(), &'static str> {
    if text.contains('/') { Err("the name of a file has no / in it") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// No drift: the default of each line, applied, leaves the default settings as they are, also
    /// where the field held something else before.
    #[test]
    fn default_texts_are_the_defaults() {
        let (mut pool, mut balancer, mut route) = other_than_default();
        for setting in SETTINGS {
            let (mut one_pool, mut one_balancer, mut one_route) =
                (PoolSettings::default(), BalancerSettings::default(), RouteSettings::default());
            setting.set_pool(&mut one_pool, setting.default).unwrap();
            setting.set_balancer(&mut one_balancer, setting.default).unwrap();
            setting.set_route(&mut one_route, setting.default).unwrap();
            assert_eq!(one_pool, PoolSettings::default(), "{}", setting.name);
            assert_eq!(one_balancer, BalancerSettings::default(), "{}", setting.name);
            assert_eq!(one_route, RouteSettings::default(), "{}", setting.name);
            setting.set_pool(&mut pool, setting.default).unwrap();
            setting.set_balancer(&mut balancer, setting.default).unwrap();
            setting.set_route(&mut route, setting.default).unwrap();
        }
        assert_eq!(pool, PoolSettings::default());
        assert_eq!(balancer, BalancerSettings::default());
        assert_eq!(route, RouteSettings::default());
    }

    /// Settings of which no field is its default. The structs are written out so that a new field
    /// fails to compile here until it has a line in the table.
    fn other_than_default() -> (PoolSettings, BalancerSettings, RouteSettings) {
        let time = Duration::from_secs(77);
        let pool = PoolSettings {
            weight: 77,
            backup: true,
            drain: true,
            slow_start: time,
            disable_time: time,
            max_connections: 77,
            max_idle: 77,
            idle_timeout: time,
            max_requests: 77,
            max_age: time,
            keep_conn: KeepConn::On,
            multiplex: true,
            queue_length: 77,
            queue_timeout: time,
            max_addresses: 77,
            resolve_interval: time,
            connect_timeout: time,
            bind: Some(SocketAddr::from(([192, 0, 2, 77], 77))),
            bind_transparent: true,
            tcp_keepalive: true,
        };
        let balancer = BalancerSettings { method: Method::Failover, restart_window: time };
        let environment = crate::cgi::EnvironmentSettings {
            preset: Preset::Plain,
            script: "/77".into(),
            extension: ".77".into(),
            index: "77".into(),
            document_root: "/77".into(),
            map_root: Some(("/77".into(), "/78".into())),
            script_exists: Onoff::On,
            resolve_symlinks: true,
            pass_authorization: Onoff::On,
            split_params: true,
            max_params_bytes: 77,
            params: Vec::new(),
        };
        let route = RouteSettings {
            send_timeout: time,
            head_timeout: time,
            read_timeout: time,
            end_timeout: time,
            total_timeout: time,
            request_body: RequestBody::Stream,
            error_override: true,
            flush: Flush::On,
            request_memory: 77,
            spool_directory: "/77".into(),
            max_body_bytes: 77,
            response_memory: 77,
            response_body: ResponseBody::Spool,
            response_file: 77,
            max_head_bytes: 77,
            max_head_fields: 77,
            retry: false,
            max_tries: 77,
            retry_timeout: time,
            retry_non_idempotent: true,
            reuse_non_idempotent: true,
            ignore_client_abort: true,
            catch_stderr: "77".into(),
            params_file: "/77".into(),
            params_directory: "/77".into(),
            environment,
        };
        (pool, balancer, route)
    }

    /// Every word of every choice, both states of every flag and every kind of value can be set.
    #[test]
    fn every_word_is_taken() {
        for setting in SETTINGS {
            use super::super::setting::Kind;
            match setting.kind() {
                Kind::Flag | Kind::Choice => {
                    setting.range().split(", ").for_each(|word| setting.check(word).unwrap());
                }
                Kind::Words => setting.range().split(", ").for_each(|words| {
                    setting.check(&words.replace(['[', ']'], "")).unwrap();
                }),
                Kind::Pair => setting.check("/srv/app /var/www/html").unwrap(),
                Kind::Path => setting.check("/srv/my site").unwrap(),
                Kind::Text => setting.check(".text").or_else(|_| setting.check("127.0.0.2")).unwrap(),
                Kind::Count | Kind::Size | Kind::Time => setting.check("1000").unwrap_or_else(|error| {
                    assert!(error.text.contains("allowed is"), "{error}");
                }),
            }
        }
    }

    /// A source is an address, with or without a port, or off.
    #[test]
    fn sources_are_addresses() {
        let mut pool = PoolSettings::default();
        let mut set = |text: &str| {
            let setting = find("bind").unwrap();
            setting.set_pool(&mut pool, text).map(|()| pool.bind.map(|source| source.to_string()))
        };
        for (text, source) in [
            ("127.0.0.2", "127.0.0.2:0"),
            ("127.0.0.2:7000", "127.0.0.2:7000"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:7000", "[::1]:7000"),
        ] {
            assert_eq!(set(text).unwrap().as_deref(), Some(source), "{text}");
        }
        assert_eq!(set("off").unwrap(), None);
        for text in
            ["on", "localhost", "127.0.0.2:", "127.0.0.2:99999", "[::1", "unix:/run/a.sock", "127.0.0.1 x"]
        {
            assert!(set(text).unwrap_err().text.contains("an IP address of this machine"), "{text}");
        }
    }

    /// A script named without a preset is run; a preset named after it wins.
    #[test]
    fn script_implies_its_preset() {
        let mut route = RouteSettings::default();
        let mut set = |name, value| {
            find(name).unwrap().set_route(&mut route, value).unwrap();
            route.environment.preset
        };
        assert_eq!(set("script", "/srv/reports/index.php"), Preset::Script);
        assert_eq!(set("preset", "plain"), Preset::Plain);
        assert_eq!(set("script", ""), Preset::Plain);
    }

    /// Names are unique, of one form, not also names of later settings, and stand scope by scope.
    #[test]
    fn names_are_unique_and_sorted_by_scope() {
        let mut seen = HashSet::new();
        let names = SETTINGS.iter().map(|setting| setting.name).chain(LATER.iter().map(|later| later.name));
        for name in names {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
        assert!(SETTINGS.is_sorted_by_key(Setting::scope));
    }

    /// Help is one or more whole sentences of printable ASCII that need no escape in Markdown or C.
    #[test]
    fn help_is_whole_sentences() {
        for Setting { name, help, .. } in SETTINGS {
            assert!(help.ends_with('.'), "{name}");
            assert!(help.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{name}");
            assert!(!help.contains(['"', '\\', '|', '\t']) && !help.contains("  "), "{name}");
        }
    }

    /// S10: an unknown setting is an error that offers the nearest name.
    #[test]
    fn unknown_setting_offers_the_nearest_name() {
        let error = find_for("max_conections", "4").err().unwrap();
        assert_eq!(error.text, "unknown setting max_conections; did you mean max_connections?");
        assert_eq!(error.setting, "max_conections");
        assert_eq!(find_for("colour", "4").err().unwrap().text, "unknown setting colour");
    }

    /// A setting of the contract that this version lacks is never accepted in silence, unless its
    /// value asks for nothing.
    #[test]
    fn later_settings_are_refused_by_name() {
        for later in LATER {
            let error = find_for(later.name, "7s").err().unwrap();
            assert!(error.text.ends_with("comes with a later version"), "{error}");
        }
        assert!(find_for("local_redirect", "Off").unwrap().is_none());
        assert!(find_for("local_redirect", "on").is_err());
    }
}
