//! Archives as tools write them, and those that two readers read in two ways.

use proptest::prelude::*;

use super::*;

/// A header with its checksum, and its content in whole blocks.
fn entry(kind: u8, path: &[u8], size: u64, content: &[u8]) -> Vec<u8> {
    let mut block = header(kind, path, size);
    sum(&mut block);
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(BLOCK), 0);
    block
}

fn header(kind: u8, path: &[u8], size: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..path.len()].copy_from_slice(path);
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block
}

fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u64 = block[..BLOCK].iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..).find(|all| all.to_string().len() + rest == *all).unwrap();
        content.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }
    entry(b'x', b"pax", content.len() as u64, &content)
}

fn all(archive: &[u8]) -> Result<Vec<String>, TarError> {
    let mut reader = Archive::default();
    let found = reader.push(archive)?;
    reader.finish()?;
    let shown = |entry: TarEntry| {
        let (path, link) =
            (String::from_utf8_lossy(&entry.path), String::from_utf8_lossy(&entry.link));
        format!("{:?} {path} {link} {}", entry.kind, entry.size).replace("  ", " ")
    };
    Ok(found.into_iter().map(shown).collect())
}

#[test]
fn entries_are_named_as_in_their_headers_prefixes_and_extensions() {
    let mut prefixed = header(b'0', b"name", 0);
    prefixed[345..351].copy_from_slice(b"folder");
    sum(&mut prefixed);
    let mut linked = header(b'2', b"link", 0);
    linked[157..162].copy_from_slice(b"where");
    sum(&mut linked);
    let mut binary = header(b'0', b"large", 0);
    binary[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\0\x05");
    sum(&mut binary);
    binary.extend_from_slice(&[b'x'; BLOCK]);
    let archive = [
        entry(b'5', b"a/", 0, b""),
        entry(b'0', b"a/b", 3, b"abc"),
        entry(0, b"old/", 0, b""),
        prefixed,
        linked,
        binary,
        pax(&[("mtime", "1.5"), ("path", "very/long"), ("size", "600")]),
        entry(b'0', b"short", 0, &[0; 600]),
        entry(b'L', b"././@LongLink", 5, b"longn\0"),
        entry(b'K', b"././@LongLink", 5, b"longl\0"),
        entry(b'1', b"long", 0, b""),
        vec![0; 2 * BLOCK],
        b"nothing to Go".to_vec(),
    ]
    .concat();
    let wanted = [
        "Directory a/ 0",
        "File a/b 3",
        "Directory old/ 0",
        "File folder/name 0",
        "Symlink link where 0",
        "File large 5",
        "File very/long 600",
        "HardLink longn longl 0",
    ];
    assert_eq!(all(&archive).unwrap(), wanted);
    // however it comes
    let mut reader = Archive::default();
    let found: usize = archive.iter().map(|byte| reader.push(&[*byte]).unwrap().len()).sum();
    assert_eq!(found, wanted.len());
}

#[test]
fn what_two_readers_read_in_two_ways_is_an_error() {
    let with = |change: &dyn Fn(&mut [u8])| {
        let mut block = header(b'0', b"a", 0);
        change(&mut block);
        sum(&mut block);
        block
    };
    let mut negative = header(b'0', b"a", 0);
    negative[124..136].fill(0xff);
    sum(&mut negative);
    let unsummed = header(b'0', b"a", 0);
    let cases = [
        ("no tar", vec![b'x'; BLOCK], TarError::Checksum),
        ("no checksum", unsummed, TarError::Checksum),
        ("half a header", vec![b'x'; 9], TarError::Checksum),
        ("a hard link with content", entry(b'1', b"a", 3, b"abc"), TarError::Ambiguous),
        ("a folder with content", entry(b'5', b"a", 3, b"abc"), TarError::Ambiguous),
        ("an old folder with content", entry(0, b"a/", 3, b"abc"), TarError::Ambiguous),
        ("a sparse file", entry(b'S', b"a", 0, b""), TarError::Kind),
        ("a kind of the future", entry(b'Z', b"a", 0, b""), TarError::Kind),
        ("a sparse file of PAX", pax(&[("GNU.sparse.name", "b")]), TarError::Kind),
        ("two sizes", pax(&[("size", "1"), ("size", "2")]), TarError::Extension),
        ("a signed size", pax(&[("size", "+1")]), TarError::Number),
        ("no name", pax(&[("path", "")]), TarError::Extension),
        ("a name and another", pax(&[("path", "a\0b")]), TarError::Extension),
        (
            "two extensions",
            [pax(&[("path", "a")]), pax(&[("path", "b")])].concat(),
            TarError::Extension,
        ),
        (
            "a long name of two kinds",
            [pax(&[("path", "a")]), entry(b'L', b"", 2, b"b\0")].concat(),
            TarError::Extension,
        ),
        (
            "an extension of nothing",
            [pax(&[("path", "a")]), vec![0; BLOCK]].concat(),
            TarError::Extension,
        ),
        ("one for all", entry(b'g', b"", 10, b"10 path=a\n"), TarError::Extension),
        ("one too long", entry(b'x', b"", MOST_EXTENSION + 1, b""), TarError::Extension),
        ("a record that is longer", entry(b'x', b"", 10, b"11 path=a\n"), TarError::Extension),
        ("a negative size", negative, TarError::Number),
        ("a size in words", with(&|b| b[124..127].copy_from_slice(b"0x1")), TarError::Number),
        (
            "two numbers",
            with(&|b| b[124..136].copy_from_slice(b"1\x00000000000\0")),
            TarError::Number,
        ),
        (
            "a size beyond 63 bits",
            with(&|b| b[124..136].copy_from_slice(b"\x80\0\0\x01\0\0\0\0\0\0\0\x05")),
            TarError::Number,
        ),
        ("star's prefix", with(&|b| b[508..512].copy_from_slice(b"tar\0")), TarError::Ambiguous),
        (
            "a prefix of GNU's",
            with(&|b| {
                b[257..265].copy_from_slice(b"ustar  \0");
                b[345] = b'x';
            }),
            TarError::Ambiguous,
        ),
        ("another format", with(&|b| b[257] = b'U'), TarError::Ambiguous),
        (
            "one block of zeros",
            [vec![0; BLOCK], entry(b'0', b"a", 0, b"")].concat(),
            TarError::Ambiguous,
        ),
        ("gzip", b"\x1f\x8b\x08".to_vec(), TarError::Compressed),
        ("a tar that begins as bzip2", entry(b'0', b"BZh", 0, b""), TarError::Compressed),
        ("a frame of zstd", b"\x5a\x2a\x4d\x18".to_vec(), TarError::Compressed),
    ];
    for (what, archive, error) in cases {
        assert_eq!(all(&archive), Err(error), "{what}");
    }
}

#[test]
fn a_global_header_of_git_names_nothing() {
    let comment = entry(b'g', b"pax_global_header", 13, b"13 comment=a\n");
    let archive = [comment, entry(b'0', b"a", 0, b"")].concat();
    assert_eq!(all(&archive).unwrap(), ["File a 0"]);
}

/// GNU tar, as in builds by hand: long names, links to them and large numbers in each of its formats.
#[test]
fn what_tar_writes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let folder = format!("{}/{}", "f".repeat(90), "g".repeat(60));
    std::fs::create_dir_all(dir.path().join(&folder)).unwrap();
    let file = format!("{folder}/{}", "h".repeat(120));
    std::fs::write(dir.path().join(&file), [1; 700]).unwrap();
    std::fs::hard_link(dir.path().join(&file), dir.path().join("hard")).unwrap();
    std::os::unix::fs::symlink(&file, dir.path().join("soft")).unwrap();
    for (format, long) in [("gnu", true), ("posix", true), ("ustar", false), ("v7", false)] {
        let mut tar = std::process::Command::new("tar");
        tar.args(["--format", format, "--sort=name", "-c", "-C"]).arg(dir.path());
        let names: &[&str] = if long { &["."] } else { &["hard"] };
        let made = tar.args(names).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let found = all(&made.stdout).unwrap();
        if !long {
            assert_eq!(found, ["File hard 700"], "{format}");
            continue;
        }
        let (f, g) = folder.split_once('/').unwrap();
        let wanted = [
            "Directory ./ 0".to_owned(),
            format!("Directory ./{f}/ 0"),
            format!("Directory ./{f}/{g}/ 0"),
            format!("File ./{file} 700"),
            format!("HardLink ./hard ./{file} 0"),
            format!("Symlink ./soft {file} 0"),
        ];
        assert_eq!(found, wanted, "{format}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_cuts_do_not_matter(
        at in prop::collection::vec((0usize..2048, any::<u8>()), 0..6), resum: bool, cut in 0usize..2048,
    ) {
        let mut archive = [
            pax(&[("path", "long"), ("size", "5")]), entry(b'0', b"a", 0, b"abcde"),
        ].concat();
        for (at, byte) in at {
            let length = archive.len();
            archive[at % length] = byte;
        }
        if resum {
            sum(&mut archive[..BLOCK]);
            sum(&mut archive[2 * BLOCK..3 * BLOCK]);
        }
        let (first, second) = archive.split_at(cut.min(archive.len()));
        let mut reader = Archive::default();
        let cut = reader.push(first).and_then(|mut found| {
            found.extend(reader.push(second)?);
            Ok(found)
        });
        prop_assert_eq!(cut, Archive::default().push(&archive));
    }
}

#[test]
fn an_entry_is_given_another_length() {
    let whole = entry(b'0', b"Dockerfile", 5, b"12345");
    let (header, _) = whole.split_at(BLOCK);
    let found = |archive: &[u8]| Archive::default().push(archive).unwrap().remove(0);
    let plain = found(&whole);
    let mut longer = with_length(&plain, header, 700).unwrap();
    longer.resize(BLOCK + 700 + padding(700), b'x');
    longer.extend(entry(b'0', b"next", 0, b""));
    assert_eq!(all(&longer).unwrap(), ["File Dockerfile 700", "File next 0"]);
    assert_eq!(with_length(&plain, &header[1..], 700), None);
    // Its length is said elsewhere: only there, or also there, which Go believes more.
    for size in [6, 5] {
        let archive = [pax(&[("size", &size.to_string())]), whole.clone()].concat();
        let said = found(&archive);
        assert_eq!((said.size, with_length(&said, header, 700)), (size, None));
    }
    assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
}
