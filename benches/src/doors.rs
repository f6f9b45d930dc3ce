//! The rows about listeners beyond a unix socket without names: TLS handshakes and transfers beside
//! HAProxy's, requests with a token beside those without, a crowd of idle connections.
//! The targets here are processes of their own, so that the rows before are not touched.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::http::bad;
use crate::load::{self, Load};
use crate::plan::{DOCKGATE, HAPROXY, Run, cells, get};
use crate::process;
use crate::stream::{self, Transfer};
use crate::table::{Bar, Row, median, ratios};
use crate::targets::{Target, haproxy_config, leashed};
use crate::token;
use crate::way::{Offer, Way, server_bundle, tls_client};

/// Clients of handshakes at a time: enough for both cores to be busy.
const CLIENTS: usize = 8;
const NO_TARGETS: [Option<Target>; 4] = [const { None }; 4];

/// The further ways into a target.
pub(crate) struct Doors {
    tcp: Way,
    tls: Way,
    /// The same listener, of which a client asks for a post-quantum key exchange.
    hybrid: Way,
    /// Client certificates are required.
    mutual: Way,
    /// A unix socket that wants a token; HAProxy has none.
    token: PathBuf,
}

/// Where the further doors of the next target will be.
struct Plan {
    dir: PathBuf,
    certs: PathBuf,
    tcp: SocketAddr,
    tls: SocketAddr,
    mutual: SocketAddr,
}

impl Run {
    pub(crate) fn doors(&mut self) {
        // The engine behind the others; nobody asks it directly here.
        let [_stub, ..] = std::mem::replace(&mut self.targets, NO_TARGETS);
        if self.only.as_ref().is_some_and(|only| !NAMES.iter().any(|name| name.contains(only))) {
            return;
        }
        let certs = match self.make_certificates() {
            Ok(certs) => certs,
            Err(error) => return self.notes.push(format!("TLS and tokens: {error}")),
        };
        self.crowds(&certs);
        for column in [HAPROXY, DOCKGATE, DOCKGATE + 1] {
            match self.open(column, &certs) {
                Ok(target) => self.targets[column] = Some(target),
                Err(error) => self.notes.push(format!("TLS and tokens, {column}: {error}")),
            }
        }
        let full = Some(Bar::AtLeast(1.0));
        self.handshakes("TLS handshake", |doors| &doors.tls, full);
        self.handshakes("TLS handshake, client certificate", |doors| &doors.mutual, full);
        self.handshakes("TLS handshake, hybrid offered", |doors| &doors.hybrid, None);
        self.tls_transfer("TLS attach, engine to client", Transfer::RawOut);
        self.tls_transfer("TLS attach, client to engine", Transfer::RawIn);
        self.tokens();
    }

    fn make_certificates(&self) -> io::Result<PathBuf> {
        let dir = self.dir.join("certs");
        let program = self.programs[DOCKGATE].as_ref().ok_or_else(|| bad("no dockgate"))?;
        let made = Command::new(program).arg("certs").arg(&dir).stdout(Stdio::null()).output()?;
        match made.status.success() {
            true => Ok(dir),
            false => Err(bad(String::from_utf8_lossy(&made.stderr).trim().to_owned())),
        }
    }

    /// Starts the program of this column with all its doors.
    fn open(&self, column: usize, certs: &Path) -> io::Result<Target> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join(format!("doors-{number}"));
        fs::create_dir(&dir)?;
        let plan = Plan {
            dir,
            certs: certs.to_owned(),
            tcp: free_address()?,
            tls: free_address()?,
            mutual: free_address()?,
        };
        let program = self.programs[column].as_ref().ok_or_else(|| bad("not there"))?;
        let engine = self.dir.join("stub.sock");
        let socket = plan.dir.join("unix.sock");
        let mut command = leashed(program)?;
        let (name, log) = match column {
            HAPROXY => {
                let config = plan.dir.join("haproxy.cfg");
                fs::write(&config, plan.haproxy(&engine, &socket)?)?;
                command.arg("-db").arg("-f").arg(config);
                ("haproxy", None)
            }
            _ => {
                let policies = if column == DOCKGATE { "\"conservative\"" } else { "" };
                let config = plan.dir.join("dockgate.toml");
                fs::write(&config, plan.dockgate(&engine, &socket, policies))?;
                command.arg("serve").arg("-c").arg(config);
                let log = plan.dir.join("access.log");
                let log = OpenOptions::new().create(true).append(true).open(log)?;
                let name = if policies.is_empty() { "dockgate, no policy" } else { "dockgate" };
                (name, Some(log))
            }
        };
        let mut target = Target::start(name, &plan.dir, socket, command, log)?;
        let plain = tls_client(Offer::X25519, None)?;
        target.doors = Some(Doors {
            tcp: Way::Tcp(plan.tcp),
            tls: Way::Tls(plan.tls, plain),
            hybrid: Way::Tls(plan.tls, tls_client(Offer::Hybrid, None)?),
            mutual: Way::Tls(plan.mutual, tls_client(Offer::X25519, Some(certs))?),
            token: plan.dir.join("token.sock"),
        });
        Ok(target)
    }

    /// Full handshakes, each with one request: rate, and processor time of the server.
    fn handshakes(&mut self, name: &str, door: fn(&Doors) -> &Way, bar: Option<Bar>) {
        let (rounds, time) = (self.effort.rounds, self.effort.time);
        let Some(samples) = self.rounds(name, rounds, |target| {
            let way = door(doors_of(target)?);
            stream::ping_and_close(way)?;
            let (pid, begin) = (target.pid(), Instant::now());
            let cpu = process::cpu_seconds(pid);
            let count = repeatedly(way, time)? as f64;
            let seconds = begin.elapsed().as_secs_f64();
            Ok((count / seconds, (process::cpu_seconds(pid) - cpu) * 1e6 / count))
        }) else {
            return;
        };
        let rate = samples.each_ref().map(|all| all.iter().map(|s| s.0).collect::<Vec<_>>());
        let shown = rate.each_ref().map(|all| median(all.iter().copied()));
        let row = Row::new(format!("{name}: connections/s"), cells(&shown));
        self.print(row.judge_all(&ratios(&rate[DOCKGATE], &rate[HAPROXY]), "", bar));
        let cost = samples.each_ref().map(|all| all.iter().map(|s| s.1).collect::<Vec<_>>());
        let shown = cost.each_ref().map(|all| median(all.iter().copied()));
        let row = Row::new(format!("{name}: CPU µs of the server each"), cells(&shown));
        self.print(row.judge_all(&ratios(&cost[DOCKGATE], &cost[HAPROXY]), "", None));
    }

    fn tls_transfer(&mut self, name: &str, transfer: Transfer) {
        let (rounds, bytes) = (self.effort.transfer_rounds, self.effort.bytes);
        let gib = bytes as f64 / f64::from(1 << 30);
        let Some(samples) = self.rounds(name, rounds, |target| {
            let way = &doors_of(target)?.tls;
            let cpu = process::cpu_seconds(target.pid());
            let seconds = transfer.run(way, bytes)?;
            Ok((gib / seconds, (process::cpu_seconds(target.pid()) - cpu) / gib))
        }) else {
            return;
        };
        let rate = samples.each_ref().map(|all| all.iter().map(|s| s.0).collect::<Vec<_>>());
        let shown = rate.each_ref().map(|all| median(all.iter().copied()));
        let row = Row::new(format!("{name}: GiB/s"), cells(&shown));
        let judged = ratios(&rate[DOCKGATE], &rate[HAPROXY]);
        self.print(row.judge_all(&judged, "", Some(Bar::AtLeast(0.9))));
        let cost = samples.each_ref().map(|all| median(all.iter().map(|s| s.1)));
        self.print(Row::new(format!("{name}: CPU s per GiB"), cells(&cost)));
    }

    /// The same request with a token and, on a listener that wants none, without.
    fn tokens(&mut self) {
        let (name, rounds, time) = ("ping with a token", self.effort.rounds, self.effort.time);
        self.targets[HAPROXY] = None;
        let without =
            Load { request: get("/_ping").into(), status: 200, connections: 16, fresh: false };
        let request = String::from_utf8_lossy(&get("/_ping")).trim_end().to_owned();
        let request = format!("{request}\r\nAuthorization: Bearer {}\r\n\r\n", token::signed());
        let with = Load { request: Arc::from(request.as_bytes()), ..without.clone() };
        let Some(samples) = self.rounds(name, rounds, |target| {
            target.forget_log()?;
            let run = |socket: &Path, load: &Load| {
                let sample = load::run(socket, load, time, || process::cpu_seconds(target.pid()))?;
                let requests = sample.requests as f64;
                Ok::<_, io::Error>((requests / sample.seconds, sample.cost * 1e5 / requests))
            };
            Ok((run(&doors_of(target)?.token, &with)?, run(&target.socket, &without)?))
        }) else {
            return;
        };
        let bar = Some(Bar::AtLeast(0.9));
        for (what, take, bar) in [
            ("requests/s", (|s| s.0) as fn(&(f64, f64)) -> f64, bar),
            ("CPU s per 100,000", |s| s.1, None),
        ] {
            let mut shown =
                cells(&samples.each_ref().map(|all| median(all.iter().map(|s| take(&s.0)))));
            let bare = samples.each_ref().map(|all| median(all.iter().map(|s| take(&s.1))));
            for (shown, bare) in shown.iter_mut().zip(cells(&bare)).skip(DOCKGATE) {
                *shown = format!("{shown} (without: {bare})");
            }
            let ratio: Vec<f64> =
                samples[DOCKGATE].iter().map(|s| take(&s.0) / take(&s.1)).collect();
            self.print(Row::new(format!("{name}: {what}"), shown).judge_all(&ratio, "", bar));
        }
    }

    /// What an idle connection holds. Each kind meets a fresh process: what was freed once is
    /// used again.
    fn crowds(&mut self, certs: &Path) {
        let crowd = self.effort.crowd;
        for (kind, door) in [
            ("unix", (|_| None) as fn(&Doors) -> Option<&Way>),
            ("tcp", |doors| Some(&doors.tcp)),
            ("tls", |doors| Some(&doors.tls)),
        ] {
            let name = format!("idle connection, {kind}");
            if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
                continue;
            }
            let mut each = [None; 4];
            for column in [HAPROXY, DOCKGATE] {
                let measured = self.open(column, certs).and_then(|target| {
                    let unix = Way::Unix(target.socket.clone());
                    let way = door(doors_of(&target)?).unwrap_or(&unix);
                    stream::ping(way)?;
                    let before = process::rss_kib(target.pid())?;
                    let open = stream::open_crowd(way, crowd)?;
                    std::thread::sleep(Duration::from_millis(300));
                    let after = process::rss_kib(target.pid())?;
                    Ok((after - before) * 1.024 / open.len() as f64)
                });
                match measured {
                    Ok(kb) => each[column] = Some(kb),
                    Err(error) => self.notes.push(format!("{name}, column {column}: {error}")),
                }
            }
            let row = Row::new(format!("{name}, {crowd} open, KB each"), cells(&each));
            self.print(row.judge(each[DOCKGATE], " KB", Some(Bar::AtMost(12.0))));
        }
    }
}

/// The names of the rows, for `--only`.
const NAMES: [&str; 8] = [
    "TLS handshake, client certificate",
    "TLS handshake, hybrid offered",
    "TLS attach, engine to client",
    "TLS attach, client to engine",
    "ping with a token",
    "idle connection, unix",
    "idle connection, tcp",
    "idle connection, tls",
];

fn doors_of(target: &Target) -> io::Result<&Doors> {
    target.doors.as_ref().ok_or_else(|| bad("has no such listener"))
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// How many connections, each with one request, are made in `time`.
fn repeatedly(way: &Way, time: Duration) -> io::Result<usize> {
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let client = || {
            let mut count = 0;
            while Instant::now() < end {
                stream::ping_and_close(way)?;
                count += 1;
            }
            Ok(count)
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let counts = clients.into_iter().map(|client| client.join());
        counts.map(|count| count.unwrap_or_else(|_| Err(bad("a client panicked")))).sum()
    })
}

impl Plan {
    /// As in front of a Docker socket, and on its further doors with TLS.
    fn haproxy(&self, engine: &Path, socket: &Path) -> io::Result<String> {
        let bundle = server_bundle(&self.certs)?;
        let (bundle, ca) = (bundle.display(), self.certs.join("ca.pem"));
        let binds = format!(
            "    bind {}\n    bind {} ssl crt {bundle}\n    \
             bind {} ssl crt {bundle} verify required ca-file {}\n",
            self.tcp,
            self.tls,
            self.mutual,
            ca.display()
        );
        let config = haproxy_config(engine, socket)
            .replace("maxconn 4000", "maxconn 16000")
            // It wants two files a connection; one that is idle has one.
            .replace("global\n", "global\n    no strict-limits\n");
        let at = config.find("    http-request allow").unwrap_or(config.len());
        Ok(format!("{}{binds}{}", &config[..at], &config[at..]))
    }

    fn dockgate(&self, engine: &Path, socket: &Path, policies: &str) -> String {
        let certs = self.certs.display();
        let listener = |name: &str, url: String, more: &str| {
            format!(
                "[[listener]]\nname = \"{name}\"\nurl = \"{url}\"\npolicies = [{policies}]\n{more}\n"
            )
        };
        let tls = format!(
            "[listener.tls]\ncert = \"{certs}/server-cert.pem\"\nkey = \"{certs}/server-key.pem\"\n"
        );
        let mutual = format!("{tls}client_ca = \"{certs}/ca.pem\"\nclient_auth = \"required\"\n");
        [
            format!("[engine]\nurl = \"unix://{}\"\n", engine.display()),
            listener("unix", format!("unix://{}", socket.display()), ""),
            listener("tcp", format!("tcp://{}", self.tcp), ""),
            listener("tls", format!("tls://{}", self.tls), &tls),
            listener("mutual", format!("tls://{}", self.mutual), &mutual),
            listener(
                "token",
                format!("unix://{}", self.dir.join("token.sock").display()),
                "auth = [\"token\"]\n",
            ),
            token::AUTHENTICATOR.to_owned(),
        ]
        .concat()
    }
}
