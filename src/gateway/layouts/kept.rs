//! Layouts of images, as many as there is room for; the one that was asked for last goes last.
//!
//! What must stay true: `bytes` counts each content once, however many layouts have it, and never stays above `MOST`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::policy::layout::Layout;

/// A bundle is 200 KB, a key store 150, and most images have one of a few.
const MOST: usize = 64 << 20;
/// A layout without its contents.
const EACH: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct KeptLayouts {
    layouts: HashMap<String, Arc<Layout>>,
    /// Images, the one that was asked for last at the end.
    order: VecDeque<String>,
    /// By their content, with how many files of layouts have it.
    contents: HashMap<Arc<[u8]>, usize>,
    bytes: usize,
}

impl KeptLayouts {
    pub(super) fn get(&mut self, image: &str) -> Option<Arc<Layout>> {
        let found = self.layouts.get(image).cloned()?;
        if let Some(at) = self.order.iter().position(|other| other == image)
            && let Some(image) = self.order.remove(at)
        {
            self.order.push_back(image);
        }
        Some(found)
    }

    pub(super) fn insert(&mut self, image: &str, mut layout: Layout) -> Arc<Layout> {
        self.forget(image);
        for file in layout.bundles.iter_mut().chain(&mut layout.keystores) {
            if let Some((content, count)) = self.contents.get_key_value(&file.content) {
                file.content = Arc::clone(content);
                let more = count.saturating_add(1);
                self.contents.insert(Arc::clone(&file.content), more);
            } else {
                self.bytes += file.content.len();
                self.contents.insert(Arc::clone(&file.content), 1);
            }
        }
        let layout = Arc::new(layout);
        self.bytes += EACH;
        self.layouts.insert(image.to_owned(), Arc::clone(&layout));
        self.order.push_back(image.to_owned());
        while self.bytes > MOST {
            let Some(oldest) = self.order.front().cloned() else { break };
            self.forget(&oldest);
        }
        layout
    }

    fn forget(&mut self, image: &str) {
        let Some(layout) = self.layouts.remove(image) else { return };
        self.order.retain(|other| other != image);
        self.bytes = self.bytes.saturating_sub(EACH);
        for file in layout.bundles.iter().chain(&layout.keystores) {
            let Some(count) = self.contents.get_mut(&file.content) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.contents.remove(&file.content);
                self.bytes = self.bytes.saturating_sub(file.content.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::layout::TrustFile;

    fn layout(contents: &[&[u8]]) -> Layout {
        let file = |content: &&[u8]| TrustFile {
            path: "/a".to_owned(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            content: Arc::from(*content),
        };
        Layout { bundles: contents.iter().map(file).collect(), ..Layout::default() }
    }

    #[test]
    fn a_content_that_images_share_is_kept_once_and_counted_once() {
        let mut kept = KeptLayouts::default();
        let big = vec![7; 1000];
        let one = kept.insert("one", layout(&[&big, &big]));
        let two = kept.insert("two", layout(&[&big, b"own"]));
        assert!(Arc::ptr_eq(&one.bundles[0].content, &two.bundles[0].content));
        assert_eq!(kept.bytes, 2 * EACH + 1003);
        kept.insert("one", layout(&[]));
        assert_eq!(kept.bytes, 2 * EACH + 1003);
        kept.insert("two", layout(&[]));
        assert_eq!((kept.bytes, kept.contents.len()), (2 * EACH, 0));
    }

    #[test]
    fn what_was_not_asked_for_goes_first() {
        let mut kept = KeptLayouts::default();
        let big = |byte| vec![byte; MOST / 3];
        for (image, byte) in [("a", 1), ("b", 2)] {
            kept.insert(image, layout(&[&big(byte)]));
        }
        assert!(kept.get("a").is_some());
        kept.insert("c", layout(&[&big(3)]));
        assert!(kept.get("b").is_none() && kept.get("a").is_some() && kept.get("c").is_some());
        assert!(kept.bytes <= MOST);
        let all = vec![9; MOST + 1];
        kept.insert("d", layout(&[&all]));
        assert_eq!((kept.bytes, kept.order.len()), (0, 0));
    }
}
