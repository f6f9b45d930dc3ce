"""What containers do beside fetching: a check each, which raises `Wrong`.

Images of their own (`image_of`), where a client refuses what dockgate shows: that is remembered of an image.
"""

import contextlib
import hashlib
import os
import re
import time

import layouts
import programs
from rig import BUNDLE, E2E, ORIGIN_CA, Wrong, differences, expect, good, until

# (what curl is told beside `--cacert` it trusts too: the folder of hashes of the system is one)
PINNED = ("--cacert", ORIGIN_CA, "--capath", "/srv")
HOST, OTHER, GIT, GO = "files.outside.test", "repo.maven.apache.org", "github.com", "proxy.golang.org"
QUICK, ALL = [], []
_paths = iter(range(1_000_000))


def quick(name):
    return lambda check: QUICK.append((name, check)) or check


def large(name):
    return lambda check: ALL.append((name, check)) or check


def prepare(rig, tars):
    """The images that every check has."""
    rig.import_image(tars["debian"], "bare:latest", 'CMD ["sh"]')
    program = rig.work / "get"
    with layouts.tarfile.open(tars["get"]) as tar:
        program.write_bytes(tar.extractfile("get").read())
    program.chmod(0o755)
    rig.program = tars["get"]
    # apt asks the DNS for a service that has a name
    own = [("/get", program.read_bytes()), (ORIGIN_CA, rig.origin_ca()), ("/etc/services", b"http\t80/tcp\nhttps\t443/tcp\n")]
    rig.image_with("bare", "debian", ["RUN chmod 755 /get"], own)
    if "clients" in tars:
        rig.import_image(tars["clients"], "large:latest", 'CMD ["sh"]')
        rig.image_with("large", "clients", (), [(ORIGIN_CA, rig.origin_ca())])
    good(E2E / "image.sh", rig.dir / "docker.sock")


def image_of(rig, name):
    rig.image_with("debian", name)
    return name


def path(scheme="https", host=HOST):
    """A URL that nobody has asked for."""
    return f"{scheme}://{host}/scenario/{next(_paths)}"


def fetch(url, *more):
    return " ".join(["curl -sS -f -o /tmp/o", *more, f"{url} && {programs.SUM}"])


def got(rig, url, said, through):
    """It has the right bytes, and the origin was asked once: by the cache, or by the container itself."""
    host, rest = url.split("://")[1].split("/", 1)
    expect(programs.sums(said), [programs.expected(f"/{rest}")], f"what came of {url}: {said[-300:]}")
    expect([one["through"] for one in rig.requests(host, f"/{rest}")], [through], f"who asked for {url} (true: the cache)")


def cached(rig, url, said):
    got(rig, url, said, True)


def passed_on(rig, url, said):
    got(rig, url, said, False)


@contextlib.contextmanager
def running(rig, image, *words, listener="plain"):
    """A container that stays."""
    name = f"stays{next(_paths)}"
    rig.docker("run", "-d", "--name", name, *words, image, "sleep", "9000", listener=listener)
    try:
        yield name
    finally:
        rig.docker("rm", "-f", name, listener=listener)


# ---- who is served ----


@quick("busybox without any trust, over HTTP")
def busybox(rig):
    url = path("http")
    for _ in range(2):
        said = rig.docker("run", "--rm", "busybox", "sh", "-c", f"wget -q -O /tmp/o {url} && {programs.SUM}")
        cached(rig, url, said)


@quick("conservative and a namespace before it")
def namespaced(rig):
    url = path()
    for _ in range(2):
        cached(rig, url, rig.docker("run", "--rm", "debian", "sh", "-c", fetch(url), listener="ci"))


@quick("a user, a network and an environment of one's own")
def own(rig):
    rig.docker("network", "create", "own")
    try:
        url, other = path(), path()
        more = ("--network", "own", "--user", "1000:1000", "-e", "SSL_CERT_FILE=/srv/origin.pem")
        image = image_of(rig, "own-file")
        said = rig.docker("run", "--rm", *more, image, "sh", "-c", fetch(url))
        cached(rig, url, said)
        with running(rig, "debian") as name:
            rig.docker("network", "connect", "own", name)
            cached(rig, other, rig.docker("exec", name, "sh", "-c", fetch(other)))
    finally:
        rig.docker("network", "rm", "own")


@quick("stopped and started again")
def started_again(rig):
    url, other = path(), path()
    with running(rig, "debian") as name:
        cached(rig, url, rig.docker("exec", name, "sh", "-c", fetch(url)))
        rig.docker("restart", "-t", "0", name)
        cached(rig, other, rig.docker("exec", name, "sh", "-c", fetch(other)))


@quick("update-ca-certificates keeps the certificate")
def update_ca_certificates(rig):
    url = path()
    said = rig.docker("run", "--rm", "debian", "sh", "-c", f"update-ca-certificates --fresh > /dev/null 2>&1 && {fetch(url)}")
    cached(rig, url, said)


@quick("a classic build, over HTTP")
def build(rig):
    url, tls = path("http"), path()
    folder = rig.work / "context"
    folder.mkdir(exist_ok=True)
    lines = ["FROM debian", f"RUN {fetch(url)}", f"RUN {fetch(tls, *PINNED)}"]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    said = rig.docker("build", "--no-cache", "-t", "built", folder)
    expect([one["through"] for one in rig.requests(HOST, url.split(HOST)[1])], [True], f"who asked over HTTP: {said[-500:]}")
    expect([one["through"] for one in rig.requests(HOST, tls.split(HOST)[1])], [False], "who asked over HTTPS")


# ---- who is passed on ----


@quick("a pinned client loses one handshake, and none in other containers")
def pinned(rig):
    image = image_of(rig, "pinned")
    one, other, third = path(), path(host=OTHER), path()
    words = PINNED
    said = rig.docker("run", "--rm", image, "sh", "-c", f"curl -s -o /dev/null {' '.join(words)} {one}; echo status $?; {fetch(other, *words)}")
    passed_on(rig, other, said)
    if "status 0" not in said:
        expect("status 60" in said, True, f"the first handshake ends for its certificate: {said}")
        expect(rig.requests(HOST, one.split(HOST)[1]), [], "what is asked by a client that was refused")
    passed_on(rig, third, rig.docker("run", "--rm", image, "sh", "-c", fetch(third, *words)))
    # it is known of that image only
    url = path()
    cached(rig, url, rig.docker("run", "--rm", "debian", "sh", "-c", fetch(url)))


@quick("a container that dockgate has not made")
def unknown(rig):
    url = path()
    words = ("run", "--rm", "--add-host", f"{HOST}:{rig.bridge}", "debian", "sh", "-c", fetch(url, *PINNED))
    passed_on(rig, url, rig.direct(*words))


@quick("a read-only root")
def read_only(rig):
    image, url = image_of(rig, "read-only"), path()
    words = ("run", "--rm", "--read-only", "--tmpfs", "/tmp", image, "sh", "-c", fetch(url, *PINNED))
    passed_on(rig, url, rig.docker(*words))


@quick("a volume over /etc/ssl")
def volume(rig):
    image, url = image_of(rig, "volume"), path()
    tls = PINNED
    try:
        # (one handshake may be lost)
        script = f"curl -s -o /dev/null {' '.join(tls)} https://{OTHER}/warm; {fetch(url, *tls)}; sha256sum < {BUNDLE} | sed 's/^/HAS /'"
        said = rig.docker("run", "--rm", "-v", "certs:/etc/ssl", image, "sh", "-c", script)
        passed_on(rig, url, said)
        plain = rig.direct("run", "--rm", "--network", "none", image, "sh", "-c", f"sha256sum < {BUNDLE} | sed 's/^/HAS /'")
        expect([line for line in said.splitlines() if line.startswith("HAS")], plain.split("\n")[:1], "what is in the volume")
    finally:
        rig.docker("volume", "rm", "-f", "certs")


@quick("files that are mounted, however that is said, stay as they are")
def mounted(rig):
    certs = rig.work / "certs"
    certs.mkdir(exist_ok=True)
    (certs / "ca-certificates.crt").write_bytes(b"the user's\n")
    rig.docker("create", "--name", "source", "-v", f"{certs}:/etc/ssl/certs", "debian")
    ways = (("--volumes-from", "source"), ("-v", f"{certs}:/a/../etc/ssl/certs"),
            ("--mount", f"type=bind,src={certs},dst=/etc/ssl/certs/./"), ("-v", f"{certs}:/etc//ssl/certs/"))
    try:
        for number, words in enumerate(ways):
            name = f"mounted{number}"
            rig.docker("create", "--name", name, *words, "debian", "sh")
            rig.docker("rm", name)
            found = {one.name: one.read_bytes() for one in certs.iterdir()}
            expect(found, {"ca-certificates.crt": b"the user's\n"}, f"what is in the folder of the host after {words}")
        said = rig.docker("run", "--rm", "--tmpfs", "/etc/ssl", "debian", "env")
        expect([line for line in said.splitlines() if "ca-certificates" in line], [], "the environment, where the bundle is hidden")
    finally:
        rig.docker("rm", "-f", "source")


@quick("the networks none and host")
def networks(rig):
    said = rig.docker("run", "--rm", "--network", "none", "debian", "cat", "/etc/hosts")
    expect(HOST in said, False, f"the hosts file: {said}")
    url = path()
    words = (fetch(url, *PINNED, f"--resolve {HOST}:443:{rig.address}"),)
    said = rig.docker("run", "--rm", "--network", "host", "debian", "sh", "-c", *words)
    passed_on(rig, url, said)


@quick("a container in the network of another, and that one")
def shared(rig):
    image = image_of(rig, "shared")
    with running(rig, image) as name:
        before, after = path(), path()
        said = rig.docker("exec", name, "sh", "-c", fetch(before))
        cached(rig, before, said)
        url = path()
        said = rig.docker("run", "--rm", "--network", f"container:{name}", image, "sh", "-c", fetch(url, *PINNED))
        passed_on(rig, url, said)
        # nothing was lost by it, and nothing learned of the image
        cached(rig, after, rig.docker("exec", name, "sh", "-c", fetch(after)))


@quick("a host that the user has put somewhere")
def pin(rig):
    said = rig.docker("run", "--rm", "--add-host", f"{HOST}:192.0.2.7", "debian", "cat", "/etc/hosts")
    lines = [line.split() for line in said.splitlines()]
    expect([line[0] for line in lines if HOST in line[1:]], ["192.0.2.7"], f"where {HOST} is")
    expect([line[0] for line in lines if OTHER in line[1:]], [rig.bridge], f"where {OTHER} is")


@quick("who asks for other hosts gets nothing")
def foreign(rig):
    image, listed, host = image_of(rig, "foreign"), path(), rig.foreign
    ask = "curl -s -m 60 -o /dev/null -w '%{http_code}\\n'"
    tls = " ".join(PINNED)
    # what must not be found there; a name of no-one's, and one below a listed one
    at = lambda name: f"--resolve {name}:443:{rig.bridge}"  # noqa: E731
    wrong = {
        "another name in TLS": f"{ask} {at(host)} {tls} https://{host}/x",
        "a name below one of ours": f"{ask} {at('x.' + HOST)} -k https://x.{HOST}/x",
        "another Host over HTTP": f"{ask} -H 'Host: {host}' http://{rig.bridge}/x",
        "another Host over TLS": f"{ask} -H 'Host: {host}' {listed}",
        "a proxy's request": f"{ask} -x http://{rig.bridge}:80 http://{host}/x",
        "a tunnel": f"{ask} -p -x http://{rig.bridge}:80 {tls} https://{host}/x",
        "the address as a name": f"{ask} -k https://{rig.bridge}/x",
        "no name in TLS": f"openssl s_client -noservername -connect {rig.bridge}:443 < /dev/null 2> /dev/null | grep -c 'BEGIN CERT'",
        "HTTP where TLS is spoken": f"{ask} http://{rig.bridge}:443/x",
    }
    random = f"for i in $(seq 30); do curl -s -m 60 -o /dev/null --resolve r$i.test:443:{rig.bridge} -k https://r$i.test/; done"
    before = rig.connections()
    script = "\n".join([f"echo \"CASE {name}: $({command})\"" for name, command in wrong.items()] + [random, "true"])
    said = rig.docker("run", "--rm", image, "sh", "-c", script)
    for name in wrong:
        answer = next((line.split(": ", 1)[1] for line in said.splitlines() if line.startswith(f"CASE {name}: ")), "nothing")
        if answer not in ("000", "0", "400", "403", "404", "405", "421"):
            raise Wrong(f"{name}: {answer}")
    expect(rig.connections() - before, 0, "connections to the origin")
    cached(rig, listed, rig.docker("run", "--rm", "debian", "sh", "-c", fetch(listed)))


@quick("apt asks the DNS where there is no dockgate")
def apt_walks(rig):
    """The trap is one: it is what `apt over HTTP` does not fall into."""
    if not rig.real:
        return
    host = programs.QUICK_REGISTRIES[0].hosts.copy().pop()
    words = ["--add-host", f"{host}:{rig.bridge}"]
    before = len(rig.requests(host))
    rig.direct("run", "--rm", *words, "debian", "sh", "-c", "apt-get -q update 2>&1 || true")
    if len(rig.requests(host)) == before:
        raise Wrong(f"nothing of {host} was looked for where the DNS says")


# ---- what is seen of it ----


@quick("commit and export: nothing of it, and it goes on")
def commit(rig):
    one, other = path(), path()
    with running(rig, "debian") as name:
        cached(rig, one, rig.docker("exec", name, "sh", "-c", f"{fetch(one)} && rm /tmp/o && echo mine > /srv/mine"))
        rig.docker("commit", name, "committed")
        exported = rig.tree(name, listener="plain")
        cached(rig, other, rig.docker("exec", name, "sh", "-c", fetch(other)))
    trees = []
    for image in ("debian", "committed"):
        made = rig.direct("create", image, "true").strip()
        trees.append(rig.tree(made))
        rig.direct("rm", made)
    base, kept = trees
    mine = {"/srv/mine", *EMPTIED}
    for what, tree in (("a commit has kept", kept), ("an export has", exported)):
        found = {name for name in own_files(base, tree) if not (HASHED.fullmatch(name) and tree[name][-2:] == ("/dev/null", None))}
        expect(found, mine, f"what {what} ({[(name, base.get(name), tree.get(name)) for name in sorted(found - mine)]})")
        # an archive that is put there cannot remove a file: what was ours says nothing now
        expect([tree.get(name, ("",))[-2:] for name in EMPTIED], list(EMPTIED.values()), f"what is left of ours in what {what}")
    url = path()
    cached(rig, url, rig.docker("run", "--rm", "committed", "sh", "-c", fetch(url)))


HASHED = re.compile(r"/etc/ssl/certs/[0-9a-f]{8}\.0")
# link and content
EMPTIED = {"/etc/apt/apt.conf.d/80dockgate": ("", hashlib.sha256(b"").hexdigest()),
           "/usr/local/share/ca-certificates/dockgate.crt": ("/dev/null", None)}
MOUNTED = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv", "/dev", "/proc", "/sys")


def own_files(base, other):
    """What differs, without what every container of the engine has, and without folders that are there before and after."""
    found = set()
    for name in differences(base, other):
        entries = (base.get(name), other.get(name))
        is_folder = all(one is not None and one[0] == "5" for one in entries)
        if not is_folder and not any(name == one or name.startswith(f"{one}/") for one in MOUNTED):
            found.add(name)
    return found


@quick("diff and inspect tell of none of it")
def shown(rig):
    with running(rig, "debian", "--add-host", "mine:192.0.2.9") as name:
        expect(rig.docker("diff", name).split("\n"), [""], "what `docker diff` says")
        found = rig.docker("inspect", "--format", "{{json .HostConfig.ExtraHosts}}", name).strip()
        expect(found, '["mine:192.0.2.9"]', "its hosts")
        rig.docker("exec", name, "sh", "-c", "echo mine > /srv/mine")
        expect(sorted(rig.docker("diff", name).split("\n")), ["", "A /srv/mine", "C /srv"], "what `docker diff` says then")


# ---- the large tier ----


@large("git over HTTPS")
def git(rig):
    script = f"git clone -q https://{GIT}/repo.git /tmp/r && cat /tmp/r/file"
    for _ in range(2):
        expect(rig.docker("run", "--rm", "clients", "sh", "-c", script).strip().splitlines()[-1], "kept in git", "the file")
    asked = rig.requests(GIT)
    expect({one["through"] for one in asked}, {True}, "who asked")
    expect("POST" in {one["method"] for one in asked}, True, f"it was spoken as git does: {asked}")


@large("go mod download")
def go(rig):
    module = "example.com/m"
    script = ("test -x /opt/go/bin/go || { echo NONE; exit; }; export GOROOT=/opt/go GOFLAGS=-mod=mod GONOSUMDB='*' GONOSUMCHECK=1 GOSUMDB=off "
              "HOME=/tmp; mkdir -p /tmp/m && cd /tmp/m && printf 'module x\\n\\ngo 1.18\\n' > go.mod && "
              f"/opt/go/bin/go mod download -json {module}@v1.0.0")
    for _ in range(2):
        said = rig.docker("run", "--rm", "clients", "sh", "-c", script)
        if said.strip() == "NONE":
            print("SKIPPED go mod download: no go on this machine", flush=True)
            return
        expect('"Zip"' in said, True, f"it has the module: {said[-500:]}")
    asked = rig.requests(GO, "/example.com/m/@v/v1.0.0.zip")
    expect([one["through"] for one in asked], [True], "who asked for the module")


@large("Debian without ca-certificates, which installs them")
def slim(rig):
    if not rig.real:
        return
    # neither bundle nor package; what is installed finds the folder of anchors
    rig.image_with("debian", "slim", ["RUN dpkg --purge --force-all ca-certificates && rm -rf /etc/ssl/certs /usr/share/ca-certificates"])
    url = path()
    script = ("apt-get -qq update --error-on=any && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "
              f"ca-certificates > /tmp/said 2>&1 || cat /tmp/said; {fetch(url)}")
    cached(rig, url, rig.docker("run", "--rm", "slim", "sh", "-c", script))


@large("files of other distributions")
def distributions(rig):
    pem = (rig.work / "outside/other-ca.pem").read_bytes()
    for tree in layouts.TREES:
        rig.import_image(tree.tar(rig.work, rig.program, pem), tree.name, 'ENTRYPOINT ["/get"]')
        url, other = path(), path("http")
        said = rig.docker("run", "--rm", tree.name, url)
        cached(rig, url, said)
        cached(rig, other, rig.docker("run", "--rm", tree.name, other))
        read(rig, tree, pem)


def read(rig, tree, pem):
    """The files themselves, by a reader that takes links as the distribution has them."""
    made = rig.docker("create", tree.name, "x").strip().splitlines()[-1]
    found, target = rig.tree(made), rig.work / "export.tar"
    with layouts.tarfile.open(target) as tar:
        bundle = tar.extractfile(tree.bundle.lstrip("/")).read()
        anchors = [one for one in tar.getnames() if tree.anchors and f"/{one}".startswith(f"{tree.anchors}/")]
        texts = [tar.extractfile(one).read() for one in anchors]
    rig.docker("rm", made)
    expect(bundle.startswith(pem), True, f"{tree.name}: the bundle begins as it did")
    expect(layouts.certificates(bundle), 2, f"{tree.name}: certificates in the bundle")
    if tree.anchors:
        expect([layouts.certificates(text) for text in texts], [1], f"{tree.name}: certificates in {tree.anchors}: {anchors}")
    base = rig.direct("create", tree.name, "x").strip()
    before = rig.tree(base)
    rig.direct("rm", base)
    expect(found[tree.bundle][:4], before[tree.bundle][:4], f"{tree.name}: kind, mode and owner of the bundle")
    for name, entry in before.items():
        if entry[0] != "0" and found.get(name) != entry and entry[0] != "5":
            raise Wrong(f"{tree.name}: {name} was {entry} and is {found.get(name)}")


@large("an image without any file of trust")
def scratch(rig):
    tree = layouts.EMPTY
    rig.import_image(tree.tar(rig.work, rig.program, b""), tree.name, 'ENTRYPOINT ["/get"]')
    rig.image_with(tree.name, "nothing-ca", (), [(ORIGIN_CA, rig.origin_ca())])
    url, plain = path(), path("http")
    cached(rig, plain, rig.docker("run", "--rm", "nothing-ca", plain))
    passed_on(rig, url, rig.docker("run", "--rm", "nothing-ca", "-ca", ORIGIN_CA, url))


# ---- dockgate itself, at last: its authorities are others afterwards ----


def restarted(rig):
    image, urls = image_of(rig, "restarted"), [path() for _ in range(4)]
    tls = PINNED
    with running(rig, image) as name:
        cached(rig, urls[0], rig.docker("exec", name, "sh", "-c", fetch(urls[0])))
        rig.end_gateway()
        rig.serve()
        passed_on(rig, urls[1], rig.docker("exec", name, "sh", "-c", fetch(urls[1], *tls)))
    cached(rig, urls[2], rig.docker("run", "--rm", "debian", "sh", "-c", fetch(urls[2])))
    # what was learned of an image is known still
    rig.image_with("debian", "learned")
    learn = f"curl -s -o /dev/null {' '.join(tls)} https://{OTHER}/learn || true"
    rig.docker("run", "--rm", "learned", "sh", "-c", learn)
    rig.end_gateway()
    rig.serve()
    passed_on(rig, urls[3], rig.docker("run", "--rm", "learned", "sh", "-c", fetch(urls[3], *tls)))


GENERATIONS = int(os.environ.get("TRANSPARENT_GENERATIONS") or 10)
LOOP = """
n=0
while [ ! -e /tmp/enough ]; do
    n=$((n + 1))
    curl -sS -f -o /dev/null https://{host}/loop/$((n % 40)) 2>> /tmp/failed || echo "$n: failed" >> /tmp/failed
    echo $n > /tmp/count
done
"""


# One that reads whom it trusts at its start, and lives for less than half a lifetime.
OLD_READER = """
import ssl, time, urllib.request, os
trusted, end = ssl.create_default_context(), time.monotonic() + 25
while time.monotonic() < end and not os.path.exists("/tmp/enough"):
    try:
        urllib.request.urlopen("https://{host}/reader/%d" % (time.time() % 40), context=trusted).read()
    except Exception as error:
        open("/tmp/failed", "a").write("a program that read its store before: %s\\n" % error)
    time.sleep(0.2)
"""


def rotation(rig):
    """An authority lives for a minute: a container that fetches all the time sees some of them, and no failure."""
    rig.end_gateway()
    config = rig.work / "dockgate.toml"
    config.write_text(config.read_text().replace(f'lifetime = "{rig.lifetime}"', 'lifetime = "1m"'))
    rig.serve()
    seen = set()
    with running(rig, "debian") as name:
        rig.docker("exec", "-d", name, "sh", "-c", LOOP.format(host=HOST))
        reader = OLD_READER.format(host=HOST)
        again = "while [ ! -e /tmp/enough ]; do python3 -c \"$0\" || echo 'no reader' >> /tmp/failed; done"
        rig.docker("exec", "-d", name, "sh", "-c", again, reader)

        def enough():
            time.sleep(1)
            failed = rig.docker("exec", name, "sh", "-c", "cat /tmp/failed 2> /dev/null || true")
            if failed:
                raise Wrong(f"after {len(seen)} generations: {failed[:500]}")
            seen.add(rig.docker("exec", name, "sh", "-c", "cat /usr/local/share/ca-certificates/* | sha256sum").strip())
            return "" if len(seen) >= GENERATIONS else f"{len(seen)} generations were seen"

        until(enough, f"{GENERATIONS} generations", seconds=1200)
        url = path()
        cached(rig, url, rig.docker("exec", name, "sh", "-c", fetch(url)))
        said = rig.docker("exec", name, "sh", "-c", "touch /tmp/enough; cat /tmp/count /tmp/failed 2> /dev/null || true").split("\n")
        expect(said[1:], [""], f"what has failed of {said[0]} downloads")
        expect(int(said[0]) > GENERATIONS, True, "there were some")


LAST = [("dockgate is started again", restarted)]


def chosen(tier):
    more = [("authorities that live for a minute", rotation)]
    return QUICK + (ALL if tier == "all" else []) + LAST + (more if tier == "all" else [])
