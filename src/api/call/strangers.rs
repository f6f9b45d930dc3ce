//! What a call holds that the tables do not know: which of it is dropped, and which must be refused.
//!
//! `policy::Chain` refuses what `refused_field` and `unknown_query` name, `gateway` writes down what `dropped_fields` does. What
//! must stay true: nothing of it is ever sent; what is dropped could have made nothing narrower than its sender has asked for.

use super::{Body, Typed};
use crate::api::doc::Unknown;

impl Typed {
    /// Query parameters with a value that no engine in the tables reads; they are not sent.
    pub fn unknown_query(&self) -> &[String] {
        &self.strangers
    }

    /// The first key of the body that is unknown, carries a value, and may be a limit that a newer engine keeps.
    pub fn refused_field(&self) -> Option<&Unknown> {
        self.unknown_fields().find(|field| !self.is_dropped(field))
    }

    /// The keys that carry a value and are left out, as Go leaves them out: those of a body that makes nothing that runs, and
    /// options of the call that a client repeats in its body (dockerode), where the query's count.
    pub fn dropped_fields(&self) -> impl Iterator<Item = &str> {
        let dropped = self.unknown_fields().filter(|field| self.is_dropped(field));
        dropped.map(|field| field.path.as_str())
    }

    fn unknown_fields(&self) -> impl Iterator<Item = &Unknown> {
        let unknown = match &self.body {
            Body::Json(doc) => doc.unknown.as_slice(),
            Body::None | Body::Stream(_) | Body::Context(_) => &[],
        };
        unknown.iter().filter(|field| !field.value.is_zero())
    }

    /// A key at the root has its own name for a path, so that this is none that lies deeper.
    fn is_dropped(&self, field: &Unknown) -> bool {
        self.row.drops_unknown || self.row.query.iter().any(|param| param.name == field.path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Draft};
    use super::*;
    use crate::wire::head::RequestHead;

    fn posted(target: &str, body: &str) -> Typed {
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n\r\n");
        let head = RequestHead::parse(head.as_bytes()).unwrap();
        let call = Draft::parse(&head).unwrap().with_json(&head, body.as_bytes(), 100).unwrap();
        let Call::Typed(call) = call else { panic!("not typed") };
        call
    }

    fn seen(target: &str, body: &str) -> (Option<String>, Vec<String>) {
        let call = posted(target, body);
        let refused = call.refused_field().map(|field| field.path.clone());
        (refused, call.dropped_fields().map(str::to_owned).collect())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_makes_nothing_that_runs_drops_what_go_ignores() {
        let body = r#"{"repo":"a","tag":"b","pause":true,"Frob":{"x":[1]},"zero":0,"healthcheck":{"Frob":1}}"#;
        let dropped = names(&["repo", "tag", "pause", "Frob", "Healthcheck.Frob"]);
        assert_eq!(seen("/commit?container=x&repo=a", body), (None, dropped));
        for target in ["/exec/x/start", "/networks/x/disconnect", "/auth", "/containers/x/copy"] {
            assert_eq!(seen(target, r#"{"Frob":1}"#), (None, names(&["Frob"])), "{target}");
        }
    }

    #[test]
    fn what_is_dropped_is_not_sent_and_what_folds_to_a_field_is_no_stranger() {
        let call = posted("/commit", r#"{"repo":"a","uſer":"u","Frob":1}"#);
        let sent = String::from_utf8(call.render()).unwrap();
        assert!(sent.ends_with(r#"{"User":"u"}"#), "{sent}");
        assert_eq!(call.dropped_fields().collect::<Vec<_>>(), ["repo", "Frob"]);
    }

    #[test]
    fn what_makes_something_that_runs_refuses_what_may_be_a_limit() {
        for (target, body, field) in [
            ("/containers/create", r#"{"ReadonlyRootfs":true}"#, "ReadonlyRootfs"),
            ("/containers/create", r#"{"HostConfig":{"NoFrob":1}}"#, "HostConfig.NoFrob"),
            ("/containers/create", r#"{"HostConfig":{"name":"x"}}"#, "HostConfig.name"),
            ("/containers/x/exec", r#"{"Frob":1}"#, "Frob"),
            ("/containers/x/update", r#"{"Frob":1}"#, "Frob"),
            ("/networks/create", r#"{"IPAM":{"Frob":1}}"#, "IPAM.Frob"),
            ("/networks/x/connect", r#"{"Frob":1}"#, "Frob"),
            ("/volumes/create", r#"{"Frob":1}"#, "Frob"),
        ] {
            assert_eq!(seen(target, body), (Some(field.to_owned()), Vec::new()), "{target} {body}");
        }
    }

    #[test]
    fn an_option_of_the_call_is_dropped_at_the_root_and_only_there() {
        let create = "/containers/x/checkpoints";
        assert_eq!(seen(create, r#"{"Exit":true}"#), (None, Vec::new()));
        let service = r#"{"registryAuthFrom":"spec","Frob":1}"#;
        let (refused, dropped) = seen("/services/x/update?version=1", service);
        assert_eq!(refused.as_deref(), Some("Frob"));
        assert_eq!(dropped, ["registryAuthFrom"]);
        let deeper = r#"{"TaskTemplate":{"registryAuthFrom":"spec"}}"#;
        let wanted = Some("TaskTemplate.registryAuthFrom".to_owned());
        assert_eq!(seen("/services/x/update?version=1", deeper), (wanted, Vec::new()));
    }
}
