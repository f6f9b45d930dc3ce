"""Root file systems of other distributions, as far as it matters here: where they keep what they trust.

Each has `/get`, a static program, whose trust is that of Go: the first of the usual bundles that is there. `bundle` is what the
distribution's own programs read (by whatever links), `anchors` the folder from which it makes that again, None where there is none.
"""

import subprocess
import tarfile

import images

BUNDLE = "etc/ssl/certs/ca-certificates.crt"
FEDORA = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"


class Tree:
    def __init__(self, name, bundle, anchors, files=(), folders=(), links=()):
        self.name, self.bundle, self.anchors = name, bundle, anchors
        self.files, self.folders, self.links = list(files), list(folders), list(links)

    def tar(self, folder, program, pem):
        """The program of the tar `program`, and files that hold these certificates."""
        target = folder / f"{self.name}.tar"
        with tarfile.open(target, "w") as tar:
            with tarfile.open(program) as other:
                images.add(tar, "get", other.extractfile("get").read(), 0o755)
            for one in ("etc", "tmp", "usr", *self.folders):
                images.add(tar, one, b"", 0o755, folder=True)
            for name, mode, owner in self.files:
                images.add(tar, name, pem, mode, owner=owner)
            for name, leads in self.links:
                images.add(tar, name, b"", link=leads)
            images.add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        return target


ROOT = (0, 0)
TREES = [
    Tree("distroless", f"/{BUNDLE}", None, [(BUNDLE, 0o644, ROOT)], ["etc/ssl", "etc/ssl/certs"]),
    Tree("alpine", f"/{BUNDLE}", "/usr/local/share/ca-certificates", [(BUNDLE, 0o644, ROOT)],
         ["etc/ssl", "etc/ssl/certs", "usr/local", "usr/local/share", "usr/local/share/ca-certificates"],
         [("etc/ssl/cert.pem", "certs/ca-certificates.crt"), ("etc/alpine-release", "os-release")]),
    # the bundle may be read by a group only, and is still so afterwards
    Tree("fedora-old", f"/{FEDORA}", "/etc/pki/ca-trust/source/anchors", [(FEDORA, 0o444, (0, 12))],
         ["etc/pki", "etc/pki/tls", "etc/pki/tls/certs", "etc/pki/ca-trust", "etc/pki/ca-trust/source",
          "etc/pki/ca-trust/source/anchors", "etc/pki/ca-trust/extracted", "etc/pki/ca-trust/extracted/pem", "etc/ssl"],
         [("etc/pki/tls/certs/ca-bundle.crt", f"/{FEDORA}"), ("etc/pki/tls/cert.pem", f"/{FEDORA}"), ("etc/ssl/certs", "../pki/tls/certs")]),
    Tree("fedora-new", f"/{FEDORA}", "/etc/pki/ca-trust/source/anchors", [(FEDORA, 0o444, ROOT)],
         ["etc/pki", "etc/pki/ca-trust", "etc/pki/ca-trust/source", "etc/pki/ca-trust/source/anchors",
          "etc/pki/ca-trust/extracted", "etc/pki/ca-trust/extracted/pem"]),
    Tree("opensuse", "/var/lib/ca-certificates/ca-bundle.pem", "/etc/pki/trust/anchors",
         [("var/lib/ca-certificates/ca-bundle.pem", 0o444, ROOT)],
         ["etc/ssl", "etc/pki", "etc/pki/trust", "etc/pki/trust/anchors", "var", "var/lib", "var/lib/ca-certificates"],
         [("etc/ssl/ca-bundle.pem", "/var/lib/ca-certificates/ca-bundle.pem")]),
    Tree("arch", "/etc/ca-certificates/extracted/tls-ca-bundle.pem", "/etc/ca-certificates/trust-source/anchors",
         [("etc/ca-certificates/extracted/tls-ca-bundle.pem", 0o444, ROOT)],
         ["etc/ssl", "etc/ssl/certs", "etc/ca-certificates", "etc/ca-certificates/extracted", "etc/ca-certificates/trust-source",
          "etc/ca-certificates/trust-source/anchors"],
         [(BUNDLE, "../../ca-certificates/extracted/tls-ca-bundle.pem"), ("etc/ssl/cert.pem", "../ca-certificates/extracted/tls-ca-bundle.pem")]),
]
EMPTY = Tree("nothing", None, None)


def certificates(bundle):
    """SHA-256 of the certificates in a PEM bundle, as OpenSSL reads it: a reader that is none of ours."""
    done = subprocess.run(["openssl", "storeutl", "-noout", "-text", "-certs", "/dev/stdin"], input=bundle, capture_output=True, check=False)
    return done.stdout.decode(errors="replace").count("Certificate:")
