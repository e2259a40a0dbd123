//! A configuration while it is being read.
//!
//! Hosts read their own syntax and tell what they found line by line, so that an error has the file
//! and the line of what is wrong. Only what no single line can show is checked when all is read.

use super::check;
use super::error::ConfigError;
use super::freeze::{Frozen, combine, freeze};
use super::level::Level;
use super::line::{Line, Word, split_settings};
use super::route::RouteSettings;
use super::setting::{Kind, Scope};
use super::settings::find;
use crate::cgi::ParamRule;

/// The name of the balancer and the route of a configuration of one line.
pub const DEFAULT_NAME: &str = "default";

/// All scopes: a balancer can hold defaults for its pools and its routes.
const EVERYWHERE: &[Scope] = &[Scope::Pool, Scope::Balancer, Scope::Route];

/// Directives that hold several settings: `queue length=500 timeout=5s` is `queue_length` and
/// `queue_timeout`.
const GROUPS: &[&str] = &["queue"];

/// A balancer of a configuration; its place among the frozen ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BalancerId(pub usize);

/// A pool of a balancer; its place among those of the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId {
    /// The balancer.
    pub balancer: BalancerId,
    /// The place.
    pub index: usize,
}

/// A route of a configuration; its place among the frozen ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(pub usize);

/// A configuration while it is being read. One thread builds it; `freeze` ends it.
#[derive(Clone, Default)]
pub struct Config {
    pub(super) defaults: Level,
    pub(super) balancers: Vec<BalancerEntry>,
    pub(super) routes: Vec<RouteEntry>,
}

#[derive(Clone)]
pub(super) struct BalancerEntry {
    pub name: String,
    /// Declared by name; else made for a route that names an address.
    pub declared: bool,
    pub level: Level,
    pub pools: Vec<PoolEntry>,
}

#[derive(Clone)]
pub(super) struct PoolEntry {
    /// In the canonical spelling.
    pub address: String,
    pub level: Level,
}

#[derive(Clone)]
pub(super) struct RouteEntry {
    pub name: String,
    /// Always before the route itself.
    pub parent: Option<usize>,
    pub balancer: Option<String>,
    pub level: Level,
}

impl Config {
    /// An empty configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// The balancer that was declared under a name; else an error that offers the nearest name.
    pub fn find_balancer(&self, name: &str) -> Result<BalancerId, ConfigError> {
        let declared = |entry: &&BalancerEntry| entry.declared;
        self.balancers
            .iter()
            .position(|entry| entry.declared && entry.name == name)
            .map(BalancerId)
            .ok_or_else(|| {
                let known: Vec<&str> =
                    self.balancers.iter().filter(declared).map(|entry| entry.name.as_str()).collect();
                let hint = super::suggest::nearest(name, &known)
                    .map_or(String::new(), |near| format!("; did you mean {near}?"));
                ConfigError::new(format!("no balancer is named \"{}\"{hint}", name.escape_debug()))
            })
    }

    /// The name of a balancer; empty for a foreign id.
    pub fn balancer_name(&self, balancer: BalancerId) -> &str {
        self.balancers.get(balancer.0).map_or("", |entry| &entry.name)
    }

    /// The names of the declared balancers.
    pub fn balancer_names(&self) -> impl Iterator<Item = &str> {
        self.balancers.iter().filter(|entry| entry.declared).map(|entry| entry.name.as_str())
    }

    /// How many routes there are.
    pub fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// A whole configuration in one line: `ADDRESS name=value …` is a balancer, its one pool and a
    /// route to it, all named `default`.
    pub fn from_line(line: &str) -> Result<Self, ConfigError> {
        let mut config = Self::new();
        config.balancer_line(DEFAULT_NAME, line)?;
        config.route(DEFAULT_NAME, None, Some(DEFAULT_NAME))?;
        Ok(config)
    }

    /// Sets what the host has as its own default for all that don't say otherwise (Apache's `Timeout`).
    pub fn set_default(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        self.defaults.set(EVERYWHERE, name, value)
    }

    /// Declares a balancer.
    pub fn balancer(&mut self, name: &str) -> Result<BalancerId, ConfigError> {
        check::balancer_name(name)?;
        if self.balancers.iter().any(|balancer| balancer.name == name) {
            return Err(ConfigError::new(format!("balancer {name} is declared twice")));
        }
        Ok(self.add_balancer(name, true))
    }

    /// Declares a balancer and its one pool in one line; settings of every scope may stand on it.
    pub fn balancer_line(&mut self, name: &str, line: &str) -> Result<BalancerId, ConfigError> {
        let line = Line::split(line)?;
        let balancer = self.balancer(name)?;
        let added = self.add_pool(balancer, &line.address).and_then(|pool| {
            line.words.iter().try_for_each(|word| {
                let (name, value) = setting_of(word)?;
                let of_pool = find(name).is_some_and(|setting| setting.scope() == Scope::Pool);
                if of_pool { self.pool_set(pool, name, value) } else { self.set(balancer, name, value) }
            })
        });
        match added {
            Ok(()) => Ok(balancer),
            Err(error) => {
                // A line that is refused leaves nothing behind.
                self.balancers.pop();
                Err(error.within(format_args!("balancer {name}")))
            }
        }
    }

    /// Sets something of a balancer. A pool's or a route's setting is the default of all pools of the
    /// balancer or all routes to it.
    pub fn set(&mut self, balancer: BalancerId, name: &str, value: &str) -> Result<(), ConfigError> {
        let level = &mut self.balancer_entry(balancer)?.level;
        if !GROUPS.contains(&name) {
            return level.set(EVERYWHERE, name, value);
        }
        for word in split_settings(value)? {
            let Some(value) = &word.value else {
                return Err(ConfigError::value(name, value, format_args!("{} has no value", word.name)));
            };
            level.set(EVERYWHERE, &format!("{name}_{}", word.name), value)?;
        }
        Ok(())
    }

    /// Adds a param directive that holds for all routes to a balancer.
    pub fn param(&mut self, balancer: BalancerId, rule: ParamRule) -> Result<(), ConfigError> {
        self.balancer_entry(balancer)?.level.param(rule)
    }

    /// Adds a pool to a balancer: `ADDRESS name=value … [backup]`.
    pub fn pool(&mut self, balancer: BalancerId, line: &str) -> Result<PoolId, ConfigError> {
        let line = Line::split(line)?;
        let pool = self.add_pool(balancer, &line.address)?;
        let set = line.words.iter().try_for_each(|word| {
            let (name, value) = setting_of(word)?;
            self.pool_set(pool, name, value)
        });
        if let Err(error) = set {
            self.balancer_entry(balancer)?.pools.pop();
            return Err(error.within(format_args!("pool {}", line.address)));
        }
        Ok(pool)
    }

    /// Sets something of a pool.
    pub fn pool_set(&mut self, pool: PoolId, name: &str, value: &str) -> Result<(), ConfigError> {
        let balancer = self.balancer_entry(pool.balancer)?;
        let Some(entry) = balancer.pools.get_mut(pool.index) else {
            return Err(ConfigError::new(format!("balancer {} has no pool {}", balancer.name, pool.index)));
        };
        entry.level.set(&[Scope::Pool], name, value)
    }

    /// Adds a route. It inherits from its parent whatever it doesn't say itself, the balancer too. The
    /// balancer may be declared later; an address in its place is a balancer of that one pool. Without
    /// a balancer anywhere the route only hands settings down.
    pub fn route(
        &mut self,
        name: &str,
        parent: Option<RouteId>,
        balancer: Option<&str>,
    ) -> Result<RouteId, ConfigError> {
        if let Some(parent) = parent {
            self.route_entry(parent)?;
        }
        let balancer = match balancer {
            // No name has these: it is an address, or meant to be one.
            Some(address) if address.contains([':', '/']) => Some(self.balancer_of_address(address)?),
            Some(name) => {
                check::balancer_name(name)?;
                Some(name.into())
            }
            None => None,
        };
        let parent = parent.map(|parent| parent.0);
        self.routes.push(RouteEntry { name: name.into(), parent, balancer, level: Level::default() });
        Ok(RouteId(self.routes.len() - 1))
    }

    /// Sets something of a route.
    pub fn route_set(&mut self, route: RouteId, name: &str, value: &str) -> Result<(), ConfigError> {
        self.route_entry(route)?.level.set(&[Scope::Route], name, value)
    }

    /// Adds a param directive to a route. It removes no other name's; of one name, the innermost
    /// route's and there the last counts.
    pub fn route_param(&mut self, route: RouteId, rule: ParamRule) -> Result<(), ConfigError> {
        self.route_entry(route)?.level.param(rule)
    }

    /// The settings of a route that a host combines while it runs, of routes that were declared as its
    /// levels, the outermost first, and the place of its balancer. `base` holds where neither they
    /// nor the balancer say otherwise. Says what may not be as meant in `warnings`.
    pub fn combine(
        &self,
        balancer: &str,
        base: Option<RouteId>,
        levels: &[RouteId],
        warnings: &mut Vec<String>,
    ) -> Result<(RouteSettings, usize), ConfigError> {
        combine(self, balancer, base, levels, warnings)
    }

    /// Merges and checks all of it. What comes back never changes.
    pub fn freeze(self) -> Result<Frozen, ConfigError> {
        freeze(&self)
    }

    fn add_balancer(&mut self, name: &str, declared: bool) -> BalancerId {
        let (level, pools) = (Level::default(), Vec::new());
        self.balancers.push(BalancerEntry { name: name.into(), declared, level, pools });
        BalancerId(self.balancers.len() - 1)
    }

    fn add_pool(&mut self, balancer: BalancerId, address: &str) -> Result<PoolId, ConfigError> {
        let address = check::address(address)?;
        let entry = self.balancer_entry(balancer)?;
        if entry.pools.iter().any(|pool| pool.address == address) {
            let reason = "give it a weight instead of a second line";
            return Err(ConfigError::new(format!("balancer {} has {address} twice; {reason}", entry.name)));
        }
        entry.pools.push(PoolEntry { address, level: Level::default() });
        Ok(PoolId { balancer, index: entry.pools.len() - 1 })
    }

    /// The name of the balancer that stands for an address; made where there is none yet.
    fn balancer_of_address(&mut self, address: &str) -> Result<String, ConfigError> {
        let name = check::address(address)?;
        if !self.balancers.iter().any(|balancer| balancer.name == name) {
            let balancer = self.add_balancer(&name, false);
            self.add_pool(balancer, &name)?;
        }
        Ok(name)
    }

    fn balancer_entry(&mut self, balancer: BalancerId) -> Result<&mut BalancerEntry, ConfigError> {
        let missing = || ConfigError::new(format!("no balancer {} in this configuration", balancer.0));
        self.balancers.get_mut(balancer.0).ok_or_else(missing)
    }

    fn route_entry(&mut self, route: RouteId) -> Result<&mut RouteEntry, ConfigError> {
        let missing = || ConfigError::new(format!("no route {} in this configuration", route.0));
        self.routes.get_mut(route.0).ok_or_else(missing)
    }
}

/// The setting and the value that a word of a line stands for: a bare word switches a flag on.
fn setting_of(word: &Word) -> Result<(&str, &str), ConfigError> {
    let name = word.name.as_str();
    match (&word.value, find(name)) {
        (Some(value), _) => Ok((name, value)),
        (None, Some(setting)) if setting.kind() != Kind::Flag => {
            let text = format!("{name} needs a value; write {name}={}", setting.default);
            Err(ConfigError::setting(name, text))
        }
        (None, None) if name.contains([':', '/']) => {
            Err(ConfigError::new(format!("{}: a line holds one address", name.escape_debug())))
        }
        (None, _) => Ok((name, "on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S10: what is wrong with a pool's line is told with the pool, and leaves no pool behind.
    #[test]
    fn refused_pool_line_names_its_pool_and_leaves_nothing() {
        let mut config = Config::new();
        let php = config.balancer("php").unwrap();
        for (line, text) in [
            ("a:1 weight=0", "pool a:1: weight=0: allowed is 1 to 10000"),
            (
                "a:1 max_conections=4",
                "pool a:1: unknown setting max_conections; did you mean max_connections?",
            ),
            ("a:1 weight", "pool a:1: weight needs a value; write weight=1"),
            ("a:1 bakup", "pool a:1: unknown setting bakup; did you mean backup?"),
            ("a:1 b:2", "pool a:1: b:2: a line holds one address"),
            (
                "a:1 head_timeout=4s",
                "pool a:1: head_timeout is a setting of routes: set it on a route or in the balancer",
            ),
            ("a:1 check=ping", "pool a:1: check=ping: check comes with a later version"),
            (
                "a:1 max_connections=auto",
                "pool a:1: max_connections=auto: comes with a later version; now there is 0 to 1000000",
            ),
        ] {
            assert_eq!(config.pool(php, line).unwrap_err().text, text);
        }
        assert!(config.pool(php, "weight=2 a:1").is_err());
        assert!(config.pool(php, "").is_err());
        assert!(config.freeze().unwrap_err().text.starts_with("balancer php has no pool"));
    }

    /// A line of a balancer with one pool takes settings of every scope, and leaves nothing if refused.
    #[test]
    fn balancer_line_takes_every_scope() {
        let mut config = Config::new();
        let error = config.balancer_line("php", "a:1 weight=2 weight=x").unwrap_err();
        assert!(error.text.starts_with("balancer php: weight=x: not a number"), "{error}");
        assert_eq!((error.setting.as_str(), error.value.as_str()), ("weight", "x"));
        assert!(
            config
                .balancer_line("php", "/run/a.sock")
                .unwrap_err()
                .text
                .contains("write \"unix:/run/a.sock\"")
        );
        config
            .balancer_line("php", "a:1 weight=2 restart_window=1s request_body=stream multiplex=off")
            .unwrap();
        assert_eq!(config.freeze().unwrap().pools[0].settings.weight, 2);
    }

    /// A name or, within a balancer, an address can stand once, in whatever spelling.
    #[test]
    fn duplicates_are_refused() {
        let mut config = Config::new();
        let php = config.balancer("php").unwrap();
        assert_eq!(config.balancer("php").unwrap_err().text, "balancer php is declared twice");
        assert!(config.balancer_line("php", "a:1").unwrap_err().text.contains("declared twice"));
        config.pool(php, "localhost:9000").unwrap();
        let error = config.pool(php, "fcgi://LOCALHOST:9000 backup").unwrap_err();
        assert!(error.text.starts_with("balancer php has localhost:9000 twice"), "{error}");
        assert_eq!(config.freeze().unwrap().balancers.len(), 1);
    }

    /// A group's directive sets each of its settings.
    #[test]
    fn queue_directive_sets_length_and_timeout() {
        let mut config = Config::from_line("a:1 max_connections=4").unwrap();
        let balancer = BalancerId(0);
        config.set(balancer, "queue", "length=500 timeout=5s").unwrap();
        let error = config.set(balancer, "queue", "lenght=500").unwrap_err();
        assert_eq!(error.text, "unknown setting queue_lenght; did you mean queue_length?");
        assert!(config.set(balancer, "queue", "500").unwrap_err().text.contains("500 has no value"));
        let settings = &config.freeze().unwrap().pools[0].settings;
        assert_eq!((settings.queue_length, settings.queue_timeout.as_secs()), (500, 5));
    }

    /// Settings may come one by one, as lighttpd has them.
    #[test]
    fn pool_settings_one_by_one() {
        let mut config = Config::new();
        let php = config.balancer("php").unwrap();
        config.pool(php, "a:1").unwrap();
        let backup = config.pool(php, "b:1").unwrap();
        config.pool_set(backup, "backup", "enable").unwrap();
        config.pool_set(backup, "backup", "nothing").unwrap_err();
        let frozen = config.freeze().unwrap();
        assert_eq!([frozen.pools[0].settings.backup, frozen.pools[1].settings.backup], [false, true]);
    }

    /// An id that this configuration did not give is an error, never a panic.
    #[test]
    fn foreign_ids_are_refused() {
        let mut config = Config::from_line("a:1").unwrap();
        let rule = ParamRule::Unset { name: b"A".to_vec() };
        assert!(config.set(BalancerId(1), "weight", "1").is_err());
        assert!(config.param(BalancerId(1), rule.clone()).is_err());
        assert!(config.pool(BalancerId(1), "b:1").is_err());
        assert!(config.pool_set(PoolId { balancer: BalancerId(0), index: 1 }, "weight", "1").is_err());
        assert!(config.route_set(RouteId(1), "head_timeout", "1").is_err());
        assert!(config.route_param(RouteId(1), rule).is_err());
        assert!(config.route("", Some(RouteId(1)), None).is_err());
        assert_eq!(config.freeze().unwrap().routes.len(), 1);
    }

    /// A route's balancer is a name or an address, and nothing else.
    #[test]
    fn malformed_balancer_of_a_route_is_refused_at_its_line() {
        let mut config = Config::new();
        assert!(config.route("/", None, Some("")).is_err());
        assert!(config.route("/", None, Some("$php")).is_err());
        assert!(config.route("/", None, Some("http://a:1")).is_err());
    }
}
