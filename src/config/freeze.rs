//! From what was written to what is used: levels merged, wholes checked, nothing changes afterwards.

use super::builder::{BalancerEntry, Config, RouteEntry, RouteId};
use super::check;
use super::error::ConfigError;
use super::level::{Level, merge_balancer, merge_pool, merge_route};
use super::route::RouteSettings;
use super::suggest::nearest;
use crate::balancer::BalancerSettings;
use crate::os::Address;
use crate::pool::PoolSettings;
use std::collections::HashMap;
use std::ops::Range;

/// A configuration as it is used: checked, immutable, shared by all threads and made before any fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The balancers, in the order of their declaration.
    pub balancers: Vec<BalancerConfig>,
    /// The pools of all balancers, those of one balancer side by side.
    pub pools: Vec<PoolConfig>,
    /// The routes, in the order of their declaration.
    pub routes: Vec<RouteConfig>,
    /// What works, but perhaps not as meant: to be said once, when the server starts.
    pub warnings: Vec<String>,
}

/// One balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerConfig {
    /// Its name; its pool's address, where a route named that instead of a balancer.
    pub name: String,
    /// Whether it was declared by name: only then a host may look it up for a request.
    pub declared: bool,
    /// Its settings.
    pub settings: BalancerSettings,
    /// Where its pools stand among all pools.
    pub pools: Range<usize>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Its address in the canonical spelling.
    pub address: String,
    /// Its settings.
    pub settings: PoolSettings,
}

impl PoolConfig {
    /// How many members of its balancer it may come to be: one, or one for each address of its name.
    pub fn places(&self) -> usize {
        match self.address.parse() {
            Ok(Address::Name { .. }) => self.settings.max_addresses as usize,
            _ => 1,
        }
    }
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// What its host calls it; for messages.
    pub name: String,
    /// Its balancer, by place; none where the route only hands settings down to others.
    pub balancer: Option<usize>,
    /// Its settings.
    pub settings: RouteSettings,
}

impl Frozen {
    /// The place of the balancer that was declared under a name. One that stands for an address is not
    /// found: no request can choose an address.
    pub fn find_balancer(&self, name: &str) -> Option<usize> {
        self.balancers.iter().position(|balancer| balancer.declared && balancer.name == name)
    }
}

pub(super) fn freeze(config: &Config) -> Result<Frozen, ConfigError> {
    let mut frozen =
        Frozen { balancers: Vec::new(), pools: Vec::new(), routes: Vec::new(), warnings: Vec::new() };
    for balancer in &config.balancers {
        freeze_balancer(config, balancer, &mut frozen)?;
    }
    warn_of_shared_pools(&mut frozen);
    for route in &config.routes {
        freeze_route(config, route, &mut frozen)?;
    }
    Ok(frozen)
}

fn freeze_balancer(
    config: &Config,
    balancer: &BalancerEntry,
    frozen: &mut Frozen,
) -> Result<(), ConfigError> {
    let place = format!("balancer {}", balancer.name);
    let first = frozen.pools.len();
    for pool in &balancer.pools {
        let settings = merge_pool([&config.defaults, &balancer.level, &pool.level])?;
        let place = format!("pool {} of {place}", pool.address);
        check::pool(&place, &pool.address, &settings, &[&balancer.level, &pool.level], &mut frozen.warnings)?;
        frozen.pools.push(PoolConfig { address: pool.address.clone(), settings });
    }
    let pools = first..frozen.pools.len();
    let members: Vec<_> = frozen.pools[pools.clone()]
        .iter()
        .flat_map(|pool| std::iter::repeat_n(&pool.settings, pool.places()))
        .collect();
    check::pools(&place, &members)?;
    frozen.balancers.push(BalancerConfig {
        name: balancer.name.clone(),
        declared: balancer.declared,
        settings: merge_balancer([&config.defaults, &balancer.level])?,
        pools,
    });
    Ok(())
}

/// A limit holds for a pool, not for an address: two pools of one address may exceed what either
/// promises.
fn warn_of_shared_pools(frozen: &mut Frozen) {
    let mut seen: HashMap<&str, &BalancerConfig> = HashMap::new();
    for balancer in &frozen.balancers {
        for pool in &frozen.pools[balancer.pools.clone()] {
            let other = seen.insert(&pool.address, balancer);
            if let Some(other) = other
                && pool.settings.max_connections > 0
            {
                frozen.warnings.push(format!(
                    "{} is a pool of balancers {} and {}: each counts its connections for itself, so that the \
                     application may get the sum of both",
                    pool.address, other.name, balancer.name
                ));
            }
        }
    }
}

fn freeze_route(config: &Config, route: &RouteEntry, frozen: &mut Frozen) -> Result<(), ConfigError> {
    let place = if route.name.is_empty() { "route".into() } else { format!("route {}", route.name) };
    let lineage: Vec<&RouteEntry> =
        std::iter::successors(Some(route), |inner| config.routes.get(inner.parent?)).collect();
    let balancer = lineage.iter().find_map(|level| level.balancer.as_deref());
    let balancer = match balancer {
        Some(name) => Some(place_of(config, name).map_err(|error| error.within(&place))?),
        None => None,
    };
    let mut levels: Vec<&Level> = vec![&config.defaults];
    levels.extend(balancer.and_then(|at| config.balancers.get(at)).map(|balancer| &balancer.level));
    levels.extend(lineage.iter().rev().map(|route| &route.level));
    let settings = merge_route(&levels)?;
    if balancer.is_some() {
        check::route(&place, &settings, &levels, &mut frozen.warnings)?;
    }
    frozen.routes.push(RouteConfig { name: route.name.clone(), balancer, settings });
    Ok(())
}

/// The settings of a route that a host combines while it runs, and its balancer's place: what the
/// levels say, the outermost first; then the balancer; then `base`.
pub(super) fn combine(
    config: &Config,
    balancer: &str,
    base: Option<RouteId>,
    levels: &[RouteId],
    warnings: &mut Vec<String>,
) -> Result<(RouteSettings, usize), ConfigError> {
    let at = place_of(config, balancer)?;
    let level_of = |id: &RouteId| config.routes.get(id.0).map(|route| &route.level);
    let mut merged: Vec<&Level> = vec![&config.defaults];
    merged.extend(base.as_ref().and_then(level_of));
    merged.push(&config.balancers[at].level);
    merged.extend(levels.iter().filter_map(level_of));
    let settings = merge_route(&merged)?;
    check::route(&format!("a route to {balancer}"), &settings, &merged, warnings)?;
    Ok((settings, at))
}

fn place_of(config: &Config, name: &str) -> Result<usize, ConfigError> {
    let balancers = &config.balancers;
    balancers.iter().position(|balancer| balancer.name == name).ok_or_else(|| {
        let names: Vec<_> = balancers
            .iter()
            .filter(|balancer| balancer.declared)
            .map(|balancer| balancer.name.as_str())
            .collect();
        let meant = match nearest(name, &names) {
            Some(meant) => format!("; did you mean {meant}?"),
            None if names.is_empty() => "; none is declared".into(),
            None => format!("; declared are {}", names.join(", ")),
        };
        ConfigError::new(format!("no balancer {} is declared{meant}", name.escape_debug()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::{ParamRule, Preset};
    use std::time::Duration;

    fn set(name: &str, value: &str) -> ParamRule {
        ParamRule::Set { name: name.into(), value: value.into(), if_not_empty: false }
    }

    /// The example of the docs: pools in their balancers, levels merged, routes by balancer.
    #[test]
    fn whole_configuration() {
        let mut config = Config::new();
        let php = config.balancer("php").unwrap();
        config.set(php, "method", "round_robin").unwrap();
        config.set(php, "max_connections", "16").unwrap();
        config.set(php, "head_timeout", "90s").unwrap();
        config.param(php, set("POOL", "php")).unwrap();
        config.pool(php, "unix:/run/php/php8.2-fpm.sock weight=2").unwrap();
        config.pool(php, "App2.example.net:9000 max_connections=8").unwrap();
        config.pool(php, "10.0.0.9:9000 backup").unwrap();
        config
            .balancer_line("reports", "unix:/run/php/reports.sock max_connections=4 keep_conn=off")
            .unwrap();

        let server = config.route("server", None, None).unwrap();
        config.route_param(server, set("APP_ENV", "production")).unwrap();
        let php_files = config.route(".php", Some(server), Some("php")).unwrap();
        config.route_param(php_files, set("APP_ENV", "test")).unwrap();
        let reports = config.route("/reports", Some(server), Some("reports")).unwrap();
        config.route_set(reports, "head_timeout", "10m").unwrap();
        config.route_set(reports, "script", "/srv/reports/index.php").unwrap();
        let nested = config.route("/reports/api", Some(reports), None).unwrap();
        let frozen = config.freeze().unwrap();

        assert_eq!(frozen.balancers.len(), 2);
        assert_eq!((frozen.balancers[0].pools.clone(), frozen.balancers[1].pools.clone()), (0..3, 3..4));
        let limits: Vec<_> = frozen.pools.iter().map(|pool| pool.settings.max_connections).collect();
        assert_eq!(limits, [16, 8, 16, 4]);
        let first = &frozen.pools[0];
        assert_eq!((first.address.as_str(), first.settings.weight), ("unix:/run/php/php8.2-fpm.sock", 2));
        assert_eq!(frozen.pools[1].address, "app2.example.net:9000");
        assert!(frozen.pools[2].settings.backup);

        let [server, php_files, reports, nested] =
            [server, php_files, reports, nested].map(|id| &frozen.routes[id.0]);
        assert_eq!(
            [server.balancer, php_files.balancer, reports.balancer, nested.balancer],
            [None, Some(0), Some(1), Some(1)]
        );
        assert_eq!(server.settings.head_timeout, Duration::from_secs(60));
        assert_eq!(php_files.settings.head_timeout, Duration::from_secs(90));
        assert_eq!(reports.settings.head_timeout, Duration::from_secs(600));
        assert_eq!(nested.settings, reports.settings);
        assert_eq!(reports.settings.environment.preset, Preset::Script);
        assert_eq!(php_files.settings.environment.params, [set("APP_ENV", "test"), set("POOL", "php")]);
        assert_eq!(frozen.warnings, Vec::<String>::new());
    }

    /// What a host sets as its own default yields to the balancer, the balancer to every route level.
    #[test]
    fn defaults_yield_to_balancer_and_balancer_to_routes() {
        let mut config = Config::new();
        config.set_default("head_timeout", "300s").unwrap();
        config.set_default("read_timeout", "300s").unwrap();
        config.set_default("send_timeout", "300s").unwrap();
        let php = config.balancer_line("php", "a:1 read_timeout=20s send_timeout=20s").unwrap();
        let outer = config.route("", None, Some("php")).unwrap();
        config.route_set(outer, "send_timeout", "10s").unwrap();
        config.set(php, "send_timeout", "21s").unwrap();
        let settings = &config.freeze().unwrap().routes[0].settings;
        let seconds = [settings.head_timeout, settings.read_timeout, settings.send_timeout];
        assert_eq!(seconds.map(|time| time.as_secs()), [300, 20, 10]);
    }

    /// A balancer may be declared after the route that names it; one that nobody declares is an error
    /// that offers the nearest.
    #[test]
    fn unknown_balancer_offers_the_nearest() {
        let mut config = Config::new();
        config.route("/", None, Some("php")).unwrap();
        let text = |config: &Config| config.clone().freeze().unwrap_err().text;
        assert_eq!(text(&config), "route /: no balancer php is declared; none is declared");
        config.balancer_line("reports", "a:1").unwrap();
        assert_eq!(text(&config), "route /: no balancer php is declared; declared are reports");
        config.balancer_line("php8", "a:2").unwrap();
        assert_eq!(text(&config), "route /: no balancer php is declared; did you mean php8?");
        config.balancer_line("php", "a:3").unwrap();
        assert_eq!(config.freeze().unwrap().routes[0].balancer, Some(2));
    }

    /// X12: a route can name an address in the server's configuration; no request can look it up.
    #[test]
    fn address_in_a_route_is_a_balancer_of_its_own() {
        let mut config = Config::new();
        config.route("/a", None, Some("unix:/run/a.sock")).unwrap();
        config.route("/b", None, Some("tcp:B:1")).unwrap();
        config.route("/c", None, Some("b:1")).unwrap();
        let error = config.route("/d", None, Some("/run/a.sock")).unwrap_err();
        assert!(error.text.contains("write \"unix:/run/a.sock\""), "{error}");
        let frozen = config.freeze().unwrap();
        let balancers: Vec<_> = frozen.routes.iter().map(|route| route.balancer).collect();
        assert_eq!(balancers, [Some(0), Some(1), Some(1)]);
        assert_eq!(frozen.pools.len(), 2);
        assert_eq!(frozen.find_balancer("unix:/run/a.sock"), None);
        assert_eq!(frozen.find_balancer("b:1"), None);
    }

    /// The one line of a C program: one balancer, one pool, one route.
    #[test]
    fn one_line_is_a_whole_configuration() {
        let line = "unix:/run/php/fpm.sock max_connections=16 head_timeout=10s restart_window=1s";
        let frozen = Config::from_line(line).unwrap().freeze().unwrap();
        assert_eq!(frozen.find_balancer("default"), Some(0));
        assert_eq!(frozen.balancers[0].settings.restart_window, Duration::from_secs(1));
        assert_eq!(frozen.pools[0].settings.max_connections, 16);
        assert_eq!(frozen.routes.len(), 1);
        assert_eq!(frozen.routes[0].balancer, Some(0));
        assert_eq!(frozen.routes[0].settings.head_timeout, Duration::from_secs(10));
    }

    fn warnings(line: &str) -> Vec<String> {
        Config::from_line(line).unwrap().freeze().unwrap().warnings
    }

    /// A queue without a limit, kept connections without a limit and multiplexing are warned of.
    #[test]
    fn settings_without_effect_are_warned_of() {
        for (line, warning) in [
            ("a:1 queue_length=5", "queue_length has no effect without max_connections"),
            ("a:1 queue_timeout=5", "queue_timeout has no effect without max_connections"),
            ("a:1 keep_conn=on", "keep_conn=on without max_connections"),
            ("a:1 multiplex", "multiplex=on is for event-driven servers"),
            ("a:1 reuse_non_idempotent=on", "reuse_non_idempotent=on with preset=php"),
            ("a:1 script=/a preset=php", "script has no effect with the preset"),
        ] {
            let warnings = warnings(line);
            assert!(warnings.len() == 1 && warnings[0].contains(warning), "{line}: {warnings:?}");
        }
        for line in [
            "a:1",
            "a:1 max_connections=4 queue_length=5 keep_conn=on",
            "a:1 preset=plain reuse_non_idempotent=on",
        ] {
            assert_eq!(warnings(line), Vec::<String>::new(), "{line}");
        }
    }

    /// A line that many routes inherit is warned of once.
    #[test]
    fn inherited_line_is_warned_of_once() {
        let mut config = Config::from_line("a:1 reuse_non_idempotent=on").unwrap();
        for _ in 0..10 {
            config.route("", None, Some("default")).unwrap();
        }
        assert_eq!(config.freeze().unwrap().warnings.len(), 1);
    }

    /// Two limited pools of one address are warned of: each counts for itself.
    #[test]
    fn shared_address_is_warned_of() {
        let mut config = Config::new();
        config.balancer_line("a", "b:1 max_connections=4").unwrap();
        config.balancer_line("b", "fcgi://B:1 max_connections=4").unwrap();
        config.balancer_line("c", "c:1 max_connections=4").unwrap();
        let warnings = config.freeze().unwrap().warnings;
        assert!(
            warnings.len() == 1 && warnings[0].starts_with("b:1 is a pool of balancers a and b"),
            "{warnings:?}"
        );
    }

    /// Settings that contradict each other are errors that name the pool and the way out.
    #[test]
    fn contradictions_are_refused() {
        for (line, text) in [
            ("a:1 keep_conn=on max_idle=0", "pool a:1 of balancer default: keep_conn=on keeps no connection"),
            ("a:1 multiplex keep_conn=off", "pool a:1 of balancer default: multiplex=on needs connections"),
            ("a:1 drain", "balancer default: all its pools drain"),
            ("a:1 backup", "balancer default has only backup pools"),
            ("a:1 preset=script", "route default: preset=script needs script"),
        ] {
            let error = Config::from_line(line).unwrap().freeze().unwrap_err();
            assert!(error.text.starts_with(text), "{error}");
        }
    }

    /// An outer level that only hands down needs not be complete.
    #[test]
    fn level_without_balancer_is_not_checked_as_a_route() {
        let mut config = Config::from_line("a:1").unwrap();
        let server = config.route("server", None, None).unwrap();
        config.route_set(server, "preset", "script").unwrap();
        let route = config.route("/", Some(server), Some("default")).unwrap();
        config.route_set(route, "script", "/srv/a.php").unwrap();
        config.freeze().unwrap();
    }
}
