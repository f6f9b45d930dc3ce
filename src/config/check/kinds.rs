//! Sections that have a `kind`: `[policy.NAME]` and `[auth.NAME]`, one table of kinds each.
//!
//! `check::policy` and `check::auth` hold the tables. What must stay true: which keys a kind has, and what a hint
//! says of the kinds there are, is derived from its row and written nowhere else.

use std::ops::Range;

use toml::Spanned;

use super::super::raw::AllowedBind;
use super::Checking;

/// A row of such a table. `Raw` is the section as it is written, with the keys of every kind.
pub(super) struct SectionKind<Raw, Checked> {
    pub name: &'static str,
    /// Besides those that every kind has.
    pub keys: &'static [&'static str],
    /// With the section's name; none when something is wrong.
    pub check: fn(&mut Checking<'_>, &Spanned<String>, Raw) -> Option<Checked>,
}

impl Checking<'_> {
    /// Keys that are another kind's.
    pub(super) fn refuse_keys<R, C>(
        &mut self,
        kind: &SectionKind<R, C>,
        given: Vec<(&'static str, Range<usize>)>,
    ) {
        for (key, at) in given {
            if !kind.keys.contains(&key) {
                let what = format!("`{key}` is not a key of `kind = \"{}\"`", kind.name);
                self.complaints.add(at, what, "");
            }
        }
    }
}

/// The kinds, as a hint lists them: "`a`, `b` or `c`".
pub(super) fn names<R, C>(kinds: &[SectionKind<R, C>], last: &str) -> String {
    let names: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.name)).collect();
    match names.split_last() {
        Some((end, before)) if !before.is_empty() => format!("{} {last} {end}", before.join(", ")),
        _ => names.concat(),
    }
}

/// A section as it is written: the keys that every kind has, then the optional ones of all kinds. `given` tells which
/// of those are there, and where.
macro_rules! section {
    (
        $name:ident { $($always:ident: $always_type:ty,)* }
        $($(#[$doc:meta])* $key:ident: $type:ty,)*
    ) => {
        /// The keys of every kind; which belong to which is checked later, with their places.
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(in crate::config) struct $name {
            $($always: $always_type,)*
            $($(#[$doc])* pub(super) $key: Option<$type>,)*
        }

        impl $name {
            #[cfg(test)]
            pub(super) const KEYS: &[&str] = &[$(stringify!($key)),*];

            fn given(&self) -> Vec<(&'static str, std::ops::Range<usize>)> {
                let keys = [
                    $((stringify!($key), self.$key.as_ref().map(super::kinds::Located::at)),)*
                ];
                keys.into_iter().filter_map(|(key, at)| Some((key, at?))).collect()
            }
        }
    };
}
pub(super) use section;

/// A value that knows where it stands.
pub(super) trait Located {
    fn at(&self) -> Range<usize>;
}

impl<T> Located for Spanned<T> {
    fn at(&self) -> Range<usize> {
        self.span()
    }
}

/// The first of them, where there is one.
impl Located for Vec<AllowedBind> {
    fn at(&self) -> Range<usize> {
        self.first().map_or(0..0, |bind| bind.host.span())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{auth, policy};
    use super::*;

    fn is_whole<R, C>(kinds: &[SectionKind<R, C>], keys: &[&str]) {
        for kind in kinds {
            let unknown = kind.keys.iter().find(|key| !keys.contains(*key));
            assert_eq!(unknown, None, "a key of `{}`", kind.name);
        }
        let of_nobody = keys.iter().find(|key| !kinds.iter().any(|kind| kind.keys.contains(*key)));
        assert_eq!(of_nobody, None, "no kind has it");
    }

    #[test]
    fn every_key_is_some_kinds() {
        is_whole(policy::KINDS, policy::RawPolicy::KEYS);
        is_whole(auth::KINDS, auth::RawAuth::KEYS);
    }

    #[test]
    fn a_hint_names_every_kind() {
        let policies = "`conservative`, `limits`, `rego`, `authz`, `namespace`, `temporary-listener` and `transparent-cache`";
        assert_eq!(names(policy::KINDS, "and"), policies);
        let auths = "`unix-peer`, `certificate`, `basic`, `jwt` or `external`";
        assert_eq!(names(auth::KINDS, "or"), auths);
        assert_eq!(names(&policy::KINDS[..1], "and"), "`conservative`");
    }
}
