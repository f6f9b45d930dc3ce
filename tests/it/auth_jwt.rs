//! Bearer tokens, from the `Authorization` header to the access log.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::engine::plain;
use crate::support::gate::dockgate;
use crate::support::{Engine, Gate, Setup, text, wait_until};

const ISSUER: &str = "https://gitlab.example";

/// Signs tokens.
struct Pair(KeyPair);

impl Pair {
    fn new() -> Pair {
        Pair(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "x": base64url(self.0.public_key_raw())})
    }

    fn token(&self, id: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": ISSUER, "aud": "dockgate", "exp": now + 300, "nbf": now - 5,
            "user_login": "ann", "project_path": "team/app", "ref_protected": "true",
        });
        change(&mut claims);
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let key = EncodingKey::from_ed_der(&self.0.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let six = bits.as_bytes().chunks(6).map(|six| format!("{:0<6}", text(six)));
    six.map(|six| char::from(DIGITS[usize::from_str_radix(&six, 2).unwrap()])).collect()
}

/// A server of key sets.
#[derive(Clone)]
struct Keys {
    url: String,
    /// What it answers, and how often it was asked; nothing closes the connection.
    state: Arc<Mutex<(String, usize)>>,
}

impl Keys {
    fn new() -> Keys {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let keys = Keys { url, state: Arc::default() };
        let state = keys.state.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
                let mut state = state.lock().unwrap();
                state.1 += 1;
                let _ = stream.write_all(state.0.as_bytes());
            }
        });
        keys
    }

    fn says(&self, keys: &[Value]) {
        let body = json!({"keys": keys}).to_string();
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        self.state.lock().unwrap().0 = answer;
    }

    fn count(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn gate(&self, engine: &Engine) -> Gate {
        let table = format!(
            "[auth.ci]\nkind = \"jwt\"\njwks = \"{}\"\nissuer = \"{ISSUER}\"\n\
             audience = \"dockgate\"\nuser = \"user_login\"\n\
             require = {{ ref_protected = \"true\" }}\n",
            self.url
        );
        Setup::new(engine).tables(&table).listener("auth = [\"ci\"]").start()
    }
}

/// Status and message, or what the engine said.
fn ask(gate: &Gate, authorization: &str) -> (u16, String) {
    let line = match authorization {
        "" => String::new(),
        value => format!("Authorization: {value}\r\n"),
    };
    let (status, body) = gate.client().ask(format!("GET /info HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
    let said: Value = body.parse().unwrap();
    (status, said["message"].as_str().unwrap_or_default().to_owned())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_good_token_is_let_in_and_goes_no_further() {
    let (engine, keys, pair) = (Engine::start(plain::behaviour()), Keys::new(), Pair::new());
    keys.says(&[pair.jwk("a")]);
    let gate = keys.gate(&engine);
    assert_eq!(keys.count(), 0, "nothing is fetched at start");
    let token = pair.token("a", |_| ());
    for _ in 0..3 {
        assert_eq!(ask(&gate, &bearer(&token)).0, 200);
    }
    assert_eq!(keys.count(), 1);
    assert!(gate.records(3).iter().all(|record| record["user"] == "ann"));
    let seen = engine.seen().concat();
    assert_eq!(seen.matches("GET /info").count(), 3);
    assert!(!seen.to_lowercase().contains("authorization") && !seen.contains(&token), "{seen}");
    let ended = gate.stop();
    let signature = token.rsplit('.').next().unwrap();
    assert!(!ended.stderr.contains(signature) && !ended.stdout.contains(signature));
}

#[test]
fn anybody_else_is_a_401_that_says_why_and_repeats_nothing() {
    let (engine, keys) = (Engine::start(plain::behaviour()), Keys::new());
    let (pair, other) = (Pair::new(), Pair::new());
    keys.says(&[pair.jwk("a")]);
    let gate = keys.gate(&engine);
    let changed =
        |name: &str, value: Value| bearer(&pair.token("a", |claims| claims[name] = value));
    for (authorization, why) in [
        (String::new(), "no valid credentials"),
        ("Basic YW5uOng=".to_owned(), "no authenticator takes this credential"),
        ("Bearer opaque".to_owned(), "the bearer token is not a signed JWT"),
        (changed("exp", 5.into()), "the token has expired"),
        (changed("nbf", 9_999_999_999u64.into()), "the token is not valid yet"),
        (changed("aud", "other".into()), "the token is for another audience"),
        (changed("iss", "https://x".into()), "no authenticator takes this credential"),
        (changed("user_login", Value::Null), "claim `user_login` does not name a user"),
        (changed("ref_protected", "false".into()), "claim `ref_protected` is not one of"),
        (bearer(&other.token("a", |_| ())), "the token's signature is wrong"),
        (bearer(&other.token("b", |_| ())), "the token names a key that is not known"),
    ] {
        let (status, message) = ask(&gate, &authorization);
        assert_eq!(status, 401, "{why}");
        assert!(message.starts_with(&format!("dockgate: {why}")), "{message}");
    }
    let mut client = gate.client();
    client.send("GET /info HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().get("www-authenticate"), Some("Bearer realm=\"dockgate\""));
    assert!(engine.seen().is_empty());
}

#[test]
fn keys_rotate_and_a_source_that_is_down_is_a_503_only_at_first() {
    let (engine, keys) = (Engine::start(plain::behaviour()), Keys::new());
    let (old, new) = (Pair::new(), Pair::new());
    let gate = keys.gate(&engine);
    let (status, message) = ask(&gate, &bearer(&old.token("old", |_| ())));
    assert_eq!((status, message.as_str()), (503, "dockgate: authenticator `ci` cannot decide"));
    wait_until("a line", || gate.stderr().contains("the key set could not be fetched"));
    // A gate that has not failed yet.
    keys.says(&[old.jwk("old")]);
    let gate = keys.gate(&engine);
    assert_eq!(ask(&gate, &bearer(&old.token("old", |_| ()))).0, 200);
    keys.says(&[old.jwk("old"), new.jwk("new")]);
    assert_eq!(ask(&gate, &bearer(&new.token("new", |_| ()))).0, 200);
    keys.state.lock().unwrap().0.clear();
    let count = keys.count();
    for _ in 0..10 {
        assert_eq!(ask(&gate, &bearer(&new.token("newer", |_| ()))).0, 401);
    }
    assert_eq!(keys.count(), count, "one unknown key a minute is asked for");
    assert_eq!(ask(&gate, &bearer(&old.token("old", |_| ()))).0, 200);
}

#[test]
fn what_is_wrong_with_a_key_file_is_said_before_start() {
    let folder = tempfile::tempdir().unwrap();
    let (config, key) = (folder.path().join("dockgate.toml"), folder.path().join("key.pem"));
    let table = "[engine]\nurl = \"unix:///nowhere.sock\"\n[[listener]]\nname = \"a\"\n\
                 url = \"unix:///nowhere/gate.sock\"\nauth = [\"ci\"]\n[auth.ci]\nkind = \"jwt\"\n\
                 key = \"key.pem\"\nissuer = \"i\"\naudience = \"a\"\n";
    std::fs::write(&config, table).unwrap();
    let check = || {
        let output = dockgate(&["check", "-c", config.to_str().unwrap()]).output().unwrap();
        (output.status.success(), text(&output.stderr) + &text(&output.stdout))
    };
    let pair = Pair::new();
    std::fs::write(&key, pair.0.serialize_pem()).unwrap();
    let (is_good, said) = check();
    assert!(!is_good && said.contains("dockgate.toml:9:7: ") && said.contains("private"), "{said}");
    std::fs::write(&key, pair.0.public_key_pem()).unwrap();
    assert!(check().0, "{}", check().1);
}
