//! Which proxy a request goes by.
//!
//! Read once at the start from the environment, as curl reads it; or `next_hop`, which all requests
//! go to. `connect` asks for each new connection. What must stay true: a variable that cannot be
//! used is an error at the start, never a way around the proxy; passwords appear in no message.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::Unusable;
use super::connect::port_is_sound;

/// The variables' values, empty where not set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: String,
    pub https: String,
    pub all: String,
    /// Hosts, domains and networks to which no proxy leads, or `*`.
    pub no: String,
}

impl Proxies {
    /// `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`; the lower case goes first.
    pub fn from_env() -> Proxies {
        Proxies::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Proxies {
        let read = |name: &str| {
            let value = read(name).or_else(|| read(&name.to_ascii_uppercase()));
            value.unwrap_or_default().trim().to_owned()
        };
        Proxies {
            http: read("http_proxy"),
            https: read("https_proxy"),
            all: read("all_proxy"),
            no: read("no_proxy"),
        }
    }

    pub(super) fn plan(&self, next_hop: Option<&Uri>) -> Result<Plan, Unusable> {
        let matcher = match next_hop {
            Some(uri) => {
                let uri = uri.to_string();
                check("next_hop", &uri)?;
                Matcher::builder().all(uri)
            }
            None => {
                check("http_proxy", &self.http)?;
                check("https_proxy", &self.https)?;
                check("all_proxy", &self.all)?;
                Matcher::builder()
                    .http(self.http.clone())
                    .https(self.https.clone())
                    .all(self.all.clone())
                    .no(self.no.clone())
            }
        };
        Ok(Plan { matcher: matcher.build() })
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies").field("no", &self.no).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    matcher: Matcher,
}

impl Plan {
    pub(super) fn proxy(&self, uri: &Uri) -> Option<Proxy> {
        self.matcher.intercept(uri).map(Proxy)
    }

    /// What a request itself carries for the proxy that reads it. Tunnels have it in their own head.
    pub(super) fn credentials(&self, uri: &Uri) -> Option<HeaderValue> {
        if uri.scheme_str() != Some("http") {
            return None;
        }
        self.proxy(uri)?.credentials().cloned()
    }
}

#[derive(Debug)]
pub(super) struct Proxy(Intercept);

impl Proxy {
    pub(super) fn uri(&self) -> &Uri {
        self.0.uri()
    }

    pub(super) fn is_socks(&self) -> bool {
        matches!(self.uri().scheme_str(), Some("socks5" | "socks5h"))
    }

    pub(super) fn credentials(&self) -> Option<&HeaderValue> {
        self.0.basic_auth()
    }

    pub(super) fn password(&self) -> Option<(&str, &str)> {
        self.0.raw_auth()
    }
}

/// `Matcher` takes what it cannot use for no proxy at all.
fn check(variable: &str, value: &str) -> Result<(), Unusable> {
    let unusable = |why| Err(Unusable::Proxy { variable: variable.to_owned(), why });
    if value.is_empty() {
        return Ok(());
    }
    let Ok(uri) = value.parse::<Uri>() else { return unusable("is not a URL") };
    match uri.scheme_str() {
        None | Some("http" | "https" | "socks5" | "socks5h") => {}
        Some(_) => {
            return unusable("is none of `http://`, `https://`, `socks5://` and `socks5h://`");
        }
    }
    match uri.authority() {
        Some(authority) if authority.host().is_empty() => unusable("names no host"),
        Some(authority) if !port_is_sound(authority) => unusable("has a port that cannot be"),
        Some(_) => Ok(()),
        None => unusable("names no host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(http: &str, https: &str, all: &str, no: &str) -> Proxies {
        let [http, https, all, no] = [http, https, all, no].map(str::to_owned);
        Proxies { http, https, all, no }
    }

    fn by(proxies: &Proxies, uri: &'static str) -> Option<String> {
        let plan = proxies.plan(None).unwrap();
        plan.proxy(&Uri::from_static(uri)).map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_the_rest_goes_to_all() {
        let both = proxies("http://one:3128", "two:3129", "http://three:1", "");
        assert_eq!(by(&both, "http://a.example/x").unwrap(), "http://one:3128/");
        assert_eq!(by(&both, "https://a.example/x").unwrap(), "http://two:3129/");
        let all = proxies("", "", "socks5://three:1080", "");
        assert_eq!(by(&all, "https://a.example").unwrap(), "socks5://three:1080/");
        assert_eq!(by(&Proxies::default(), "http://a.example"), None);
    }

    #[test]
    fn no_proxy_names_domains_addresses_and_networks() {
        let some = proxies("http://p:1", "", "", "b.example, .c.example,10.0.0.0/8,192.0.2.1");
        for direct in [
            "http://b.example/",
            "http://x.b.example:81/",
            "http://c.example/",
            "http://y.c.example/",
            "http://10.1.2.3/",
            "http://192.0.2.1:99/",
        ] {
            assert_eq!(by(&some, direct), None, "{direct}");
        }
        for proxied in ["http://ab.example/", "http://11.1.2.3/", "http://192.0.2.10/"] {
            assert!(by(&some, proxied).is_some(), "{proxied}");
        }
        assert_eq!(by(&proxies("http://p:1", "", "", "*"), "http://a.example/"), None);
    }

    #[test]
    fn lower_case_goes_before_upper_case() {
        let read = |name: &str| {
            let value = match name {
                "http_proxy" => "http://lower:1",
                "HTTP_PROXY" => "http://upper:1",
                "HTTPS_PROXY" => " http://secure:1 ",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let found = Proxies::from_variables(read);
        assert_eq!(found, proxies("http://lower:1", "http://secure:1", "", ""));
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_an_error() {
        for bad in ["ftp://p:1", "http://", "http://p:99999", "://", "a b"] {
            let error = proxies(bad, "", "", "").plan(None).unwrap_err();
            assert!(error.to_string().starts_with("`http_proxy` "), "{bad}: {error}");
        }
    }

    #[test]
    fn the_next_hop_goes_before_everything() {
        let some = proxies("http://p:1", "", "", "*");
        let hop = Uri::from_static("http://user:secret@hop:3128");
        let plan = some.plan(Some(&hop)).unwrap();
        for uri in ["http://a.example/", "https://b.example/"] {
            let proxy = plan.proxy(&Uri::from_static(uri)).unwrap();
            assert_eq!(proxy.uri(), "http://hop:3128/");
            assert_eq!(proxy.credentials().unwrap(), "Basic dXNlcjpzZWNyZXQ=");
        }
        assert!(plan.credentials(&Uri::from_static("http://a.example/")).is_some());
        assert!(plan.credentials(&Uri::from_static("https://a.example/")).is_none());
        assert!(!format!("{plan:?}").contains("secret"));
    }
}
