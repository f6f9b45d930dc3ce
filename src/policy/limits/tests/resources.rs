//! Memory, swap, CPUs, processes, shared memory, weight, ulimits, tmpfs.

use super::*;

const G: i64 = 1 << 30;

#[test]
fn memory_is_filled_in_and_capped_and_swap_with_it() {
    let max = "max = { memory = \"8g\" }";
    let both = "default = { memory = \"2g\" }\nmax = { memory = \"8g\" }";
    let no_swap = "max = { memory = \"8g\", swap = 0 }";
    let forced = "force = { memory = \"1g\", swap = \"512m\" }";
    all(
        &[
            (max, json!({}), Ok(json!({"Memory": 8 * G, "MemorySwap": 16 * G}))),
            (max, json!({"Memory": null}), Ok(json!({"Memory": 8 * G, "MemorySwap": 16 * G}))),
            (both, json!({"Memory": 0}), Ok(json!({"Memory": 2 * G, "MemorySwap": 4 * G}))),
            (both, json!({"Memory": 8 * G}), Ok(json!({"Memory": 8 * G, "MemorySwap": 16 * G}))),
            (
                max,
                json!({"Memory": 16 * G}),
                Err(
                    "dockgate: HostConfig.Memory: must be at most 8g, asked 16g (rule limits.memory)",
                ),
            ),
            (
                max,
                json!({"Memory": -1}),
                Err("HostConfig.Memory: must be at most 8g, asked no limit"),
            ),
            (max, json!({"Memory": u64::MAX}), Err("must be a number that fits 64 bits")),
            (
                max,
                json!({"MemorySwap": -1}),
                Err("HostConfig.MemorySwap: must be at most 8g, asked no"),
            ),
            (
                max,
                json!({"Memory": G, "MemorySwap": 10 * G}),
                Err("must be at most 8g, asked 9g beyond memory (rule limits.swap)"),
            ),
            (max, json!({"Memory": G, "MemorySwap": i64::MAX}), Err("rule limits.swap")),
            (
                max,
                json!({"Memory": G, "MemorySwap": 9 * G}),
                Ok(json!({"Memory": G, "MemorySwap": 9 * G})),
            ),
            (no_swap, json!({"Memory": G}), Ok(json!({"Memory": G, "MemorySwap": G}))),
            (
                no_swap,
                json!({"Memory": G, "MemorySwap": 2 * G}),
                Err("must be at most 0, asked 1g beyond"),
            ),
            (forced, json!({"Memory": 9 * G}), Ok(json!({"Memory": G, "MemorySwap": 3 * G / 2}))),
            (forced, json!({"MemorySwap": -1}), Ok(json!({"MemorySwap": 3 * G / 2, "Memory": G}))),
        ],
        host,
    );
}

#[test]
fn an_update_stays_within_the_caps_and_names_swap_only_with_memory() {
    let max = "max = { memory = \"8g\", pids = 100, cpus = 2, blkio_weight = 600 }";
    let force = "force = { memory = \"1g\", pids = 5, cpus = 1, restart = \"no\" }";
    all(
        &[
            (max, json!({}), Ok(json!({}))),
            (max, json!({"Memory": 2 * G}), Ok(json!({"Memory": 2 * G, "MemorySwap": 4 * G}))),
            (max, json!({"Memory": 9 * G}), Err("Memory: must be at most 8g, asked 9g")),
            (max, json!({"Memory": -1}), Err("rule limits.memory")),
            (max, json!({"MemorySwap": -1}), Err("MemorySwap: must come with `Memory`")),
            (max, json!({"MemorySwap": G}), Err("MemorySwap: must come with `Memory`")),
            (max, json!({"Memory": G, "MemorySwap": -1}), Err("rule limits.swap")),
            (max, json!({"PidsLimit": 0}), Err("PidsLimit: must be at most 100, asked no limit")),
            (max, json!({"PidsLimit": -1}), Err("rule limits.pids")),
            (max, json!({"PidsLimit": 101}), Err("asked 101")),
            (max, json!({"PidsLimit": null}), Ok(json!({"PidsLimit": null}))),
            (max, json!({"BlkioWeight": 700}), Err("rule limits.blkio-weight")),
            (
                max,
                json!({"BlkioWeightDevice": [null, {"Path": "/dev/sda", "Weight": 700}]}),
                Err("BlkioWeightDevice.1.Weight: must be at most 600"),
            ),
            (max, json!({"CpuQuota": -1}), Err("CpuQuota: must be at most 2, asked no limit")),
            (max, json!({"CpuPeriod": 1000}), Err("CpuPeriod: must come with `CpuQuota`")),
            (
                max,
                json!({"CpuQuota": 200_000}),
                Ok(json!({"CpuQuota": 200_000, "CpuPeriod": 100_000})),
            ),
            (max, json!({"CpuQuota": 200_001}), Err("rule limits.cpus")),
            // As the container says it: dockerd refuses `NanoCpus` where there is a quota.
            (
                max,
                json!({"NanoCpus": 1_500_000_000}),
                Ok(json!({"NanoCpus": 0, "CpuPeriod": 100_000, "CpuQuota": 150_000})),
            ),
            (max, json!({"NanoCpus": 3_000_000_000i64}), Err("rule limits.cpus")),
            (force, json!({"Memory": 2 * G}), Err("Memory: must stay at 1g")),
            (force, json!({"PidsLimit": 0}), Err("PidsLimit: must stay at 5")),
            (force, json!({"CpuQuota": 50_000}), Err("must stay at 1")),
            (force, json!({"CpuPeriod": 5000}), Err("must stay at 1")),
            (force, json!({"NanoCpus": 2_000_000_000}), Err("must stay at 1")),
            (force, json!({"RestartPolicy": {"Name": "always"}}), Err("must stay `no`")),
            (
                force,
                json!({"RestartPolicy": {"Name": "no"}, "CpuShares": 5}),
                Ok(json!({"RestartPolicy": {"Name": "no"}, "CpuShares": 5})),
            ),
        ],
        update,
    );
}

#[test]
fn cpus_are_capped_in_both_spellings() {
    let max = "max = { cpus = 1.5 }";
    let quota = |quota: i64| Ok(json!({"NanoCpus": 0, "CpuPeriod": 100_000, "CpuQuota": quota}));
    all(
        &[
            (max, json!({}), quota(150_000)),
            ("default = { cpus = \"0.5\" }\nmax = { cpus = 4 }", json!({}), quota(50_000)),
            (max, json!({"NanoCpus": 1_500_000_000}), Ok(json!({"NanoCpus": 1_500_000_000}))),
            (max, json!({"NanoCpus": 1_500_000_001}), Err("at most 1.5, asked 1.500000001")),
            (max, json!({"NanoCpus": -1}), Err("asked no limit")),
            (max, json!({"CpuQuota": -1}), Err("CpuQuota: must be at most 1.5, asked no limit")),
            (max, json!({"CpuQuota": 15_001, "CpuPeriod": 10_000}), Err("15001 of every 10000 µs")),
            (
                max,
                json!({"CpuQuota": 15_000, "CpuPeriod": 10_000}),
                Ok(json!({"CpuQuota": 15_000, "CpuPeriod": 10_000})),
            ),
            (
                max,
                json!({"CpuQuota": i64::MAX, "CpuPeriod": i64::MAX, "NanoCpus": i64::MAX}),
                Err("rule limits.cpus"),
            ),
            (max, json!({"CpuQuota": i64::MAX, "CpuPeriod": -1}), Err("must not be negative")),
            (
                max,
                json!({"CpuPeriod": 50_000}),
                Ok(json!({"CpuPeriod": 50_000, "NanoCpus": 0, "CpuQuota": 75_000})),
            ),
            (max, json!({"CpuRealtimeRuntime": 1000}), Err("CpuRealtimeRuntime: must be 0")),
            ("force = { cpus = 2 }", json!({"NanoCpus": 9_000_000_000i64}), quota(200_000)),
        ],
        host,
    );
}

#[test]
fn pids_shm_and_weight_are_capped_and_zero_is_not_no_limit() {
    let pids = "default = { pids = 50 }\nmax = { pids = 100 }";
    let lower = "default = { pids = 500 }\n[policy.p.users.bob]\nmax = { pids = 100 }";
    all(
        &[
            (pids, json!({}), Ok(json!({"PidsLimit": 50}))),
            (pids, json!({"PidsLimit": 0}), Ok(json!({"PidsLimit": 50}))),
            (pids, json!({"PidsLimit": null}), Ok(json!({"PidsLimit": 50}))),
            (pids, json!({"PidsLimit": -1}), Err("HostConfig.PidsLimit: must be at most 100")),
            (pids, json!({"PidsLimit": 101}), Err("asked 101 (rule limits.pids)")),
            (lower, json!({}), Ok(json!({"PidsLimit": 100}))),
            ("force = { pids = 7 }", json!({"PidsLimit": -1}), Ok(json!({"PidsLimit": 7}))),
            ("max = { shm = \"1g\" }", json!({}), Ok(json!({"ShmSize": 64 << 20}))),
            ("max = { shm = \"32m\" }", json!({"ShmSize": 0}), Ok(json!({"ShmSize": 32 << 20}))),
            (
                "max = { shm = \"32m\" }",
                json!({"ShmSize": 64 << 20}),
                Err("at most 32m, asked 64m"),
            ),
            ("default = { shm = \"1g\" }", json!({}), Ok(json!({"ShmSize": G}))),
            ("max = { blkio_weight = 800 }", json!({}), Ok(json!({}))),
            ("max = { blkio_weight = 300 }", json!({}), Ok(json!({"BlkioWeight": 300}))),
            ("max = { blkio_weight = 300 }", json!({"BlkioWeight": 301}), Err("at most 300")),
        ],
        host,
    );
}

#[test]
fn ulimits_are_capped_by_name_however_it_is_spelt() {
    let max = "max = { ulimits = { nofile = 1024, core = 0, memlock = -1 } }";
    let one = |name: &str, soft: i64, hard: i64| json!({"Name": name, "Soft": soft, "Hard": hard});
    let list = |list: Vec<Json>| json!({ "Ulimits": list });
    let caps = [one("core", 0, 0), one("nofile", 1024, 1024)];
    let forced = "force = { ulimits = { nofile = \"10:20\" } }";
    let default = "default = { ulimits = { nofile = 4096 } }\n[policy.p.users.bob]\n\
                   max = { ulimits = { nofile = 1024 } }";
    all(
        &[
            (max, json!({}), Ok(list(caps.to_vec()))),
            (
                max,
                list(vec![one("NoFile", 10, 10)]),
                Ok(list(vec![one("NoFile", 10, 10), one("core", 0, 0)])),
            ),
            (
                max,
                list(vec![one("NOFILE", 10, 1025)]),
                Err(
                    "HostConfig.Ulimits.0.Hard: `nofile` must be at most 1024, asked 1025 (rule limits.ulimits)",
                ),
            ),
            (max, list(vec![one("nofile", -1, -1)]), Err("asked no limit")),
            (
                max,
                list(vec![one("nofile", 1, 1), one("nofile", 9999, 9999)]),
                Err("Ulimits.1.Soft"),
            ),
            (max, list(vec![one("no\u{17f}file", 1, 1)]), Err("must have a name of ASCII letters")),
            (max, list(vec![Json::Null]), Err("must have a name")),
            (
                max,
                json!({"Ulimits": [{"Name": "nofile", "Hard": u64::MAX}]}),
                Err("asked no limit"),
            ),
            (
                max,
                list(vec![one("memlock", -1, -1), caps[0].clone(), caps[1].clone()]),
                Ok(list(vec![one("memlock", -1, -1), caps[0].clone(), caps[1].clone()])),
            ),
            (
                forced,
                list(vec![one("NOFILE", 9, 9), one("nproc", 1, 1)]),
                Ok(list(vec![one("nproc", 1, 1), one("nofile", 10, 20)])),
            ),
            (default, json!({}), Ok(list(vec![one("nofile", 1024, 1024)]))),
        ],
        host,
    );
}

#[test]
fn a_tmpfs_has_a_size_whatever_it_is_mounted_by() {
    let max = "max = { tmpfs = \"64m\" }";
    let tmpfs = |options: &str| json!({"Tmpfs": {"/t": options}});
    let mount = |options: Json| json!({"Mounts": [{"Type": "tmpfs", "TmpfsOptions": options}]});
    let driver = |options: Json| json!({"Mounts": [{"Type": "volume", "VolumeOptions": {"DriverConfig": {"Options": options}}}]});
    let ok = Ok::<Json, &str>;
    all(
        &[
            (max, tmpfs(""), ok(tmpfs("size=67108864"))),
            (max, tmpfs("exec,mode=755"), ok(tmpfs("exec,mode=755,size=67108864"))),
            (max, tmpfs("size=1m,rw"), ok(tmpfs("rw,size=1048576"))),
            (max, tmpfs("size=65M"), Err("HostConfig.Tmpfs./t: must be at most 64m, asked 65m")),
            (max, tmpfs("size=1m,size=1g"), Err("asked 1g (rule limits.tmpfs)")),
            (max, tmpfs("size=0"), Err("asked no limit")),
            (max, tmpfs("size=50%"), Err("says a size that dockgate does not take")),
            (max, tmpfs("size=0x7fffffff"), Err("does not take")),
            (max, tmpfs("size=0100"), Err("does not take")),
            (max, tmpfs("size"), Err("does not take")),
            (max, tmpfs(" SIZE=1"), Err("does not take")),
            (max, tmpfs("nr_blocks=0"), Err("does not take")),
            (max, json!({"Tmpfs": {"/t": null}}), ok(tmpfs("size=67108864"))),
            (
                "force = { tmpfs = \"1m\" }",
                tmpfs("size=9g,nr_blocks=0,rw"),
                ok(tmpfs("rw,size=1048576")),
            ),
            ("default = { tmpfs = \"1m\" }", tmpfs("rw"), ok(tmpfs("rw,size=1048576"))),
            ("default = { tmpfs = \"1m\" }", tmpfs("size=50%"), ok(tmpfs("size=50%"))),
            (max, mount(Json::Null), ok(mount(json!({"SizeBytes": 64 << 20})))),
            (max, mount(json!({"SizeBytes": 0})), ok(mount(json!({"SizeBytes": 64 << 20})))),
            (
                max,
                mount(json!({"SizeBytes": 65 << 20})),
                Err("Mounts.0.TmpfsOptions.SizeBytes: must be"),
            ),
            (max, mount(json!({"SizeBytes": -1})), Err("asked no limit")),
            (max, mount(json!({"Options": [["size", "9g"]]})), Err("does not take")),
            (
                max,
                json!({"Mounts": [null, {"Type": "volume"}]}),
                ok(json!({"Mounts": [null, {"Type": "volume"}]})),
            ),
            (
                max,
                driver(json!({"type": "tmpfs", "device": "tmpfs"})),
                ok(driver(json!({"type": "tmpfs", "device": "tmpfs", "o": "size=67108864"}))),
            ),
            (max, driver(json!({"type": "tmpfs", "o": "size=1g"})), Err("rule limits.tmpfs")),
            (max, driver(json!({"type": "ramfs"})), Err("`ramfs` says a size")),
            (
                max,
                driver(json!({"type": "nfs", "o": "size=1g"})),
                ok(driver(json!({"type": "nfs", "o": "size=1g"}))),
            ),
        ],
        host,
    );
    let volume = |options: &str| {
        let body_ =
            format!(r#"{{"Driver":"local","DriverOpts":{{"type":"tmpfs","o":"{options}"}}}}"#);
        request(max, "POST /volumes/create", &body_)
            .map(|request| body(&request)["DriverOpts"]["o"].clone())
    };
    assert_eq!(volume("uid=1"), Ok("uid=1,size=67108864".into()));
    assert!(
        volume("size=1g").unwrap_err().starts_with("dockgate: DriverOpts.o: must be at most 64m")
    );
}

#[test]
fn a_build_has_the_limits_of_a_container() {
    let max =
        "max = { memory = \"1g\", cpus = 2, shm = \"32m\", ulimits = { nofile = 10 }, pids = 5 }";
    let filled = [
        "t=x",
        "memory=1073741824",
        "memswap=2147483648",
        "cpuperiod=100000",
        "cpuquota=200000",
        "shmsize=33554432",
        r#"ulimits=[{"Name":"nofile","Soft":10,"Hard":10}]"#,
    ];
    assert_eq!(build(max, "t=x").unwrap(), filled);
    let zero = "t=x&memory=0&memswap=0&cpuquota=0&cpuperiod=&shmsize=0&ulimits=";
    let mut sorted = build(max, zero).unwrap();
    sorted.sort();
    let mut wanted = filled.map(str::to_owned);
    wanted.sort();
    assert_eq!(sorted, wanted, "what the CLI always sends");
    for (query, wanted) in [
        ("memory=2147483648", "?memory: must be at most 1g, asked 2g (rule limits.memory)"),
        // dockerd would take it for 0.
        ("memory=8g", "?memory: must be a number"),
        ("memswap=-1", "?memswap: must be at most 1g, asked no limit"),
        ("cpuquota=-1", "rule limits.cpus"),
        ("cpuquota=300000", "300000 of every 100000 µs"),
        ("cpuquota=100000&cpuperiod=1000", "rule limits.cpus"),
        ("shmsize=67108864", "?shmsize: must be at most 32m, asked 64m"),
        ("ulimits=[{\"name\":\"nofile\",\"Hard\":11}]", "?ulimits.0.Hard: `nofile` must be"),
    ] {
        let told = build(max, query).unwrap_err();
        assert!(told.contains(wanted), "{query}: {told}");
    }
}
