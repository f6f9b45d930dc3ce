"""The cases by number, and the configuration of the gate that they are tried at."""

import subprocess

from lib.rig import DOCKGATE

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
