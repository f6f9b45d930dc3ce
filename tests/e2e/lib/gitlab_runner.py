"""One job of GitLab Runner 19 with FF_NETWORK_PER_BUILD, request by request: a cache volume, a service, two stages in one
container that is restarted, the cleanup."""

import json
import sys
from urllib.parse import quote

import raw

LABELS = {"com.gitlab.gitlab-runner.managed": "true", "com.gitlab.gitlab-runner.job.id": "42"}
NAME = "runner-t1-project-2-concurrent-0"
CACHE = "runner-0123456789abcdef0123456789abcdef-cache-c33bcaa1fd2c77edfc3893b41966cea8"


def do(wanted, method, path, body=None):
    a = raw.call(method, path, body)
    assert a.status == wanted, f"{method} {path}: {a.status} {a.body.decode()}"
    return a.json() if a.body.startswith((b"{", b"[")) and method != "HEAD" else a.body.decode()


def create(name, image, host_config=None, aliases=(), **config):
    host_config = {
        "RestartPolicy": {"Name": "no"}, "NetworkMode": NETWORK, "Privileged": False, "CapAdd": None, "CapDrop": None, "SecurityOpt": None,
        "Devices": [], "DeviceRequests": None, "ExtraHosts": [], "Links": [], "VolumesFrom": [], "Binds": [], "LogConfig": {"Type": "json-file"},
        "ShmSize": 0, "Memory": 0, "OomKillDisable": False, "Sysctls": None, "Isolation": "", "UsernsMode": "", "VolumeDriver": "",
        "Tmpfs": {}, "Init": True, "Runtime": "", **(host_config or {}),
    }  # fmt: skip
    do(404, "DELETE", f"/containers/{name}?v=1&force=1")
    networking = {"EndpointsConfig": {NETWORK: {"Aliases": list(aliases)}}}
    body = {"Image": image, "Labels": LABELS, "HostConfig": host_config, "NetworkingConfig": networking, **config}
    return do(201, "POST", f"/containers/create?name={name}", body)["Id"]


def wait(ident, code=0):
    said = do(200, "POST", f"/containers/{ident}/wait?condition=not-running")
    assert said["StatusCode"] == code, said


def stage(ident, script):
    """Attach, start, the script on stdin, end of stdin, all of the output, wait."""
    with raw.Conn() as c:
        c.send(f"POST /containers/{ident}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: docker\r\n".encode())
        c.send(b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n")
        head = c.head()
        assert head.status == 101, (head.line, head.headers)
        do(204, "POST", f"/containers/{ident}/start")
        c.send(script)
        c.half_close()
        out = raw.streams(c.take_all())
    wait(ident)
    return out.get(1, b"").decode()


info = do(200, "GET", "/info")
assert info["OSType"] == "linux" and info["Architecture"], info
do(200, "GET", "/version")

# the helper comes as a tar, or as the tar of a file system
with open(sys.argv[1], "rb") as f:
    tar = f.read()
loaded = raw.call("POST", "/images/load?quiet=1", tar)
assert loaded.status == 200 and b"Loaded image" in loaded.body, loaded.body
do(201, "POST", "/images/busybox/tag?repo=gitlab-runner-helper&tag=x86_64")
helper = do(200, "GET", "/images/gitlab-runner-helper:x86_64/json")["Id"]
do(404, "GET", "/images/no-such-image:latest/json")

network = f"{NAME}-42"
do(201, "POST", "/networks/create", {"Name": network, "Labels": LABELS, "EnableIPv6": False, "Options": {"com.docker.network.driver.mtu": "1400"}})
NETWORK = do(200, "GET", f"/networks/{network}")["Id"]

do(201, "POST", "/volumes/create", {"Name": CACHE, "Labels": LABELS})
permission = create(
    f"{CACHE}-set-permission-0123abcd", helper, {"Binds": [f"{CACHE}:/gitlab-runner-cache-init"]},
    Cmd=["sh", "-c", "chmod 777 /gitlab-runner-cache-init"], Volumes={"/gitlab-runner-cache-init": {}},
)  # fmt: skip
do(204, "POST", f"/containers/{permission}/start")
wait(permission)
do(204, "DELETE", f"/containers/{permission}?v=1&force=1")

service = create(f"{NAME}-web-0", "busybox", aliases=["web", "my-web"], Cmd=["sh", "-c", "echo served > /index.html; exec httpd -f -p 80 -h /"], ExposedPorts={"80/tcp": {}})
do(204, "POST", f"/containers/{service}/start")
address = do(200, "GET", f"/containers/{service}/json")["NetworkSettings"]["Networks"]
address = next(iter(address.values()))["IPAddress"]
waiter = create(
    f"{NAME}-web-0-wait-for-service", helper, {"ExtraHosts": [f"web:{address}"]},
    Env=[f"WAIT_FOR_SERVICE_TCP_ADDR={service[:12]}"], Cmd=["sh", "-c", f"until wget -q -O - http://{service[:12]}/index.html; do sleep 0.2; done"],
)  # fmt: skip
do(204, "POST", f"/containers/{waiter}/start")
wait(waiter)
do(204, "DELETE", f"/containers/{waiter}?v=1&force=1")

build = create(
    f"{NAME}-build", "busybox", {"Binds": [f"{CACHE}:/cache"]}, aliases=["build", f"{NAME}-build"], Hostname=NAME, AttachStdin=True, AttachStdout=True,
    AttachStderr=True, OpenStdin=True, StdinOnce=True, Cmd=["sh"], Volumes={"/builds": {}},
)  # fmt: skip
out = stage(build, b"echo one > /builds/file; cat /builds/file; wget -q -O - http://my-web/index.html; hostname\n")
assert out == f"one\nserved\n{NAME}\n", out
out = stage(build, b"cat /builds/file; echo kept > /cache/kept\n")
assert out == "one\n", out

# cancelling: an exec in what still runs
made = do(201, "POST", f"/containers/{service}/exec", {"AttachStdout": True, "AttachStderr": True, "Cmd": ["sh", "-c", "echo from exec"]})["Id"]
with raw.Conn() as c:
    body = b'{"Detach":false,"Tty":false}'
    c.send(f"POST /exec/{made}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nConnection: Upgrade\r\n".encode())
    c.send(f"Upgrade: tcp\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert c.head().status == 101
    assert raw.streams(c.take_all()) == {1: b"from exec\n"}
assert do(200, "GET", f"/exec/{made}/json")["ExitCode"] == 0
do(200, "GET", f"/containers/{service}/logs?stdout=1&stderr=1&timestamps=1")

for ident in (build, service):
    assert raw.call("POST", f"/containers/{ident}/stop?t=0").status in (204, 304)
    for one in do(200, "GET", "/networks"):
        if ident in do(200, "GET", f"/networks/{one['Id']}").get("Containers", {}):
            do(200, "POST", f"/networks/{one['Id']}/disconnect", {"Container": ident, "Force": True})
    do(204, "DELETE", f"/containers/{ident}?v=1&force=1")
do(204, "DELETE", f"/networks/{NETWORK}")
do(204, "DELETE", f"/volumes/{CACHE}")
filters = quote(json.dumps({"label": ["com.gitlab.gitlab-runner.managed=true"]}))
for kind in ("containers", "networks", "volumes", "images"):
    do(200, "POST", f"/{kind}/prune?filters={filters}")

# and nothing that a runner does not ask for
for method, path, body in (
    ("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Privileged": True}}),
    ("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Binds": ["/var/run/docker.sock:/var/run/docker.sock"]}}),
    ("POST", "/build", b""),
    ("POST", "/containers/prune", None),
):
    do(403, method, path, body)
