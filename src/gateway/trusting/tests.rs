//! Which authority a container is shown when there are several.

use std::time::Duration;

use super::*;
use crate::ca::AuthoritySettings;
use crate::policy::layout::Layout;

fn settings(domains: &[&str]) -> AuthoritySettings {
    AuthoritySettings {
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        crl_base: "http://192.0.2.1".to_owned(),
        lifetime: Duration::from_secs(3600),
    }
}

fn authorities(authority: &Arc<Authority>) -> BTreeMap<String, Arc<Authority>> {
    BTreeMap::from([("packages".to_owned(), Arc::clone(authority))])
}

fn current(authority: &Authority) -> Arc<TrustAnchor> {
    Arc::new(anchor_of(&authority.current(SystemTime::now()).unwrap()))
}

fn installed(root: Arc<TrustAnchor>) -> Arc<Installed> {
    Arc::new(Installed {
        install: WantedInstall {
            container: "c".to_owned(),
            layout: Arc::new(Layout::default()),
            is_new: true,
            extra: Vec::new(),
            avoid: Vec::new(),
            roots: vec![root],
            past: Vec::new(),
            files: Vec::new(),
        },
        cache: "packages".to_owned(),
        image: "i".to_owned(),
        owner: None,
        is_renewed: false,
    })
}

fn shown(trusting: &Trusting) -> Option<String> {
    trusting.of("c", "packages").map(|shown| shown.generation.id().to_owned())
}

#[test]
fn a_container_that_gets_another_root_is_shown_the_one_before_as_long_as_that_is_good() {
    let first = Arc::new(Authority::new(settings(&["a.example"])));
    let trusting = Trusting::default();
    trusting.replace(authorities(&first));
    let root = current(&first);
    trusting.given(installed(Arc::clone(&root)));
    assert_eq!(shown(&trusting).as_deref(), Some(&*root.generation));
    assert!(trusting.outdated().is_empty());
    // Another list of domains begins another generation at once.
    let second = Arc::new(first.changed(settings(&["a.example", "b.example"])));
    trusting.replace(authorities(&second));
    let newer = current(&second);
    assert_ne!(newer.generation, root.generation);
    let outdated = trusting.outdated();
    let [renewed] = &outdated[..] else { panic!("{outdated:?}") };
    assert!(renewed.is_renewed && !renewed.install.is_new);
    assert_eq!(renewed.install.roots, [Arc::clone(&root), Arc::clone(&newer)]);
    assert_eq!(shown(&trusting).as_deref(), Some(&*root.generation), "it has no other yet");
    trusting.given(Arc::clone(renewed));
    assert!(trusting.outdated().is_empty());
    assert_eq!(shown(&trusting).as_deref(), Some(&*root.generation), "its programs know this one");
    // Of an authority that does not know the first any more.
    let third = Arc::new(Authority::new(settings(&["a.example"])));
    trusting.replace(authorities(&third));
    assert_eq!(shown(&trusting), None);
}

#[test]
fn what_fails_is_tried_again_later_and_later_and_never_forgotten() {
    let first = Arc::new(Authority::new(settings(&["a.example"])));
    let trusting = Trusting::default();
    trusting.replace(authorities(&first));
    trusting.given(installed(current(&first)));
    trusting.replace(authorities(&Arc::new(first.changed(settings(&["b.example"])))));
    let looks = |trusting: &Trusting| {
        let mut looks = 1;
        while trusting.outdated().is_empty() {
            looks += 1;
            assert!(looks < 1000);
        }
        looks
    };
    for wanted in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
        assert_eq!(looks(&trusting), wanted);
        trusting.not_given("c");
        assert!(shown(&trusting).is_some(), "what it has is good still");
    }
    // A call that has taken it out, and could not put it back.
    trusting.given(installed(current(&first)));
    trusting.taken_out("c");
    assert_eq!(shown(&trusting), None);
    assert_eq!(trusting.outdated().len(), 1, "it is put back at the next look");
}
