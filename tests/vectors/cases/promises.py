"""140-159: rules that say less than they promise, and what takes the engine down. Listeners of their own: `ro`, `forced`, `ours`."""

import contextlib
import json
import os
import subprocess
import time
import urllib.parse

from lib.case import dig, vector
from lib.rig import E2E, Target
from lib.wire import streams

CANARY = "canary-of-the-tests"


def gate(c, name, policies, tables=""):
    """A listener in a process of its own, started once a run."""
    rig = c.rig
    if name not in rig.gates:
        rig.serve(
            f"gate-{name}",
            f'[engine]\nurl = "unix://{rig.socket}"\n\n[[listener]]\nname = "{name}"\n'
            f'url = "unix://{rig.gate_socket(name)}"\npolicies = {json.dumps(policies)}\n{tables}',
        )
    return name


def at_version(target, version):
    return Target(target.name, target.address, version)


@contextlib.contextmanager
def mounted_below(c, path):
    """A tmpfs below a path, as the engine sees it: it has a mount namespace of its own."""
    pid = (c.rig.dir / "pid").read_text().strip()
    inside = ["nsenter", "-t", pid, "-m"]
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run([*inside, "mount", "-t", "tmpfs", "below", path], check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "umount", "-l", path], check=True)


def processes(name):
    found = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            found += name.encode() in file.read()
    return found


@vector(140, "a path given ro, with something mounted below it")
def read_only_with_mounts_below(c):
    folder = c.rig.work / "given"
    via = gate(c, "ro", ["ro"], f'[policy.ro]\nkind = "conservative"\nbinds = [{{ host = "{folder}", mode = "ro" }}]\n')
    script = "touch /x/below/file && echo written"
    ways = {
        "Binds": {"Binds": [f"{folder}:/x:ro"]},
        "Mounts": {"Mounts": [{"Type": "bind", "Source": str(folder), "Target": "/x", "ReadOnly": True}]},
        "Mounts, told not to": {
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": str(folder),
                    "Target": "/x",
                    "ReadOnly": True,
                    "BindOptions": {"ReadOnlyNonRecursive": True},
                }
            ]
        },
    }
    with mounted_below(c, folder / "below"):
        for label, host in ways.items():
            for version in ("1.41", "1.43", c.rig.version):
                if float(version) > float(c.rig.version):
                    continue
                old = c.rig.engine == "20.10"
                bites = old or version in ("1.41", "1.43") or "told" in label
                c.probe(
                    f"{label} at {version}",
                    lambda target, _, host=host, version=version: c.output(at_version(target, version), host, script),
                    lambda answer, _: hasattr(answer, "output") and "written" in answer.output,
                    via=via,
                    inert=None if bites else "asked by 1.44 or more, this engine makes all of it read-only",
                )
        # made by an administrator, so that nothing was forced
        c.probe(
            "a start of what was made elsewhere",
            lambda target, ident: target.call("POST", f"/containers/{ident}/start"),
            lambda answer, ident: answer.status == 204 and dig(c.inspect(ident), "State.Running"),
            setup=lambda: c.make(HostConfig={"Binds": [f"{folder}:/x:ro"]}),
            via=via,
        )
    answer = c.output(c.rig.gates[via], ways["Binds"], "ls -d /x && touch /x/file || echo cannot")
    c.expect("without a mount below it is given, read-only", "cannot" in getattr(answer, "output", ""), str(answer))


@vector(141, "the forced network removed, made anew, renamed, connected")
def forced_network(c):
    via = gate(c, "forced", ["forced"], '[policy.forced]\nkind = "limits"\nforce = { network = "v141" }\n')

    def there():
        return c.rig.admin("POST", "/networks/create", {"Name": "v141", "Labels": {"v": "141"}}).json()["Id"]

    def gone(answer, ident):
        return answer.status < 300 and c.inspect(ident, "networks") is None

    for label, path in (("by name", lambda i: "v141"), ("by id", lambda i: i), ("by a short id", lambda i: i[:12])):
        c.probe(
            f"removed {label}",
            lambda target, ident, path=path: target.call("DELETE", f"/networks/{path(ident)}"),
            gone,
            setup=there,
            via=via,
        )
    c.probe(
        "made by the job",
        lambda target, _: target.call("POST", "/networks/create", {"Name": "v141", "Internal": True}),
        lambda answer, _: answer.status == 201,
        via=via,
    )
    for label, query in (("pruned", ""), ("pruned by its label", "?filters=" + urllib.parse.quote('{"label":["v=141"]}'))):
        c.probe(label, lambda target, _, query=query: target.call("POST", "/networks/prune" + query), gone, setup=there, via=via)

    def with_container():
        return there(), c.make()

    c.probe(
        "connected",
        lambda target, state: target.call("POST", f"/networks/{state[0]}/connect", {"Container": state[1]}),
        lambda answer, state: "v141" in dig(c.inspect(state[1]), "NetworkSettings.Networks"),
        setup=with_container,
        via=via,
    )


@vector(142, "a login that says nothing of where")
def login_without_address(c):
    via = gate(c, "listed", ["listed"], '[policy.listed]\nkind = "conservative"\nregistries = ["registry.example.com"]\n')
    # nothing leaves this machine: the engine's own answer names the host that it went to
    c.probe(
        "no serveraddress",
        lambda target, _: target.call("POST", "/auth", {"username": "a", "password": "b"}),
        lambda answer, _: answer.engines and b"docker.io" in answer.body,
        via=via,
        maybe=True,
    )
    c.unseen("an empty one", "POST", "/auth", {"username": "a", "serveraddress": ""}, via=via)
    c.unseen("a search for nothing", "GET", "/images/search?limit=1", via=via)
    c.expect("an image without a host", not c.rig.gates[via].call("POST", "/images/create?fromImage=alpine").engines)


@vector(143, "hundreds of published ports")
def many_ports(c):
    via = gate(c, "few", ["conservative", "few"], '[policy.few]\nkind = "limits"\nmax = { ports = 10 }\n')
    exposed = {f"{port}/tcp": {} for port in range(1, 121)}
    ways = {
        "PublishAllPorts": ({"PublishAllPorts": True}, {"ExposedPorts": exposed}, 120),
        "PortBindings": ({"PortBindings": {port: [{}] for port in exposed}}, {"ExposedPorts": exposed}, 120),
        "many of one": ({"PortBindings": {"80/tcp": [{}] * 120}}, {"ExposedPorts": {"80/tcp": {}}}, 120),
        "a few too many": ({"PublishAllPorts": True}, {"ExposedPorts": {f"{p}/tcp": {} for p in range(1, 12)}}, 11),
    }
    for label, (host, config, count) in ways.items():

        def run(target, _, host=host, config=config):
            a = target.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": host, **config})
            return a if a.status != 201 else target.call("POST", f"/containers/{a.json()['Id']}/start")

        before = processes("docker-proxy")
        c.probe(
            label,
            run,
            lambda answer, _, count=count, before=before: processes("docker-proxy") - before >= count,
            via=via if count == 11 else "conservative",
            maybe=label == "many of one",  # the engine chooses each port anew and may meet one of its own
        )
    image = f"v143{c.rig.index}:1"

    def with_image():
        a = c.rig.admin("POST", f"/commit?container={c.make()}&repo={image[:-2]}&tag=1", {"ExposedPorts": exposed})
        assert a.status == 201, a
        return image

    c.probe(
        "those of the image",
        lambda target, name: target.call("POST", "/containers/create", {"Image": name, "HostConfig": {"PublishAllPorts": True}}),
        lambda answer, _: answer.status == 201,
        setup=with_image,
    )


@vector(144, "a second network of the same name")
def second_network(c):
    def there():
        return c.rig.admin("POST", "/networks/create", {"Name": "v144"}).json()["Id"]

    def twice(*_):
        return sum(n["Name"] == "v144" for n in c.rig.admin("GET", "/networks").json()) == 2

    inert = None if c.rig.engine == "20.10" else "engines from 25 on always look"
    for label, body in (("left open", {}), ("asked not to look", {"CheckDuplicate": False}), ("another case", {"checkduplicate": False})):
        c.probe(
            label,
            lambda target, _, body=body: target.call("POST", "/networks/create", {"Name": "v144", **body}),
            twice,
            setup=there,
            inert=inert,
        )
    there()
    answer = c.rig.gates["conservative"].call("POST", "/networks/create", {"Name": "v144"})
    said = answer.status == 409 and answer.json() == {"message": "network with name v144 already exists"}
    c.expect("in the engine's words", said, str(answer))


@vector(145, "secrets in any answer of the profile read-only")
def canaries(c):
    profile = E2E.parents[1] / "policies/read-only.toml"
    via = gate(c, "looks", ["looks"], f'[policy.looks]\nkind = "conservative"\nrules = "{profile}"\n')
    script = "while [ ! -e /done ]; do sleep 0.1; done"
    a = c.rig.admin(
        "POST",
        "/containers/create?name=v145",
        {
            "Image": "busybox",
            "Cmd": ["sh", "-c", script],
            "Env": [f"SECRET={CANARY}"],
            "OnBuild": [f"ENV A={CANARY}"],
            "StopTimeout": 0,
            "Healthcheck": {"Test": ["CMD-SHELL", "echo $SECRET"], "Interval": 1_000_000_000},
            "HostConfig": {
                "NetworkMode": "none",
                "LogConfig": {"Type": "json-file", "Config": {"env": "SECRET"}},
                "Mounts": [
                    {
                        "Type": "volume",
                        "Source": "v145",
                        "Target": "/v",
                        "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}},
                    }
                ],
            },
        },
    )
    ident = a.json()["Id"]
    assert c.rig.admin("POST", f"/containers/{ident}/start").status == 204
    share = {"Name": "v145s", "DriverOpts": {"type": "cifs", "device": "//h/s", "o": f"username=u,password={CANARY}"}}
    assert c.rig.admin("POST", "/volumes/create", share).status == 201
    assert c.rig.admin("POST", f"/commit?container={ident}&repo=v145&tag=1&changes=" + urllib.parse.quote(f"ENV B={CANARY}")).status == 201
    network = {"Name": "v145n", "Options": {"com.docker.network.bridge.secret": CANARY}}
    assert c.rig.admin("POST", "/networks/create", network).status == 201
    run = c.rig.admin("POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "Env": [f"E={CANARY}"]}).json()["Id"]
    while CANARY not in json.dumps(dig(c.inspect(ident), "State.Health.Log") or []):
        time.sleep(0.1)
    paths = [
        "/_ping",
        "/version",
        "/info",
        "/events?since=1&until=%d" % time.time(),
        "/system/df",
        "/containers/json?all=1&size=1",
        f"/containers/{ident}/json?size=1",
        f"/containers/{ident}/top",
        f"/containers/{ident}/top?ps_args=aux",
        f"/containers/{ident}/logs?stdout=1&stderr=1",
        f"/containers/{ident}/changes",
        f"/containers/{ident}/stats?stream=0",
        f"/exec/{run}/json",
        "/networks",
        "/networks/",
        "/networks/v145n",
        "/volumes",
        "/volumes/v145",
        "/volumes/v145s",
        "/images/json?all=1",
        "/images/v145:1/json",
        "/images/v145:1/history",
    ]
    told, answers = [], 0
    for path in paths:
        if CANARY.encode() in c.rig.direct.call("GET", path).body:
            told.append(path)
        answer = c.rig.gates[via].call("GET", path)
        answers += answer.status == 200
        # events tell the arguments of probes, as the page says: `echo $SECRET` is no secret
        c.expect(f"GET {path}", answer.status in (200, 301) and CANARY.encode() not in answer.body, str(answer)[:300])
    told += [p for p in ("details",) if CANARY.encode() in streams(c.rig.direct.call("GET", f"/containers/{ident}/logs?stdout=1&details=1").body)]
    c.expect("the engine tells it", len(told) >= 6, str(told))
    answer = c.rig.gates[via].call("GET", f"/containers/{ident}/logs?stdout=1&details=1")
    c.expect("no details of logs", b"(rule container.log-details)" in answer.body, str(answer))


@vector(146, "a log tag that the engine carries out")
def log_tags(c):
    """As much as shows: 400 GB end the engine, which the other cases still need."""

    def resident():
        pid = (c.rig.dir / "pid").read_text().strip()
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

    def reset():
        pid = (c.rig.dir / "pid").read_text().strip()
        with open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")

    much = '{{pad "x" 300000000 0}}'
    for label, tag in (
        ("pad", much),
        ("behind a condition", "{{if .Name}}" + much + "{{end}}"),
        ("printf", '{{printf "%150000000s" .Name}}{{printf "%150000000s" .Name}}'),
    ):

        def run(target, ident, tag=tag):
            reset()
            before = resident()
            a = target.call(
                "POST",
                "/containers/create",
                {
                    "Image": "busybox",
                    "Cmd": ["true"],
                    "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "json-file", "Config": {"tag": tag}}},
                },
            )
            if a.status == 201:
                a = target.call("POST", f"/containers/{a.json()['Id']}/start")
            a.grown = resident() - before
            return a

        # what the first one took the engine keeps for the next: of those it shows that they are carried out at all
        c.probe(label, run, lambda answer, _, label=label: answer.grown > 200_000 or (label != "pad" and answer.status == 204))
    c.probe(
        "a start of what was made elsewhere",
        lambda target, ident: target.call("POST", f"/containers/{ident}/start"),
        lambda answer, ident: answer.status == 204,
        setup=lambda: c.make(HostConfig={"LogConfig": {"Type": "json-file", "Config": {"tag": '{{pad "x" 1000 0}}'}}}),
    )
    answer = c.output(
        c.rig.gates["conservative"], {"LogConfig": {"Type": "json-file", "Config": {"tag": "{{.ImageName}}/{{.Name}}/{{.ID}}"}}}, "echo plain"
    )
    c.expect("plain fields are carried out", "plain" in getattr(answer, "output", ""), str(answer))


@vector(147, "a log that is renamed a million times")
def log_rotation(c):
    def cpu():
        pid = (c.rig.dir / "pid").read_text().strip()
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(target, _):
        before = cpu()
        config = {"max-size": "1", "max-file": "200000"}
        a = target.call(
            "POST",
            "/containers/create",
            {
                "Image": "busybox",
                "Cmd": ["seq", "3"],
                "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "json-file", "Config": config}},
            },
        )
        if a.status == 201:
            ident = a.json()["Id"]
            a = target.call("POST", f"/containers/{ident}/start")
            c.rig.admin("POST", f"/containers/{ident}/wait")
        a.cpu = cpu() - before
        return a

    c.probe("max-size and max-file", run, lambda answer, _: answer.cpu > 0.2)
    for option, value in (("max-size", "1"), ("max-file", "2000000000"), ("max-buffer-size", "64g")):
        config = {option: value, **({"mode": "non-blocking"} if option == "max-buffer-size" else {})}
        c.create(option, {"LogConfig": {"Type": "json-file", "Config": config}}, bites=lambda i, o=option, v=value: dig(i, "HostConfig.LogConfig.Config")[o] == v)


@vector(148, "a directory where the listener's socket was")
def directory_at_the_socket(c):
    profile = E2E.parents[1] / "policies/testcontainers.toml"
    tables = f'[policy.own]\nkind = "conservative"\nrules = "{profile}"\n'
    via = gate(c, "own", ["own"], tables)
    socket = c.rig.gates[via].address
    gone = c.rig.work / "gone.sock"
    host = {"Binds": [f"{gone}:/s"], "NetworkMode": "none"}
    c.probe(
        "the engine makes what a bind names",
        lambda target, _: c.output(target, host, "true"),
        lambda answer, _: gone.is_dir() and not gone.rmdir(),
    )
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Binds": ["/var/run/docker.sock:/s"], "NetworkMode": "none"}}
    made = c.rig.gates[via].call("POST", "/containers/create", body)
    ident = made.json().get("Id")
    process = c.rig.processes[-1]
    process.terminate()
    process.wait()
    started = c.rig.admin("POST", f"/containers/{ident}/start")
    c.expect("without the gateway the start fails", started.status >= 400, str(started))
    c.expect("and leaves nothing there", not os.path.lexists(socket))
    c.rig.admin("DELETE", f"/containers/{ident}?force=1")
    os.mkdir(socket)
    del c.rig.gates[via]
    c.rig.processes.remove(process)
    gate(c, "own", ["own"], tables)
    c.expect("an empty directory gives way", c.rig.gates[via].call("GET", "/_ping").status == 200)
