//! Who may pull, push and delete what.
//!
//! Pure; `serve` asks before anything else is done for a request. What must stay true: the first rule that matches
//! decides; where there are rules, what none of them names is refused; where there are none, everybody who was let in
//! may pull, and nobody more.

use super::name::Pattern;
use crate::auth::Identity;
use crate::config::RegistryAction;

#[derive(Debug, Default)]
pub(super) struct Rules(Vec<AccessRule>);

#[derive(Debug)]
pub(super) struct AccessRule {
    pub repositories: Vec<Pattern>,
    pub actions: Vec<RegistryAction>,
    /// Names, and groups with an `@`; none: everybody.
    pub users: Option<Vec<String>>,
    pub allow: bool,
}

impl Rules {
    pub(super) fn new(rules: Vec<AccessRule>) -> Rules {
        Rules(rules)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn allow(&self, who: &Identity, action: RegistryAction, name: &str) -> bool {
        let groups: Vec<&str> = who.groups().iter().map(String::as_str).collect();
        self.decide(who.user(), &groups, action, name)
    }

    fn decide(
        &self,
        user: Option<&str>,
        groups: &[&str],
        action: RegistryAction,
        name: &str,
    ) -> bool {
        if self.0.is_empty() {
            return action == RegistryAction::Pull;
        }
        let rule = self.0.iter().find(|rule| rule.matches(user, groups, action, name));
        rule.is_some_and(|rule| rule.allow)
    }
}

impl AccessRule {
    fn matches(
        &self,
        user: Option<&str>,
        groups: &[&str],
        action: RegistryAction,
        name: &str,
    ) -> bool {
        self.actions.contains(&action)
            && is_among(self.users.as_deref(), user, groups)
            && self.repositories.iter().any(|pattern| pattern.matches(name))
    }
}

/// Whether somebody is one of those whom a rule is for; none: everybody is.
pub(super) fn is_among(users: Option<&[String]>, user: Option<&str>, groups: &[&str]) -> bool {
    let is_one = |wanted: &String| match wanted.strip_prefix('@') {
        Some(group) => groups.contains(&group),
        // Not for those without a name: for them is a rule without `users`.
        None if wanted == "*" => user.is_some(),
        None => user == Some(wanted.as_str()),
    };
    users.is_none_or(|users| users.iter().any(is_one))
}

#[cfg(test)]
mod tests {
    use RegistryAction::{Delete, Pull, Push};

    use super::*;

    fn rule(
        repository: &str,
        actions: &[RegistryAction],
        users: Option<&[&str]>,
        allow: bool,
    ) -> AccessRule {
        AccessRule {
            repositories: vec![Pattern::parse(repository).unwrap()],
            actions: actions.to_vec(),
            users: users.map(|users| users.iter().map(|user| (*user).to_owned()).collect()),
            allow,
        }
    }

    #[test]
    fn without_rules_everybody_pulls_and_nobody_more() {
        let rules = Rules::default();
        for (action, may) in [(Pull, true), (Push, false), (Delete, false)] {
            assert_eq!(rules.decide(None, &[], action, "a/b"), may);
            assert_eq!(rules.decide(Some("u"), &[], action, "a/b"), may);
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_the_rest_is_refused() {
        let rules = Rules::new(vec![
            rule("secret/**", &[Pull, Push], Some(&["@ops"]), true),
            rule("secret/**", &RegistryAction::ALL, None, false),
            rule("**", &[Pull], None, true),
            rule("team/*", &[Push], Some(&["ci"]), true),
            rule("any/*", &[Push], Some(&["*"]), true),
        ]);
        assert!(rules.decide(Some("u"), &["ops"], Push, "secret/x"));
        assert!(!rules.decide(Some("u"), &[], Pull, "secret/x"));
        assert!(rules.decide(None, &[], Pull, "team/x"));
        assert!(rules.decide(Some("ci"), &[], Push, "team/x"));
        assert!(!rules.decide(Some("ci"), &[], Push, "team/x/y"));
        assert!(
            !rules.decide(Some("u"), &[], Push, "team/x")
                && !rules.decide(None, &[], Push, "team/x")
        );
        assert!(
            rules.decide(Some("u"), &[], Push, "any/x") && !rules.decide(None, &[], Push, "any/x")
        );
        assert!(!rules.decide(Some("ci"), &[], Delete, "team/x"));
    }
}
