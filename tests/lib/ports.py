"""Ports of 127.0.0.1 for servers that are told theirs before they start, for every test in Python.

From 20000 to 32767: below what Linux gives to connections that go out (net.ipv4.ip_local_port_range), any of which may
hold a port above for as long as it likes. Each process begins elsewhere and gives no port twice.
"""

import os
import socket

FIRST, LAST = 20000, 32767
_next = FIRST + os.getpid() * 61 % (LAST - FIRST)


def free_port(host="127.0.0.1"):
    global _next
    for _ in range(LAST - FIRST):
        _next = _next + 1 if _next < LAST else FIRST
        with socket.socket() as probe:
            try:
                probe.bind((host, _next))
            except OSError:
                continue
            return _next
    raise OSError("no port is free")
