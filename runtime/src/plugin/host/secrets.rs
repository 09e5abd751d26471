//! `secrets`: values that the operator named, given by grant, kept out of every text we write.

use crate::plugin::bindings::secrets::Host;
use crate::plugin::bindings::types::Error;
use crate::plugin::instance::HostState;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The configured secrets. Never printed.
#[derive(Clone, Default)]
pub struct Secrets {
    by_name: BTreeMap<String, String>,
}

impl Secrets {
    /// Secrets by name.
    #[must_use]
    pub fn new(by_name: BTreeMap<String, String>) -> Self {
        Self { by_name }
    }

    /// `text` with every literal value of a secret replaced by its name.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        // A shorter one would black out ordinary text.
        const SHORTEST: usize = 4;
        let mut redacted = Cow::Borrowed(text);
        for (name, value) in &self.by_name {
            if value.len() >= SHORTEST && redacted.contains(value.as_str()) {
                redacted = Cow::Owned(redacted.replace(value, &format!("[secret {name}]")));
            }
        }
        redacted
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Host for HostState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        self.count_host_call()?;
        if !self.services.grants.secrets.contains(&name) {
            return Ok(Err(Error::Denied(format!(
                "the secret `{name}` is not granted"
            ))));
        }
        Ok(Ok(self.services.secrets.by_name.get(&name).cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_in_a_text() {
        let by_name = [
            ("TOKEN".to_owned(), "s3cr3t".to_owned()),
            ("PIN".to_owned(), "1".to_owned()),
        ];
        let secrets = Secrets::new(by_name.into());
        assert_eq!(secrets.redact("a s3cr3t, 1"), "a [secret TOKEN], 1");
        assert!(!format!("{secrets:?}").contains("s3cr3t"));
    }
}
