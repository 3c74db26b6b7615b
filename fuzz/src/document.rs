//! Documents cooked from bytes.

use serde_json::{Map, Number, Value};

/// Nobody but a fuzzer nests deeper, and `serde_json` reads no deeper.
const DEEPEST: usize = 120;

/// The recipe in an input, if it is one.
pub fn recipe(input: &[u8]) -> Option<&[u8]> {
    match input {
        [first, rest @ ..] if first & 0x80 != 0 => Some(rest),
        _ => None,
    }
}

/// A document of JSON: the input itself, or cooked from it with these words as keys and texts.
pub fn json(input: &[u8], words: &[&str]) -> Option<Value> {
    match recipe(input) {
        Some(recipe) => Some(Cook::new(recipe, words).value(0)),
        None => serde_json::from_slice(input).ok(),
    }
}

/// Text put together from the pieces that the bytes name; some bytes stand for themselves.
pub fn text(recipe: &[u8], pieces: &[&str]) -> String {
    let mut text = String::new();
    for byte in recipe {
        match pieces.get(usize::from(byte & 0x7f)) {
            Some(piece) => text.push_str(piece),
            None => text.push(char::from(byte & 0x7f)),
        }
    }
    text
}

struct Cook<'a> {
    bytes: std::slice::Iter<'a, u8>,
    words: &'a [&'a str],
}

impl<'a> Cook<'a> {
    fn new(bytes: &'a [u8], words: &'a [&'a str]) -> Self {
        Self {
            bytes: bytes.iter(),
            words,
        }
    }

    /// When the bytes are used up, everything ends in nulls.
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_default()
    }

    fn word(&mut self) -> String {
        let byte = usize::from(self.byte());
        match self.words.get(byte % (self.words.len() + 1)) {
            Some(word) => (*word).to_owned(),
            None => char::from(self.byte()).to_string(),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        let byte = self.byte();
        let count = usize::from(byte >> 4);
        match byte & 0x0f {
            _ if depth >= DEEPEST => Value::Null,
            0 => Value::Null,
            1 => Value::Bool(byte & 0x10 != 0),
            2 => Value::from(i64::from(byte >> 4) - 8),
            3 => {
                let bits = u64::from_le_bytes(std::array::from_fn(|_| self.byte()));
                Number::from_f64(f64::from_bits(bits)).map_or(Value::from(bits), Value::Number)
            }
            4..=7 => Value::String(self.word()),
            8..=10 => Value::Array((0..count).map(|_| self.value(depth + 1)).collect()),
            _ => {
                let mut map = Map::new();
                for _ in 0..count {
                    let key = self.word();
                    map.insert(key, self.value(depth + 1));
                }
                Value::Object(map)
            }
        }
    }
}
