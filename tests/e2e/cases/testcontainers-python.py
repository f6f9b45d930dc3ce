# e2e: netns=yes
# testcontainers-python 4.15, without Ryuk (its image is in a registry) unless it is told otherwise; in the engine's namespace, for the ports.
import os
import re
import urllib.request

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.core.container import DockerContainer  # noqa: E402
from testcontainers.core.image import DockerImage  # noqa: E402
from testcontainers.core.network import Network  # noqa: E402
from testcontainers.core.waiting_utils import wait_for_logs  # noqa: E402

command = "sh -c 'echo served > /index.html; httpd -p 80 -h /; echo ready; exec sleep 3000'"
with Network() as network:
    with DockerContainer("busybox").with_command(command).with_exposed_ports(80).with_network(network).with_network_aliases("web") as web:
        wait_for_logs(web, "ready", timeout=120)
        print("exec", web.exec(["cat", "/index.html"]))
        url = f"http://{web.get_container_host_ip()}:{web.get_exposed_port(80)}/index.html"
        print("port", urllib.request.urlopen(url, timeout=120).read())
        with DockerContainer("busybox").with_command("wget -q -O - http://web/index.html").with_network(network) as other:
            print("status", other.get_wrapped_container().wait(timeout=120)["StatusCode"])
            print("logs", other.get_logs())
os.mkdir("ctx")
with open("ctx/Dockerfile", "w") as f:
    f.write("FROM busybox\nRUN echo built > /b\nCMD cat /b\n")
with DockerImage("ctx", tag="tc-py:1") as image:
    with DockerContainer(str(image)) as c:
        print("image", c.get_wrapped_container().wait(timeout=120)["StatusCode"], c.get_logs())
