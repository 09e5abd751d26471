//! What a request is about: the path of a URL, taken apart.

use super::problem::{Problem, Trouble};
use percent_encoding::percent_decode_str;

/// Where the description of the API is.
pub(super) const DOCUMENT: &str = "/openapi.json";
/// Where several entities are changed at once.
pub(super) const TRANSACTIONS: &str = "/v1/transactions";
/// What stands for the kind of entity where effects name none.
pub(super) const UNNAMED: &str = "_";
/// What a request to read several entities ends with.
const SEVERAL: &str = ":retrieve";

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The description of the API.
    Document,
    /// One entity.
    One(Place, String),
    /// Several entities of a kind.
    Several(Place),
    /// All entities of a kind.
    All(Place),
    /// Changes of several entities at once.
    Transactions,
}

/// A kind of entity in a version of a target's contract.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: u32,
    pub(super) target: String,
    /// None: what effects wrote that name no kind.
    pub(super) entity: Option<String>,
}

/// Takes the path of a URL apart. What is not plain is percent-encoded in it, also a `/` in a key.
pub(super) fn read(path: &str) -> Result<Path, Problem> {
    if path == DOCUMENT {
        return Ok(Path::Document);
    }
    if path == TRANSACTIONS {
        return Ok(Path::Transactions);
    }
    let nothing = || Problem::new(Trouble::NotFound, "there is nothing at this path");
    let mut parts = path.strip_prefix('/').ok_or_else(nothing)?.split('/');
    let (Some(version), Some(target), Some(entity), key, None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return Err(nothing());
    };
    let version = read_version(version).ok_or_else(nothing)?;
    let place = |entity: &str| {
        Ok(Place {
            version,
            target: decode(target)?,
            entity: match entity {
                UNNAMED => None,
                named => Some(decode(named)?),
            },
        })
    };
    match (key, entity.strip_suffix(SEVERAL)) {
        (Some(key), _) if !key.is_empty() => Ok(Path::One(place(entity)?, decode(key)?)),
        (None, Some(entity)) => Ok(Path::Several(place(entity)?)),
        (None, None) if !entity.is_empty() && !entity.contains(':') => {
            Ok(Path::All(place(entity)?))
        }
        _ => Err(nothing()),
    }
}

/// `v2`, and not `v02`: a thing has one path.
fn read_version(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('v')?;
    let version: u32 = digits.parse().ok()?;
    (version.to_string() == digits).then_some(version)
}

fn decode(text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| {
        Problem::new(
            Trouble::BadRequest,
            "the path holds something that is not UTF-8",
        )
    })?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(entity: Option<&str>, key: &str) -> Path {
        let place = Place {
            version: 2,
            target: "crm".to_owned(),
            entity: entity.map(str::to_owned),
        };
        Path::One(place, key.to_owned())
    }

    #[test]
    fn a_path_names_a_version_a_target_a_kind_and_a_key() {
        let customer = Some("customer");
        for (path, expected) in [
            ("/v2/crm/customer/c-7", one(customer, "c-7")),
            ("/v2/crm/_/c-7", one(None, "c-7")),
            ("/v2/crm/%5f/c-7", one(Some("_"), "c-7")),
            (
                "/v2/crm/customer/a%2Fb%20%C3%A4",
                one(customer, "a/b \u{e4}"),
            ),
            ("/v2/crm/customer/c:retrieve", one(customer, "c:retrieve")),
            ("/v2/crm/customer/100%", one(customer, "100%")),
            ("/openapi.json", Path::Document),
        ] {
            assert_eq!(read(path), Ok(expected), "{path}");
        }
        let several = read("/v2/crm/customer:retrieve").unwrap();
        let Path::One(place, _) = one(customer, "") else {
            unreachable!()
        };
        assert_eq!(several, Path::Several(place));
        let Path::One(place, _) = one(customer, "") else {
            unreachable!()
        };
        assert_eq!(read("/v2/crm/customer"), Ok(Path::All(place)));
        assert_eq!(read("/v1/transactions"), Ok(Path::Transactions));
    }

    #[test]
    fn nothing_is_anywhere_else() {
        for path in [
            "*",
            "",
            "/",
            "/v2",
            "/v2/crm",
            "/v2/crm/",
            "/v2/transactions",
            "/v2/crm/customer/",
            "/v2/crm/customer/a/b",
            "/2/crm/customer/a",
            "/v02/crm/customer/a",
            "/v-1/crm/customer/a",
            "/v+2/crm/customer/a",
            "/v99999999999/crm/customer/a",
            "/openapi.json/",
            "/v2/crm/customer:delete",
        ] {
            assert_eq!(read(path).unwrap_err().trouble, Trouble::NotFound, "{path}");
        }
        let fault = read("/v2/crm/customer/%ff").unwrap_err();
        assert_eq!(fault.trouble, Trouble::BadRequest);
    }
}
