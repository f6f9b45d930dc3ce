//! A token as a CI job would bring one, and the `[auth.*]` that takes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

const SECRET: &str = "of-no-worth-but-more-than-32-bytes-long";

pub(crate) const AUTHENTICATOR: &str = "[auth.token]\nkind = \"jwt\"\n\
    key = \"of-no-worth-but-more-than-32-bytes-long\"\n\
    issuer = \"https://ci.example\"\naudience = \"dockgate\"\nuser = \"sub\"\n";

/// Valid for an hour; with as many claims as GitLab's have.
pub(crate) fn signed() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let claims = format!(
        r#"{{"iss":"https://ci.example","sub":"group/project","aud":"dockgate","iat":{now},"nbf":{},"exp":{},"#,
        now - 60,
        now + 3600
    ) + r#""namespace_id":"7","namespace_path":"group","project_id":"42","project_path":"group/project","#
        + r#""user_id":"3","user_login":"alice","user_email":"alice@ci.example","pipeline_id":"1001","#
        + r#""pipeline_source":"push","job_id":"2002","ref":"main","ref_type":"branch","ref_protected":"true","#
        + r#""runner_id":5,"runner_environment":"self-hosted","jti":"5b1c0e0e-0c86-4a8e-9d43-2d1e2a8f9a10"}"#;
    let head = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", base64url(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("{text}.{}", base64url(hmac::sign(&key, text.as_bytes()).as_ref()))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}
