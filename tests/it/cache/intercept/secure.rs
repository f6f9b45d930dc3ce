//! An origin behind TLS: a thread for each connection, answers by hand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::people::Authority;

type Tls = BufReader<StreamOwned<ServerConnection, TcpStream>>;

#[derive(Clone)]
pub struct SecureOrigin {
    pub address: SocketAddr,
    dialled: Arc<AtomicUsize>,
    /// Method, target and body.
    asked: Arc<Mutex<Vec<String>>>,
}

impl SecureOrigin {
    /// For `files.test`, and `localhost`, where it is. Gives `it is TARGET` for a day, says what it was sent, and
    /// becomes an echo where another protocol is asked for.
    pub fn new(authority: &Authority) -> SecureOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (cert, key) = authority.pair(&["files.test", "unknown.files.test", "localhost"]);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        let config = Arc::new(config);
        let origin = SecureOrigin { address, dialled: Arc::default(), asked: Arc::default() };
        let all = origin.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                all.dialled.fetch_add(1, Ordering::SeqCst);
                let (all, config) = (all.clone(), Arc::clone(&config));
                std::thread::spawn(move || {
                    let conn = ServerConnection::new(config).unwrap();
                    let mut tls = BufReader::new(StreamOwned::new(conn, stream));
                    while all.one(&mut tls).is_some() {}
                });
            }
        });
        origin
    }

    pub fn dialled(&self) -> usize {
        self.dialled.load(Ordering::SeqCst)
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn one(&self, tls: &mut Tls) -> Option<()> {
        let first = line(tls)?;
        let (mut length, mut protocol) = (0, None);
        loop {
            let field = line(tls)?.to_ascii_lowercase();
            let Some((name, value)) = field.split_once(": ") else { break };
            match name {
                "content-length" => length = value.parse().unwrap(),
                "upgrade" => protocol = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        tls.read_exact(&mut body).ok()?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let sent = String::from_utf8_lossy(&body).into_owned();
        self.asked.lock().unwrap().push(format!("{method} {target} {sent}"));
        let out = tls.get_mut();
        if let Some(protocol) = protocol {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            );
            out.write_all(head.as_bytes()).ok()?;
            let mut block = [0; 1024];
            loop {
                let read = tls.read(&mut block).ok().filter(|read| *read > 0)?;
                tls.get_mut().write_all(&block[..read]).ok()?;
            }
        }
        let answer = format!("it is {target} {sent}");
        let kept = if method == "GET" { "max-age=86400" } else { "no-store" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: {kept}\r\nAlt-Svc: h3=\":443\"\r\n\
             Strict-Transport-Security: max-age=9\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        out.write_all(head.as_bytes()).ok()?;
        if method != "HEAD" {
            out.write_all(answer.as_bytes()).ok()?;
        }
        Some(())
    }
}

fn line(tls: &mut Tls) -> Option<String> {
    let mut line = String::new();
    tls.read_line(&mut line).ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}
