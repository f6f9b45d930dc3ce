"""Replaces in a case's output what differs between two runs on the same engine: ids, times, addresses, ports.

normalise.py FILE [LITERAL=NAME...]     e.g. /tmp/x/gateway.sock=SOCKET

Ids become ID1, ID2, ... in the order of their first appearance, so that it still shows which of them are equal.
"""

import re
import sys

text = open(sys.argv[1], errors="replace").read()
for pair in sorted(sys.argv[2:], key=len, reverse=True):
    literal, _, name = pair.rpartition("=")
    text = text.replace(literal, name)

numbers = {}


def number(match):
    key = match[0][:12]
    return f"ID{numbers.setdefault(key, len(numbers) + 1)}"


AGO = r"(?:Less than a second|About an? (?:second|minute|hour)|\d+ (?:second|minute|hour|day)s?)"
RULES = [
    (r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{12})(?![0-9a-f])", number),
    (r"(?!0001-01-01)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4} (?:UTC|[A-Z]+)", "TIME"),
    (r'("(?:time|timeNano|Created|LastUsedAt)": ?)\d+', r"\1TIME"),
    (AGO + " ago", "AGO"),
    (r"\bUp " + AGO, "Up AGO"),
    (r'("(?:Pid|SizeRw|Size|VirtualSize)": ?)\d+', r"\1N"),
    (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
    (r"\b(?:172\.(?:1[6-9]|2\d|3[01])|192\.168|10\.\d+)\.\d+\.\d+\b", "IP"),
    (r"(?<=:)(?:[2-5][0-9]|60)\d{3}\b", "PORT"),
    (r"\b\d+(?:\.\d+)?m?s\b", "DURATION"),
    (r"(?<=containerd-mount)\d+", "N"),
    (r"(?<=\S) {2,}", "  "),  # the columns of a table are as wide as what was replaced
]
for pattern, replacement in RULES:
    text = re.sub(pattern, replacement, text)
sys.stdout.write(text)
