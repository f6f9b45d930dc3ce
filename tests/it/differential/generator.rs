//! Bodies that are hard to read, one for each number of a seed.
//!
//! Made from the shape of an endpoint (new fields are covered at once) or from a recorded body, then
//! changed, and written with odd spellings. Each body is as wild as its dice say: what dockgate
//! refuses is compared with nothing, so most bodies must be near its border, on either side.

use super::node::Node;
use super::shapes::Shape;
use super::words::{
    AROUND, INTEGERS, NEARLY_ZEROS, NOT_UTF_8, ODD_NUMBERS, STRANGERS, WORDS, ZEROS,
};
use dockgate::api::container;
use dockgate::api::shape::{Kind, Object};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

pub struct Generator<'s> {
    shapes: &'s [Shape],
    dice: TestRng,
    /// How likely a field is there.
    density: f64,
    /// How likely a value is what its field does not take.
    wrong: f64,
    /// How likely a character is written as an escape.
    escapes: f64,
}

impl<'s> Generator<'s> {
    pub fn new(shapes: &'s [Shape], seed: u64, number: u64) -> Generator<'s> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let mut dice = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
        let density = [0.02, 0.06, 0.2, 0.5][dice.random_range(0..4)];
        let wrong = [0.0, 0.0, 0.005, 0.05][dice.random_range(0..4)];
        let escapes = [0.0, 0.0, 0.01, 0.3][dice.random_range(0..4)];
        Generator { shapes, dice, density, wrong, escapes }
    }

    pub fn body(mut self) -> (&'s Shape, Vec<u8>) {
        let shape = match self.chance(0.5) {
            true => self.shapes.iter().find(|shape| shape.id == "ContainerCreate").unwrap(),
            false => &self.shapes[self.below(self.shapes.len())],
        };
        let mut root = match shape.recorded.is_empty() || self.chance(0.7) {
            true => self.object(shape.fields),
            false => {
                let recorded = &shape.recorded[self.below(shape.recorded.len())];
                Node::read(recorded)
            }
        };
        if self.chance(0.1) {
            self.misplace(&mut root);
        }
        let changes = [0, 0, 1, 1, 3][self.below(5)];
        for _ in 0..changes {
            let at = self.below(root.count());
            let here = root.nth(&mut { at }).unwrap();
            self.change(here);
        }
        let mut text = String::new();
        self.write(&root, &mut text);
        (shape, self.damage(text))
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.dice.random_bool(probability)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.dice.random_range(0..bound)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    // ---- from a shape ----

    fn object(&mut self, fields: &Object) -> Node {
        let density = if fields.len() < 8 { self.density.max(0.3) } else { self.density };
        let mut entries = Vec::new();
        for field in fields {
            if self.chance(density) {
                let key = self.spelling(field.name);
                entries.push((key, self.value(&field.kind)));
            }
        }
        if self.chance(0.03) {
            let key = self.pick(STRANGERS).to_owned();
            entries.push((key, self.unknown()));
        }
        if self.chance(0.2) && entries.len() > 1 {
            let at = self.below(entries.len());
            entries.rotate_left(at);
        }
        Node::Object(entries)
    }

    fn value(&mut self, kind: &Kind) -> Node {
        if self.chance(0.04) {
            return Node::Literal("null");
        }
        if self.chance(self.wrong) {
            return self.anything(2);
        }
        match kind {
            Kind::Bool => Node::Literal(self.pick(&["true", "false"])),
            Kind::Int | Kind::Int32 | Kind::Float if self.chance(0.02) => {
                Node::Literal(self.pick(ODD_NUMBERS))
            }
            Kind::Int | Kind::Int32 | Kind::Float => Node::Literal(self.pick(INTEGERS)),
            Kind::Str | Kind::Bytes | Kind::Enum(_) => self.text(),
            Kind::StrOrList if self.chance(0.3) => self.text(),
            Kind::StrOrList => self.list(&Kind::Str),
            Kind::List(kind) => self.list(kind),
            Kind::Map(kind) => {
                let mut entries: Vec<(String, Node)> = Vec::new();
                for _ in 0..self.below(4) {
                    let key = self.pick(WORDS).to_owned();
                    let is_new = entries.iter().all(|(other, _)| *other != key);
                    if is_new || self.chance(0.1) {
                        entries.push((key, self.value(kind)));
                    }
                }
                Node::Object(entries)
            }
            Kind::Object(fields) | Kind::Encoded(fields) => self.object(fields),
            Kind::Any => self.anything(2),
        }
    }

    fn list(&mut self, kind: &Kind) -> Node {
        Node::List((0..self.below(4)).map(|_| self.value(kind)).collect())
    }

    fn text(&mut self) -> Node {
        Node::Text(self.pick(WORDS).to_owned())
    }

    /// As Go accepts it, mostly.
    fn spelling(&mut self, name: &str) -> String {
        if self.chance(0.7) {
            return name.to_owned();
        }
        let fold = |c: char, how: usize| match (how, c) {
            (0, c) => c.to_ascii_uppercase(),
            (1, c) => c.to_ascii_lowercase(),
            (2, 's' | 'S') => '\u{17f}',
            (2, 'k' | 'K') => '\u{212a}',
            _ => c,
        };
        name.chars().map(|c| fold(c, self.below(6))).collect()
    }

    fn unknown(&mut self) -> Node {
        match self.chance(0.6) {
            true => Node::Literal(self.pick(ZEROS)),
            false => self.anything(3),
        }
    }

    fn anything(&mut self, depth: usize) -> Node {
        match self.below(if depth > 0 { 7 } else { 5 }) {
            0 => Node::Literal(self.pick(ZEROS)),
            1 => Node::Literal(self.pick(INTEGERS)),
            2 => Node::Literal(self.pick(ODD_NUMBERS)),
            3 => Node::Literal(self.pick(&["true", "True", "nul", "undefined", "'a'", ""])),
            4 => self.text(),
            5 => Node::List((0..self.below(3)).map(|_| self.anything(depth - 1)).collect()),
            _ => {
                let pair = |it: &mut Self| {
                    let key = it.pick(WORDS).to_owned();
                    (key, it.anything(depth - 1))
                };
                Node::Object((0..self.below(3)).map(|_| pair(self)).collect())
            }
        }
    }

    // ---- changes of a whole body ----

    /// A field where it does not belong, as engines up to 26.1 take those of HostConfig at the top.
    fn misplace(&mut self, root: &mut Node) {
        let fields = match self.chance(0.6) {
            true => container::HOST_CONFIG,
            false => self.shapes[self.below(self.shapes.len())].fields,
        };
        let field = &fields[self.below(fields.len())];
        let value = match self.below(4) {
            0 => self.value(&field.kind),
            1 => Node::Literal(self.pick(NEARLY_ZEROS)),
            _ => Node::Literal(self.pick(ZEROS)),
        };
        let key = self.spelling(field.name);
        if let Node::Object(entries) = root {
            let at = self.below(entries.len() + 1);
            entries.insert(at, (key, value));
        }
    }

    fn change(&mut self, node: &mut Node) {
        let choice = self.below(10);
        match node {
            Node::Object(entries) if !entries.is_empty() && choice < 7 => {
                let at = self.below(entries.len());
                match choice {
                    0 | 1 => self.duplicate(entries, at),
                    2 => drop(entries.remove(at)),
                    3 => entries[at].0 = self.spelling(&entries[at].0.clone()),
                    4 => entries[at].0 = self.pick(STRANGERS).to_owned(),
                    5 => entries.push((self.pick(STRANGERS).to_owned(), self.unknown())),
                    _ => entries[at].1 = Node::Literal("null"),
                }
            }
            Node::List(items) if choice < 7 => match choice {
                0..3 => items.push(Node::Literal("null")),
                3 => items.push(self.anything(1)),
                4 => items.clear(),
                _ => items.extend(items.first().cloned()),
            },
            node => match choice {
                7 => *node = Node::Literal("null"),
                8 => *node = Node::List(vec![std::mem::replace(node, Node::Deep(0))]),
                9 => *node = Node::Deep([1, 100, 126, 130, 9_990, 10_010][self.below(6)]),
                0 => *node = Node::Literal(self.pick(ODD_NUMBERS)),
                1 => *node = Node::Literal(self.pick(NEARLY_ZEROS)),
                2 => *node = Node::Literal(self.pick(ZEROS)),
                _ => *node = self.anything(2),
            },
        }
    }

    /// The same key again, or what folds to it, before or behind the first.
    fn duplicate(&mut self, entries: &mut Vec<(String, Node)>, at: usize) {
        let (key, value) = entries[at].clone();
        let key = if self.chance(0.5) { key } else { self.spelling(&key) };
        let value = match self.below(5) {
            0 => value,
            1 => Node::Literal("null"),
            2 => Node::Literal(self.pick(NEARLY_ZEROS)),
            3 => entries[self.below(entries.len())].1.clone(),
            _ => self.anything(2),
        };
        let at = self.below(entries.len() + 1);
        entries.insert(at, (key, value));
    }

    // ---- bytes ----

    fn write(&mut self, node: &Node, out: &mut String) {
        match node {
            Node::Literal(text) => out.push_str(text),
            Node::Number(text) => out.push_str(text),
            Node::Deep(depth) => {
                out.push_str(&"[".repeat(*depth));
                out.push_str(&"]".repeat(*depth));
            }
            Node::Text(text) => self.write_text(text, out),
            Node::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.comma(at, out);
                    self.write(item, out);
                }
                out.push(']');
            }
            Node::Object(entries) => {
                out.push('{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    self.comma(at, out);
                    self.write_text(key, out);
                    out.push(':');
                    self.write(value, out);
                }
                out.push('}');
            }
        }
    }

    fn comma(&mut self, at: usize, out: &mut String) {
        if at > 0 {
            out.push(',');
        }
        if self.escapes > 0.0 && self.chance(0.1) {
            out.push_str(self.pick(&[" ", "\n", "\t", "\r\n"]));
        }
    }

    fn write_text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            if c < ' ' || matches!(c, '"' | '\\') || self.chance(self.escapes) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let hex = match self.chance(0.5) {
                        true => format!("\\u{unit:04x}"),
                        false => format!("\\u{unit:04X}"),
                    };
                    out.push_str(&hex);
                }
            } else {
                out.push(c);
            }
        }
        out.push('"');
    }

    /// In few bodies: something around it, bytes in it that are no UTF-8, or one byte too few.
    fn damage(&mut self, text: String) -> Vec<u8> {
        let mut bytes = text.into_bytes();
        match self.below(60) {
            0 => bytes.extend_from_slice(self.pick(AROUND).as_bytes()),
            1 => drop(bytes.splice(0..0, self.pick(AROUND).bytes())),
            2 => {
                let at = self.below(bytes.len() + 1);
                drop(bytes.splice(at..at, self.pick(NOT_UTF_8).iter().copied()));
            }
            3 if !bytes.is_empty() => drop(bytes.remove(self.below(bytes.len()))),
            4 => bytes.truncate(self.below(bytes.len() + 1)),
            _ => {}
        }
        bytes
    }
}
