//! What the verdicts of policies come to, each after the ones before it.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::api::Draft;
use crate::api::doc::MOST_VALUES;
use crate::api::endpoint::{KNOWN, Resource, Row};
use crate::auth::Identity;
use crate::policy::edit::keys;
use crate::policy::{Fact, Facts, Slot};
use crate::wire::head::{Lines, RequestHead};

/// A policy of one function.
struct Says<F>(F);

impl<F> std::fmt::Debug for Says<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Says")
    }
}

impl<F: Fn(&Typed, &Context<'_>) -> Verdict + Send + Sync> Policy for Says<F> {
    fn name(&self) -> &'static str {
        "says"
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        self.0(call, cx)
    }

    fn reads_answer(&self, _: &Row, _: &Context<'_>) -> Reads {
        Reads::Whole
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        answer.json = Some(json!("changed"));
        self.0(answer.call, cx)
    }
}

fn says(says: impl Fn(&Typed, &Context<'_>) -> Verdict + Send + Sync + 'static) -> Box<dyn Policy> {
    Box::new(Says(says))
}

fn call() -> Call {
    let head = b"POST /v1.43/containers/create?name=a HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n\r\n";
    let head = RequestHead::parse(head).unwrap();
    Draft::parse(&head).unwrap().with_json(&head, br#"{"Image":"x"}"#, MOST_VALUES).unwrap()
}

fn step(deciding: &mut Deciding<'_>, facts: &Facts) -> Step<Permitted<Call>> {
    deciding.step(&Context::new(&Identity::imagined(None), "l", KNOWN, facts))
}

/// The request as the engine gets it.
fn sent(chain: &Chain) -> String {
    let decided = step(&mut chain.decide(call()), &Facts::default());
    let Step::Done(call) = decided else { panic!("{decided:?}") };
    String::from_utf8(call.render()).unwrap()
}

fn remove() -> Deed {
    Deed::Remove(Resource::Container, "c".to_owned())
}

fn remember() -> Deed {
    Deed::Remember(Question::Exec("e".to_owned()), Fact::Absent)
}

#[test]
fn each_policy_sees_what_the_ones_before_have_changed_and_the_engine_gets_all_of_it() {
    let user = |name: &str| {
        let value = Value::String(name.to_owned());
        Edit::Body(keys(&["User"]), Some(value))
    };
    let (ann, bob) = (user("ann"), user("bob"));
    let chain = Chain::new(vec![
        Link::new(says(move |_, _| {
            Verdict::Pass(vec![ann.clone(), Edit::Query("name".into(), Some("b".to_owned()))])
        })),
        Link::new(says(move |call, _| {
            let user = call.doc().and_then(|doc| doc.at(&["User"])).and_then(Value::as_str);
            assert_eq!((user, call.query().get("name")), (Some("ann"), Some("b")));
            Verdict::Pass(vec![bob.clone(), Edit::Header("user-agent", None)])
        })),
    ]);
    let sent = sent(&chain);
    assert!(sent.starts_with("POST /v1.43/containers/create?name=b "), "{sent}");
    assert!(sent.ends_with(r#"{"Image":"x","User":"bob"}"#), "{sent}");
    let mut deciding = chain.decide(call());
    deciding.keep_edits();
    assert!(matches!(step(&mut deciding, &Facts::default()), Step::Done(_)));
    let edits: Vec<String> = deciding.edits().iter().map(|(_, edit)| edit.to_string()).collect();
    assert_eq!(
        edits,
        ["body /User: \"ann\"", "?name: b", "body /User: \"bob\"", "header user-agent: removed"]
    );
}

#[test]
fn what_only_audits_changes_nothing_does_nothing_and_answers_nothing() {
    for verdict in [
        || Verdict::Pass(vec![Edit::Query("name".into(), None)]),
        || Verdict::Do(vec![remove()]),
        || Verdict::Answer(Reply { status: 204, json: None }),
    ] {
        let chain = Chain::new(vec![Link::auditing(says(move |_, _| verdict()))]);
        assert!(sent(&chain).contains("?name=a "));
    }
}

#[test]
fn a_policy_is_asked_again_when_what_it_wants_is_done_or_has_failed() {
    let chain = Chain::new(vec![Link::new(says(|_, cx| cx.once(remove())))]);
    let (mut facts, mut deciding) = (Facts::default(), chain.decide(call()));
    let Step::Do(deeds) = step(&mut deciding, &facts) else { panic!() };
    assert!(deeds == [remove()]);
    facts.report(remove(), Ok(()));
    assert!(matches!(step(&mut deciding, &facts), Step::Done(_)));
    let (mut facts, mut deciding) = (Facts::default(), chain.decide(call()));
    assert!(matches!(step(&mut deciding, &facts), Step::Do(_)));
    facts.report(remove(), Err("is busy".to_owned()));
    let Step::Denied(reasons) = step(&mut deciding, &facts) else { panic!() };
    assert_eq!((reasons[0].status, &*reasons[0].rule), (502, "policy.deed"));
    assert!(reasons[0].why.contains("removing container `c` could not be done: is busy"));
}

/// Wants a slot for every call.
#[derive(Debug)]
struct Slots;

impl Policy for Slots {
    fn name(&self) -> &'static str {
        "slots"
    }

    fn request(&self, _: &Typed, _: &Context<'_>) -> Verdict {
        Verdict::pass()
    }

    fn slot(&self, _: &Typed, _: &Context<'_>) -> Option<Slot> {
        Some(slot())
    }
}

fn slot() -> Slot {
    let (policy, listener) = ("slots".to_owned(), "l".to_owned());
    let patience = Slot::A_MOMENT;
    Slot { policy, listener, user: None, most: 2, rule: "limits.builds", what: "builds", patience }
}

#[test]
fn a_slot_is_taken_when_nobody_refuses_the_call_any_more() {
    let refuses = says(|_, _| Verdict::deny(Reason::new("no", "f", "w", "")));
    let chain = Chain::new(vec![Link::new(Box::new(Slots)), Link::new(refuses)]);
    let decided = step(&mut chain.decide(call()), &Facts::default());
    assert!(matches!(decided, Step::Denied(_)), "{decided:?}");
    let passes = || Link::new(says(|_, _| Verdict::pass()));
    let chain = Chain::new(vec![Link::new(Box::new(Slots)), passes()]);
    for (found, is_let) in [(Ok(()), true), (Err("none".to_owned()), false)] {
        let (mut facts, mut deciding) = (Facts::default(), chain.decide(call()));
        let Step::Do(deeds) = step(&mut deciding, &facts) else { panic!() };
        assert!(deeds == [Deed::Take(slot())]);
        assert_eq!(deciding.policy(), "slots");
        facts.report(Deed::Take(slot()), found);
        match step(&mut deciding, &facts) {
            Step::Done(_) => assert!(is_let),
            Step::Denied(reasons) => {
                assert!(!is_let);
                assert_eq!(
                    reasons[0].message(),
                    "dockgate: builds: must be at most 2 at the same time, and so many on this listener run \
                     (rule limits.builds). hint: wait until one of them has ended, or end it"
                );
            }
            other @ (Step::Ask(_) | Step::Do(_) | Step::Answered(_)) => panic!("{other:?}"),
        }
    }
    let chain = Chain::new(vec![Link::auditing(Box::new(Slots))]);
    let (mut facts, mut deciding) = (Facts::default(), chain.decide(call()));
    assert!(matches!(step(&mut deciding, &facts), Step::Do(_)));
    facts.report(Deed::Take(slot()), Err("none".to_owned()));
    assert!(matches!(step(&mut deciding, &facts), Step::Done(_)));
    assert_eq!(deciding.into_findings()[0].reason.rule, "limits.builds");
}

#[test]
fn who_explains_asks_every_policy_and_lets_pass_what_they_refuse() {
    let refuses = |rule: &'static str| {
        says(move |_, cx| {
            assert!(cx.thorough);
            Verdict::deny(Reason::new(rule, "f", "w", ""))
        })
    };
    let adds = says(|_, _| Verdict::Pass(vec![Edit::Query("name".into(), Some("b".to_owned()))]));
    let links = vec![
        Link::new(refuses("first")),
        Link::auditing(refuses("second")),
        Link::new(adds),
        Link::new(Box::new(Slots)),
        Link::new(refuses("third")),
    ];
    let chain = Chain::new(links);
    let (mut facts, mut deciding) = (Facts::default(), chain.explain(call()));
    assert!(matches!(step(&mut deciding, &facts), Step::Do(_)));
    facts.report(Deed::Take(slot()), Err("none".to_owned()));
    let Step::Done(call) = step(&mut deciding, &facts) else { panic!() };
    assert!(String::from_utf8(call.render()).unwrap().contains("?name=b "), "edits are made");
    let found: Vec<_> =
        deciding.into_findings().into_iter().map(|one| (one.reason.rule, one.audits)).collect();
    let wanted = [("first", false), ("second", true), ("third", false), ("limits.builds", false)];
    assert_eq!(found, wanted.map(|(rule, audits)| (rule.into(), audits)));
}

/// A prune of one's own: list, remove, and tell what was removed.
#[test]
fn a_policy_may_compose_an_answer_from_calls_of_dockgates_own() {
    let list = || Question::List(Resource::Container, None);
    let chain = Chain::new(vec![Link::new(says(move |_, cx| match cx.facts.get(&list()) {
        None => Verdict::Ask(vec![list()]),
        Some(Fact::Json(_)) if cx.facts.outcome(&remove()).is_none() => Verdict::Do(vec![remove()]),
        Some(_) => {
            Verdict::Answer(Reply { status: 200, json: Some(json!({"ContainersDeleted": ["c"]})) })
        }
    }))]);
    let (mut facts, mut deciding) = (Facts::default(), chain.decide(call()));
    let Step::Ask(questions) = step(&mut deciding, &facts) else { panic!() };
    assert_eq!(questions, [list()]);
    facts.insert(list(), Fact::Json(Arc::new(json!([{"Id": "c"}]))));
    assert!(matches!(step(&mut deciding, &facts), Step::Do(_)));
    facts.report(remove(), Ok(()));
    let Step::Answered(reply) = step(&mut deciding, &facts) else { panic!() };
    assert_eq!(reply.json, Some(json!({"ContainersDeleted": ["c"]})));
}

#[test]
fn an_answer_is_answered_by_nobody_and_what_only_audits_does_nothing_but_remember() {
    let answered = |chain: &Chain, facts: &Facts| {
        let Call::Typed(call) = call() else { panic!() };
        let headers = Lines::default();
        let (api_version, json, text) = (None, Some(json!("engine's")), Vec::new());
        let mut answer =
            Answer { call: &call, status: 201, headers: &headers, api_version, json, text };
        let identity = Identity::imagined(None);
        let step = chain.answer().step(&mut answer, &Context::new(&identity, "l", KNOWN, facts));
        (step, answer.json)
    };
    let reply = || Verdict::Answer(Reply { status: 204, json: None });
    let chain = Chain::new(vec![Link::new(says(move |_, _| reply()))]);
    assert!(matches!(answered(&chain, &Facts::default()).0, Step::Denied(_)));
    let both = || Verdict::Do(vec![remove(), remember()]);
    let chain = Chain::new(vec![Link::auditing(says(move |_, _| both()))]);
    let mut facts = Facts::default();
    let (Step::Do(deeds), json) = answered(&chain, &facts) else { panic!() };
    assert!(deeds == [remember()]);
    assert_eq!(json, Some(json!("engine's")));
    facts.report(remember(), Ok(()));
    assert!(matches!(answered(&chain, &facts).0, Step::Done(())));
}
