//! What a push rule demands, and what of it a push does not meet.
//!
//! Pure. What must stay true: each demand that is not met is a reason, in the words of the rule's field; what a demand is
//! about and nothing says is not met.

use std::time::Duration;

use super::facts::Pushed;
use super::manifest::clipped;
use super::wild::{Wild, any, listed};
use crate::config::{PushRule, units};

/// How much a maker's clock may be ahead of ours.
const AHEAD: i64 = 5 * 60 * 1000;

#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    pub tags: Option<Vec<Wild>>,
    pub media_types: Option<Vec<Wild>>,
    pub platforms: Option<Vec<Wild>>,
    pub max_size: Option<u64>,
    pub max_layer_size: Option<u64>,
    pub max_layers: Option<usize>,
    pub max_age: Option<Duration>,
    pub require_labels: Vec<(String, Wild)>,
    pub forbid_labels: Vec<Wild>,
    pub base_layers: Option<Vec<String>>,
    pub forbidden_layers: Vec<String>,
}

impl Demands {
    pub(super) fn of(rule: &PushRule) -> Demands {
        let some = |texts: &Option<Vec<String>>| texts.as_deref().map(Wild::all);
        let require = rule.require_labels.iter();
        let layers = rule.base_layers.as_ref();
        Demands {
            tags: some(&rule.tags),
            media_types: some(&rule.media_types),
            platforms: some(&rule.platforms),
            max_size: rule.max_size,
            max_layer_size: rule.max_layer_size,
            max_layers: rule.max_layers,
            max_age: rule.max_age,
            require_labels: require
                .map(|(name, value)| (name.clone(), Wild::from(value.as_str())))
                .collect(),
            forbid_labels: Wild::all(&rule.forbid_labels),
            base_layers: layers.map(|all| all.iter().map(|one| one.text.clone()).collect()),
            forbidden_layers: rule.forbidden_layers.iter().map(|one| one.text.clone()).collect(),
        }
    }

    /// Whether the blob of the config has to be read.
    pub(super) fn need_config(&self) -> bool {
        self.platforms.is_some()
            || self.max_age.is_some()
            || !self.require_labels.is_empty()
            || !self.forbid_labels.is_empty()
            || self.base_layers.is_some()
            || !self.forbidden_layers.is_empty()
    }

    /// `now`: in ms since 1970.
    pub(super) fn unmet(&self, pushed: &Pushed, now: u64) -> Vec<(&'static str, String)> {
        let mut reasons = Vec::new();
        let mut demand = |field: &'static str, met: Result<(), String>| {
            reasons.extend(met.err().map(|why| (field, why)));
        };
        demand("tags", self.tag(pushed));
        demand("media_types", self.media_type(pushed));
        demand("max_size", self.size(pushed));
        demand("max_layers", self.layers(pushed));
        demand("max_layer_size", self.layer_size(pushed));
        demand("forbid_labels", self.no_forbidden_label(pushed));
        demand("platforms", self.platform(pushed));
        demand("forbidden_layers", self.no_forbidden_layer(pushed));
        // An index says nothing of this: each image that it names was judged when it was pushed.
        if !pushed.is_index() {
            for (name, value) in &self.require_labels {
                demand("require_labels", label(pushed, name, value));
            }
            demand("base_layers", self.base(pushed));
            demand("max_age", self.age(pushed, now));
        }
        reasons
    }

    fn tag(&self, pushed: &Pushed) -> Result<(), String> {
        let (Some(tags), Some(tag)) = (&self.tags, &pushed.tag) else { return Ok(()) };
        met(any(tags, tag), || format!("`{tag}` is none of {}", listed(tags)))
    }

    fn media_type(&self, pushed: &Pushed) -> Result<(), String> {
        let Some(kinds) = &self.media_types else { return Ok(()) };
        let kind = &pushed.manifest.media_type;
        met(any(kinds, kind), || format!("`{kind}` is none of {}", listed(kinds)))
    }

    fn size(&self, pushed: &Pushed) -> Result<(), String> {
        let (Some(most), size) = (self.max_size, pushed.manifest.size) else { return Ok(()) };
        met(size <= most, || format!("it has {}, of at most {}", shown(size), shown(most)))
    }

    fn layers(&self, pushed: &Pushed) -> Result<(), String> {
        let (Some(most), count) = (self.max_layers, pushed.manifest.layers.len()) else {
            return Ok(());
        };
        met(count <= most, || format!("it has {count} layers, of at most {most}"))
    }

    fn layer_size(&self, pushed: &Pushed) -> Result<(), String> {
        let Some(most) = self.max_layer_size else { return Ok(()) };
        let large = pushed.manifest.layers.iter().find(|layer| layer.size > most);
        match large {
            None => Ok(()),
            Some(layer) => Err(format!(
                "layer `{}` has {}, of at most {}",
                layer.digest,
                shown(layer.size),
                shown(most)
            )),
        }
    }

    fn no_forbidden_label(&self, pushed: &Pushed) -> Result<(), String> {
        let labels = pushed.image.iter().flat_map(|image| image.labels.keys());
        let mut names = pushed.manifest.annotations.keys().chain(labels);
        match names.find(|name| any(&self.forbid_labels, name)) {
            None => Ok(()),
            Some(name) => Err(format!("it has `{}`", clipped(name))),
        }
    }

    fn platform(&self, pushed: &Pushed) -> Result<(), String> {
        let Some(wanted) = &self.platforms else { return Ok(()) };
        let all = pushed.platforms();
        // Of an index, a part without one was judged by its own config.
        if all.is_empty() && !pushed.is_index() {
            return Err(format!("it says no platform, and {} are wanted", listed(wanted)));
        }
        for one in all {
            let short = format!("{}/{}", one.os, one.architecture);
            let long = one.variant.as_ref().map(|variant| format!("{short}/{variant}"));
            if !any(wanted, &short) && !long.as_ref().is_some_and(|long| any(wanted, long)) {
                let shown = clipped(&long.unwrap_or(short));
                return Err(format!("`{shown}` is none of {}", listed(wanted)));
            }
        }
        Ok(())
    }

    fn no_forbidden_layer(&self, pushed: &Pushed) -> Result<(), String> {
        let unpacked = pushed.image.iter().flat_map(|image| &image.diff_ids);
        let mut all = pushed.manifest.layers.iter().map(|layer| &layer.digest).chain(unpacked);
        match all.find(|digest| self.forbidden_layers.contains(digest)) {
            None => Ok(()),
            Some(digest) => Err(format!("it has `{digest}`")),
        }
    }

    fn base(&self, pushed: &Pushed) -> Result<(), String> {
        let Some(bases) = &self.base_layers else { return Ok(()) };
        let first = pushed.manifest.layers.first().map(|layer| &layer.digest);
        let unpacked = pushed.image.as_ref().and_then(|image| image.diff_ids.first());
        let is_one = first.into_iter().chain(unpacked).any(|digest| bases.contains(digest));
        met(is_one, || match first {
            Some(first) => format!("its first layer `{first}` is none of those of allowed bases"),
            None => "it has no layers, and so no base".to_owned(),
        })
    }

    fn age(&self, pushed: &Pushed, now: u64) -> Result<(), String> {
        let Some(most) = self.max_age else { return Ok(()) };
        let created = pushed.image.as_ref().and_then(|image| image.created.as_deref());
        let Some(created) = created.and_then(since_1970) else {
            return Err("it does not say when it was made".to_owned());
        };
        let age = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(created);
        let allowed = i64::try_from(most.as_millis()).unwrap_or(i64::MAX);
        met(age >= -AHEAD, || "it was made in the future".to_owned())?;
        let most = humantime::format_duration(most);
        met(age <= allowed, || format!("it was made more than {most} ago"))
    }
}

fn label(pushed: &Pushed, name: &str, wanted: &Wild) -> Result<(), String> {
    let mut is_there = false;
    for value in pushed.said(name) {
        is_there = true;
        let wrong = || format!("`{name}` is `{}`, and not `{}`", clipped(value), wanted.as_str());
        met(wanted.matches(value), wrong)?;
    }
    met(is_there, || format!("neither label nor annotation `{name}` is there"))
}

fn met(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

fn shown(bytes: u64) -> String {
    i64::try_from(bytes).map_or_else(|_| bytes.to_string(), units::show_bytes)
}

/// In ms; of RFC 3339, also with an offset.
fn since_1970(text: &str) -> Option<i64> {
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let (sign, zone) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
                (Some(zone), _) => (1, zone),
                (_, Some(zone)) => (-1, zone),
                (None, None) => return None,
            };
            let (hours, minutes) = zone.split_once(':')?;
            let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
            (local, sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60_000)
        }
    };
    let at = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()?.checked_sub(offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::facts::tests::pushed;
    use super::super::manifest::tests::digest;
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn image() -> Pushed {
        let manifest = json!({"config": {"digest": digest(0), "size": 24},
            "layers": [{"digest": digest(1), "size": 1000}, {"digest": digest(2), "size": 2024}],
            "annotations": {"org.example.url": "https://a/b", "both": "x"}});
        let config = json!({"os": "linux", "architecture": "arm64", "variant": "v8",
            "created": "2027-01-15T07:30:00.5+00:00",
            "config": {"Labels": {"team": "red", "both": "y"}},
            "rootfs": {"diff_ids": [digest(0xa1), digest(0xa2)]}});
        pushed(&manifest, Some(&config))
    }

    fn index(platforms: &Value) -> Pushed {
        let parts: Vec<Value> = platforms
            .as_array()
            .unwrap()
            .iter()
            .map(|platform| json!({"digest": digest(3), "size": 7, "platform": platform}))
            .collect();
        pushed(&json!({"manifests": parts}), None)
    }

    fn demands(toml: &str) -> Demands {
        let text = format!(
            "[registry.r]\nlisten = \"127.0.0.1:1\"\n[registry.r.upstream.\"a.example\"]\n[[registry.r.push_rule]]\n{toml}"
        );
        let config =
            crate::config::parse(&text, "x.toml".as_ref(), "".as_ref(), &|_| None).unwrap();
        Demands::of(&config.caches[0].registry.as_ref().unwrap().push_rules[0])
    }

    fn said(toml: &str, pushed: &Pushed) -> String {
        let reasons = demands(toml).unmet(pushed, NOW);
        reasons.iter().map(|(field, why)| format!("{field}: {why}\n")).collect()
    }

    #[test]
    fn each_demand_is_met_or_a_reason() {
        let one = image();
        for (met, unmet, why) in [
            ("tags = [\"v*\"]", "tags = [\"w*\", \"v\"]", "tags: `v1` is none of `w*`, `v`"),
            (
                "media_types = [\"application/vnd.oci.*\"]",
                "media_types = [\"application/vnd.docker.*\"]",
                "media_types: `application/vnd.oci.image.manifest.v1+json` is none",
            ),
            (
                "max_size = \"3048\"",
                "max_size = \"3047\"",
                "max_size: it has 3048, of at most 3047",
            ),
            ("max_layers = 2", "max_layers = 1", "max_layers: it has 2 layers, of at most 1"),
            ("max_layer_size = \"2024\"", "max_layer_size = \"1k\"", "has 2024, of at most 1k"),
            (
                "require_labels = { team = \"r*\" }",
                "require_labels = { team = \"b*\" }",
                "`team` is `red`, and not `b*`",
            ),
            (
                "require_labels = { \"org.example.url\" = \"https://*\" }",
                "require_labels = { \"org.example.URL\" = \"*\" }",
                "neither label nor annotation `org.example.URL` is there",
            ),
            (
                "require_labels = { both = \"*\" }",
                "require_labels = { both = \"x\" }",
                "`both` is `y`",
            ),
            (
                "forbid_labels = [\"te\"]",
                "forbid_labels = [\"te*\"]",
                "forbid_labels: it has `team`",
            ),
            (
                "forbid_labels = []\ntags = [\"*\"]",
                "forbid_labels = [\"org.*\"]",
                "it has `org.example.url`",
            ),
            (
                "platforms = [\"linux/arm64\"]",
                "platforms = [\"linux/amd64\"]",
                "`linux/arm64/v8` is none of `linux/amd64`",
            ),
            ("platforms = [\"linux/arm64/v8\"]", "platforms = [\"linux/arm64/v7\"]", "platforms: "),
            (
                &format!("base_layers = [\"{}\"]", digest(1)),
                &format!("base_layers = [\"{}\"]", digest(2)),
                "its first layer",
            ),
            (
                &format!("base_layers = [\"{}\"]", digest(0xa1)),
                &format!("base_layers = [\"{}\"]", digest(0xa2)),
                "base_layers: ",
            ),
            (
                &format!("forbidden_layers = [\"{}\"]", digest(7)),
                &format!("forbidden_layers = [\"{}\"]", digest(2)),
                "forbidden_layers: it has",
            ),
            (
                &format!("forbidden_layers = [\"{}\"]", digest(0)),
                &format!("forbidden_layers = [\"{}\"]", digest(0xa2)),
                "forbidden_layers: it has",
            ),
            ("max_age = \"1h\"", "max_age = \"1m\"", "it was made more than 1m ago"),
        ] {
            assert_eq!(said(met, &one), "", "{met}");
            let said = said(unmet, &one);
            assert!(said.contains(why) && said.lines().count() == 1, "{unmet}: {said}");
        }
    }

    #[test]
    fn what_nothing_says_is_not_met() {
        let bare = pushed(&json!({"config": {"digest": digest(0), "size": 1}}), Some(&json!({})));
        for (toml, why) in [
            ("platforms = [\"*/*\"]", "it says no platform"),
            ("max_age = \"999y\"", "it does not say when it was made"),
            ("require_labels = { a = \"*\" }", "neither label nor annotation"),
            (&format!("base_layers = [\"{}\"]", digest(1)), "no layers, and so no base"),
        ] {
            assert!(said(toml, &bare).contains(why), "{toml}: {}", said(toml, &bare));
            assert!(demands(toml).need_config(), "{toml}");
        }
        assert!(!demands("tags = [\"x\"]\nmax_size = \"1g\"\nmax_layers = 1").need_config());
    }

    #[test]
    fn several_reasons_are_told_at_once() {
        let toml = "tags = [\"w\"]\nmax_layers = 1\nrequire_labels = { a = \"*\", b = \"*\" }";
        assert_eq!(demands(toml).unmet(&image(), NOW).len(), 4);
    }

    #[test]
    fn an_index_is_judged_by_what_it_says_itself() {
        let amd = json!({"os": "linux", "architecture": "amd64"});
        let windows = json!({"os": "windows", "architecture": "amd64"});
        let platforms = "platforms = [\"linux/*\"]";
        assert_eq!(said(platforms, &index(&json!([amd, null]))), "");
        assert!(said(platforms, &index(&json!([amd, windows]))).contains("`windows/amd64`"));
        assert!(said("tags = [\"w\"]", &index(&json!([amd]))).contains("tags: "));
        for toml in ["require_labels = { a = \"*\" }", "max_age = \"1s\"", "max_layers = 1"] {
            assert_eq!(said(toml, &index(&json!([amd]))), "", "{toml}");
        }
    }

    #[test]
    fn what_is_pushed_by_its_digest_has_no_tag_to_judge() {
        let part = Pushed { tag: None, reference: digest(0xdd), ..image() };
        assert_eq!(said("tags = [\"w\"]", &part), "");
    }

    #[test]
    fn a_time_is_read_in_any_zone_and_the_future_is_no_age() {
        let at = |text: &str| since_1970(text);
        assert_eq!(at("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(at("1970-01-01T02:00:01+02:00"), Some(1000));
        assert_eq!(at("1970-01-01T00:00:00-00:30"), Some(1_800_000));
        for bad in [
            "",
            "x",
            "0001-01-01T00:00:00Z",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "üüüüüü",
            "+ü:00",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
        let config = json!({"created": "2027-01-15T08:30:00Z"});
        let one = pushed(&json!({"config": {"digest": digest(0), "size": 1}}), Some(&config));
        assert!(said("max_age = \"1d\"", &one).contains("in the future"));
    }

    proptest! {
        #[test]
        fn no_time_panics(text in "\\PC{0,40}") {
            let _ = since_1970(&text);
        }

        #[test]
        fn a_size_is_met_exactly_up_to_its_bound(most in 0_u64..5000) {
            let toml = format!("max_size = \"{most}\"");
            prop_assert_eq!(said(&toml, &image()).is_empty(), 3048 <= most);
        }
    }
}
