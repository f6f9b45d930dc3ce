#!/usr/bin/env python3
"""Writes answers-seen.tsv of what answers-seen.sh has kept.

    answers-seen.py ENGINE=FOLDER...
"""
import json
import pathlib
import sys

CALLS = {
    "import": "ImageCreate", "network-create": "NetworkCreate", "volume-create": "VolumeCreate",
    "container-create": "ContainerCreate", "exec-create": "ContainerExec",
    "exec-inspect": "ExecInspect", "containers": "ContainerList", "container-cweb": "ContainerInspect",
    "container-clinked": "ContainerInspect", "container-cshares": "ContainerInspect",
    "container-cdb": "ContainerInspect", "container-cmnt": "ContainerInspect",
    "stats": "ContainerStats", "networks": "NetworkList", "network": "NetworkInspect",
    "network-ncfgd": "NetworkInspect", "volumes": "VolumeList", "volume": "VolumeInspect",
    "images": "ImageList", "image": "ImageInspect", "history": "ImageHistory",
    "commit": "ImageCommit", "df": "SystemDataUsage", "build": "ImageBuild", "load": "ImageLoad",
    "push": "ImagePush", "image-delete": "ImageDelete", "containers-prune": "ContainerPrune",
    "networks-prune": "NetworkPrune", "volumes-prune": "VolumePrune", "images-prune": "ImagePrune",
    "events": "SystemEvents", "swarm-init": "SwarmInit", "secret-create": "SecretCreate",
    "config-create": "ConfigCreate", "swarm-nodes": "NodeList", "swarm-services": "ServiceList",
    "swarm-tasks": "TaskList", "swarm-secrets": "SecretList", "swarm-configs": "ConfigList",
    "swarm-info": "SystemInfo", "network-over": "NetworkInspect",
}
# large, of the host or secret, and without a name
LEFT_OUT = ("MaskedPaths", "ReadonlyPaths", "GraphDriver", "RootFS", "BuildCache", "TLSInfo", "Engine")


def values(text):
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        yield value


def without(value):
    if isinstance(value, dict):
        return {key: without(below) for key, below in value.items() if key not in LEFT_OUT}
    return [without(below) for below in value] if isinstance(value, list) else value


def lines(engine, folder):
    for name, endpoint in CALLS.items():
        path = pathlib.Path(folder, name + ".json")
        kinds = set()
        for value in values(path.read_text(encoding="utf-8")):
            if isinstance(value, dict) and list(value) == ["message"]:
                print(f"{path}: {value}", file=sys.stderr)
                continue
            if name == "stats":
                value = {key: value[key] for key in ("id", "name") if key in value}
            if name == "swarm-info":
                value = {"Swarm": {key: value["Swarm"][key] for key in ("NodeID", "RemoteManagers")}}
            if name == "events":
                kind = (value["Type"], value["Action"].split(":")[0])
                if kind in kinds:
                    continue
                kinds.add(kind)
            yield "\t".join((engine, endpoint, json.dumps(without(value), separators=(",", ":"))))


HEADER = """# answers of real engines to the calls of answers-seen.sh, shortened by answers-seen.py
# engine, operation id, the answer or an item of its stream
"""
found = [line for pair in sys.argv[1:] for line in lines(*pair.split("=", 1))]
path = pathlib.Path(__file__).resolve().parent / "answers-seen.tsv"
path.write_text(HEADER + "\n".join(found) + "\n", encoding="utf-8")
