#!/usr/bin/env python3
"""The HTTP caching conformance suite against a proxy that this starts: see conformance.sh."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
THRESHOLDS = HERE / "conformance.thresholds"
sys.path.insert(0, str(HERE))

from lib import subjects  # noqa: E402

def main():
    parser = argparse.ArgumentParser(prog="conformance.sh")
    parser.add_argument("suite", nargs="?", type=pathlib.Path, help="a checkout of the suite; else the package of npm")
    parser.add_argument("--subject", choices=subjects.NAMES, action="append")
    parser.add_argument("--id", help="one test, with what was sent and received")
    parser.add_argument("--results", type=pathlib.Path, help="where the suite's own JSON goes")
    args = parser.parse_args()
    suite = (args.suite or installed()).resolve()
    engine = suite / "test-engine" if (suite / "test-engine").is_dir() else suite
    status = 0
    for name in args.subject or ["dockgate"]:
        with tempfile.TemporaryDirectory(prefix="dockgate-conformance.") as folder:
            folder = pathlib.Path(folder)
            folder.chmod(0o755)
            try:
                status |= one(name, suite, engine, folder, args)
            except subjects.Missing as missing:
                print(f"SKIPPED {name}: {missing}")
    return status


def installed():
    cache = os.environ.get("DOCKGATE_E2E_CACHE") or pathlib.Path(
        os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "dockgate-e2e")
    suite = pathlib.Path(cache, "cache-suite/node_modules/http-cache-tests")
    if not suite.is_dir():
        sys.exit("conformance.sh: the suite is not installed\nhint: run `tests/cache/setup.sh`, or name a folder with it")
    return suite


def one(name, suite, engine, folder, args):
    port, = subjects.free_ports(1)
    # what the suite's scripts get from `npm run`
    settings = {"protocol": "http", "port": str(port), "pidfile": str(folder / "suite.pid"), "id": args.id or ""}
    environment = os.environ | {f"npm_config_{key}": value for key, value in settings.items()}
    environment["npm_package_config_id"] = ""
    origin = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "node", "--no-warnings", "--require", HERE / "keep-alive.cjs", engine / "server/server.mjs"],
        cwd=suite, env=environment, stdin=subprocess.DEVNULL, stdout=open(folder / "suite.log", "wb"),
        stderr=subprocess.STDOUT)
    try:
        answers(f"http://127.0.0.1:{port}/state/none")
        # in the configuration that one has without saying anything
        with subjects.start(name, folder / name, port, plain=True) as subject:
            base = f"http://localhost:{subject.http}"
            # a proxy that saw its origin down before it was up needs a moment to forget it
            answers(f"{base}/state/none")
            environment["npm_config_base"] = base
            client = ["node", "--no-warnings", engine / "cli.mjs"]
            if args.id:
                return subprocess.run(client, cwd=suite, env=environment, check=False).returncode
            results = folder / "results.json"
            with open(results, "wb") as out:
                subprocess.run(client, cwd=suite, env=environment, stdout=out, check=True)
            if args.results:
                args.results.write_bytes(results.read_bytes())
            print(f"{name}:")
            words = ["node", "--no-warnings", HERE / "score.mjs", suite, results]
            # what other proxies come to is only said
            return subprocess.run(words + [THRESHOLDS] * (name == "dockgate"), check=False).returncode
    finally:
        origin.kill()
        origin.wait()


def answers(url):
    """Three times in a row: an answer of any status but 502 to 504."""
    good, deadline = 0, time.monotonic() + 120
    while good < 3:
        if time.monotonic() > deadline:
            sys.exit(f"conformance.sh: nothing answers at {url}")
        try:
            urllib.request.urlopen(url, timeout=60).read()
            good += 1
        except urllib.error.HTTPError as error:
            good = 0 if error.code in (502, 503, 504) else good + 1
        except OSError:
            good = 0
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
