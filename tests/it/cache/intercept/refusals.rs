//! Clients that want nothing of our certificates lose one handshake, and none after it.

use std::io::Write as _;

use dockgate::config::Intercept;

use super::{ONE, OTHER_IMAGE, SAME_IMAGE, STRANGER, Scene, Stage};

const URL: &[&str] = &["https://files.test/x"];
/// Of curl: the peer's certificate cannot be verified.
const NO_TRUST: i32 = 60;

/// Loses a handshake, and returns when that is written down: curl may be gone before the cache has heard it.
fn lose(scene: &Scene, from: &str, args: &[&str]) {
    let file = scene.dir.path().join("refusals");
    let lines = || std::fs::read_to_string(&file).map_or(1, |text| text.lines().count());
    let before = lines();
    assert_eq!(scene.curl(from, "public", args), Err(NO_TRUST), "{from}");
    scene.rig.wait(|| lines() > before);
}

#[test]
fn one_handshake_is_lost_for_all_containers_of_an_image_also_beyond_a_restart() {
    let scene = Scene::new();
    lose(&scene, ONE, URL);
    assert_eq!(scene.origin.dialled(), 0);
    for from in [ONE, SAME_IMAGE, ONE] {
        assert_eq!(scene.curl(from, "public", URL).unwrap(), "it is /x ", "{from}");
    }
    lose(&scene, OTHER_IMAGE, URL);
    assert_eq!(scene.curl(OTHER_IMAGE, "public", URL).unwrap(), "it is /x ");
    let scene = Stage { before: Some(scene), ..Stage::default() }.start();
    for from in [SAME_IMAGE, OTHER_IMAGE] {
        assert_eq!(scene.curl(from, "public", URL).unwrap(), "it is /x ", "{from}, restarted");
    }
    assert_eq!(scene.origin.asked().len(), 6);
    let file = std::fs::read_to_string(scene.dir.path().join("refusals")).unwrap();
    assert_eq!(file.lines().count(), 3, "{file}");
}

#[test]
fn a_client_of_another_kind_in_the_same_image_goes_on_with_us() {
    let scene = Scene::new();
    let old = ["--tls-max", "1.2", "https://files.test/x"];
    lose(&scene, ONE, &old);
    assert_eq!(scene.curl(ONE, "public", &old).unwrap(), "it is /x ");
    assert_eq!(scene.curl(ONE, "ours", URL).unwrap(), "it is /x ", "TLS 1.3");
    assert!(scene.curl(ONE, "ours", &old).is_err(), "those are passed on");
}

#[test]
fn a_container_whose_certificates_have_changed_says_nothing_of_its_image() {
    let scene = Stage { renewed: &[ONE], ..Stage::default() }.start();
    lose(&scene, ONE, URL);
    assert_eq!(scene.curl(ONE, "public", URL).unwrap(), "it is /x ", "lost once");
    assert_eq!(scene.curl(SAME_IMAGE, "ours", URL).unwrap(), "it is /x ");
    lose(&scene, SAME_IMAGE, URL);
    let scene =
        Stage { before: Some(scene), renewed: &[ONE, SAME_IMAGE], ..Stage::default() }.start();
    for from in [ONE, SAME_IMAGE] {
        assert_eq!(scene.curl(from, "public", URL).unwrap(), "it is /x ", "{from}, restarted");
    }
}

#[test]
fn a_damaged_memory_is_none() {
    let scene = Scene::new();
    lose(&scene, ONE, URL);
    scene.rig.wait(|| scene.rig.cache.is_settled());
    let file = scene.dir.path().join("refusals");
    std::fs::write(&file, "dockgate refusals 2\nnothing of the kind\n").unwrap();
    let scene = Stage { before: Some(scene), ..Stage::default() }.start();
    std::fs::remove_file(scene.dir.path().join("refusals")).unwrap();
    lose(&scene, ONE, URL);
    assert_eq!(scene.curl(ONE, "public", URL).unwrap(), "it is /x ");
}

#[test]
fn a_client_that_leaves_without_a_word_is_passed_on_unless_it_has_spoken_before() {
    let leave = |scene: &Scene| {
        let mut tls = scene.tls(scene.trusting(), "files.test");
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).unwrap();
        }
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    };
    let ask = "GET /x HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n\r\n";
    let scene = Scene::new();
    assert!(scene.say("files.test", ask).contains("it is /x"));
    leave(&scene);
    assert!(scene.say("files.test", ask).contains("it is /x"), "it has spoken before");
    let scene = Scene::new();
    leave(&scene);
    let file = scene.dir.path().join("refusals");
    scene.rig.wait(|| std::fs::read_to_string(&file).is_ok_and(|text| text.lines().count() == 2));
    // The origin's certificate is not one that it trusts: that is how it shows.
    let mut tls = scene.tls(scene.trusting(), "files.test");
    tls.write_all(ask.as_bytes()).unwrap_err();
    assert_eq!(scene.origin.dialled(), 1);
}

#[test]
fn whoever_is_on_the_list_is_never_asked() {
    let scene = Scene::new();
    lose(&scene, ONE, URL);
    scene.rig.wait(|| scene.rig.cache.is_settled());
    let file = std::fs::read_to_string(scene.dir.path().join("refusals")).unwrap();
    let which = file.lines().nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let scene = Stage { never: vec![which], ..Stage::default() }.start();
    for from in [ONE, OTHER_IMAGE] {
        assert_eq!(scene.curl(from, "public", URL).unwrap(), "it is /x ", "{from}");
    }
    assert_eq!(scene.ours.made.lock().unwrap().len(), 0);
}

#[test]
fn who_only_observes_passes_everything_on() {
    let scene = Stage { mode: Intercept::Observe, ..Stage::default() }.start();
    for from in [ONE, OTHER_IMAGE, STRANGER, ONE] {
        assert_eq!(scene.curl(from, "public", URL).unwrap(), "it is /x ", "{from}");
    }
    assert_eq!(scene.origin.asked().len(), 4);
    assert_eq!(scene.ours.made.lock().unwrap().len(), 0);
}

#[test]
fn a_dead_origin_and_none_end_the_connection() {
    let scene = Scene::new();
    let dead = ["https://dead.test/x"];
    assert!(scene.curl(STRANGER, "public", &dead).is_err());
    let status = ["-o", "/dev/null", "-w", "%{http_code}", "https://dead.test/x"];
    assert_eq!(scene.curl(ONE, "ours", &status).unwrap(), "502");
    let scene = Stage { offline: true, ..Stage::default() }.start();
    assert!(scene.curl(STRANGER, "public", URL).is_err());
    let status = ["-o", "/dev/null", "-w", "%{http_code}", "https://files.test/x"];
    assert_eq!(scene.curl(ONE, "ours", &status).unwrap(), "504");
    assert_eq!(scene.origin.dialled(), 0);
}

#[test]
fn a_way_that_leads_back_ends_there() {
    let scene = Scene::new();
    assert!(scene.curl(STRANGER, "public", &["https://loop.test/x"]).is_err());
    let count = |outcome: &str| {
        let sums = scene.rig.cache.stats.by_domain().remove("loop.test").unwrap_or_default();
        sums.requests.get(outcome).copied().unwrap_or(0)
    };
    scene.rig.wait(|| count("passed") == 1);
    let status = ["-o", "/dev/null", "-w", "%{http_code}", "https://loop.test/x"];
    assert_eq!(scene.curl(ONE, "ours", &status).unwrap(), "502");
    scene.rig.wait(|| count("failed") > 0);
    assert!(count("passed") <= 3, "it does not go round: {}", count("passed"));
}
