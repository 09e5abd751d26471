//! NATS subjects: tokens, patterns, and keys made safe to stand in them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr;

/// The `n`-th token of a subject, counted from 1.
#[must_use]
pub(crate) fn nth_token(subject: &str, n: usize) -> Option<&str> {
    subject.split('.').nth(n.checked_sub(1)?)
}

/// A subject with wildcards: `*` for one token, `>` for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPattern(String);

impl SubjectPattern {
    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every subject that matches `other` matches this pattern too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut tokens = other.0.split('.');
        for expected in self.0.split('.') {
            match (expected, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(token)) if token != ">" => {}
                (_, Some(token)) if token == expected => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }

    /// Whether some subject matches both patterns.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut left, mut right) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (left.next(), right.next()) {
                (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }

    /// Whether `subject` matches.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        let mut tokens = subject.split('.');
        for expected in self.0.split('.') {
            let token = tokens.next();
            match (expected, token) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (_, Some(token)) if token == expected => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

impl FromStr for SubjectPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let n_tokens = text.split('.').count();
        for (index, token) in text.split('.').enumerate() {
            let fault = if token.is_empty() {
                "has an empty token"
            } else if token.contains(char::is_whitespace) || token.contains(char::is_control) {
                "holds white space"
            } else if token == ">" && index + 1 != n_tokens {
                "has `>` before its end"
            } else if token.len() > 1 && token.contains(['*', '>']) {
                "has a wildcard inside a token"
            } else {
                continue;
            };
            return Err(format!("the subject `{text}` {fault}"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An event type, or the beginning of one followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern(String);

impl TypePattern {
    /// A pattern; `*` counts only at its beginning or end.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether an event of type `kind` matches.
    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        match (self.0.strip_prefix('*'), self.0.strip_suffix('*')) {
            (Some(""), _) => true,
            (Some(tail), None) => kind.ends_with(tail),
            (None, Some(head)) => kind.starts_with(head),
            (Some(tail), Some(_)) => kind.contains(tail.trim_end_matches('*')),
            (None, None) => kind == self.0,
        }
    }
}

/// Where an escaped key will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlphabet {
    /// One token of a subject: no dots.
    Token,
    /// A key of a KV bucket: dots between other characters are kept.
    BucketKey,
}

/// A key made safe for a subject token or a bucket key.
///
/// Every byte outside `A-Z a-z 0-9 _ / -` becomes `=XX`, two upper-case hexadecimal digits; a dot
/// between two other characters of a bucket key stays. [`unescape_key`] gives the key back.
#[must_use]
pub fn escape_key(key: &str, alphabet: KeyAlphabet) -> Cow<'_, str> {
    let bytes = key.as_bytes();
    let plain = |index: usize, byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'/' | b'-' => true,
        b'.' if alphabet == KeyAlphabet::BucketKey => {
            index > 0
                && bytes.get(index - 1).is_some_and(|before| *before != b'.')
                && bytes.get(index + 1).is_some_and(|after| *after != b'.')
        }
        _ => false,
    };
    if bytes
        .iter()
        .enumerate()
        .all(|(index, byte)| plain(index, *byte))
    {
        return Cow::Borrowed(key);
    }
    let mut escaped = String::with_capacity(key.len() + 8);
    for (index, byte) in bytes.iter().enumerate() {
        if plain(index, *byte) {
            escaped.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(escaped, "={byte:02X}");
        }
    }
    Cow::Owned(escaped)
}

/// The key that [`escape_key`] was given, or `None` when `escaped` did not come from it.
#[must_use]
pub fn unescape_key(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'=' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_share_subjects_are_found() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "a.b", true),
            ("*.b", "a.*", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a.*", "a.b.c", false),
            ("a.*.c", "a.b.>", true),
        ];
        for (left, right, expected) in cases {
            let [one, other]: [SubjectPattern; 2] = [left, right].map(|text| text.parse().unwrap());
            assert_eq!(one.overlaps(&other), expected, "{left} {right}");
            assert_eq!(other.overlaps(&one), expected, "{right} {left}");
        }
    }
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_nats_does() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("*.b", "a.b", true),
        ];
        for (pattern, subject, expected) in cases {
            let parsed: SubjectPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(subject), expected, "{pattern} {subject}");
        }
        for wrong in ["", "a..b", "a b", ">.a", "a.b*", ".a", "a."] {
            assert!(wrong.parse::<SubjectPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_covers_narrower_ones() {
        let cases = [
            ("a.>", "a.b.*", true),
            ("a.>", "a.>", true),
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.*", "a.>", false),
            ("a.b", "a.*", false),
            ("a.>", "b.>", false),
            ("a.*", "a.b.c", false),
        ];
        for (wide, narrow, expected) in cases {
            let (wide, narrow): (SubjectPattern, SubjectPattern) =
                (wide.parse().unwrap(), narrow.parse().unwrap());
            assert_eq!(wide.covers(&narrow), expected, "{wide:?} {narrow:?}");
        }
    }

    #[test]
    fn type_patterns_match_at_either_end() {
        let cases = [
            ("order.*", "order.created", true),
            ("order.*", "orders", false),
            ("*.deleted", "order.deleted", true),
            ("*.deleted", "order.deleted.x", false),
            ("*", "anything", true),
            ("*.line.*", "order.line.added", true),
            ("order", "order", true),
            ("order", "order.x", false),
        ];
        for (pattern, kind, expected) in cases {
            assert_eq!(
                TypePattern::new(pattern).matches(kind),
                expected,
                "{pattern} {kind}"
            );
        }
    }

    #[test]
    fn dots_stay_only_where_a_bucket_key_may_hold_them() {
        let bucket = |key| escape_key(key, KeyAlphabet::BucketKey).into_owned();
        assert_eq!(bucket("a.b"), "a.b");
        assert_eq!(bucket(".a..b."), "=2Ea=2E=2Eb=2E");
        assert_eq!(escape_key("a.b", KeyAlphabet::Token), "a=2Eb");
        assert_eq!(escape_key("a b=é", KeyAlphabet::Token), "a=20b=3D=C3=A9");
    }

    proptest! {
        #[test]
        fn escaping_is_reversible_and_safe(key in "\\PC{1,40}") {
            for alphabet in [KeyAlphabet::Token, KeyAlphabet::BucketKey] {
                let escaped = escape_key(&key, alphabet).into_owned();
                prop_assert_eq!(unescape_key(&escaped), Some(key.clone()));
                let token = escaped.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/-=.".contains(&b));
                prop_assert!(token, "{}", escaped);
                prop_assert!(!escaped.starts_with('.') && !escaped.ends_with('.'));
                prop_assert!(!escaped.contains(".."));
            }
        }
    }
}
