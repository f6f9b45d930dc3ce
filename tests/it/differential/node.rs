//! A body before it is written, for the generator to change.

use serde_json::Value as Json;

/// JSON before it is written: objects may hold a key twice, and a literal may be anything.
#[derive(Clone)]
pub enum Node {
    Literal(&'static str),
    Number(String),
    Deep(usize),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Of a recorded body.
    pub fn read(body: &[u8]) -> Node {
        let json: Json = std::str::from_utf8(body).unwrap().parse().unwrap();
        json.into()
    }

    pub fn count(&self) -> usize {
        1 + match self {
            Node::List(items) => items.iter().map(Node::count).sum(),
            Node::Object(entries) => entries.iter().map(|(_, value)| value.count()).sum::<usize>(),
            Node::Literal(_) | Node::Number(_) | Node::Deep(_) | Node::Text(_) => 0,
        }
    }

    /// The node of this number, in the order of the text.
    pub fn nth(&mut self, at: &mut usize) -> Option<&mut Node> {
        if *at == 0 {
            return Some(self);
        }
        *at -= 1;
        match self {
            Node::List(items) => items.iter_mut().find_map(|item| item.nth(at)),
            Node::Object(entries) => entries.iter_mut().find_map(|(_, value)| value.nth(at)),
            Node::Literal(_) | Node::Number(_) | Node::Deep(_) | Node::Text(_) => None,
        }
    }
}

impl From<Json> for Node {
    fn from(json: Json) -> Node {
        match json {
            Json::Null => Node::Literal("null"),
            Json::Bool(true) => Node::Literal("true"),
            Json::Bool(false) => Node::Literal("false"),
            Json::Number(number) => Node::Number(number.to_string()),
            Json::String(text) => Node::Text(text),
            Json::Array(items) => Node::List(items.into_iter().map(Node::from).collect()),
            Json::Object(held) => Node::Object(
                held.into_iter().map(|(key, value)| (key, Node::from(value))).collect(),
            ),
        }
    }
}
