//! Entity tags in headers.

use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};

/// `etag` of a target as a header has it; none: it cannot stand in one.
pub(super) fn header_of(etag: &str) -> Option<HeaderValue> {
    let plain = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte);
    let quoted = match etag.strip_prefix("W/").unwrap_or(etag) {
        // The target is an HTTP API itself, and its etag a header.
        opaque if is_quoted(opaque) => etag.to_owned(),
        _ if !etag.is_empty() && etag.bytes().all(plain) => format!("\"{etag}\""),
        _ => return None,
    };
    HeaderValue::from_str(&quoted).ok()
}

fn is_quoted(text: &str) -> bool {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.is_some_and(|inner| {
        inner
            .bytes()
            .all(|byte| byte > 0x20 && byte != b'"' && byte != 0x7f)
    })
}

/// Whether `If-None-Match` names the entity that has this etag. They are compared weakly (RFC 9110,
/// section 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut named = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(tags);
    let etag = etag.and_then(|etag| etag.to_str().ok()).map(opaque);
    named.any(|tag| tag == "*" || etag.is_some_and(|etag| etag == opaque(tag)))
}

/// A tag, whether it is weak or not.
pub(super) fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The tags of a list. A comma may stand within a tag.
pub(super) fn tags(list: &str) -> Vec<&str> {
    let (mut tags, mut from, mut within) = (Vec::new(), 0, false);
    for (at, letter) in list.char_indices() {
        match letter {
            '"' => within = !within,
            ',' if !within => {
                tags.extend(list.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    tags.extend(list.get(from..));
    tags.into_iter().map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_of_targets_become_headers() {
        for (etag, expected) in [
            ("7", Some("\"7\"")),
            ("\"a b\"", None),
            ("\"a,b\"", Some("\"a,b\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("a\"b", None),
            ("a b", None),
            ("", None),
        ] {
            let header = header_of(etag);
            assert_eq!(
                header.as_ref().map(|it| it.to_str().unwrap()),
                expected,
                "{etag}"
            );
        }
    }

    #[test]
    fn who_names_the_etag_has_the_entity() {
        let known = |named: &[&str], etag: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in named {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
            }
            is_known(&headers, etag.and_then(header_of).as_ref())
        };
        assert!(known(&["\"7\""], Some("7")));
        assert!(known(&["W/\"7\""], Some("7")));
        assert!(known(&["\"6\", \"7\""], Some("7")));
        assert!(known(&["\"6\"", "\"7\""], Some("7")));
        assert!(known(&["\"a,b\""], Some("\"a,b\"")));
        assert!(known(&["*"], Some("7")));
        assert!(known(&["*"], None));
        for others in [&[][..], &["7"], &["\"77\""], &["\"6\",\"8\""], &["\"a,7\""]] {
            assert!(!known(others, Some("7")), "{others:?}");
        }
        assert!(!known(&["\"7\""], None));
    }
}
