# Every public method of docker-py's APIClient that makes a call, once: its name, and `ok` or the status and rule of the refusal.
# gates/raw-surface.sh compares.
import io
import os
import re
import tarfile

import docker
import requests

api = docker.APIClient(base_url=os.environ["DOCKER_HOST"], timeout=60)
called = set()


def call(method, *args, **kwargs):
    called.add(method)
    try:
        made = getattr(api, method)(*args, **kwargs)
        if hasattr(made, "__next__") and method not in ("events", "stats", "attach_socket"):
            made = list(made)
        print(method, "ok", flush=True)
        return made
    except docker.errors.APIError as error:
        rule = re.search(r"\(rule ([a-z.-]+)\)", str(error.explanation))
        print(method, error.response.status_code, rule[1] if rule else "-", flush=True)
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError) as error:
        print(method, type(error).__name__, "-", flush=True)


tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as archive:
    info = tarfile.TarInfo("file")
    info.size = 1
    archive.addfile(info, io.BytesIO(b"x"))

for method in "ping version info df containers images volumes networks services nodes tasks secrets configs plugins inspect_swarm get_unlock_key".split():
    call(method)
call("events", decode=True)
call("search", "busybox")
call("login", "u", "p", registry="registry.invalid", reauth=True)
call("pull", "registry.invalid/x", "y")
call("reload_config")
call("build", fileobj=io.BytesIO(b"FROM busybox\nCMD true\n"), tag="surface-built", rm=True)
image = b"".join(api.get_image("busybox"))
call("get_image", "busybox")
call("load_image", image)
call("import_image_from_data", tar.getvalue(), repository="surface-imported")
call("import_image_from_stream", io.BytesIO(tar.getvalue()), repository="surface-imported")
open("x.tar", "wb").write(tar.getvalue())
call("import_image_from_file", "x.tar", repository="surface-imported")
call("import_image", src="x.tar", repository="surface-imported")
call("import_image_from_url", "http://registry.invalid/x.tar", repository="surface-imported")
call("import_image_from_image", "busybox", repository="surface-imported")
call("create_volume", "surface-v", labels={"a": "b"})
call("inspect_volume", "surface-v")
call("remove_volume", "surface-v")
call("create_network", "surface-n", check_duplicate=True, labels={"a": "b"})
call("create_host_config", init=True)
call("create_networking_config", {})
call("create_endpoint_config")
call("create_container_config", "busybox", ["true"])
call("create_swarm_spec")
host = api.create_host_config(init=True, mem_limit="64m")
call("create_container", "busybox", ["sleep", "3000"], name="surface-c", host_config=host)
call("create_container_from_config", api.create_container_config("busybox", ["true"]), "surface-d")
call("attach_socket", "surface-c", params={"stdout": 1, "stream": 1})
for method in ("start", "inspect_container", "diff", "top", "pause", "unpause", "logs", "port"):
    call(method, "surface-c", *([80] if method == "port" else []))
call("stats", "surface-c", stream=False)
call("resize", "surface-c", 10, 10)
call("update_container", "surface-c", mem_limit="96m", memswap_limit="96m")
call("get_archive", "surface-c", "/etc/group")
call("put_archive", "surface-c", "/tmp", tar.getvalue())
call("export", "surface-c")
call("commit", "surface-c", repository="surface-i", tag="t", message="m", author="a", changes=["ENV a=b"], conf={"Labels": {"a": "b"}})
execution = call("exec_create", "surface-c", ["true"], environment={"a": "b"}, user="root", workdir="/")
call("exec_start", execution["Id"])
call("exec_inspect", execution["Id"])
call("exec_resize", execution["Id"], 1, 1)
call("connect_container_to_network", "surface-c", "surface-n", aliases=["a"])
call("inspect_network", "surface-n")
call("disconnect_container_from_network", "surface-c", "surface-n", force=True)
call("remove_network", "surface-n")
call("rename", "surface-c", "surface-e")
call("restart", "surface-e", timeout=0)
call("kill", "surface-e")
call("wait", "surface-e")
call("stop", "surface-e", timeout=0)
call("attach", "surface-e", logs=True)  # of one that runs it waits for the end
call("remove_container", "surface-e", v=True, force=True)
api.remove_container("surface-d")
for method in ("inspect_image", "history", "inspect_distribution"):
    call(method, "surface-i:t")
call("tag", "surface-i:t", "registry.invalid/x", "y")
call("push", "registry.invalid/x", "y")
for name in ("surface-i:t", "registry.invalid/x:y", "surface-built", "surface-imported"):
    call("remove_image", name, force=True)
for what in ("images", "containers", "volumes", "networks", "builds"):
    call(f"prune_{what}")
# what needs a swarm or a plugin: is it refused, or does the engine say that it is none?
task = docker.types.TaskTemplate(docker.types.ContainerSpec("busybox"))
call("create_service", task, name="x")
call("create_secret", "x", b"x")
call("create_config", "x", b"x")
for kind in ("service", "task", "node", "secret", "config"):
    call(f"inspect_{kind}", "x")
    if kind != "task":
        call(f"remove_{kind}", "x")
call("service_logs", "x", stdout=True)
call("update_service", "x", 1, task)
call("update_node", "x", 1, {})
call("update_swarm", 1)
call("unlock_swarm", "x")
call("join_swarm", ["127.0.0.1:1"], "x", "127.0.0.1:2377")
call("init_swarm", "127.0.0.1:2377")
call("leave_swarm", force=True)
call("plugin_privileges", "registry.invalid/p")
call("pull_plugin", "registry.invalid/p", [])
call("create_plugin", "surface/p", ".")
for method in ("inspect_plugin", "enable_plugin", "disable_plugin", "push_plugin", "remove_plugin"):
    call(method, "registry.invalid/p", *([1] if method == "enable_plugin" else []))
call("configure_plugin", "registry.invalid/p", {"A": "b"})
call("upgrade_plugin", "registry.invalid/p", "registry.invalid/p", [])
own = {name for mixin in docker.APIClient.__mro__ if mixin.__module__.startswith("docker.api") for name in vars(mixin)}
for name in sorted(own - called):
    if not name.startswith("_") and name not in ("api_version", "get_adapter", "base_url", "close") and callable(getattr(api, name, None)):
        print(name, "not-called -")
