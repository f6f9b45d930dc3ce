"""The caching proxies that are compared, each in front of the same origin: Debian's nginx and squid, and dockgate.

`with start("nginx", folder, origin_port) as subject:` gives `subject.http` and `subject.https` (ports of 127.0.0.1),
`subject.resident()` and `subject.log`. What was started ends with the block, or with the process that started it.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

from ports import free_port  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
DOCKGATE = pathlib.Path(os.environ.get("DOCKGATE") or ROOT / "target/release/dockgate")
NAMES = ("nginx", "squid", "dockgate")

# nginx as its manual says for packages: followers wait for the one that fetches, stale answers while it does
NGINX_TUNED = """
        proxy_set_header Connection "";
        proxy_cache_lock on; proxy_cache_lock_timeout 600s; proxy_cache_lock_age 600s;
        proxy_cache_use_stale error timeout updating; proxy_cache_background_update on;
"""
NGINX = """
daemon off; user root; worker_processes {workers}; pid {dir}/pid; error_log {dir}/error.log; worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; client_max_body_size 0;
    client_body_temp_path {dir}/client; proxy_temp_path {dir}/temp;
    fastcgi_temp_path {dir}/unused; uwsgi_temp_path {dir}/unused; scgi_temp_path {dir}/unused;
    proxy_cache_path {dir}/cache levels=1:2 keys_zone=objects:16m max_size=8g inactive=1d use_temp_path=off;
    ssl_protocols TLSv1.3; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    server {{
        listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl backlog=4096;
        location / {{
            proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1;
            proxy_cache objects; proxy_cache_revalidate on;
            {tuning}
        }}
    }}
}}
"""
SQUID = """
http_port 127.0.0.1:{http} accel defaultsite=localhost no-vhost
https_port 127.0.0.1:{https} accel defaultsite=localhost no-vhost tls-cert={dir}/cert.pem tls-key={dir}/key.pem
cache_peer 127.0.0.1 parent {origin} 0 no-query no-digest originserver default name=origin
cache_peer_access origin allow all
http_access allow all
collapsed_forwarding {collapse}
cache_mem 256 MB
maximum_object_size 4 GB
{disk}
access_log none
cache_log {dir}/error.log
cache_store_log none
pid_filename {dir}/pid
coredump_dir {dir}
netdb_filename none
shutdown_lifetime 0 seconds
connect_retries 3
visible_hostname localhost
max_filedescriptors 8192
"""
DOCKGATE_TOML = """
[admin]
listen = ["unix://{dir}/admin.sock"]
[cache.test]
listen = ["http://127.0.0.1:{http}", "https://127.0.0.1:{https}"]
dir = "{store}"
size = "{size}"
free = "{free}"
tls = {{ cert = "{dir}/cert.pem", key = "{dir}/key.pem" }}
allow_private = ["127.0.0.0/8"]
origins = {{ {origins} }}
{more}
"""

# who is told to end leaves no folders behind
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Missing(Exception):
    """The program is not on this machine."""


def start(name, folder, origin, **options):
    """Options: plain (nginx and squid as the conformance suite configures them), workers; for dockgate store, size, free,
    more (lines of TOML), or toml (all of it) with address and ports."""
    program = {"nginx": which("nginx"), "squid": which("squid"), "dockgate": DOCKGATE}[name]
    if not program or not os.access(program, os.X_OK):
        raise Missing(f"no {name} at {program}")
    return Subject(name, program, pathlib.Path(folder), origin, options)


class Subject:
    def __init__(self, name, program, folder, origin, options):
        self.name, self.dir, self.origin, self.options = name, folder, origin, options
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.address = options.get("address", "127.0.0.1")
        self.http, self.https = options.get("ports") or free_ports(2)
        if not (folder / "cert.pem").exists():
            certificate(folder)
        self.log = folder / "error.log"
        self.store = pathlib.Path(options.get("store") or folder / "store")
        self.command = [str(word) for word in getattr(self, f"_{name}")(program)]
        self.process = None
        self.run()

    def run(self):
        """Starts it (again)."""
        output = open(self.dir / "output", "ab")
        # setpriv: it ends when we do, however we end
        words = ["setpriv", "--pdeathsig", "KILL", *self.command]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        output.close()
        self.answers()

    def answers(self):
        """Waits until both ports accept."""
        deadline = time.monotonic() + 120
        for port in (self.http, self.https):
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended with status {self.process.returncode}:\n{self.tail()}")
                try:
                    socket.create_connection((self.address, port), 1).close()
                    break
                except OSError:
                    time.sleep(0.01)
            else:
                raise RuntimeError(f"{self.name} does not accept at {port}:\n{self.tail()}")

    def tail(self):
        texts = [path.read_text(errors="replace") for path in (self.dir / "output", self.log) if path.exists()]
        return "\n".join("".join(texts).splitlines()[-20:])

    def resident(self):
        """Resident memory in MB of all its processes; shared pages count once a process, as ps shows them."""
        return sum(resident(pid) for pid in family(self.process.pid)) / 1e6

    def kill(self):
        """kill -9."""
        for pid in family(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def stop(self):
        """SIGTERM, and how it ended; kill -9 when that takes too long."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _nginx(self, program):
        for name in ("cache", "temp", "client"):
            (self.dir / name).mkdir(exist_ok=True)
        tuning = "" if self.options.get("plain") else NGINX_TUNED
        text = NGINX.format(dir=self.dir, http=self.http, https=self.https, origin=self.origin, tuning=tuning,
                            workers=self.options.get("workers", 2))
        (self.dir / "nginx.conf").write_text(text)
        return program, "-e", self.log, "-p", self.dir, "-c", self.dir / "nginx.conf"

    def _squid(self, program):
        plain = self.options.get("plain")
        disk = "" if plain else f"cache_dir ufs {self.dir}/cache 8192 16 256\nmaximum_object_size_in_memory 64 KB"
        text = SQUID.format(dir=self.dir, http=self.http, https=self.https, origin=self.origin, disk=disk,
                            collapse="off" if plain else "on")
        conf = self.dir / "squid.conf"
        conf.write_text(text)
        # as root it changes its user; the folder is in one that only root may enter unless this is so
        shutil.chown(self.dir, "proxy", "proxy")
        for name in ("cert.pem", "key.pem"):
            shutil.chown(self.dir / name, "proxy", "proxy")
        if not plain:
            made = subprocess.run([program, "-N", "-z", "-f", conf], capture_output=True, text=True, check=False)
            if made.returncode:
                raise RuntimeError(f"squid -z: {made.stderr[-2000:]}")
        return program, "-N", "-f", conf

    def _dockgate(self, program):
        self.store.mkdir(parents=True, exist_ok=True)
        conf = self.dir / "dockgate.toml"
        if "toml" in self.options:
            conf.write_text(self.options["toml"])
            return program, "serve", "-c", conf
        hosts = [f"{host}:{port}" for host in ("127.0.0.1", "localhost") for port in (self.http, self.https)]
        text = DOCKGATE_TOML.format(
            dir=self.dir, http=self.http, https=self.https, store=self.store,
            size=self.options.get("size", "8GB"), free=self.options.get("free", "100MB"),
            origins=", ".join(f'"{host}" = "http://127.0.0.1:{self.origin}"' for host in hosts),
            more=self.options.get("more", ""))
        conf.write_text(text)
        return program, "serve", "-c", conf

    def statistics(self):
        """`dockgate cache stats`: the sums of all domains."""
        status, text = self.cache("stats", "--json")
        if status:
            raise RuntimeError(f"`cache stats` ended with status {status}: {text}")
        return json.loads(text)["caches"][0]["total"]

    def cache(self, *words):
        """`dockgate cache WORDS`: its status and what it says."""
        done = subprocess.run([DOCKGATE, "cache", *words, "-c", self.dir / "dockgate.toml"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=300)
        return done.returncode, done.stdout + done.stderr


def certificate(folder, names=("localhost",)):
    """A P-256 certificate of its own authority, made now."""
    folder = pathlib.Path(folder)
    run = lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)  # noqa: E731
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *key, "-keyout", folder / "ca-key.pem", "-out", folder / "ca.pem", "-days", "2",
        "-subj", "/CN=dockgate tests", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run("req", *key, "-keyout", folder / "key.pem", "-out", folder / "request.pem", "-subj", "/CN=dockgate tests leaf")
    alternative = ",".join(f"DNS:{name}" for name in names)
    (folder / "extensions").write_text(
        f"subjectAltName={alternative},IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
        "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    run("x509", "-req", "-in", folder / "request.pem", "-CA", folder / "ca.pem", "-CAkey", folder / "ca-key.pem",
        "-CAcreateserial", "-days", "2", "-extfile", folder / "extensions", "-out", folder / "cert.pem")


def which(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_ports(count):
    return [free_port() for _ in range(count)]


def family(pid):
    """The process and what descends from it."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid] + [one for child in children for one in family(int(child))]


def resident(pid):
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
