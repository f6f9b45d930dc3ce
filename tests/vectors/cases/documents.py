"""29-37: JSON that says one thing to a check and another to the engine, each on a privileged create."""

import json

from lib.case import dig, escaped, has, holds, vector

is_privileged = has("HostConfig.Privileged", True)
bound = holds("HostConfig.Binds")
V28 = ("28",)


def image(rest):
    return ('{"Image":"busybox",' + rest + "}").encode()


def host(rest):
    return image('"HostConfig":{' + rest + "}")


@vector(29, "keys in another case")
def case(c):
    for outer in ("HostConfig", "hostconfig", "HOSTCONFIG", "hostConfig", "HoStCoNfIg"):
        for inner in ("Privileged", "privileged", "PRIVILEGED", "pRIVILEGED"):
            c.create(f"{outer}.{inner}", raw=image(f'"{outer}":{{"{inner}":true}}'), bites=is_privileged)
    for key, value, path in (
        ("binds", ["/:/h"], "Binds"),
        ("pidmode", "host", "PidMode"),
        ("capadd", ["ALL"], "CapAdd"),
        ("networkmode", "host", "NetworkMode"),
        ("securityopt", ["seccomp=unconfined"], "SecurityOpt"),
        ("devices", [{"pathonhost": "/dev/null", "PathInContainer": "/d"}], "Devices"),
        ("mounts", [{"type": "bind", "source": "/etc", "target": "/h"}], "Mounts"),
    ):
        c.create(
            key,
            raw=host(f'"{key}":{json.dumps(value)}'),
            bites=lambda i, path=path: dig(i, "HostConfig." + path) not in (None, [], "", "default", "bridge"),
        )
    c.create("image and host in lower case", raw=b'{"image":"busybox","hostconfig":{"privileged":true}}', bites=is_privileged)
    c.call(
        "exec",
        "POST",
        "/containers/{id}/exec",
        {"cmd": ["true"], "privileged": True},
        setup=lambda: {"id": c.make(start=True)},
        bites=lambda a, _: a.status == 201,
    )
    c.call(
        "volume",
        "POST",
        "/volumes/create",
        {"name": "v29", "driveropts": {"type": "none", "o": "bind", "device": "/"}},
        bites=lambda *_: (c.inspect("v29", "volumes") or {}).get("Options"),
    )
    c.call(
        "update",
        "POST",
        "/containers/{id}/update",
        {"restartpolicy": {"name": "always"}},
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: c.inspect(s["id"])["HostConfig"]["RestartPolicy"]["Name"] == "always",
    )


@vector(30, "keys that fold in Unicode")
def folded(c):
    long_s, kelvin = "\u017f", "\u212a"
    for outer in (f"Ho{long_s}tConfig", f"HO{long_s}TCONFIG", "Ho\\u017ftConfig"):
        c.create(ascii(outer), raw=image(f'"{outer}":{{"Privileged":true}}'), bites=is_privileged)
    c.create("Binds", raw=host(f'"Bind{long_s}":["/:/h"]'), bites=bound)
    c.create("NetworkMode", raw=host(f'"Networ{kelvin}Mode":"host"'), bites=has("HostConfig.NetworkMode", "host"))
    c.create("NetworkMode, escaped", raw=host('"Networ\\u212aMode":"host"'), bites=has("HostConfig.NetworkMode", "host"))
    c.create("MaskedPaths", raw=host(f'"Ma{long_s}{kelvin}edPath{long_s}":[]'), bites=has("HostConfig.MaskedPaths", []))
    c.create(
        "Devices",
        raw=host(f'"Device{long_s}":[{{"PathOnHo{long_s}t":"/dev/null","PathInContainer":"/d"}}]'),
        bites=holds("HostConfig.Devices"),
    )
    c.create("VolumesFrom stays", raw=host('"Privileg\u0435d":true'), bites=is_privileged, inert="a Cyrillic letter folds into nothing")
    c.call(
        "volume options",
        "POST",
        "/volumes/create",
        {"Name": "v30", f"DriverOpt{long_s}": {"type": "none", "o": "bind", "device": "/"}},
        bites=lambda *_: (c.inspect("v30", "volumes") or {}).get("Options"),
    )


@vector(31, "escapes in keys and values")
def escapes(c):
    c.create("key", raw=host('"\\u0050rivileged":true'), bites=is_privileged)
    c.create("both keys", raw=image('"\\u0048ostConfi\\u0067":{"Privile\\u0067ed":true}'), bites=is_privileged)
    c.create(
        "everything",
        raw=f'{{{escaped("Image")}:{escaped("busybox")},{escaped("HostConfig")}:{{{escaped("Privileged")}:true}}}}'.encode(),
        bites=is_privileged,
    )
    c.create("value", raw=host(f'"NetworkMode":{escaped("host")}'), bites=has("HostConfig.NetworkMode", "host"))
    c.create("bind", raw=host(f'"Binds":[{escaped("/:/host")}]'), bites=bound)
    c.create("slash", raw=host('"Binds":["\\/:\\/host"]'), bites=bound)
    c.create("surrogates beside", raw=host('"Privileged":true,"Binds":["v31\\ud83d\\ude00:/x"]'), bites=is_privileged, maybe=True)


@vector(32, "exact duplicates")
def duplicates(c):
    for label, rest in (
        ("object merged", '"HostConfig":{"Privileged":true},"HostConfig":{}'),
        ("last wins", '"HostConfig":{"Privileged":false,"Privileged":true}'),
        ("null changes nothing", '"HostConfig":{"Privileged":true,"Privileged":null}'),
        ("object later", '"HostConfig":{},"HostConfig":{"Privileged":true}'),
        ("three", '"HostConfig":{"Privileged":true},"HostConfig":{"Memory":0},"HostConfig":{"Init":true}'),
    ):
        c.create(label, raw=image(rest), bites=is_privileged)
    c.create(
        "array elements live on",
        raw=host('"Mounts":[{"Type":"bind","Source":"/etc","Target":"/h"}],"Mounts":[{"Target":"/x"}]'),
        bites=lambda i: dig(i, "HostConfig.Mounts.0.Source") == "/etc",
    )
    c.create("null in an array", raw=host('"Binds":["/:/h"],"Binds":[null]'), bites=lambda i: "/:/h" in (dig(i, "HostConfig.Binds") or []))
    c.create(
        "maps merge",
        raw=host('"LogConfig":{"Type":"syslog","Config":{"syslog-address":"udp://127.0.0.1:5"}},"LogConfig":{"Config":{}}'),
        bites=has("HostConfig.LogConfig.Type", "syslog"),
    )
    c.create("pid twice", raw=host('"PidMode":"","PidMode":"host"'), bites=has("HostConfig.PidMode", "host"))
    c.create(
        "in a nested object",
        raw=host('"Mounts":[{"Type":"volume","Target":"/x","Type":"bind","Source":"/etc"}]'),
        bites=lambda i: dig(i, "HostConfig.Mounts.0.Type") == "bind",
    )
    c.create(
        "driver options",
        raw=host(
            '"Mounts":[{"Type":"volume","Target":"/x","VolumeOptions":{"DriverConfig":{"Options":{"type":"none","o":"bind","device":"/"}}},"VolumeOptions":{}}]'
        ),
        bites=lambda i: dig(i, "HostConfig.Mounts.0.VolumeOptions.DriverConfig.Options"),
    )
    c.create("escaped duplicate", raw=host('"Privileged":false,"\\u0050rivileged":true'), bites=is_privileged)


@vector(33, "null, wrong types, odd numbers")
def types(c):
    old = c.rig.engine == "20.10"
    c.create(
        "HostConfig null, fields above",
        raw=image('"HostConfig":null,"Privileged":true'),
        bites=is_privileged,
        inert=None if old else "since 27 the fields above are not read",
    )
    for value in ('"true"', "1", '"1"', "[true]", '{"a":1}', "True", "tru"):
        c.create(
            f"Privileged {value}", raw=host(f'"Privileged":{value}'), bites=is_privileged, inert="Go decodes no such thing into a bool"
        )
    for field, value in (("PidsLimit", "-0"), ("Memory", "-0"), ("OomScoreAdj", "-0")):
        c.create(f"{field} {value}", raw=host(f'"{field}":{value},"Privileged":true'), bites=is_privileged)
    for field, value in (
        ("Memory", "1e9"),
        ("Memory", "1.0"),
        ("Memory", '"67108864"'),
        ("Memory", "9223372036854775808"),
        ("NanoCpus", "1E9"),
        ("OomScoreAdj", "-1e3"),
        ("Memory", "0x10"),
        ("Memory", "NaN"),
    ):
        c.create(
            f"{field} {value}", raw=host(f'"{field}":{value},"Privileged":true'), bites=is_privileged, inert="Go decodes no such number"
        )
    c.create("arrays as null", raw=host('"Binds":null,"CapAdd":null,"Privileged":true'), bites=is_privileged)
    c.create("command as text", raw=image('"Cmd":"true","HostConfig":{"Privileged":true}'), bites=is_privileged)
    c.create(
        "host config as array",
        raw=image('"HostConfig":[{"Privileged":true}]'),
        bites=is_privileged,
        inert="Go decodes no array into a struct",
    )
    c.create(
        "body as array",
        raw=b'[{"Image":"busybox","HostConfig":{"Privileged":true}}]',
        bites=is_privileged,
        inert="Go decodes no array into a struct",
    )


@vector(34, "trailing data, byte order mark, invalid UTF-8")
def trailing(c):
    body = host('"Privileged":true')
    for label, data in (
        ("byte order mark", b"\xef\xbb\xbf" + body),
        ("UTF-16", body.decode().encode("utf-16")),
        ("garbage", body + b"x"),
        ("brace", body + b"}"),
        ("two documents", body + b"\n" + body),
        ("harmless first", b'{"Image":"busybox"}' + body),
        ("array end", body + b"]{}"),
        ("NUL first", b"\0" + body),
        ("form feed", b"\x0c" + body),
        ("no-break space", "\u00a0".encode() + body),
    ):
        c.create(label, raw=data, bites=is_privileged, maybe=True)
    for label, rest in (
        ("invalid in a value", b'"Hostname":"a\xff",'),
        ("overlong", b'"Hostname":"\xc0\xaf",'),
        ("surrogate", b'"Hostname":"\xed\xa0\x80",'),
        ("lone escape", b'"Hostname":"\\udc00",'),
        ("invalid in a key", b'"Host\xffname":"a",'),
    ):
        c.create(label, raw=body.replace(b'"Image"', rest + b'"Image"'), bites=is_privileged)
    c.create("white space behind", raw=body + b" \r\n\t", bites=is_privileged)


@vector(35, "unknown and future fields")
def unknown(c):
    ignored = "this engine drops a field it does not know"
    dropped = {"bites": lambda i: "Frobnicate" in json.dumps(i), "inert": ignored}
    for value in (True, "x", 1, [0], {"a": 1}, -1, 1.5, "false"):
        c.create(f"top level {value}", config={"Frobnicate": value}, **dropped)
        c.create(f"HostConfig {value}", {"Frobnicate": value}, **dropped)
    c.create("in a mount", {"Mounts": [{"Type": "tmpfs", "Target": "/x", "Frobnicate": True}]}, **dropped)
    c.create("in volume options", {"Mounts": [{"Type": "volume", "Target": "/x", "VolumeOptions": {"Frobnicate": True}}]}, **dropped)
    c.create("in an endpoint", net={"bridge": {"Frobnicate": True}}, **dropped)
    c.create("in IPAM of an endpoint", net={"bridge": {"IPAMConfig": {"Frobnicate": True}}}, **dropped)
    c.create("in the healthcheck", config={"Healthcheck": {"Frobnicate": True}}, **dropped)
    c.create("in the restart policy", {"RestartPolicy": {"Frobnicate": "x"}}, **dropped)
    c.create("in networking", raw=image('"NetworkingConfig":{"Frobnicate":true}'), **dropped)
    is28 = c.rig.engine in V28
    c.create(
        "Subpath (1.45)",
        {"Mounts": [{"Type": "volume", "Source": "v35", "Target": "/x", "VolumeOptions": {"Subpath": "../x"}}]},
        bites=lambda _: False,
        inert="28 refuses this one, 20.10 drops the field",
        may_pass=True,
    )
    c.create(
        "tmpfs Options (1.46)",
        {"Mounts": [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["exec"]]}}]},
        bites=lambda i: dig(i, "HostConfig.Mounts.0.TmpfsOptions.Options"),
        inert=None if is28 else ignored,
    )
    c.create(
        "GwPriority (1.48)",
        net={"bridge": {"GwPriority": 5}},
        bites=lambda _: False,
        inert="which of its own networks leads outside",
        may_pass=True,
    )
    c.create(
        "Annotations (1.43)",
        {"Annotations": {"run.oci.keep_original_groups": "1"}},
        bites=lambda i: dig(i, "HostConfig.Annotations"),
        inert=None if is28 else ignored,
    )
    c.create(
        "image mount (1.48)",
        {"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/x"}]},
        bites=lambda _: False,
        inert="an image of the engine, which a container could be made of as well",
        may_pass=True,
    )
    ident = c.make(start=True)
    for path, body in (
        ("/volumes/create", {"Name": "v35", "Frobnicate": True}),
        ("/networks/create", {"Name": "n35", "Frobnicate": True}),
        ("/containers/{id}/update", {"Frobnicate": True}),
        ("/containers/{id}/exec", {"Cmd": ["true"], "Frobnicate": True}),
        ("/volumes/create", {"Name": "w35", "ClusterVolumeSpec": {"Group": "x", "Frobnicate": True}}),
    ):
        c.call(path, "POST", path, body, setup=lambda: {"id": ident}, bites=lambda *_: False, inert=ignored)
    for path in ("/containers/json?frobnicate=1", "/images/json?frobnicate=1", "/containers/{id}/json?frobnicate=1"):
        c.call(
            path,
            "GET",
            path,
            setup=lambda: {"id": ident},
            bites=lambda *_: False,
            inert="the engine does not look at a query key it does not know",
        )
    if is28:
        c.notes.append("28 honours tmpfs Options and Annotations")


@vector(36, "a field at the wrong level")
def levels(c):
    why = None if c.rig.engine == "20.10" else "since 27 the fields above are not read"
    for field, value, path in (
        ("Privileged", True, "Privileged"),
        ("Binds", ["/:/h"], "Binds"),
        ("PidMode", "host", "PidMode"),
        ("NetworkMode", "host", "NetworkMode"),
        ("CapAdd", ["SYS_ADMIN"], "CapAdd"),
        ("SecurityOpt", ["seccomp=unconfined"], "SecurityOpt"),
        ("Devices", [{"PathOnHost": "/dev/null", "PathInContainer": "/d", "CgroupPermissions": "rwm"}], "Devices"),
        ("UsernsMode", "host", "UsernsMode"),
        ("IpcMode", "host", "IpcMode"),
        ("Mounts", [{"Type": "bind", "Source": "/etc", "Target": "/h"}], "Mounts"),
    ):
        c.create(
            f"{field} above",
            config={field: value},
            bites=lambda i, path=path, value=value: dig(i, "HostConfig." + path)
            not in (None, [], "", False, "private", "default", "bridge"),
            inert=why,
        )
        c.create(
            f"{field} above, HostConfig null",
            raw=image(f'"HostConfig":null,"{field}":{json.dumps(value)}'),
            bites=lambda i, path=path: dig(i, "HostConfig." + path) not in (None, [], "", False, "private", "default", "bridge"),
            inert=why,
        )
        c.create(
            f"{field.lower()} above",
            config={field.lower(): value},
            bites=lambda i, path=path: dig(i, "HostConfig." + path) not in (None, [], "", False, "private", "default", "bridge"),
            inert=why,
        )
    c.create(
        "VolumeDriver beside a HostConfig",
        {"Binds": ["v36:/x"]},
        config={"VolumeDriver": "nothing36"},
        bites=has("HostConfig.VolumeDriver", "nothing36"),
        maybe=True,
    )
    nowhere = "the engine reads it at no such level"
    c.create("HostConfig in HostConfig", {"HostConfig": {"Privileged": True}}, bites=is_privileged, inert=nowhere)
    c.create("HostConfig in Config", config={"Config": {"HostConfig": {"Privileged": True}}}, bites=is_privileged, inert=nowhere)
    c.create(
        "Image in HostConfig",
        {"Image": "busybox", "Resources": {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/d"}]}},
        bites=holds("HostConfig.Devices"),
        inert=nowhere,
    )
    c.create("for the proof: where it belongs", {"Privileged": True}, bites=is_privileged)


@vector(37, "duplicates that a re-marshaller resolves otherwise")
def remarshal(c):
    for label, rest in (
        ("case, first", '"HostConfig":{"Privileged":true},"hostconfig":{}'),
        ("case, last", '"hostconfig":{"Privileged":true},"HostConfig":{"Privileged":null}'),
        ("inner case", '"HostConfig":{"privileged":true,"Privileged":null}'),
        ("inner, false first", '"HostConfig":{"Privileged":false,"privileged":true}'),
        ("long s", '"HostConfig":{},"Ho\u017ftConfig":{"Privileged":true}'),
        ("escaped", '"HostConfig":{"Privileged":false,"priv\\u0049leged":true}'),
        ("three spellings", '"HOSTCONFIG":{"Privileged":true},"HostConfig":{},"hostconfig":{"Init":true}'),
    ):
        c.create(label, raw=image(rest), bites=is_privileged)
    c.create("binds", raw=host('"Binds":["/:/h"],"binds":[null]'), bites=lambda i: "/:/h" in (dig(i, "HostConfig.Binds") or []))
    c.create(
        "endpoint keys are data",
        raw=image('"NetworkingConfig":{"EndpointsConfig":{"bridge":{}},"endpointsconfig":{"bridge":{"MacAddress":"02:42:ac:11:00:99"}}}'),
        bites=lambda i: dig(i, "NetworkSettings.Networks.bridge.MacAddress") == "02:42:ac:11:00:99",
        maybe=True,
    )
