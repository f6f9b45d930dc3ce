//! Lines that are read, refused and made.

use super::*;

fn complaint(line: &str) -> String {
    htpasswd::parse(Path::new("h"), line.as_bytes()).unwrap_err().to_string()
}

#[test]
fn hashes_of_other_programs_are_verified() {
    for (text, right, wrong) in [
        (ANN, "correct horse", "correct horsf"),
        (UMLAUT, "p\u{e4}ss", "pass"),
        (ARGON2, "password", "Password"),
    ] {
        let hash = Hash::parse(text).unwrap();
        assert!(hash.verify(right) && !hash.verify(wrong), "{text}");
    }
}

#[test]
fn what_bcrypt_would_not_read_is_wrong() {
    let hash = Hash::parse(X72).unwrap();
    assert!(hash.verify(&"x".repeat(72)));
    assert!(!hash.verify(&"x".repeat(73)), "its first 72 bytes are right");
}

#[test]
fn weak_and_unknown_schemes_are_refused_with_their_line() {
    for (hash, what) in [
        ("$2y$05$GNG35Z0wAUZrofHSu3qWt.b6AH3SoGkcSJOjFBPJBjBa95BHpzLI.", "cost 5 is weak"),
        ("$2y$17$GNG35Z0wAUZrofHSu3qWt.b6AH3SoGkcSJOjFBPJBjBa95BHpzLI.", "takes too long"),
        ("$2y$10$GNG35Z0wAUZrofHSu3qWt.b6AH3SoGkcSJOjFBPJBjBa95BHpzLI", "malformed"),
        ("$2y$10$GNG35Z0wAUZrofHSu3qWt.b6AH3SoGkcSJOjFBPJBjBa95BHpzLI.:x", "malformed"),
        ("$2x$10$GNG35Z0wAUZrofHSu3qWt.b6AH3SoGkcSJOjFBPJBjBa95BHpzLI.", "`$2x$`"),
        ("$apr1$mHfs4Awu$6ig4VCmJNBtX4SQNjIDgE/", "`$apr1$`"),
        ("{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=", "`{SHA}`"),
        ("fIdNTHQkYLeXc", "plain text"),
        ("x", "plain text"),
        ("", "plain text"),
        ("\u{e9}\u{e9}\u{e9}", "plain text"),
        ("$5$7kr4GHPRsUK/eXQH$l4zujwVm0xPGngAQzkt4DRrxGFxoq7/q9z61r8SJuw/", "`$5$`"),
        ("$6$9Anrh0JXp761XF0e$dUF4CC8", "`$6$`"),
        ("$y$j9T$x", "`$y$`"),
        (
            "$argon2d$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "argon2d",
        ),
        (
            "$argon2id$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "version",
        ),
        (
            "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "is weak",
        ),
        (
            "$argon2id$v=19$m=7168,t=4,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "is weak",
        ),
        (
            "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "is weak",
        ),
        (
            "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "too much",
        ),
        (
            "$argon2id$v=19$m=65536,t=4294967295,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "too much",
        ),
        (
            "$argon2id$v=19$m=65536,t=2,p=64$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "too much",
        ),
        ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ", "below 16"),
        (
            "$argon2id$v=19$m=65536,t=2,p=1,x=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "malformed",
        ),
        ("$argon2id$nonsense", "malformed"),
        ("$argon2id", "version"),
    ] {
        let said = complaint(&format!("# people\n\nann:{hash}\n"));
        assert!(said.starts_with("h:3:1: ") && said.contains(what), "{hash}: {said}");
        assert!(said.contains("hint: make the line with `dockgate passwd USER`"), "{said}");
        assert!(hash.len() < 12 || !said.contains(hash), "the hash itself is nobody's business");
    }
}

#[test]
fn all_lines_are_complained_about_at_once() {
    let said = complaint(&format!("ann:{ANN}\nann:{UMLAUT}\n:{ANN}\nno colon\nb\u{7}ob:{ANN}\n"));
    let at: Vec<_> = said.lines().filter(|line| line.starts_with("h:")).collect();
    assert_eq!(at.len(), 4, "{said}");
    assert_eq!(at[0], "h:2:1: user `ann` is already on line 1");
    assert!(complaint("\u{feff}ann:x").starts_with("h:1:1: "));
    let bytes = [b"ann:", ANN.as_bytes(), b"\n\xff:x"].concat();
    let said = htpasswd::parse(Path::new("h"), &bytes).unwrap_err().to_string();
    assert!(said.starts_with("h:2:1: this line is not UTF-8"), "{said}");
}

#[test]
fn a_file_of_another_system_is_read_and_one_that_is_not_there_is_named() {
    let (_dir, basic) = file(&format!("# x\r\n\r\nann:{ANN}\r\n  \nbob b:{UMLAUT}"));
    assert_eq!(basic.unwrap().users.hashes.len(), 2);
    let place = Place::new(Path::new("d.toml"), 7, 8);
    let missing = config::File { path: "/nonexistent/htpasswd".into(), place };
    let said = Basic::new(&missing, Arc::default()).unwrap_err().to_string();
    assert!(said.starts_with("d.toml:7:8: `/nonexistent/htpasswd`: "), "{said}");
}

#[test]
fn a_line_that_is_made_here_is_read_here() {
    let line = htpasswd_line("ann b", "p\u{e4}ss:word").unwrap();
    assert!(line.starts_with("ann b:$2y$12$") && line.len() == 6 + 60, "{line}");
    let users = htpasswd::parse(Path::new("h"), line.as_bytes()).unwrap();
    assert!(users["ann b"].verify("p\u{e4}ss:word"));
    for user in ["", "a:b", "#a", " a", "a\n", "a\0"] {
        assert!(!htpasswd::is_user(user), "{user:?}");
        assert!(htpasswd_line(user, "x").is_err(), "{user:?}");
    }
    let long = "x".repeat(73);
    for password in ["", "a\0b", "a\nb", &long] {
        assert!(htpasswd_line("ann", password).is_err(), "{password:?}");
    }
}
