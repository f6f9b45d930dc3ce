//! Volumes without a name: marked when they are asked for, shown as if nothing had been, and nobody else's.

use super::*;
use crate::policy::namespace::volumes;

fn create(engine: &SmallEngine, body: &Json) -> Json {
    let more = |question: &Question| match question {
        Question::Image(name) if name == "shared" => Some(json!({
            "Id": "sha256:cc",
            "Config": { "Volumes": { "/image": {}, "/v": {}, "/t": {}, "/from": {}, "/d": {} } },
        })),
        Question::Container(id) if id == ANN => {
            let mut web = engine.container(&engine.ann, ANN);
            web["Mounts"] = json!([{ "Destination": "/from" }]);
            Some(web)
        }
        _ => None,
    };
    let call = ("POST", "/v1.41/containers/create?name=new", &*body.to_string());
    let sent = engine.ask_knowing("ann", call, &more).unwrap();
    serde_json::from_str(sent.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn every_one_that_the_engine_would_name_is_marked() {
    let engine = SmallEngine::new();
    let (forged, own) = (json!({ "a": "b", "io.dockgate.volume": "dgother" }), engine.ann.id());
    let asked = json!({
        "Image": "shared",
        "Volumes": { "/v": {}, "/d/": {} },
        "HostConfig": {
            "Binds": ["data:/d"],
            "Tmpfs": { "/t": "" },
            "VolumesFrom": ["web"],
            "VolumeDriver": "local",
            "Mounts": [
                { "Type": "volume", "Target": "/own", "VolumeOptions": { "Labels": forged } },
                { "Type": "volume", "Source": "named", "Target": "/n", "VolumeOptions": { "Labels": forged } },
            ],
        },
    });
    let sent = create(&engine, &asked);
    let ours = |target: &str| {
        let labels = json!({ "io.dockgate.namespace": "ann", "io.dockgate.volume": own, "io.dockgate.volume.ours": "1" });
        json!({ "Type": "volume", "Target": target, "VolumeOptions": { "Labels": labels, "DriverConfig": { "Name": "local" } } })
    };
    let marked = json!({ "a": "b", "io.dockgate.namespace": "ann", "io.dockgate.volume": own });
    assert_eq!(
        sent["HostConfig"]["Mounts"],
        json!([
            { "Type": "volume", "Target": "/own", "VolumeOptions": { "Labels": marked } },
            { "Type": "volume", "Source": engine.ann.sent("named"), "Target": "/n", "VolumeOptions": { "Labels": { "a": "b" } } },
            ours("/v"),
            ours("/image"),
        ])
    );
    assert_eq!(sent["Volumes"], asked["Volumes"]);
}

#[test]
fn a_container_shows_what_was_asked() {
    let engine = SmallEngine::new();
    let asked = json!({
        "Image": "shared",
        "Volumes": { "/v": {} },
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [
                { "Type": "volume", "Target": "/plain" },
                { "Type": "volume", "Target": "/own", "VolumeOptions": { "Labels": { "a": "b" } } },
            ],
        },
    });
    for (mounts, wanted) in [(asked["HostConfig"]["Mounts"].clone(), Some(())), (json!(null), None)]
    {
        let mut asked = asked.clone();
        asked["HostConfig"]["Mounts"] = mounts.clone();
        let mut made = create(&engine, &asked);
        // As engines from 23 on do.
        for mount in made["HostConfig"]["Mounts"].as_array_mut().unwrap() {
            mount["VolumeOptions"]["Labels"]["com.docker.volume.anonymous"] = json!("");
        }
        let mut inspected = json!({
            "Name": format!("/{}", engine.ann.sent("new")),
            "HostConfig": made["HostConfig"],
            "Mounts": [
                { "Type": "volume", "Destination": "/v", "Mode": "z" },
                { "Type": "volume", "Destination": "/plain", "Mode": "z" },
            ],
        });
        let row = TABLE.iter().find(|row| row.endpoint == Endpoint::ContainerInspect).unwrap();
        show::object(&namespaces(), &engine.ann, row, &mut inspected);
        let shown = inspected["HostConfig"].get("Mounts");
        match wanted {
            None => assert_eq!(shown, None),
            Some(()) => {
                let mut mounts = mounts;
                mounts[1]["VolumeOptions"]["Labels"]["com.docker.volume.anonymous"] = json!("");
                assert_eq!(shown, Some(&mounts));
            }
        }
        assert_eq!(inspected["Mounts"][0]["Mode"], "");
        assert_eq!(inspected["Mounts"][1]["Mode"], "z");
    }
}

#[test]
fn one_is_its_namespaces_and_shows_no_mark() {
    let engine = SmallEngine::new();
    let own = engine.volume(&engine.ann, ANN);
    assert!(volumes::is_own(&engine.ann, &own) && !volumes::is_own(&engine.bob, &own));
    // A name of somebody's is no place for a mark.
    let other = json!({ "Name": engine.bob.sent("data"), "Labels": own["Labels"] });
    assert!(!volumes::is_own(&engine.ann, &other) && volumes::is_own(&engine.bob, &other));
    let row = TABLE.iter().find(|row| row.endpoint == Endpoint::VolumeInspect).unwrap();
    let mut shown = own;
    show::object(&namespaces(), &engine.ann, row, &mut shown);
    assert_eq!(shown, json!({ "Name": ANN, "Labels": null }));
    // By its name it can be looked at, mounted and removed, by whose it is.
    let delete =
        |user, id| engine.ask(user, "DELETE", &format!("/v1.41/volumes/{id}"), "").unwrap();
    assert!(delete("ann", ANN).starts_with(&format!("DELETE /v1.41/volumes/{ANN} ")));
    assert!(
        delete("ann", BOB).starts_with(&format!("DELETE /v1.41/volumes/{} ", engine.ann.sent(BOB)))
    );
}

#[test]
fn nobody_makes_one_with_a_mark_of_anothers() {
    let engine = SmallEngine::new();
    let body =
        json!({ "Name": "new", "Labels": { "a": "b", "io.dockgate.volume": engine.bob.id() } });
    let sent = engine.ask("ann", "POST", "/v1.41/volumes/create", &body.to_string()).unwrap();
    assert!(!sent.contains("io.dockgate.volume"), "{sent}");
    assert!(
        sent.contains(r#""a":"b""#) && sent.contains(r#""io.dockgate.namespace":"ann""#),
        "{sent}"
    );
}
