//! The query of a request to the admin socket.
//!
//! What must stay true: each name once, and no other than those that are asked for.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

pub(super) struct AdminQuery(BTreeMap<String, String>);

impl AdminQuery {
    pub(super) fn read(query: &str) -> Result<AdminQuery, String> {
        let mut all = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| format!("`{name}` is not UTF-8"))?;
            if all.insert(name.to_owned(), value.into_owned()).is_some() {
                return Err(format!("`{name}` is there twice"));
            }
        }
        Ok(AdminQuery(all))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(super) fn need(&mut self, name: &str) -> Result<String, String> {
        self.take(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    pub(super) fn end(self) -> Result<(), String> {
        match self.0.into_keys().next() {
            Some(name) => Err(format!("`{name}` is unknown here")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_each_name_once_and_no_other() {
        let mut asked = AdminQuery::read("name=a+b&url=unix%3A%2F%2F%2Fx&all").unwrap();
        assert_eq!(asked.need("name"), Ok("a+b".to_owned()));
        assert_eq!(asked.take("url"), Some("unix:///x".to_owned()));
        assert!(asked.need("url").is_err(), "each once");
        assert!(asked.end().is_err());
        assert!(AdminQuery::read("all&all").is_err() && AdminQuery::read("host=%ff").is_err());
    }
}
