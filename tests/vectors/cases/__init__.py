"""The cases by number, and the configuration of the gate that they are tried at."""

import os
import subprocess

from lib.rig import DOCKGATE
from lib.tenants import ALONE, OPEN, PASSWORD, SITE

from . import (
    transport,
    callers,
    paths,
    smuggling,
    documents,
    privileges,
    confinement,
    resources,
    network,
    attributes,
    mounts,
    volumes,
    execs,
    running,
    images,
    builds,
    daemon,
    existence,
    spellings,
    promises,
    exhaustion,
    kit_reach,
    kit_dockerfiles,
    kit_others,
    kit_wire,
    tenants_read,
    tenants_lists,
    tenants_join,
    tenants_change,
    tenants_remove,
    tenants_images,
    tenants_builds,
    tenants_infer,
    tenants_model,
)  # noqa: F401,E501


def config(rig):
    """Listeners by name; folders that some of them let be bound."""
    for folder in ("allowed", "allowed/sub", "readable", "allowedx"):
        (rig.work / folder).mkdir(exist_ok=True)
    (rig.work / "allowed/link").symlink_to("/etc")
    subprocess.run([DOCKGATE, "certs", rig.work / "certs"], check=True, stdout=subprocess.DEVNULL)
    return f"""
[engine]
url = "unix://{rig.socket}"

{listener(rig, "conservative", '["conservative"]')}
{listener(rig, "other", '["conservative"]')}
{listener(rig, "sizes", '["conservative", "sizes"]')}
{listener(rig, "nonroot", '["conservative", "nonroot"]')}
{listener(rig, "binds", '["binds"]')}
{listener(rig, "wide", '["wide"]')}
{people(rig, OPEN, "[]")}
{people(rig, ALONE, '["tenants"]')}
{people(rig, SITE, '["conservative", "tenants"]')}

[auth.password]
kind = "basic"
file = "htpasswd"

{namespace(rig)}

[[listener]]
name = "tcp"
url = "tcp://127.0.0.1:{rig.port("tcp")}"
policies = ["conservative"]
insecure = true

[[listener]]
name = "tls"
url = "tls://127.0.0.1:{rig.port("tls")}"
policies = ["conservative"]
[listener.tls]
cert = "certs/server-cert.pem"
key = "certs/server-key.pem"
client_ca = "certs/ca.pem"
client_auth = "required"

[policy.sizes]
kind = "limits"
force = {{ labels = {{ "io.dockgate.listener" = "{{listener}}" }} }}
default = {{ memory = "64m", pids = 100, cpus = 1 }}
max = {{ memory = "256m", pids = 200, cpus = 1, shm = "64m", tmpfs = "64m" }}

[policy.nonroot]
kind = "limits"
force = {{ user = "65534", env = {{ GATE = "forced" }} }}

[policy.binds]
kind = "conservative"
binds = [{{ host = "{rig.work}/allowed", mode = "rw" }}, {{ host = "{rig.work}/readable", mode = "ro" }}]

[policy.wide]
kind = "conservative"
binds = [{{ host = "{rig.work}", mode = "rw" }}]
"""


def listener(rig, name, policies):
    return f'[[listener]]\nname = "{name}"\nurl = "unix://{rig.gate_socket(name)}"\npolicies = {policies}\n'


def people(rig, name, policies):
    return listener(rig, name, policies) + 'auth = ["password"]\n'


def namespace(rig):
    """Of `tenants`, and who its users are."""
    lines = []
    for user in ("ann", "bob", "cat"):
        lines.append(subprocess.run([DOCKGATE, "passwd", user], input=PASSWORD, check=True, capture_output=True, text=True).stdout)
    (rig.work / "htpasswd").write_text("".join(lines))
    (rig.work / "htpasswd").chmod(0o600)
    (rig.work / "key").write_bytes(os.urandom(32))
    (rig.work / "key").chmod(0o600)
    return """[policy.tenants]
kind = "namespace"
key = "key"
network_pool = "10.216.0.0/16"
ports = "namespace"
shared = ["docker.io/library/busybox"]
 name = "{user}"
"""
