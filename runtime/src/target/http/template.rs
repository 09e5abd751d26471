//! The URL of an entity, made from an effect, and that of a part of a transaction.

use std::fmt;
use std::str::FromStr;

/// A URL with `{key}` and `{entity}` in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Key,
    Entity,
}

impl UrlTemplate {
    /// The URL for a key and a kind of entity.
    pub(super) fn expand(&self, entity: Option<&str>, key: &str) -> Result<String, String> {
        let mut url = String::with_capacity(self.text.len() + key.len());
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(text) => {
                    url.push_str(text);
                    continue;
                }
                Piece::Key => key,
                Piece::Entity => {
                    entity.ok_or("the URL needs a kind of entity, and none is named")?
                }
            };
            // What a server takes for the folder itself or the one above, however it is escaped.
            if matches!(value, "." | ".." | "") {
                return Err(format!(
                    "`{value}` cannot stand in a URL: it names another place"
                ));
            }
            escape(value, &mut url);
        }
        if entity.is_some() && !self.pieces.contains(&Piece::Entity) {
            let why = "the target holds one kind of entity: write `{entity}` in its URL";
            return Err(why.to_owned());
        }
        Ok(url)
    }

    /// Whether the key is part of it.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.pieces.contains(&Piece::Key)
    }

    /// Whether it begins with `https`.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// The part before the segment with the key: where entities of that kind are.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (before, _) = self.text.split_once("{key}")?;
        let (parent, _) = before.rsplit_once('/')?;
        parent.parse().ok()
    }
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A URL with `{transaction}` in it, which stands for the name of a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionUrl {
    before: String,
    after: String,
}

impl TransactionUrl {
    /// The URL for the part of this name.
    pub(super) fn expand(&self, name: &str) -> String {
        let mut url = self.before.clone();
        escape(name, &mut url);
        url.push_str(&self.after);
        url
    }

    /// Whether it begins with `https`.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.before.starts_with("https://")
    }
}

impl fmt::Display for TransactionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{transaction}}{}", self.before, self.after)
    }
}

impl FromStr for TransactionUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = "write it as in \"https://crm.example.com/transactions/{transaction}\"";
        let (before, after) = text
            .split_once("{transaction}")
            .ok_or_else(|| format!("the URL has no `{{transaction}}`: {wrong}"))?;
        if [before, after].iter().any(|part| part.contains(['{', '}'])) {
            return Err(format!(
                "nothing but `{{transaction}}`, once, is known here: {wrong}"
            ));
        }
        check(text, &format!("{before}x{after}"), wrong)?;
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }
}

/// Everything but what every server takes as it is.
fn escape(value: &str, url: &mut String) {
    use fmt::Write as _;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _written = write!(url, "%{byte:02X}");
        }
    }
}

impl FromStr for UrlTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or("a `{` has no `}`")?;
            let piece = match name {
                "key" => Piece::Key,
                "entity" => Piece::Entity,
                _ => {
                    return Err(format!(
                        "`{{{name}}}` is not known here: use {{key}} or {{entity}}"
                    ));
                }
            };
            pieces.extend([Piece::Text(before.to_owned()), piece]);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let template = Self {
            text: text.to_owned(),
            pieces,
        };
        let example = text.replace("{key}", "k").replace("{entity}", "e");
        let wrong = "write it as in \"https://crm.example.com/v2/{entity}/{key}\"";
        check(text, &example, wrong)?;
        Ok(template)
    }
}

/// Whether a template can be a URL: `example` is one of what it gives.
fn check(template: &str, example: &str, wrong: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(example).map_err(|_| format!("the URL is none: {wrong}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!(
            "the URL begins with neither http:// nor https://: {wrong}"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user or a password: put them into `headers`".to_owned());
    }
    let (_, after) = template.split_once("://").unwrap_or_default();
    let host = after.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('{') || url.fragment().is_some() {
        return Err(format!(
            "only the path of a URL depends on the effect: {wrong}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_within_its_segment() {
        let template: UrlTemplate = "https://h/v2/{entity}/{key}/x".parse().unwrap();
        let url = |key: &str| template.expand(Some("a b"), key);
        assert_eq!(url("1").unwrap(), "https://h/v2/a%20b/1/x");
        let wild = "/../?a=b#c%2e\u{e9}";
        let expected = "https://h/v2/a%20b/%2F..%2F%3Fa%3Db%23c%252e%C3%A9/x";
        assert_eq!(url(wild).unwrap(), expected);
        for elsewhere in [".", "..", ""] {
            assert!(url(elsewhere).is_err(), "{elsewhere}");
        }
        assert!(template.expand(None, "1").is_err());
        let single: UrlTemplate = "https://h/{key}".parse().unwrap();
        assert!(single.expand(Some("e"), "1").is_err());
    }

    #[test]
    fn the_collection_is_above_the_key() {
        let parent = |text: &str| text.parse::<UrlTemplate>().unwrap().parent();
        let collection = parent("http://h:1/v2/{entity}/x-{key}").unwrap();
        assert_eq!(collection.to_string(), "http://h:1/v2/{entity}");
        assert_eq!(parent("http://h/fixed"), None);
    }

    #[test]
    fn a_part_of_a_transaction_has_a_url() {
        let url = |text: &str| text.parse::<TransactionUrl>();
        let template = url("https://h/tx/{transaction}?v=2").unwrap();
        assert_eq!(
            template.expand("syncline:c:1"),
            "https://h/tx/syncline%3Ac%3A1?v=2"
        );
        assert!(template.is_encrypted());
        for bad in [
            "https://h/tx",
            "https://h/{key}/{transaction}",
            "https://h/{transaction}/{transaction}",
            "https://{transaction}/",
            "ftp://h/{transaction}",
            "https://me:pw@h/{transaction}",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_module_is_refused() {
        for bad in [
            "h/{key}",
            "ftp://h/{key}",
            "http://{key}/",
            "http://h/{id}",
            "http://h/{key",
            "http://me:pw@h/{key}",
            "http://h/{key}#x",
        ] {
            let fault = bad.parse::<UrlTemplate>().unwrap_err();
            assert!(!fault.contains("pw"), "{fault}");
        }
    }
}
