"""Protocol buffers by hand: `msg((number, value), ...)`. Text, bytes and other messages are length-delimited, numbers are varints."""


class Raw(bytes):
    """Bytes that are put where they stand, whatever they are."""


def varint(value, width=0):
    """`width` makes it longer than it needs to be."""
    value &= (1 << 70) - 1 if value >= 0 else (1 << 64) - 1
    out = []
    while value > 127 or len(out) + 1 < width:
        out, value = [*out, value & 127 | 128], value >> 7
    return bytes([*out, value])


def tag(number, kind):
    return varint(number << 3 | kind)


def field(number, value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool) or isinstance(value, int):
        return tag(number, 0) + varint(int(value))
    if isinstance(value, dict):
        return b"".join(field(number, msg((1, k), (2, v))) for k, v in value.items())
    if isinstance(value, list):
        return b"".join(field(number, v) for v in value)
    value = value.encode() if isinstance(value, str) else value
    return tag(number, 2) + varint(len(value)) + value


def msg(*fields):
    """Of each field its number and value; a `dict` is a map, a `list` a repeated field, `None` is absent."""
    return b"".join(field(number, value) for number, value in fields if value is not None)


def read(data):
    """Numbers and values of a message of an engine's; length-delimited ones as bytes."""
    out, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            out.append((key >> 3, number()))
        elif key & 7 == 2:
            size = number()
            out.append((key >> 3, data[at : at + size]))
            at += size
        else:
            size = {1: 8, 5: 4}[key & 7]
            out.append((key >> 3, data[at : at + size]))
            at += size
    return out


def get(data, number, default=b""):
    return next((v for n, v in read(data) if n == number), default)
