//! The keys, values and bytes that the generator throws its dice over.

pub const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "42",
    "65535",
    "4294967295",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
];
/// Numbers that Go and others do not agree about, or not for every field.
pub const ODD_NUMBERS: &[&str] = &[
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "-0",
    "0.0",
    "1.0",
    "1e3",
    "1E400",
    "1e-400",
    "0e0",
    "01",
    "+1",
    "1.",
    ".5",
    "0x10",
    "NaN",
];
pub const ZEROS: &[&str] = &["null", "false", "0", "-0", "0.0", "\"\"", "[]", "{}"];
/// Zero at a quick look, and something to Go in some fields.
pub const NEARLY_ZEROS: &[&str] = &[
    "[null]",
    "[\"\"]",
    "[0,0]",
    "[0,0,0]",
    "[[]]",
    "[{}]",
    "{\"a\":null}",
    "{\"a\":\"\"}",
    "{\"80/tcp\":[]}",
    "{\"a\":{}}",
    "{\"Type\":\"\"}",
];
pub const WORDS: &[&str] = &[
    "",
    "a",
    "host",
    "bridge",
    "/",
    "/:/h",
    "80/tcp",
    "volume",
    "k",
    "K",
    "\u{212a}",
    "s",
    "\u{17f}",
    "é",
    "😀",
    "\u{0}",
    "\u{7f}",
    "\u{feff}",
    "\u{2028}",
    "\u{fffd}",
    "\"\\/",
    "<&>",
    "Privileged",
    "null",
];
/// Keys that no engine reads, or nearly the spelling of one that it does.
pub const STRANGERS: &[&str] = &[
    "Frob",
    "frob",
    "FROB",
    "",
    "HostConfig ",
    "Host\u{0}Config",
    "Prıvileged",
    "Privi\u{200b}leged",
    "Bindß",
    "HostConfıg",
    "_",
    "Cpuset",
    "Config",
    "Resources",
];
/// What may stand before or behind a body.
pub const AROUND: &[&str] =
    &["\u{feff}", "}", "]", "{}", " null", "x", "\u{0}", "\u{a0}", ",", "\n", "\t\r\n ", "//"];
pub const NOT_UTF_8: &[&[u8]] =
    &[b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\\ud800", b"\\udc00\\ud800"];
