//! Whatever body is let through stays within the caps, by every spelling.

use super::*;

const RULES: &str = "default = { memory = \"6m\" }\nmax = { memory = \"1g\", cpus = 1.5, pids = 64, \
                     shm = \"32m\", tmpfs = \"16m\", ulimits = { nofile = 512 }, \
                     restart = [\"on-failure:3\"], log = { max-size = \"1m\", max-file = 2 } }";
const G: i64 = 1 << 30;

/// Numbers about where limits lie, and everywhere else.
fn number() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        (-2i64..3).prop_map(Json::from),
        (1i64..500_000).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (0i64..4).prop_map(|n| Json::from(n * G)),
        (0i64..5).prop_map(|n| Json::from(n * 500_000_000)),
    ]
}

fn options() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "size=[0-9]{1,9}[kmgKMG%x]?",
        "nr_blocks=[0-9]{1,3}",
        Just("rw".to_owned()),
        "[a-z=,]{0,8}",
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| parts.join(","))
}

fn wild() -> impl Strategy<Value = Json> {
    let ulimit = ("(nofile|NOFILE|NoFile|core)", number(), number())
        .prop_map(|(name, soft, hard)| json!({"Name": name, "Soft": soft, "Hard": hard}));
    let numbers = proptest::collection::vec(number(), 8);
    (
        numbers,
        options(),
        proptest::collection::vec(ulimit, 0..3),
        "(|no|always|on-failure)",
        "-?[0-9]{1,3}[km]?",
    )
        .prop_map(|(n, tmpfs, ulimits, restart, log)| {
            json!({
                "Memory": n[0], "MemorySwap": n[1], "NanoCpus": n[2], "CpuQuota": n[3],
                "CpuPeriod": n[4], "PidsLimit": n[5], "ShmSize": n[6], "Tmpfs": {"/t": tmpfs},
                "Mounts": [{"Type": "tmpfs", "TmpfsOptions": {"SizeBytes": n[7]}}],
                "Ulimits": ulimits, "RestartPolicy": {"Name": restart, "MaximumRetryCount": n[5]},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": log}},
            })
        })
}

/// As the engine and the kernel would read it.
fn is_bounded(host: &Json) -> bool {
    let number = |key: &str| host[key].as_i64().unwrap_or(0);
    let (memory, total) = (number("Memory"), number("MemorySwap"));
    let period = match number("CpuPeriod") {
        0 => 100_000,
        period => period,
    };
    let cpus = match (number("NanoCpus"), number("CpuQuota")) {
        (0, quota) => quota > 0 && period > 0 && i128::from(quota) * 2 <= i128::from(period) * 3,
        (nano, quota) => {
            0 < nano
                && nano <= 1_500_000_000
                && (quota == 0 || (quota > 0 && i128::from(quota) * 2 <= i128::from(period) * 3))
        }
    };
    let tmpfs = host["Tmpfs"]["/t"].as_str().unwrap();
    let sizes: Vec<&str> = tmpfs.split(',').filter(|part| part.contains("size")).collect();
    let mut size = sizes.iter().filter_map(|part| part.strip_prefix("size=")?.parse::<i64>().ok());
    let ulimits = host["Ulimits"].as_array().unwrap();
    let nofile = |one: &&Json| one["Name"].as_str().unwrap().eq_ignore_ascii_case("nofile");
    let in_bound =
        |value: &Json| value.is_null() || value.as_i64().is_some_and(|n| (0..=512).contains(&n));
    let restart = host["RestartPolicy"]["Name"].as_str().unwrap();
    let log =
        crate::config::units::bytes(host["LogConfig"]["Config"]["max-size"].as_str().unwrap());
    0 < memory
        && memory <= G
        && total > 0
        && total - memory <= G
        && cpus
        && (1..=64).contains(&number("PidsLimit"))
        && (1..=32 << 20).contains(&number("ShmSize"))
        && !tmpfs.contains("nr_blocks")
        && sizes.len() == 1
        && size.next().is_some_and(|size| (1..=16 << 20).contains(&size))
        && (1..=16 << 20)
            .contains(&host["Mounts"][0]["TmpfsOptions"]["SizeBytes"].as_i64().unwrap())
        && ulimits.iter().any(|one| nofile(&one))
        && ulimits.iter().filter(nofile).all(|one| in_bound(&one["Soft"]) && in_bound(&one["Hard"]))
        && (restart != "on-failure"
            || (1..=3).contains(&host["RestartPolicy"]["MaximumRetryCount"].as_i64().unwrap()))
        && restart != "always"
        && log.is_some_and(|log| (1..=1 << 20).contains(&log))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_passes_a_create_is_within_every_cap(asked in wild()) {
        if let Ok(got) = host(RULES, asked.clone()) {
            prop_assert!(is_bounded(&got), "{asked}\n{got}");
        }
    }

    /// Each field alone, so that most cases pass.
    #[test]
    fn one_wild_field_alone_is_capped_too(asked in wild(), which in 0usize..12) {
        let mut calm = json!({"Tmpfs": {"/t": ""}, "Mounts": [{"Type": "tmpfs"}], "Ulimits": [],
            "RestartPolicy": {"Name": "no"}, "LogConfig": {"Type": "local"}});
        let (key, value) = asked.as_object().unwrap().iter().nth(which).unwrap();
        calm[key] = value.clone();
        if let Ok(got) = host(RULES, calm) {
            prop_assert!(is_bounded(&got), "{key} {value}\n{got}");
        }
    }

    #[test]
    fn no_update_lifts_a_limit(memory in number(), total in number(), pids in number(), quota in number(), period in number()) {
        let asked = json!({"Memory": memory, "MemorySwap": total, "PidsLimit": pids,
            "CpuQuota": quota, "CpuPeriod": period});
        if let Ok(got) = update(RULES, asked) {
            let number = |key: &str| got[key].as_i64().unwrap_or(0);
            prop_assert!((0..=G).contains(&number("Memory")), "{got}");
            // (Less in all than of memory is refused by the engine.)
            prop_assert!(number("MemorySwap") - number("Memory") <= G, "{got}");
            prop_assert!(number("MemorySwap") >= 0, "{got}");
            prop_assert!(got["PidsLimit"].is_null() || (1..=64).contains(&number("PidsLimit")), "{got}");
            let (quota, period) = (i128::from(number("CpuQuota")), i128::from(number("CpuPeriod")));
            prop_assert!(quota >= 0 && quota * 2 <= period * 3 && (quota > 0) == (period > 0), "{got}");
        }
    }

    #[test]
    fn no_build_panics(query in "(memory|memswap|cpuquota|cpuperiod|shmsize|ulimits|labels)=[-0-9a-z\\[\\]{}\":]{0,24}") {
        let _ = build(RULES, &query);
    }
}
