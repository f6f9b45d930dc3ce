//! What an allowed call is changed to.

use super::*;
use crate::config::{AllowedBind, Place, Ports};

fn sent(
    settings: &config::Conservative,
    around: &Surroundings,
    body: &str,
) -> Result<String, String> {
    let knows = |question: &Question| match question {
        Question::HostPath(path) if path.starts_with("/srv/cc/gone") => Fact::Absent,
        Question::HostPath(path) if path.starts_with("/srv/cc/link") => Fact::Path("/etc".into()),
        Question::HostPath(path) if path.starts_with("/srv/cc/out") => Fact::Path("/srv/x".into()),
        Question::HostPath(path) if path.starts_with("/srv/cc/alias") => {
            Fact::Path(path.to_string_lossy().replace("alias", "real").into())
        }
        Question::HostPath(path) if path.starts_with("/etc/shadow") => {
            panic!("nobody may learn whether it is there")
        }
        Question::HostPath(path) => Fact::Path(path.clone()),
        Question::MountsBelow(_) => Fact::Paths(Vec::new()),
        _ => Fact::Absent,
    };
    match judge(&chain(settings, around), "POST /containers/create", body, &knows) {
        Verdict::Allowed(bytes) => {
            let text = String::from_utf8(bytes).unwrap();
            Ok(text.split_once("\r\n\r\n").unwrap().1.to_owned())
        }
        Verdict::Denied(_, reasons) => Err(reasons[0].message()),
        Verdict::Malformed(why) => panic!("{why}"),
        other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
            panic!("{other:?}")
        }
    }
}

fn with(settings: &config::Conservative, body: &str) -> Result<String, String> {
    sent(settings, &Surroundings::default(), body)
}

#[test]
fn what_the_client_left_open_gets_the_safe_value() {
    let settings = config::Conservative { no_new_privileges: true, ..Default::default() };
    let got = with(&settings, r#"{"Image":"x"}"#).unwrap();
    let wanted = r#"{"Image":"x","HostConfig":{"IpcMode":"private","CgroupnsMode":"private","SecurityOpt":["no-new-privileges"]}}"#;
    assert_eq!(got, wanted);
    let asked = r#"{"Image":"x","HostConfig":{"IpcMode":"none","CgroupnsMode":"private","SecurityOpt":["no-new-privileges=true"]}}"#;
    assert_eq!(with(&settings, asked).unwrap(), asked);
}

#[test]
fn on_failure_without_a_number_gets_one_and_what_the_engine_fills_in_is_dropped() {
    let body = r#"{"Image":"x","HostConfig":{"IpcMode":"none","CgroupnsMode":"private","RestartPolicy":{"Name":"on-failure","MaximumRetryCount":0}},"NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["a"],"IPAddress":"172.17.0.9"}}}}"#;
    let got = with(&config::Conservative::default(), body).unwrap();
    let wanted =
        body.replace("Count\":0", "Count\":100").replace(r#","IPAddress":"172.17.0.9""#, "");
    assert_eq!(got, wanted);
}

fn given() -> (config::Conservative, Surroundings) {
    let bind =
        |host: &str, writable| AllowedBind { host: host.into(), writable, place: Place::default() };
    let binds = vec![bind("/srv/cc", false), bind("/srv/work", true)];
    let settings =
        config::Conservative { binds, ports: Ports::Between(20_000, 20_010), ..Default::default() };
    let forbidden = vec!["/run/docker.sock".into(), "/etc".into()];
    (
        settings,
        Surroundings {
            shares_host: true,
            forbidden,
            own_socket: Some("/run/g/own.sock".into()),
            ..Default::default()
        },
    )
}

#[test]
fn a_path_that_was_given_away_may_be_mounted_and_where_it_leads_is_what_is_sent() {
    let (settings, around) = given();
    let bind = |bind: &str| {
        let body = format!(
            r#"{{"HostConfig":{{"Binds":["{bind}"],"IpcMode":"none","CgroupnsMode":"private"}}}}"#
        );
        sent(&settings, &around, &body)
    };
    // Of an engine that says nothing of its kernel nothing is forced.
    assert!(bind("/srv/cc:/c:ro").unwrap().contains(r#""/srv/cc:/c:ro""#));
    assert!(bind("/srv/work:/w").is_ok());
    assert!(
        bind("/srv/cc/alias:/c:ro").unwrap().contains(r#""/srv/cc/real:/c:ro""#),
        "where it leads"
    );
    assert!(bind("/srv/work:/w:rw,z").unwrap().contains(r#""/srv/work:/w:rw""#), "no relabelling");
    for (bad, why) in [
        ("/srv/cc:/c", "mount it `ro`"),
        ("/srv/cc:/c:rw", "mount it `ro`"),
        ("/srv/cc:/c:ro,rshared", "`rshared` is not for a path of the host"),
        ("/srv/cc/../work:/c:ro", "without `..`"),
        ("/srv/work/x:/c", "containers can write below `/srv/work`"),
        ("/srv/cc/link:/c:ro", "`/etc` is never given to a container"),
        ("/srv/cc/out:/c:ro", "must not name a path of the host"),
        ("/etc/shadow:/c:ro", "must not name a path of the host"),
        ("/srv/cc/gone:/c:ro", "there is no such path"),
        ("/srv/ccache:/c:ro", "must not name a path of the host"),
        ("/:/c:ro", "must not name a path of the host"),
    ] {
        let said = bind(bad).unwrap_err();
        assert!(said.contains(why), "{bad}: {said}");
    }
    let mount = |json: &str| {
        let body = format!(r#"{{"HostConfig":{{"Mounts":[{json}]}}}}"#);
        sent(&settings, &around, &body)
    };
    let alias = mount(r#"{"Type":"bind","Source":"/srv/cc/alias","Target":"/c","ReadOnly":true}"#);
    assert!(alias.unwrap().contains(r#""Source":"/srv/cc/real""#));
    for bad in [
        r#"{"Type":"bind","Source":"/srv/cc","Target":"/c"}"#,
        r#"{"Type":"bind","Source":"/srv/cc","Target":"/c","ReadOnly":true,"BindOptions":{"Propagation":"rshared"}}"#,
        r#"{"Type":"bind","Source":"/srv/work","Target":"/c","BindOptions":{"CreateMountpoint":true}}"#,
        r#"{"Type":"bind","Source":"/srv/cc","Target":"/c","ReadOnly":true,"BindOptions":{"ReadOnlyNonRecursive":true}}"#,
    ] {
        assert!(mount(bad).is_err(), "{bad}");
    }
    let groups = r#"{"HostConfig":{"Binds":["/srv/cc:/c:ro"],"GroupAdd":["0"]}}"#;
    assert!(sent(&settings, &around, groups).unwrap_err().contains("container.group-add"));
    assert!(
        with(&settings, r#"{"HostConfig":{"GroupAdd":["1000"]}}"#).is_ok(),
        "without a path of the host"
    );
}

#[test]
fn ports_are_those_of_the_configuration() {
    let (settings, _) = given();
    let port = |port: &str| {
        with(
            &settings,
            &format!(
                r#"{{"HostConfig":{{"PortBindings":{{"80/tcp":[{{"HostPort":"{port}"}}]}}}}}}"#
            ),
        )
    };
    assert!(port("20001").is_ok() && port("").is_ok());
    assert!(port("80").unwrap_err().contains("container.ports"));
    let random = config::Conservative::default();
    let fixed = r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"0"},{"HostIp":"127.0.0.1","HostPort":"80"}]}}}"#;
    assert!(with(&random, fixed).is_err());
    let none = config::Conservative { ports: Ports::None, ..Default::default() };
    assert!(with(&none, r#"{"HostConfig":{"PublishAllPorts":true}}"#).is_err());
    assert!(with(&random, r#"{"HostConfig":{"PublishAllPorts":true}}"#).is_ok());
}

#[test]
fn ports_are_counted_with_those_of_the_image() {
    let exposing = |ports: &str| {
        let image = serde_json::json!({ "Config": { "ExposedPorts": { ports: {} } } });
        move |question: &Question| match question {
            Question::Image(name) if name == "x" => Fact::Json(Arc::new(image.clone())),
            Question::Image(_) => Fact::Failed("it answered 500".to_owned()),
            _ => Fact::Absent,
        }
    };
    let publishes = |body: &str, image: &str| {
        let judged = judge(&BUILTIN, "POST /containers/create", body, &exposing(image));
        match judged {
            Verdict::Allowed(_) => None,
            Verdict::Denied(_, reasons) => Some(reasons[0].message()),
            Verdict::Malformed(why) => panic!("{why}"),
            other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
                panic!("{other:?}")
            }
        }
    };
    let all =
        r#"{"Image":"x","ExposedPorts":{"1-50/tcp":{}},"HostConfig":{"PublishAllPorts":true}}"#;
    assert_eq!(publishes(all, "51-100/tcp"), None);
    let said = publishes(all, "51-101/tcp").unwrap();
    assert!(said.contains("at most 100 ports, would publish 101 (rule container.ports)"), "{said}");
    assert!(
        publishes(&all.replace("true", "false"), "1-400/tcp").is_none(),
        "nothing is published"
    );
    let unknown = all.replace(r#""x""#, r#""y""#);
    assert!(publishes(&unknown, "1/tcp").unwrap().contains("which ports does the image expose?"));
    let bindings = |count: u32| {
        let all: Vec<_> = (1..=count).map(|port| format!(r#""{port}/tcp":[{{}}]"#)).collect();
        format!(r#"{{"HostConfig":{{"PortBindings":{{{}}}}}}}"#, all.join(","))
    };
    assert_eq!(publishes(&bindings(100), ""), None);
    assert!(publishes(&bindings(101), "").unwrap().contains("would publish 101"));
}
