//! Names that come from outside, checked before they become names of objects. Pure.

/// Longest name that is accepted for a binding, an export or a template.
pub const MAX_NAME: usize = 253;

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was given.
    #[error("name is empty")]
    Empty,
    /// More than an API server accepts.
    #[error("name has {length} characters, more than {MAX_NAME}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Not an RFC 1123 subdomain.
    #[error(
        "name {name:?} must consist of lower case letters, digits, '-' and '.', and every part between dots must start and end with a letter or a digit"
    )]
    NotASubdomain {
        /// The name.
        name: String,
    },
}

/// Checks a name of a binding, export, request or template: an RFC 1123 subdomain, as the API server
/// wants it.
pub fn object_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(Error::TooLong { length: name.len() });
    }
    if name.split('.').all(is_label) {
        Ok(())
    } else {
        Err(Error::NotASubdomain {
            name: name.to_owned(),
        })
    }
}

/// Whether it is an RFC 1123 label, as names of namespaces are (apart from their length).
pub fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_are_accepted() {
        for name in [
            "a",
            "a-b",
            "widgets.example.org",
            "0.1",
            "a--b",
            &"x".repeat(253),
        ] {
            assert_eq!(object_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(object_name(""), Err(Error::Empty));
        assert_eq!(
            object_name(&"x".repeat(254)),
            Err(Error::TooLong { length: 254 })
        );
        for name in [
            "A", "a_b", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a b", "a/b", "../a", "ä", "a\n",
        ] {
            assert!(
                matches!(object_name(name), Err(Error::NotASubdomain { .. })),
                "{name:?}"
            );
        }
    }
}
