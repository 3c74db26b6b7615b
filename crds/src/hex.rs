//! Bytes as text, for digests in names and annotations. Pure.

use std::fmt::Write;

/// Lower-case hexadecimal digits, two for each byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(encode(&[0x00, 0x0a, 0xff]), "000aff");
        assert_eq!(encode(&[]), "");
    }
}
