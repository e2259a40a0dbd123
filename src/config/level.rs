//! One level of configuration and the merging of several: the innermost setting wins, params merge.
//!
//! Levels keep texts, not structs: what a level didn't say must stay open to the levels around it.
//! Each text is checked as it comes, so that the error stands at its line, and applied when the
//! configuration is frozen.

use super::check;
use super::error::ConfigError;
use super::route::RouteSettings;
use super::setting::{Scope, Setting};
use super::settings::find_for;
use crate::balancer::BalancerSettings;
use crate::cgi::{Onoff, ParamRule, Preset};
use crate::pool::PoolSettings;

/// What one level of a configuration says.
#[derive(Clone, Default)]
pub(super) struct Level {
    settings: Vec<(&'static Setting, String)>,
    params: Vec<ParamRule>,
}

impl Level {
    /// Takes a setting, if its value is right and its scope is among those that may stand here.
    pub(super) fn set(&mut self, scopes: &[Scope], name: &str, value: &str) -> Result<(), ConfigError> {
        if let Some(setting) = find_for(name, value)? {
            if !scopes.contains(&setting.scope()) {
                return Err(out_of_scope(setting));
            }
            self.settings.push((setting, value.into()));
        }
        Ok(())
    }

    /// Takes a param directive.
    pub(super) fn param(&mut self, rule: ParamRule) -> Result<(), ConfigError> {
        check::param(&rule)?;
        self.params.push(rule);
        Ok(())
    }

    /// What the level says of a setting; where it says it twice, the later line.
    pub(super) fn says(&self, name: &str) -> Option<&str> {
        self.settings.iter().rfind(|(setting, _)| setting.name == name).map(|(_, value)| value.as_str())
    }

    /// Whether the level says which preset is meant, and which script, which that preset doesn't run.
    pub(super) fn names_unused_script(&self) -> bool {
        let script = self.says("script").is_some_and(|script| !script.is_empty());
        script && self.says("preset").is_some_and(|preset| !preset.eq_ignore_ascii_case("script"))
    }
}

fn out_of_scope(setting: &Setting) -> ConfigError {
    let (owner, place) = match setting.scope() {
        Scope::Pool => ("pools", "on a pool or in its balancer"),
        Scope::Balancer => ("balancers", "in the balancer"),
        Scope::Route => ("routes", "on a route or in the balancer"),
    };
    ConfigError::setting(setting.name, format!("{} is a setting of {owner}: set it {place}", setting.name))
}

/// A pool's settings. Levels come outermost first.
pub(super) fn merge_pool<'a>(
    levels: impl IntoIterator<Item = &'a Level>,
) -> Result<PoolSettings, ConfigError> {
    let mut merged = PoolSettings::default();
    for (setting, value) in levels.into_iter().flat_map(|level| &level.settings) {
        setting.set_pool(&mut merged, value)?;
    }
    Ok(merged)
}

/// A balancer's settings. Levels come outermost first.
pub(super) fn merge_balancer<'a>(
    levels: impl IntoIterator<Item = &'a Level>,
) -> Result<BalancerSettings, ConfigError> {
    let mut merged = BalancerSettings::default();
    for (setting, value) in levels.into_iter().flat_map(|level| &level.settings) {
        setting.set_balancer(&mut merged, value)?;
    }
    Ok(merged)
}

/// A route's settings. Levels come outermost first.
pub(super) fn merge_route(levels: &[&Level]) -> Result<RouteSettings, ConfigError> {
    let mut merged = RouteSettings::default();
    for (setting, value) in levels.iter().flat_map(|level| &level.settings) {
        setting.set_route(&mut merged, value)?;
    }
    let environment = &mut merged.environment;
    if environment.preset == Preset::Plain && environment.script_exists == Onoff::Auto {
        environment.script_exists = Onoff::Off;
    }
    environment.params = merge_params(levels);
    Ok(merged)
}

/// The param directives of all levels, the innermost and, within a level, the last first; without
/// those that no request could come to.
fn merge_params(levels: &[&Level]) -> Vec<ParamRule> {
    let mut merged: Vec<ParamRule> = Vec::new();
    for rule in levels.iter().rev().flat_map(|level| level.params.iter().rev()) {
        if !merged.iter().any(|before| decides(before) && name_of(before) == name_of(rule)) {
            merged.push(rule.clone());
        }
    }
    merged
}

/// Whether no rule for the same name can count after this one.
fn decides(rule: &ParamRule) -> bool {
    match rule {
        ParamRule::Set { value, if_not_empty, .. } => !if_not_empty || !value.is_empty(),
        ParamRule::Unset { .. } => true,
    }
}

/// The name that a rule is about.
pub(super) fn name_of(rule: &ParamRule) -> &[u8] {
    match rule {
        ParamRule::Set { name, .. } | ParamRule::Unset { name } => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const ALL: &[Scope] = &[Scope::Pool, Scope::Balancer, Scope::Route];

    fn level(settings: &[(&str, &str)], params: &[ParamRule]) -> Level {
        let mut level = Level::default();
        settings.iter().for_each(|(name, value)| level.set(ALL, name, value).unwrap());
        params.iter().for_each(|rule| level.param(rule.clone()).unwrap());
        level
    }

    fn set(name: &str, value: &str) -> ParamRule {
        ParamRule::Set { name: name.into(), value: value.into(), if_not_empty: false }
    }

    fn set_if_not_empty(name: &str, value: &str) -> ParamRule {
        ParamRule::Set { name: name.into(), value: value.into(), if_not_empty: true }
    }

    fn unset(name: &str) -> ParamRule {
        ParamRule::Unset { name: name.into() }
    }

    /// The innermost level wins, within a level the last line; what none says is the default.
    #[test]
    fn innermost_setting_wins() {
        let outer = level(&[("head_timeout", "10s"), ("read_timeout", "20s"), ("weight", "3")], &[]);
        let inner =
            level(&[("head_timeout", "30s"), ("head_timeout", "40s"), ("method", "round_robin")], &[]);
        let route = merge_route(&[&outer, &inner]).unwrap();
        assert_eq!(route.head_timeout, Duration::from_secs(40));
        assert_eq!(route.read_timeout, Duration::from_secs(20));
        assert_eq!(route.send_timeout, RouteSettings::default().send_timeout);
        assert_eq!(merge_pool([&outer, &inner]).unwrap().weight, 3);
        assert_eq!(merge_balancer([&outer, &inner]).unwrap(), BalancerSettings::default());
        assert_eq!(inner.says("head_timeout"), Some("40s"));
        assert_eq!(inner.says("weight"), None);
    }

    /// X1: levels merge, innermost first; one line never removes another name's.
    #[test]
    fn params_merge_innermost_first() {
        let outer = level(&[], &[set("APP_ENV", "production"), set("A", "outer")]);
        let inner = level(&[], &[set("A", "inner"), set("B", "inner")]);
        let merged = merge_route(&[&outer, &inner]).unwrap().environment.params;
        assert_eq!(merged, [set("B", "inner"), set("A", "inner"), set("APP_ENV", "production")]);
    }

    /// X1: unset removes what outer levels say; a line further in sets it again.
    #[test]
    fn unset_removes_and_can_be_overruled() {
        let outer = level(&[], &[set("A", "1"), set("B", "1")]);
        let middle = level(&[], &[unset("A"), unset("B")]);
        let inner = level(&[], &[set("B", "2")]);
        let merged = merge_route(&[&outer, &middle, &inner]).unwrap().environment.params;
        assert_eq!(merged, [set("B", "2"), unset("A")]);
    }

    /// X1: a rule that an empty value would leave out doesn't hide the rule that counts then.
    #[test]
    fn left_out_rule_hides_nothing() {
        let outer = level(&[], &[set("HTTPS", "on"), set("A", "1")]);
        let inner = level(&[], &[set_if_not_empty("HTTPS", ""), set_if_not_empty("A", "2")]);
        let merged = merge_route(&[&outer, &inner]).unwrap().environment.params;
        assert_eq!(merged, [set_if_not_empty("A", "2"), set_if_not_empty("HTTPS", ""), set("HTTPS", "on")]);
    }

    /// X1: the last line of a level wins.
    #[test]
    fn last_param_line_of_a_level_wins() {
        let only =
            level(&[], &[set("A", "1"), set("A", "2"), unset("B"), set("B", "3"), set("C", "4"), unset("C")]);
        let merged = merge_route(&[&only]).unwrap().environment.params;
        assert_eq!(merged, [unset("C"), set("B", "3"), set("A", "2")]);
    }

    /// X9: with preset plain, script_exists=auto means off; on stays on.
    #[test]
    fn plain_preset_checks_no_script() {
        let exists = |settings| merge_route(&[&level(settings, &[])]).unwrap().environment.script_exists;
        assert_eq!(exists(&[]), Onoff::Auto);
        assert_eq!(exists(&[("script", "/a.php")]), Onoff::Auto);
        assert_eq!(exists(&[("preset", "plain")]), Onoff::Off);
        assert_eq!(exists(&[("preset", "plain"), ("script_exists", "on")]), Onoff::On);
    }

    /// S10: a setting in the wrong place is an error that says where it belongs.
    #[test]
    fn setting_out_of_scope_says_where_it_belongs() {
        for (scopes, name, value, text) in [
            (
                &[Scope::Route][..],
                "weight",
                "2",
                "weight is a setting of pools: set it on a pool or in its balancer",
            ),
            (
                &[Scope::Pool],
                "restart_window",
                "2",
                "restart_window is a setting of balancers: set it in the balancer",
            ),
            (
                &[Scope::Pool],
                "head_timeout",
                "2",
                "head_timeout is a setting of routes: set it on a route or in the balancer",
            ),
        ] {
            assert_eq!(Level::default().set(scopes, name, value).unwrap_err().text, text);
        }
    }

    /// A rule of the model: what the merged rules say of a name, given whether values are empty.
    fn first_that_counts<'a>(
        rules: impl IntoIterator<Item = &'a ParamRule>,
        name: &[u8],
    ) -> Option<Option<Vec<u8>>> {
        rules.into_iter().filter(|rule| name_of(rule) == name).find_map(|rule| match rule {
            ParamRule::Unset { .. } => Some(None),
            ParamRule::Set { value, if_not_empty: true, .. } if value.is_empty() => None,
            ParamRule::Set { value, .. } => Some(Some(value.clone())),
        })
    }

    proptest! {
        /// X1: leaving out what can't count changes nothing of what counts.
        #[test]
        fn merged_params_say_what_all_levels_say(
            lines in proptest::collection::vec((0usize..4, "[ABC]", "[12]?", any::<bool>(), 0u8..4), 0..24)
        ) {
            let mut levels = vec![Level::default(); 4];
            for (at, name, value, if_not_empty, kind) in lines {
                let name = name.into_bytes();
                let rule = if kind == 0 {
                    ParamRule::Unset { name }
                } else {
                    ParamRule::Set { name, value: value.into_bytes(), if_not_empty }
                };
                levels[at].param(rule).unwrap();
            }
            let merged = merge_params(&levels.iter().collect::<Vec<_>>());
            for name in [b"A", b"B", b"C"] {
                let all = levels.iter().rev().flat_map(|level| level.params.iter().rev());
                prop_assert_eq!(first_that_counts(&merged, name), first_that_counts(all, name));
            }
        }
    }
}
