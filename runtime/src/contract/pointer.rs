//! JSON pointers (RFC 6901).

/// The pointer to the member or item `token` of what `pointer` points to.
pub(super) fn join(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", escape(token))
}

/// A token as a pointer writes it.
pub(super) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// A pointer as the fragment of a URI (RFC 6901, section 6).
pub(super) fn to_fragment(pointer: &str) -> String {
    let mut fragment = String::from("#");
    for byte in pointer.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => fragment.push(char::from(byte)),
            _ if b"/~-._!$&'()*+,;=:@?".contains(&byte) => fragment.push(char::from(byte)),
            _ => fragment.push_str(&format!("%{byte:02X}")),
        }
    }
    fragment
}

/// The pointer in a URI that is a fragment alone.
pub(super) fn of_fragment(uri: &str) -> Option<String> {
    let mut rest = uri.strip_prefix('#')?.as_bytes();
    let mut pointer = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            pointer.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        pointer.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(pointer).ok()
}

/// Whether `text` is a pointer, to something within.
pub(super) fn is_one(text: &str) -> bool {
    let escaped = text
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_goes_into_a_uri_and_comes_back() {
        for pointer in ["", "/a/b~1c", "/$defs/^x[ab]", "/a b%20/\u{e4}\"{"] {
            let fragment = to_fragment(pointer);
            assert_eq!(
                of_fragment(&fragment).as_deref(),
                Some(pointer),
                "{fragment}"
            );
        }
        assert_eq!(to_fragment("/a b"), "#/a%20b");
        for wrong in ["/a", "a#/b", "#/%2", "#/%zz", "#/%ff"] {
            assert_eq!(of_fragment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pointers_are_told_from_names() {
        assert!(is_one("/a~0b/c~1d") && is_one("/"));
        assert!(!is_one("") && !is_one("a/b") && !is_one("/a~") && !is_one("/~2"));
    }
}
