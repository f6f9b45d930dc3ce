//! The edges of what a verified token says.

use std::time::Duration;

use proptest::prelude::*;

use super::super::claims::ClaimRules;
use super::*;
use crate::auth::{Claims, Who};

const NOW: u64 = 1_800_000_000;

fn rules(change: impl FnOnce(&mut config::Jwt)) -> ClaimRules {
    let mut config = config(Keys::Secret("".into()));
    change(&mut config);
    ClaimRules::new(&config)
}

fn with(name: &str, value: Value) -> Claims {
    let mut claims = claims();
    (claims["exp"], claims["nbf"]) = ((NOW + 300).into(), (NOW - 5).into());
    let claims = claims.as_object_mut().unwrap();
    match value.is_null() && name != "null" {
        true => drop(claims.remove(name)),
        false => drop(claims.insert(name.to_owned(), value)),
    }
    claims.clone()
}

fn check(rules: &ClaimRules, claims: &Claims) -> Result<Who, String> {
    let outcome = rules.check(claims, Duration::from_secs(NOW));
    outcome.map(|(who, _)| who).map_err(|why| why.into_owned())
}

#[test]
fn dates_are_numbers_of_our_age() {
    let rules = rules(|_| ());
    let of = |name: &str, value| check(&rules, &with(name, value)).map(|who| who.user);
    let (good, past) = (Ok("ann".to_owned()), Err("the token has expired".to_owned()));
    let no_date = |name| Err(format!("claim `{name}` is not a date"));
    assert_eq!(of("exp", Value::Null), Err("claim `exp` is missing".to_owned()));
    assert_eq!(of("nbf", Value::Null), good);
    assert_eq!(of("exp", (NOW - 60).into()), past);
    assert_eq!(of("exp", json!(NOW as f64 - 60.0)), past);
    assert_eq!(of("exp", json!(NOW as f64 - 59.5)), good);
    assert_eq!(of("exp", 0.into()), past);
    for odd in [
        json!(-1),
        json!("1800000300"),
        json!(true),
        json!([NOW + 300]),
        json!({}),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!((NOW + 300) * 1000),
        json!(-0.5),
    ] {
        assert_eq!(of("exp", odd.clone()), no_date("exp"), "{odd}");
        assert_eq!(of("nbf", odd.clone()), no_date("nbf"), "{odd}");
    }
    let mut claims = with("null", Value::Null);
    claims.insert("exp".to_owned(), Value::Null);
    assert_eq!(check(&rules, &claims).map(|who| who.user), no_date("exp"));
}

#[test]
fn an_audience_is_one_or_several_strings() {
    let rules = rules(|_| ());
    for (audience, is_ours) in [
        (json!("dockgate"), true),
        (json!("other"), true),
        (json!(["x", "dockgate"]), true),
        (json!(["x", 5, "other"]), true),
        (json!("Dockgate"), false),
        (json!("dockgate "), false),
        (json!(""), false),
        (json!([]), false),
        (json!(["x"]), false),
        (json!([["dockgate"]]), false),
        (json!({"dockgate": 1}), false),
        (Value::Null, false),
    ] {
        let outcome = check(&rules, &with("aud", audience.clone()));
        assert_eq!(outcome.is_ok(), is_ours, "{audience}");
    }
    let nobody = super::super::claims::ClaimRules::new(&config::Jwt {
        audience: Vec::new(),
        ..config(Keys::Secret("".into()))
    });
    assert!(check(&nobody, &with("aud", json!("dockgate"))).is_err());
}

#[test]
fn required_claims_are_compared_as_text() {
    let of = |values: &[&str], value: Value| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let rules = rules(|config| drop(config.require.insert("p.q".to_owned(), values)));
        check(&rules, &with("p", json!({"q": value}))).is_ok()
    };
    assert!(of(&["a", "true"], json!("true")) && of(&["true"], json!(true)));
    assert!(of(&["7"], json!(7)) && of(&["7"], json!([6, "7"])));
    assert!(of(&[], json!("")) && of(&[], json!(false)) && of(&[], json!([0])));
    assert!(!of(&["true"], json!("True")) && !of(&["7"], json!(7.5)) && !of(&["a"], json!([])));
    assert!(!of(&[], json!(null)) && !of(&["null"], json!(null)) && !of(&[], json!([])));
    assert!(!of(&["a"], json!({"a": 1})) && !of(&[], json!({})) && !of(&["a"], json!([["a"]])));
    let rules = rules(|config| drop(config.require.insert("p".to_owned(), Vec::new())));
    let missing = check(&rules, &with("x", 1.into())).unwrap_err();
    assert_eq!(missing, "claim `p` is not one of the required values");
}

#[test]
fn a_user_is_a_name_and_groups_are_names() {
    let rules = rules(|_| ());
    let user = |value| check(&rules, &with("user_login", value)).map(|who| who.user);
    assert_eq!(user(json!("ann b")), Ok("ann b".to_owned()));
    assert_eq!(user(json!(42)), Ok("42".to_owned()));
    assert!(user(json!("x".repeat(256))).is_ok());
    for odd in [
        Value::Null,
        json!(""),
        json!("x".repeat(257)),
        json!("a\nb"),
        json!("a\u{0}"),
        json!("\u{85}"),
        json!(true),
        json!(["ann"]),
        json!({"name": "ann"}),
    ] {
        assert_eq!(user(odd), Err("claim `user_login` does not name a user".to_owned()));
    }
    let groups =
        |value| check(&rules, &with("groups_direct", value)).map(|who| who.groups.join("|"));
    assert_eq!(groups(json!(["a b", "c"])), Ok("a b|c".to_owned()));
    assert_eq!(groups(json!("a,b")), Ok("a,b".to_owned()));
    assert_eq!(groups(Value::Null), Ok(String::new()));
    for odd in [json!([1]), json!(["a", null]), json!(["a\n"]), json!([""]), json!(7), json!({})] {
        assert_eq!(groups(odd), Err("claim `groups_direct` is not a list of names".to_owned()));
    }
}

#[test]
fn a_dotted_name_goes_into_objects() {
    let of = |path: &str, claims: Value| {
        let rules = rules(|config| config.user = path.to_owned());
        let mut all = with("null", Value::Null);
        all.extend(claims.as_object().unwrap().clone());
        check(&rules, &all).map(|who| who.user).ok()
    };
    let ann = Some("ann".to_owned());
    assert_eq!(of("a.b.c", json!({"a": {"b": {"c": "ann"}}})), ann);
    assert_eq!(of("https://x.example/a.b", json!({"https://x.example/a.b": "ann"})), ann);
    assert_eq!(of("a.b.c", json!({"a": {"b.c": "ann"}, "a.b": {"c": "x"}})), ann);
    for path in ["a", "a.", ".a", "a..b", "a.b.c.d", "", "."] {
        assert_eq!(of(path, json!({"a": {"b": {"c": "ann"}}})), None, "{path}");
    }
}

#[test]
fn policies_see_flat_claims_of_bounded_size() {
    let mut claims = with("nested", json!({"a": 1}));
    claims.insert("deep".to_owned(), json!([[1]]));
    claims.insert("list".to_owned(), json!([1, "a", null]));
    let names = |rules: &ClaimRules, claims: &Claims| {
        let shown = check(rules, claims).unwrap().claims;
        shown.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    let all = "sub user_login groups_direct ref_protected list";
    assert_eq!(names(&rules(|_| ()), &claims), all);
    let list = ["jti", "nested.a", "nested", "sub", "gone"].map(str::to_owned).to_vec();
    let some = rules(|config| config.claims = Some(list));
    assert_eq!(names(&some, &claims), "jti nested.a sub");
    let none = rules(|config| config.claims = Some(Vec::new()));
    assert_eq!(names(&none, &claims), "");
    claims.insert("big".to_owned(), json!("x".repeat(8192)));
    claims.insert("late".to_owned(), json!(1));
    assert_eq!(names(&rules(|_| ()), &claims), format!("{all} late"));
}

proptest! {
    #[test]
    fn a_token_is_good_from_nbf_to_exp_and_a_minute_around(
        exp in -200i64..200, nbf in -200i64..200,
    ) {
        let date = |offset: i64| Value::from(NOW.saturating_add_signed(offset));
        let mut claims = with("exp", date(exp));
        claims.insert("nbf".to_owned(), date(nbf));
        let outcome = rules(|_| ()).check(&claims, Duration::from_secs(NOW));
        let (is_over, is_early) = (exp <= -60, nbf > 60);
        match outcome {
            Ok((_, left)) => {
                prop_assert!(!is_over && !is_early);
                prop_assert_eq!(left, Duration::from_secs((exp + 60) as u64));
            }
            Err(why) if is_over => prop_assert_eq!(why, "the token has expired"),
            Err(why) => {
                prop_assert!(is_early);
                prop_assert_eq!(why, "the token is not valid yet");
            }
        }
    }

    #[test]
    fn no_claims_make_it_panic(exp in any::<f64>(), name in "[a-z.]{0,6}", text in "\\PC*") {
        let rules = rules(|config| (config.user, config.groups) = (name.clone(), Some(name.clone())));
        let mut claims = with(&name, json!(text));
        claims.insert("exp".to_owned(), json!(exp));
        let _ = rules.check(&claims, Duration::from_secs(NOW));
    }
}
