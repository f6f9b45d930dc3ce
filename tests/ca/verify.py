#!/usr/bin/env python3
"""What real verifiers say of the transparent cache's certificates.

    verify.py DIR [CLIENT...]

DIR holds chains, keys and a list of cases; the test `programs_agree` (src/ca/tests/verifiers.rs) makes it and runs
this. Prints a table, a row a case and a column a client: `+` taken, `-` refused, each followed by `!` where it
should be otherwise; and a second one of the same chains below an authority without constraints, all to be taken: what
is refused in the first is refused for them. A client that is not here is named, and left out. Exits with 1 on a wrong
cell, and when there was no client.
"""

import atexit
import concurrent.futures
import functools
import glob
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
Case = namedtuple("Case", "name host good")


def run(*args, **kwargs):
    return subprocess.run(args, capture_output=True, text=True, timeout=120, **kwargs)


def every(cases, check):
    return {case.name: check(case) for case in cases}


# ---- clients: each takes the folder and the cases, and says which chains it takes ----

def openssl(folder, cases, *more):
    return every(cases, lambda case: run(
        "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath", "-no-CAstore", *more,
        *openssl_name(case.host), "-CAfile", f"{folder}/bundle.pem", "-untrusted", f"{folder}/{case.name}.chain.pem",
        f"{folder}/{case.name}.leaf.pem").returncode == 0)


def openssl_revocation(folder, cases):
    """Wants a revocation list of everyone who has signed."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as lists:
        for name in ("root", "intermediate"):
            pem = run("openssl", "crl", "-inform", "DER", "-in", f"{folder}/{name}.crl").stdout
            assert "BEGIN X509 CRL" in pem, name
            lists.write(pem)
        lists.flush()
        return openssl(folder, cases, "-crl_check_all", "-CRLfile", lists.name)


def openssl_name(host):
    return ("-verify_ip" if ":" in host or host.replace(".", "").isdigit() else "-verify_hostname", host)


def openssl_dir(folder, cases):
    """The root in a hashed directory, under the name that we have found."""
    with tempfile.TemporaryDirectory() as path:
        with open(f"{folder}/hash") as file:
            shutil.copy(f"{folder}/root.pem", f"{path}/{file.read()}.0")
        return every(cases, lambda case: run(
            "openssl", "verify", "-purpose", "sslserver", "-no-CAfile", "-no-CAstore", "-CApath", path,
            *openssl_name(case.host), "-untrusted", f"{folder}/{case.name}.chain.pem",
            f"{folder}/{case.name}.leaf.pem").returncode == 0)


def certtool(folder, cases):
    return every(cases, lambda case: run(
        "certtool", "--verify", "--load-ca-certificate", f"{folder}/bundle.pem", "--verify-purpose",
        "1.3.6.1.5.5.7.3.1", "--verify-hostname", case.host, "--infile",
        f"{folder}/{case.name}.chain.pem").returncode == 0)


def vfychain(folder, cases):
    """NSS; it is not asked about the host, only about the chain."""
    with tempfile.TemporaryDirectory() as database:
        for args in (("-N", "--empty-password"), ("-A", "-t", "C,,", "-n", "root", "-i", f"{folder}/root.pem")):
            made = run("certutil", "-d", f"sql:{database}", *args)
            assert made.returncode == 0, made.stderr
        def check(case):
            files = []
            with open(f"{folder}/{case.name}.chain.pem") as file:
                blocks = file.read().split("-----END CERTIFICATE-----\n")[:-1]
            for number, block in enumerate(blocks):
                files.append(f"{database}/{case.name}.{number}")
                with open(files[-1], "w") as file:
                    file.write(block + "-----END CERTIFICATE-----\n")
            return run("vfychain", "-pp", "-u", "1", "-d", f"sql:{database}", "-a", *files).returncode == 0
        return every(cases, check)


def python(folder, cases):
    """TLS with itself; the newest Pythons are strict by default."""
    def check(case):
        client = ssl.create_default_context(cafile=f"{folder}/bundle.pem")
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(f"{folder}/{case.name}.chain.pem", f"{folder}/{case.name}.key.pem")
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        a = client.wrap_bio(to_client, to_server, server_hostname=case.host)
        b = server.wrap_bio(to_server, to_client, server_side=True)
        done = set()
        for _ in range(10):
            for side in (a, b):
                try:
                    side.do_handshake()
                    done.add(side)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLCertVerificationError:
                    return False
            if len(done) == 2:
                return True
        raise AssertionError(f"{case.name}: no end of the handshake")
    return every(cases, check)


def told(out):
    """Of a program that takes all cases: a line `NAME accept|reject REASON` for each."""
    assert out.returncode == 0, out.stdout + out.stderr
    words = [line.split(None, 2) for line in out.stdout.splitlines()]
    return {word[0]: word[1] == "accept" for word in words}


def go(folder, cases):
    return told(run("go", "run", f"{HERE}/verify.go", folder, env={**os.environ, "GO111MODULE": "off"}))


def node(folder, cases):
    return told(run("node", f"{HERE}/verify.js", folder))


def java(home):
    """The key store that we have written is the JVM's own; it is not asked about the host."""
    def takes(folder, cases, *more):
        return told(run(f"{home}/bin/java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                        f"-Djavax.net.ssl.trustStore={folder}/cacerts", "-cp", java_classes(), "Verify", folder, *more))
    return takes


@functools.cache
def java_classes():
    """Compiled once, by the oldest JDK, for all."""
    path = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, path)
    made = run(f"{next(iter(JAVAS.values()))}/bin/javac", "-d", path, f"{HERE}/Verify.java")
    assert made.returncode == 0, made.stderr
    return path


def java_revocation(home):
    return lambda folder, cases: java(home)(folder, cases, "with-lists")


def javas():
    """JDKs by major version, the oldest first."""
    found = {}
    for release in sorted(glob.glob("/usr/lib/jvm/*/release")):
        home = os.path.dirname(release)
        with open(release) as file:
            version = dict(line.strip().split("=", 1) for line in file if "=" in line)["JAVA_VERSION"]
        if os.path.exists(f"{home}/bin/javac"):
            found[int(version.strip('"').split(".")[0])] = home
    return dict(sorted(found.items()))


CLIENTS = {
    "openssl": (openssl, ["openssl"]),
    "ssl-crl": (openssl_revocation, ["openssl"]),
    "hashed": (openssl_dir, ["openssl"]),
    "gnutls": (certtool, ["certtool"]),
    "nss": (vfychain, ["vfychain", "certutil"]),
    "python": (python, []),
    "go": (go, ["go"]),
    "node": (node, ["node"]),
}
JAVAS = javas()
for major, home in JAVAS.items():
    CLIENTS[f"java{major}"] = (java(home), [])
if JAVAS:
    CLIENTS["java-crl"] = (java_revocation(list(JAVAS.values())[-1]), [])

# One each of the libraries: only that what we refuse is refused for its constraints.
CONTROL = ["openssl", "gnutls", "nss", "python", "go", "node"] + [f"java{major}" for major in JAVAS]


def main():
    folder, wanted = sys.argv[1], sys.argv[2:] or list(CLIENTS)
    here = []
    for client in wanted:
        missing = [tool for tool in CLIENTS[client][1] if shutil.which(tool) is None]
        if missing:
            print(f"SKIPPED {client}: no {', '.join(missing)} here")
        else:
            here.append(client)
    if not JAVAS:
        print("SKIPPED java: no JDK below /usr/lib/jvm")
    if any(client.startswith("java") for client in here):
        java_classes()
    wrong = table("ours", folder, here)
    wrong += table("no constraints", f"{folder}/control", [client for client in here if client in CONTROL])
    sys.exit(1 if wrong or not here else 0)


def table(title, folder, clients):
    with open(f"{folder}/cases") as file:
        words = [line.split() for line in file]
    cases = [Case(name, host, says == "accept") for name, host, says in words]
    assert len(cases) > 5, cases
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        started = {client: pool.submit(CLIENTS[client][0], folder, cases) for client in clients}
        said = {client: future.result() for client, future in started.items()}
    wrong = 0
    print(f"{title:17}" + "".join(f"{client:9}" for client in clients))
    for case in cases:
        row = ""
        for client in clients:
            taken = said[client][case.name]
            is_wrong = taken != case.good
            wrong += is_wrong
            row += f"{'+' if taken else '-'}{'!' if is_wrong else ''}".ljust(9)
        print(f"{case.name:17}{row}")
    print(f"{len(cases)} chains, {len(clients)} clients, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    main()
