//! Paths as Go's `path.Clean` has them, counted from `/`.
//!
//! `conservative` compares paths in containers with it, and `buildkit::filesync` the names of files in a context. What must
//! stay true: nothing leads above the root.

/// The components, without those that say nothing.
pub fn cleaned(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_above_the_root() {
        assert_eq!(cleaned("/a//./b/../c/"), ["a", "c"]);
        assert_eq!(cleaned("../../a"), ["a"]);
        assert!(cleaned("").is_empty() && cleaned("/..").is_empty());
    }
}
