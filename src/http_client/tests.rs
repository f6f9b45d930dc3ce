//! Servers that answer, fail, lie and say nothing.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

use super::*;

/// Reads one request and says it, answers as told.
fn serve(mut stream: impl Read + std::io::Write, answer: &str) -> String {
    let mut said = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !said.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let length = said.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    said.push_str(std::str::from_utf8(&body).unwrap());
    // A client that has read enough goes away: that is no failure here.
    let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
    let _ = std::io::Write::flush(&mut stream);
    said
}

fn http(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys?x=1", listener.local_addr().unwrap());
    (url, thread::spawn(move || serve(listener.accept().unwrap().0, answer)))
}

fn client(url: &str, ca: Option<&config::File>) -> Result<HttpClient, String> {
    HttpClient::new(&url.into(), ca, Duration::from_secs(20)).map_err(|invalid| invalid.to_string())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_get_has_the_path_and_brings_the_body_of_a_200() {
    let (url, said) = http("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(run(client(&url, None).unwrap().get(2)).unwrap(), b"{}");
    assert!(said.join().unwrap().starts_with("GET /keys?x=1 HTTP/1.1\r\n"));
}

#[test]
fn what_is_no_200_or_too_long_or_cut_is_an_error() {
    let of = |answer| run(client(&http(answer).0, None).unwrap().get(8)).unwrap_err().to_string();
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(of(moved), "the answer's status is 302");
    assert_eq!(of("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "the answer's status is 500");
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789";
    assert_eq!(of(long), "the answer is longer than 8 bytes");
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n";
    assert_eq!(of(endless), "the answer is longer than 8 bytes");
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12";
    assert!(of(cut).starts_with("the answer broke off"), "{}", of(cut));
    assert!(of("nonsense\r\n\r\n").starts_with("client error"), "{}", of("nonsense\r\n\r\n"));
}

#[test]
fn who_is_not_there_or_says_nothing_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let silent = HttpClient::new(&url.as_str().into(), None, Duration::from_millis(50)).unwrap();
    assert!(matches!(run(silent.get(8)), Err(AskError::Late(_))));
    drop(listener);
    let error = run(client(&url, None).unwrap().get(8)).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn a_post_goes_to_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let answer = "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno";
    let said = thread::spawn(move || serve(listener.accept().unwrap().0, answer));
    let client = client(&format!("unix://{}:/ask/me", path.display()), None).unwrap();
    let answer = run(client.post_json(b"{\"a\":1}".to_vec(), 64)).unwrap();
    assert_eq!(answer, (403, b"no".to_vec()));
    let said = said.join().unwrap();
    assert!(said.starts_with("POST /ask/me HTTP/1.1\r\n"), "{said}");
    assert!(said.contains("host: localhost\r\n") && said.ends_with("{\"a\":1}"), "{said}");
}

#[test]
fn a_server_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, ca.pem()).unwrap();
        (ca, config::File { path, place: config::Place::default() })
    };
    let ((ours, ours_file), (_, other_file)) = (issuer("ours"), issuer("other"));
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &ours).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
    let tls = Arc::new(tls.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let tls = rustls::ServerConnection::new(tls.clone()).unwrap();
            let stream = rustls::StreamOwned::new(tls, stream);
            thread::spawn(move || serve(stream, answer));
        }
    });
    let ask = |host: &str, ca| run(client(&format!("https://{host}:{port}/"), ca).unwrap().get(8));
    assert_eq!(ask("localhost", Some(&ours_file)).unwrap(), b"{}");
    for error in [
        ask("127.0.0.1", Some(&ours_file)).unwrap_err(),
        ask("localhost", Some(&other_file)).unwrap_err(),
        ask("localhost", None).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
fn a_malformed_url_is_a_complaint_without_it() {
    for bad in [
        "",
        "/x",
        "http://",
        "https:///x",
        "ftp://secret/",
        "unix://secret",
        "unix:///a:/\u{1}",
        "https://user:secret@host/",
        "http://[",
        "unix:///a:/ secret",
    ] {
        let complaint = client(bad, None).unwrap_err();
        assert!(complaint.contains("URL") && !complaint.contains("secret"), "{complaint}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.pem");
    std::fs::write(&path, "nothing").unwrap();
    let file = config::File { path, place: config::Place::new(std::path::Path::new("c"), 3, 4) };
    let complaint = client("https://host/", Some(&file)).unwrap_err();
    assert!(complaint.starts_with("c:3:4: ") && complaint.contains("holds no certificate"));
    assert!(client("unix:///run/x.sock", None).is_ok());
}
