"""Between a client and a gateway: passes everything on, and keeps every byte that the client is given.

    recorder.py SOCKET TARGET FILE              serves SOCKET until it is killed
    recorder.py --look FILE... -- WORD...       what is in the records: the engine's names for a namespace's things, and these words
    recorder.py --owned EVENTS NAME             ids, from the engine's own events as JSON, of the tenant who has the container NAME

One file for each connection, FILE.N. It is looked at as it came, without the frames of chunks and of streams, and with what
JSON writes as escapes; HTTP/2's headers are Huffman coded and are not looked into, its data are.
"""

import glob
import json
import re
import socket
import sys
import threading

# (what a build has been made of is known to BuildKit by digests of texts with the engine's names in them, and to its own tenant)
PREFIX = re.compile(rb"(?<!pkg:docker/127.0.0.1:9/)(?<!\"identifier\": \"docker-image://127.0.0.1:9/)dg[a-z2-7]{10}[-/%]")
ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def serve(path, target, file):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    print("recording", flush=True)
    number = 0
    while True:
        conn, _ = server.accept()
        number += 1
        try:
            other = socket.socket(socket.AF_UNIX)
            other.connect(target)
        except OSError:
            conn.close()
            continue
        threading.Thread(target=copy, args=(conn, other, None), daemon=True).start()
        threading.Thread(target=copy, args=(other, conn, open(f"{file}.{number}", "wb", buffering=0)), daemon=True).start()


def copy(source, sink, kept):
    try:
        while data := source.recv(1 << 16):
            if kept:
                kept.write(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    if kept:
        kept.close()


def shapes(data):
    """As it came, without chunks' frames, without streams' frames, without JSON's escapes."""
    yield data
    whole = re.sub(rb"\r\n[0-9a-fA-F]{1,8}\r\n", b"", data)
    yield whole
    yield re.sub(rb"[\x00-\x02]\x00\x00\x00....", b"", whole, flags=re.S)
    yield re.sub(rb"\\u00([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), whole)


def records(file):
    for name in sorted(glob.glob(glob.escape(file) + ".*")):
        with open(name, "rb") as f:
            yield name, f.read()


def found_in(data, words):
    for shape in shapes(data):
        yield from (m for m in PREFIX.finditer(shape))
        for word in words:
            yield from re.finditer(re.escape(word), shape)


def look(files, words):
    bad = 0
    for file in files:
        for name, data in records(file):
            seen = set()
            for m in found_in(data, words):
                if m.group() in seen:
                    continue
                seen.add(m.group())
                around = m.string[max(0, m.start() - 200) : m.end() + 100]
                print(f"{name}: {m.group().decode()} in {around!r}")
                bad += 1
    return bad


def owned(file, name):
    """Whose a thing is is known by the prefix of its name, and a volume's without a name by its container. `name` is of one
    container that this tenant alone has."""
    with open(file, "rb") as f:
        events = [json.loads(line) for line in f if line.strip()]
    about = [(e["Type"], e["Actor"]["ID"], e["Actor"].get("Attributes") or {}) for e in events]
    prefix = next(a["name"].removesuffix(name) for _, _, a in about if re.fullmatch(f"dg[a-z2-7]{{10}}-{name}", a.get("name", "")))
    bare, known = prefix.rstrip("-") + "/", set()
    for kind, ident, attributes in about:
        named = attributes.get("name", "")
        if named.startswith(prefix) or bare in named or kind == "volume" and attributes.get("container") in known:
            known |= {ident, attributes.get("execID") or ident}
    return sorted(one for one in (k.removeprefix("sha256:") for k in known) if ID.fullmatch(one.encode()))


if __name__ == "__main__":
    if sys.argv[1] == "--look":
        end = sys.argv.index("--")
        words = [w.encode() for w in sys.stdin.read().split()] + [w.encode() for w in sys.argv[end + 1 :]]
        sys.exit(1 if look(sys.argv[2:end], words) else 0)
    elif sys.argv[1] == "--owned":
        print("\n".join(owned(*sys.argv[2:])))
    else:
        serve(*sys.argv[1:])
