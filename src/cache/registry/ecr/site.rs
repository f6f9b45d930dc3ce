//! Which service of Amazon a registry's host is of: its region, and where its API and its token service are.
//!
//! `settings` asks for each upstream with `kind = "ecr"`. Pure. What must stay true: a host that has none of the forms
//! is nobody's: where its API is, the operator says.

/// A registry of Amazon's, by its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache::registry) struct EcrSite {
    /// Whose it is; none of the public one.
    pub account: Option<String>,
    pub region: String,
    pub is_public: bool,
    /// Hosts of the APIs.
    pub api: String,
    pub sts: String,
}

/// How registries' hosts end, and how their APIs' do. Those with one protocol have `.dkr.ecr`, those with IPv6 as well
/// `.dkr-ecr`.
const ENDS: [(&str, &str, &str); 10] = [
    ("dkr.ecr", "amazonaws.com", "amazonaws.com"),
    ("dkr.ecr", "amazonaws.com.cn", "amazonaws.com.cn"),
    ("dkr.ecr", "amazonaws.eu", "amazonaws.eu"),
    ("dkr.ecr", "c2s.ic.gov", "c2s.ic.gov"),
    ("dkr.ecr", "sc2s.sgov.gov", "sc2s.sgov.gov"),
    ("dkr.ecr", "cloud.adc-e.uk", "cloud.adc-e.uk"),
    ("dkr.ecr", "csp.hci.ic.gov", "csp.hci.ic.gov"),
    ("dkr-ecr", "on.aws", "api.aws"),
    ("dkr-ecr", "on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn"),
    ("dkr-ecr", "on.amazonwebservices.eu", "api.amazonwebservices.eu"),
];
/// The public registry and its API for pushing are in this region only.
const PUBLIC: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];
const PUBLIC_REGION: &str = "us-east-1";

impl EcrSite {
    /// `host`: as in `Key`.
    pub(in crate::cache::registry) fn of(host: &str) -> Option<EcrSite> {
        if PUBLIC.contains(&host) {
            return Some(EcrSite {
                account: None,
                region: PUBLIC_REGION.to_owned(),
                is_public: true,
                api: format!("api.ecr-public.{PUBLIC_REGION}.amazonaws.com"),
                sts: format!("sts.{PUBLIC_REGION}.amazonaws.com"),
            });
        }
        ENDS.iter().find_map(|(service, end, api)| EcrSite::with(host, service, end, api))
    }

    /// A registry that has a name of its own: of a region's API.
    pub(in crate::cache::registry) fn elsewhere(region: &str) -> Option<EcrSite> {
        let end = match region.split('-').next()? {
            "cn" => "amazonaws.com.cn",
            "eusc" => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        is_region(region).then(|| EcrSite {
            account: None,
            region: region.to_owned(),
            is_public: false,
            api: format!("api.ecr.{region}.{end}"),
            sts: format!("sts.{region}.{end}"),
        })
    }

    fn with(host: &str, service: &str, end: &str, api_end: &str) -> Option<EcrSite> {
        let rest = host.strip_suffix(end)?.strip_suffix('.')?;
        let (account, rest) = rest.split_once('.')?;
        let (kind, region) = rest.strip_prefix(service)?.rsplit_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let fips = match kind {
            "" => "",
            "-fips" => "-fips",
            _ => return None,
        };
        if !is_account || !is_region(region) {
            return None;
        }
        let api = match (service, fips) {
            ("dkr.ecr", "") => format!("api.ecr.{region}.{api_end}"),
            _ => format!("ecr{fips}.{region}.{api_end}"),
        };
        // The one of GovCloud is FIPS's under the plain name.
        let is_gov = region.starts_with("us-gov-") && service == "dkr.ecr";
        let sts = if is_gov { "" } else { fips };
        Some(EcrSite {
            account: Some(account.to_owned()),
            region: region.to_owned(),
            is_public: false,
            api,
            sts: format!("sts{sts}.{region}.{api_end}"),
        })
    }
}

/// Nothing that could stand for more than one part of a host's name.
pub(in crate::cache::registry) fn is_region(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.contains('-') && text.len() <= 32 && text.bytes().all(is_plain) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The APIs' hosts are those of the SDKs' tables of endpoints.
    #[test]
    fn the_forms_of_hosts() {
        for (host, region, api, sts) in [
            (
                "dkr.ecr.eu-west-1.amazonaws.com",
                "eu-west-1",
                "api.ecr.eu-west-1.amazonaws.com",
                "sts.eu-west-1.amazonaws.com",
            ),
            (
                "dkr.ecr-fips.us-east-1.amazonaws.com",
                "us-east-1",
                "ecr-fips.us-east-1.amazonaws.com",
                "sts-fips.us-east-1.amazonaws.com",
            ),
            (
                "dkr.ecr.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
                "api.ecr.us-gov-west-1.amazonaws.com",
                "sts.us-gov-west-1.amazonaws.com",
            ),
            (
                "dkr.ecr-fips.us-gov-east-1.amazonaws.com",
                "us-gov-east-1",
                "ecr-fips.us-gov-east-1.amazonaws.com",
                "sts.us-gov-east-1.amazonaws.com",
            ),
            (
                "dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "api.ecr.cn-north-1.amazonaws.com.cn",
                "sts.cn-north-1.amazonaws.com.cn",
            ),
            (
                "dkr.ecr.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1",
                "api.ecr.eusc-de-east-1.amazonaws.eu",
                "sts.eusc-de-east-1.amazonaws.eu",
            ),
            (
                "dkr.ecr.us-iso-east-1.c2s.ic.gov",
                "us-iso-east-1",
                "api.ecr.us-iso-east-1.c2s.ic.gov",
                "sts.us-iso-east-1.c2s.ic.gov",
            ),
            (
                "dkr-ecr.eu-west-1.on.aws",
                "eu-west-1",
                "ecr.eu-west-1.api.aws",
                "sts.eu-west-1.api.aws",
            ),
            (
                "dkr-ecr-fips.us-west-2.on.aws",
                "us-west-2",
                "ecr-fips.us-west-2.api.aws",
                "sts-fips.us-west-2.api.aws",
            ),
            (
                "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "cn-north-1",
                "ecr.cn-north-1.api.amazonwebservices.com.cn",
                "sts.cn-north-1.api.amazonwebservices.com.cn",
            ),
            (
                "dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu",
                "eusc-de-east-1",
                "ecr.eusc-de-east-1.api.amazonwebservices.eu",
                "sts.eusc-de-east-1.api.amazonwebservices.eu",
            ),
        ] {
            let found = EcrSite::of(&format!("123456789012.{host}")).unwrap();
            assert_eq!(
                (found.region.as_str(), found.api.as_str(), found.sts.as_str()),
                (region, api, sts)
            );
            assert_eq!(found.account.as_deref(), Some("123456789012"));
            assert!(!found.is_public);
        }
        let public = EcrSite::of("public.ecr.aws").unwrap();
        assert_eq!(public.api, "api.ecr-public.us-east-1.amazonaws.com");
        assert!(public.is_public && public.account.is_none());
    }

    #[test]
    fn what_is_like_them_is_not_one() {
        for host in [
            "ghcr.io",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "12345678901x.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.evil.example.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443",
            "123456789012.dkr.ecr-x.eu-west-1.amazonaws.com",
            "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.on.aws",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "public.ecr.aws.evil.example",
        ] {
            assert_eq!(EcrSite::of(host), None, "{host}");
        }
        assert_eq!(
            EcrSite::elsewhere("cn-north-1").unwrap().api,
            "api.ecr.cn-north-1.amazonaws.com.cn"
        );
        assert_eq!(EcrSite::elsewhere("eu-west-1/x"), None);
    }
}
