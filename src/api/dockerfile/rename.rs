//! A Dockerfile with other names of images in it.
//!
//! `policy` gives the names. What must stay true: what comes out is read again as each engine would, and no image is left in
//! it that was not given its name; where that cannot be done, nothing comes out.

use std::collections::BTreeMap;

use super::words::BLANK;
use super::{BuildSettings, Fetch, FetchKind, Unreadable, fetches};

/// The file with each image that it names renamed; none where none is. `rename` says nothing of a name that may stay.
pub fn renamed(
    file: &[u8],
    with: &BuildSettings<'_>,
    rename: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let wanted = wanted(file, with, rename)?;
    if wanted.is_empty() {
        return Ok(None);
    }
    // Else it is not what `fetches` has read.
    let text = std::str::from_utf8(file)
        .map_err(|_| Unreadable { line: 1, why: "begins a Dockerfile that is not UTF-8" })?;
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for ((line, kind, written), name) in &wanted {
        let place = line.checked_sub(1).and_then(|index| lines.get_mut(index));
        let changed = place.as_deref().and_then(|text| in_line(text, *kind, written, name));
        match (place, changed) {
            (Some(place), Some(changed)) => *place = changed,
            _ => {
                let why = "names an image in a way that cannot be changed: write it out, on the line of its instruction";
                return Err(Unreadable { line: *line, why });
            }
        }
    }
    let changed = lines.concat().into_bytes();
    match self::wanted(&changed, with, rename)?.into_keys().next() {
        Some((line, ..)) => Err(Unreadable { line, why: "names an image that cannot be changed" }),
        None => Ok(Some(changed)),
    }
}

type WantedNames = BTreeMap<(usize, FetchKind, String), String>;

/// What each is to be called.
fn wanted(
    file: &[u8],
    with: &BuildSettings<'_>,
    rename: &dyn Fn(&str) -> Option<String>,
) -> Result<WantedNames, Unreadable> {
    let mut wanted = WantedNames::new();
    let of_image = |one: &Fetch| matches!(one.kind, FetchKind::Base | FetchKind::Image);
    for one in fetches(file, with)?.into_iter().filter(of_image) {
        let line = one.line;
        if !one.name.is_whole {
            let why = "names an image that depends on what only the build will know";
            return Err(Unreadable { line, why });
        }
        let Some(name) = rename(&one.name.known) else { continue };
        let other = wanted.insert((line, one.kind, one.written), name.clone());
        if other.is_some_and(|other| other != name) {
            return Err(Unreadable { line, why: "names an image that engines do not agree on" });
        }
    }
    Ok(wanted)
}

/// The first word that is this one behind the instruction's own, another in its place.
fn in_line(line: &str, kind: FetchKind, written: &str, name: &str) -> Option<String> {
    // What it says is kept in the image, for whoever builds from that.
    let is_kept =
        line.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("onbuild"));
    if is_kept {
        return None;
    }
    let (word, new) = match kind {
        FetchKind::Base => (written.to_owned(), name.to_owned()),
        _ => (format!("--from={written}"), format!("--from={name}")),
    };
    let mut at = line.len() - line.trim_start().len();
    let mut is_first = true;
    for part in line.get(at..)?.split_inclusive(|c: char| BLANK.contains(&c) || "\r\n".contains(c))
    {
        let bare = part.trim_end_matches(|c: char| c.is_ascii_whitespace());
        if !is_first && bare == word {
            let (before, rest) = line.split_at_checked(at)?;
            return Some([before, &new, rest.get(bare.len()..)?].concat());
        }
        is_first = is_first && bare.is_empty();
        at += part.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Builder;
    use super::*;

    fn sent(file: &str) -> Result<String, String> {
        let args = BTreeMap::from([("GIVEN".to_owned(), "given".to_owned())]);
        let with = BuildSettings { builder: Builder::Classic, args: &args, target: "" };
        let rename = |name: &str| (!name.starts_with("own/")).then(|| format!("own/{name}"));
        match renamed(file.as_bytes(), &with, &rename) {
            Ok(changed) => {
                Ok(changed.map_or(file.to_owned(), |all| String::from_utf8(all).unwrap()))
            }
            Err(why) => Err(why.to_string()),
        }
    }

    #[test]
    fn images_are_renamed_and_stages_are_not() {
        for (file, wanted) in [
            ("FROM a:1\nRUN echo a:1\n", "FROM own/a:1\nRUN echo a:1\n"),
            (
                "# a\nfrom --platform=linux/amd64 a AS b\r\nFROM b\n",
                "# a\nfrom --platform=linux/amd64 own/a AS b\r\nFROM b\n",
            ),
            (
                "FROM scratch\nCOPY --from=img /x /\nCOPY img /",
                "FROM scratch\nCOPY --from=own/img /x /\nCOPY img /",
            ),
            (
                "FROM a AS s\nFROM scratch\nCOPY --from=s /a /\nCOPY --from=0 /a /",
                "FROM own/a AS s\nFROM scratch\nCOPY --from=s /a /\nCOPY --from=0 /a /",
            ),
            (
                "ARG V=3\nARG GIVEN\nFROM a:$V\nFROM $GIVEN",
                "ARG V=3\nARG GIVEN\nFROM own/a:3\nFROM own/given",
            ),
            ("FROM from\nFROM from", "FROM own/from\nFROM own/from"),
            ("FROM own/x", "FROM own/x"),
        ] {
            assert_eq!(sent(file).as_deref(), Ok(wanted), "{file}");
        }
    }

    #[test]
    fn what_cannot_be_renamed_is_refused_with_its_line() {
        for (file, line) in [
            ("FROM \\\n  a\n", 1),
            ("FROM own/a\nONBUILD COPY --from=img /x /\n", 2),
            ("FROM scratch\nCOPY \\\n --from=img /x /\n", 2),
            ("FROM scratch\nCOPY \"--from=img\" /x /\nCOPY --fr\"om=img\" /x /\n", 3),
        ] {
            let why = sent(file);
            assert!(
                why.as_ref().is_err_and(|why| why.starts_with(&format!("line {line} "))),
                "{file} {why:?}"
            );
        }
    }
}
