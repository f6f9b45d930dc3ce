//! The rules that hold for one call: the caller's own over those of their groups over the general ones.
//!
//! Every limit asks here. What must stay true: a forced value is never capped or defaulted; a default is
//! never above the cap.

use std::borrow::Cow;

use super::Judged;
use crate::config::{LimitRules, LimitsPolicy, Size, Template, TemplatePart};
use crate::policy::{Context, Reason};

#[derive(Debug)]
pub(super) struct Rules<'r> {
    rules: Cow<'r, LimitRules>,
    pub cx: &'r Context<'r>,
}

impl<'r> Rules<'r> {
    pub(super) fn of(settings: &'r LimitsPolicy, cx: &'r Context<'r>) -> Rules<'r> {
        let rules = choose(settings, cx.identity.user(), cx.identity.groups());
        Rules { rules, cx }
    }

    pub(super) fn all(&self) -> &LimitRules {
        &self.rules
    }

    pub(super) fn forced(&self, size: Size) -> Option<i64> {
        self.rules.force.sizes.get(&size).copied()
    }

    pub(super) fn default(&self, size: Size) -> Option<i64> {
        let default = self.rules.default.sizes.get(&size).copied()?;
        Some(self.cap(size).map_or(default, |cap| default.min(cap)))
    }

    /// Of what is not forced.
    pub(super) fn cap(&self, size: Size) -> Option<i64> {
        self.rules.max.sizes.get(&size).copied()
    }

    /// Whether what nobody says is not without a limit.
    pub(super) fn bounds(&self, size: Size) -> bool {
        self.forced(size).or(self.cap(size)).is_some()
    }

    pub(super) fn says(&self, size: Size) -> bool {
        self.bounds(size) || self.default(size).is_some()
    }

    /// Refuses a number above the cap; a negative one means "no limit", or nothing.
    pub(super) fn within(&self, size: Size, place: &str, asked: i64) -> Judged {
        match self.cap(size) {
            Some(cap) if asked < 0 => Err(above(size, place, cap, "no limit".to_owned())),
            Some(cap) if asked > cap => Err(above(size, place, cap, size.show(asked))),
            _ => Ok(()),
        }
    }

    /// A template filled in, for a label or a variable: any text.
    pub(super) fn text(&self, rule: &'static str, template: &Template) -> Result<String, Reason> {
        self.fill(rule, template, &|_| true)
    }

    /// A template filled in, for a path or a name: each value is one part of it.
    pub(super) fn name(&self, rule: &'static str, template: &Template) -> Result<String, Reason> {
        self.fill(rule, template, &is_part)
    }

    /// No limit reaches the containers of a service.
    pub(super) fn no_services(&self, path: &'static str) -> Judged {
        let why = "must not be used while containers are limited: no limit would hold there";
        Err(Reason::new("limits.service", path, why, ""))
    }

    fn fill(
        &self,
        rule: &'static str,
        template: &Template,
        fits: &dyn Fn(&str) -> bool,
    ) -> Result<String, Reason> {
        let identity = self.cx.identity;
        let mut out = String::new();
        for piece in template.pieces() {
            let (name, value) = match piece {
                TemplatePart::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                TemplatePart::User => ("user".to_owned(), identity.user().map(str::to_owned)),
                TemplatePart::Listener => {
                    ("listener".to_owned(), Some(self.cx.listener.to_owned()))
                }
                TemplatePart::Claim(name) => {
                    let claim = identity.claims().and_then(|claims| claims.get(name));
                    (format!("claims.{name}"), claim.and_then(scalar))
                }
            };
            let refuse = |what: &str| {
                let why = format!("needs `{{{name}}}` of the caller, which {what}");
                Err(Reason::new(rule, "request", why, ""))
            };
            match value {
                None => return refuse("is not known"),
                Some(value) if value.contains('\0') || !fits(&value) => {
                    return refuse("has characters that have no place there");
                }
                Some(value) => out.push_str(&value),
            }
        }
        Ok(out)
    }
}

pub(super) fn above(size: Size, place: &str, cap: i64, asked: String) -> Reason {
    let why = format!("must be at most {}, asked {asked}", size.show(cap));
    Reason { found: Some(asked.into()), ..Reason::new(size.rule(), place.to_owned(), why, "") }
}

/// The general rules, those of the caller's groups over them (the first of the file last), and the
/// caller's own over all.
fn choose<'r>(
    settings: &'r LimitsPolicy,
    user: Option<&str>,
    groups: &[String],
) -> Cow<'r, LimitRules> {
    let mine = settings.groups.iter().rev().filter(|(name, _)| groups.contains(name));
    let own = user.and_then(|user| settings.users.get(user));
    let mut rules = Cow::Borrowed(&settings.general);
    for over in mine.map(|(_, rules)| rules).chain(own) {
        rules.to_mut().overlay(over);
    }
    rules
}

/// One part of a path or a name, and not a way out of it.
pub(super) fn is_part(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    !text.is_empty() && !text.starts_with(['.', '-']) && text.chars().all(is_plain)
}

fn scalar(claim: &serde_json::Value) -> Option<String> {
    match claim {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(value) => Some(value.to_string()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Restart;

    fn rules(memory: i64, pids: Option<i64>) -> LimitRules {
        let mut rules = LimitRules::default();
        rules.max.sizes.insert(Size::Memory, memory);
        rules.max.sizes.extend(pids.map(|pids| (Size::Pids, pids)));
        rules
    }

    #[test]
    fn the_users_rules_lie_over_the_groups_over_the_general_ones_key_by_key() {
        let mut general = rules(1, Some(10));
        general.max.restart = Restart::parse("no").map(|no| vec![no]);
        let settings = LimitsPolicy {
            general,
            users: [("bob".to_owned(), rules(4, None))].into(),
            groups: vec![
                ("first".to_owned(), rules(2, Some(20))),
                ("second".to_owned(), rules(3, Some(30))),
            ],
        };
        let max = |user: Option<&str>, groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|name| (*name).to_owned()).collect();
            let rules = choose(&settings, user, &groups).into_owned();
            assert!(rules.max.restart.is_some(), "nobody says anything else of it");
            (rules.max.sizes[&Size::Memory], rules.max.sizes[&Size::Pids])
        };
        assert_eq!(max(None, &[]), (1, 10));
        assert_eq!(max(Some("alice"), &["other"]), (1, 10));
        assert_eq!(max(None, &["second"]), (3, 30));
        assert_eq!(max(None, &["second", "first"]), (2, 20), "the order of the file counts");
        assert_eq!(max(Some("bob"), &["second"]), (4, 30));
    }

    #[test]
    fn a_value_in_a_name_is_one_part_of_it() {
        for good in ["bob", "bob@example.org", "a_b-c.d", "1"] {
            assert!(is_part(good), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", ".a", "-a", "a b", "ä", "a:b", "a\n"] {
            assert!(!is_part(bad), "{bad}");
        }
    }
}
