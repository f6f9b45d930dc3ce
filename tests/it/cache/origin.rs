//! An origin that writes what a test tells it to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug)]
pub struct Origin {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Origin {
    /// `answer` gets how many requests came before; its connection is closed when it gives false.
    pub fn new(
        answer: impl Fn(usize, &Asked, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, all) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, all) = (Arc::clone(&answer), Arc::clone(&all));
                std::thread::spawn(move || serve(stream, &*answer, &all));
            }
        });
        Origin { address, asked }
    }

    /// Always the same answer, to be kept alive.
    pub fn always(head: &str, body: &[u8]) -> Origin {
        let answer = whole(head, body);
        Origin::new(move |_, _, stream| stream.write_all(&answer).is_ok())
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Lets an origin wait until a test says so, once for each time that it waits.
#[derive(Clone)]
pub struct Door(Arc<Mutex<Receiver<()>>>);

impl Door {
    pub fn new() -> (Sender<()>, Door) {
        let (open, wait) = channel();
        (open, Door(Arc::new(Mutex::new(wait))))
    }

    pub fn wait(&self) {
        let _ = self.0.lock().unwrap().recv();
    }
}

/// An answer with its `Content-Length`; `head` is the status and fields, one a line.
pub fn whole(head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = lines(head);
    answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    answer.extend_from_slice(body);
    answer
}

/// Status line and fields, each with its line end; without the empty line.
pub fn lines(head: &str) -> Vec<u8> {
    let mut all = head.trim().lines().map(str::trim);
    let mut bytes = format!("HTTP/1.1 {}\r\n", all.next().unwrap()).into_bytes();
    for line in all {
        bytes.extend_from_slice(format!("{line}\r\n").as_bytes());
    }
    bytes
}

fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(usize, &Asked, &mut TcpStream) -> bool + Send + Sync),
    all: &Mutex<Vec<Asked>>,
) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let before = {
            let mut all = all.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        if !answer(before, &asked, &mut writer) {
            let _ = writer.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut fields = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, target, fields, body: Vec::new() };
    if let Some(length) = asked.field("content-length") {
        asked.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut asked.body).ok()?;
    }
    if asked.field("transfer-encoding").is_some() {
        asked.body = chunks(reader)?;
    }
    Some(asked)
}

fn chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
