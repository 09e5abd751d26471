//! What the parts of transactions are called by those who have them, so that each is known again after
//! any crash.

use std::fmt;

/// The longest name that PostgreSQL takes for a prepared transaction.
const LONGEST: usize = 199;

/// What one participant does in a transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Branch(String);

impl Branch {
    /// Of the transaction `gid`.
    ///
    /// # Errors
    /// A part that a name cannot hold, or all of them together are too long.
    pub fn new(cluster: &str, pipeline: &str, gid: &str, branch: u32) -> Result<Self, NameError> {
        let branch = branch.to_string();
        let name = joined(["syncline", cluster, pipeline, gid, &branch])?;
        if name.len() > LONGEST {
            return Err(NameError(format!(
                "`{name}` is {} bytes long, and PostgreSQL takes {LONGEST}",
                name.len()
            )));
        }
        Ok(Self(name))
    }

    /// What the names of all branches of a pipeline begin with.
    pub(super) fn prefix(cluster: &str, pipeline: &str) -> String {
        format!("syncline:{cluster}:{pipeline}:")
    }

    /// One that was found in a database.
    pub(super) fn found(name: String) -> Self {
        Self(name)
    }

    /// Its transaction's gid, where it is one of ours.
    #[must_use]
    pub fn gid(&self) -> Option<&str> {
        self.0.split(':').nth(3)
    }

    /// The name itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("naming a transaction: {0}")]
pub struct NameError(String);

/// The parts with colons between them, which none of them holds.
fn joined(parts: [&str; 5]) -> Result<String, NameError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=');
    for part in parts {
        if part.is_empty() || !part.chars().all(fits) {
            return Err(NameError(format!(
                "`{}` holds more than letters, digits, `-`, `_`, `.` and `=`",
                part.escape_debug()
            )));
        }
    }
    Ok(parts.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_known_again_by_its_name() {
        let branch = Branch::new("prod", "orders", "k-_.2", 3).unwrap();
        assert_eq!(branch.name(), "syncline:prod:orders:k-_.2:3");
        let found = Branch::found(branch.name().to_owned());
        assert_eq!(found.gid(), Some("k-_.2"));
        assert!(branch.name().starts_with(&Branch::prefix("prod", "orders")));
        for (cluster, pipeline) in [("pro", "orders"), ("prod", "order")] {
            assert!(
                !branch
                    .name()
                    .starts_with(&Branch::prefix(cluster, pipeline))
            );
        }
    }

    #[test]
    fn a_part_cannot_make_the_name_another_one() {
        for bad in ["a:b", "it's", "", "a b", "é"] {
            assert!(Branch::new("c", "p", bad, 1).is_err(), "{bad}");
        }
        assert!(Branch::new("c", "p", &"k".repeat(185), 1).is_err());
        assert!(Branch::new("c", "p", &"k".repeat(184), 1).is_ok());
    }
}
