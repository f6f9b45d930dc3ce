//! `kind = "limits"`: what is read, and what is said about what is wrong.

use super::*;

fn limits(rules: &str) -> Result<LimitsPolicy, String> {
    let text = format!(
        "[[listener]]\nname = \"a\"\nurl = \"unix:///x\"\npolicies = [\"p\"]\n[policy.p]\nkind = \"limits\"\n{rules}"
    );
    let config = read(&text)?;
    let PolicyKind::Limits(limits) = &config.listeners[0].policies[0].kind else {
        panic!("another policy")
    };
    Ok(*limits.clone())
}

#[test]
fn values_are_read_in_the_units_of_people() {
    let limits = limits(
        r#"
        force   = { labels = { "io.dockgate.listener" = "{listener}" }, cgroup_parent = "/ci" }
        default = { memory = "2g", pids = 2048, ulimits = { nofile = "1024:2048" } }
        max     = { memory = "8g", cpus = 1.5, shm = 1024, ulimits = { core = 0 }, log = { max-size = "10m" } }
        [policy.p.users.bob]
        max = { builds = 0, memory = "16g", cpus = "4", restart = ["on-failure:3"] }
        [policy.p.groups.zebra]
        max = { pids = 1 }
        [policy.p.groups.ant.max]
        pids = 2
        "#,
    )
    .unwrap();
    let size = |caps: &Caps, size| caps.sizes.get(&size).copied();
    let general = &limits.general;
    assert_eq!(size(&general.max, Size::Memory), Some(8 << 30));
    assert_eq!(size(&general.max, Size::Cpus), Some(1_500_000_000));
    assert_eq!(size(&general.max, Size::Shm), Some(1024));
    assert_eq!(general.default.sizes[&Size::Memory], 2 << 30);
    assert_eq!(general.default.ulimits["nofile"], Ulimit { soft: 1024, hard: 2048 });
    assert_eq!(general.max.log_size, Some(10 << 20));
    let label = &general.force.labels["io.dockgate.listener"];
    assert_eq!(label.pieces(), [TemplatePart::Listener]);
    let bob = &limits.users["bob"].max;
    assert_eq!(size(bob, Size::Cpus), Some(4_000_000_000));
    assert_eq!(bob.restart.as_deref(), Some(&[Restart::parse("on-failure:3").unwrap()][..]));
    assert_eq!((general.max.builds, bob.builds), (None, Some(0)));
    let groups: Vec<&str> = limits.groups.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(groups, ["zebra", "ant"], "in the order of the file");
}

/// The rules begin in line 7.
#[test]
fn every_complaint_about_limits_says_where() {
    for (rules, wanted) in [
        ("max = { memory = \"8 g\" }", "dockgate.toml:7:18: not a size"),
        ("max = { memory = \"1m\" }", "dockgate.toml:7:18: must be at least 6m"),
        ("max = { shm = 0 }", "dockgate.toml:7:15: must be at least 1"),
        ("max = { memory = true }", "dockgate.toml:7:18: not a size"),
        ("max = { cpus = 0 }", "dockgate.toml:7:16: not a number of CPUs"),
        ("max = { cpus = -1.5 }", "dockgate.toml:7:16: not a number of CPUs"),
        ("max = { cpus = nan }", "dockgate.toml:7:16: not a number of CPUs"),
        ("max = { pids = -1 }", "dockgate.toml:7:16: not such a number"),
        ("max = { pids = \"9\" }", "dockgate.toml:7:16: not such a number"),
        ("max = { builds = -1 }", "dockgate.toml:7:18: not such a number"),
        ("default = { builds = 1 }", "unknown field `builds`"),
        ("max = { blkio_weight = 5 }", "10 to 1000"),
        ("max = { frob = 1 }", "dockgate.toml:7:9: unknown field `frob`"),
        ("max = { labels = { a = \"b\" } }", "dockgate.toml:7:9: unknown field `labels`"),
        ("force = { frob = 1 }", "dockgate.toml:7:11: unknown field `frob`"),
        ("force = 1", "dockgate.toml:7:9: invalid type"),
        ("force = { user = \"\" }", "dockgate.toml:7:18: must not be empty"),
        ("force = { env = { \"a=b\" = \"\" } }", "a name is not empty and holds no `=`"),
        (
            "force = { cgroup_parent = \"{frob}\" }",
            "dockgate.toml:7:27: `{frob}` stands for nothing",
        ),
        ("force = { user = \"${NOPE}\" }", "environment variable `NOPE` is not set"),
        (
            "force = { memory = \"2g\" }\nmax = { memory = \"1g\" }",
            "dockgate.toml:7:20: above the `max` beside it, 1g",
        ),
        (
            "default = { ulimits = { nofile = 9 } }\nmax = { ulimits = { nofile = 8 } }",
            "dockgate.toml:7:34: above the `max`",
        ),
        ("default = { ulimits = { nofile = \"9:8\" } }", "dockgate.toml:7:34: not a ulimit"),
        ("default = { ulimits = { NoFile = 1 } }", "not the name of a ulimit"),
        (
            "default = { restart = \"sometimes\" }",
            "dockgate.toml:7:23: `sometimes` is not a restart policy",
        ),
        (
            "default = { restart = \"always\" }\nmax = { restart = [\"no\"] }",
            "not among those in `max`",
        ),
        (
            "default = { log = { driver = \"local\", options = { max-size = \"9m\" } } }\nmax = { log = { max-size = \"8m\" } }",
            "above the `max`",
        ),
        ("default = { log = { options = {} } }", "missing field `driver`"),
        ("max = { log = { max-file = 3 } }", "`max-file` without `max-size`"),
        ("max = { swap = \"1g\" }", "dockgate.toml:7:16: `swap` without a limit of `memory`"),
        ("rules = \"x\"", "dockgate.toml:7:9: `rules` is not a key of `kind = \"limits\"`"),
        ("[policy.p.users.bob]\nmin = {}", "dockgate.toml:8:1: unknown field `min`"),
        ("[policy.p.groups.g.max]\nmemory = \"x\"", "dockgate.toml:8:10: not a size"),
        (
            "[policy.q]\nkind = \"conservative\"\nmax = {}",
            "`max` is not a key of `kind = \"conservative\"`",
        ),
    ] {
        let error = limits(rules).expect_err(rules);
        assert!(error.contains(wanted), "{rules}\n{error}");
        assert!(error.starts_with("dockgate.toml:"), "{error}");
    }
    let swap = "max = { memory = \"1g\" }\n[policy.p.users.bob]\nmax = { swap = 0 }";
    assert!(limits(swap).is_ok(), "the general rules limit memory");
    let none = read("[[listener]]\nname = \"a\"\nurl = \"unix:///x\"\npolicies = [\"limits\"]");
    assert!(none.unwrap_err().contains("policy `limits` needs its own section"));
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let text = include_str!("../../../docs/policies/limits.md");
    let examples: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(example, _)| example))
        .collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let config = read(example).unwrap_or_else(|wrong| panic!("{example}\n{wrong}"));
        let kinds: Vec<bool> = config.listeners[0]
            .policies
            .iter()
            .map(|policy| matches!(policy.kind, PolicyKind::Limits(_)))
            .collect();
        assert_eq!(kinds, [false, true]);
    }
}
