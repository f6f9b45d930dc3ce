//! Settings that are one text: cgroup parent, runtime, user.
//!
//! What must stay true: what is forced is what the engine gets, whoever asks and however.

use super::Judged;
use super::rules::Rules;
use crate::api::doc::Value;
use crate::api::query::Query;
use crate::config::Word;
use crate::policy::Reason;

impl Word {
    pub(super) fn rule(self) -> &'static str {
        match self {
            Word::CgroupParent => "limits.cgroup-parent",
            Word::User => "limits.user",
            Word::Network => "limits.network",
            Word::Runtime => "limits.runtime",
        }
    }
}

pub(super) fn create(rules: &Rules<'_>, root: &mut Value) -> Judged {
    const PLACES: [(Word, &[&str]); 3] = [
        (Word::CgroupParent, &["HostConfig", "CgroupParent"]),
        (Word::Runtime, &["HostConfig", "Runtime"]),
        (Word::User, &["User"]),
    ];
    for (word, path) in PLACES {
        let said = path.iter().try_fold(&*root, |value, key| value.get(key));
        let is_said = said.is_some_and(|value| !value.is_zero());
        if let Some(text) = wanted(rules, word, is_said)?
            && let Some(place) = root.at_mut(path)
        {
            *place = Value::String(text);
        }
    }
    Ok(())
}

/// A container's user is no limit if an exec may have another one.
pub(super) fn exec(rules: &Rules<'_>, root: &mut Value) -> Judged {
    if let Some(text) = wanted(rules, Word::User, true)?
        && let Some(place) = root.at_mut(&["User"])
    {
        *place = Value::String(text);
    }
    Ok(())
}

pub(super) fn update(rules: &Rules<'_>, root: &Value) -> Judged {
    let asked = root.get("CgroupParent").and_then(Value::as_str).unwrap_or_default();
    match wanted(rules, Word::CgroupParent, true)? {
        Some(forced) if !asked.is_empty() && asked != forced => {
            let why = format!("must stay `{forced}`");
            Err(Reason::new(Word::CgroupParent.rule(), "CgroupParent", why, ""))
        }
        _ => Ok(()),
    }
}

pub(super) fn build(rules: &Rules<'_>, query: &mut Query) -> Judged {
    let is_said = query.get("cgroupparent").is_some_and(|parent| !parent.is_empty());
    if let Some(text) = wanted(rules, Word::CgroupParent, is_said)? {
        query.set("cgroupparent", text);
    }
    Ok(())
}

/// What the engine gets in the place of what the client says, where that is something else.
pub(super) fn wanted(
    rules: &Rules<'_>,
    word: Word,
    is_said: bool,
) -> Result<Option<String>, Reason> {
    let forced = rules.all().force.words.get(&word);
    let default = rules.all().default.words.get(&word).filter(|_| !is_said);
    let template = forced.or(default);
    template.map(|template| rules.name(word.rule(), template)).transpose()
}
