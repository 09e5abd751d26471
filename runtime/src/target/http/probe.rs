//! Whether a module keeps to what it is said to: asked at the start, not believed.

use super::{Http, Level, NoAnswer, said};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};

/// The key and the kind of an entity that nobody has.
const NOBODY: &str = "syncline-probe";
/// The name of a part that no transaction has.
const PART: &str = "syncline:probe";
/// A key that nothing else has.
const KEY: &str = "\"syncline-probe\"";

impl Http {
    /// The level that the module was seen to keep to.
    pub(super) async fn probe(&self) -> Result<Level, String> {
        let url = &self.settings.url;
        let entity = url.to_string().contains("{entity}").then_some(NOBODY);
        let at = url.expand(entity, NOBODY)?;
        let (status, body) = self.asked(Method::GET, &at, HeaderMap::new()).await?;
        match status {
            401 | 403 | 407 => {
                let said = said(status, &body);
                return Err(format!(
                    "`{url}` does not let us in ({said}): look at `headers`"
                ));
            }
            300..=399 => {
                let said = said(status, &body);
                return Err(format!(
                    "`{url}` sends its clients elsewhere ({said}), and redirects are not followed: \
                     name the place that it sends them to"
                ));
            }
            _ => {}
        }
        match self.settings.level {
            Level::M0 => return Ok(Level::M0),
            Level::M3 => return self.keeps_what_is_cancelled().await,
            Level::M1 | Level::M2 => {}
        }
        self.looks_at_versions(&at).await?;
        if self.settings.level == Level::M2 {
            if !matches!(status, 404 | 410) {
                return Err(format!(
                    "whether `{url}` keeps to level M2 is seen by an entity `{NOBODY}` that is not \
                     there, and asking for it gave {}: delete it, or correct the module",
                    said(status, &body)
                ));
            }
            self.remembers_keys(&at).await?;
        }
        Ok(self.settings.level)
    }

    /// An entity that is not there has no version: whoever looks at `If-Match` writes nothing.
    async fn looks_at_versions(&self, at: &str) -> Result<(), String> {
        let (status, body) = self.asked(Method::DELETE, at, any_version()).await?;
        match status {
            412 => Ok(()),
            _ => Err(format!(
                "`{}` is said to be of level {}, and does not look at `If-Match`: deleting an \
                 entity that is not there, with a version, gave {} instead of HTTP status 412: write \
                 `level = \"M0\"`, or correct the module",
                self.settings.url,
                self.settings.level.as_str(),
                said(status, &body)
            )),
        }
    }

    /// What it answered to a key it answers again, or it refuses the key for anything else. Whoever does
    /// not know the key looks at what the second request depends on, which holds.
    async fn remembers_keys(&self, at: &str) -> Result<(), String> {
        let mut first = any_version();
        let mut second = HeaderMap::new();
        second.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        for headers in [&mut first, &mut second] {
            headers.insert("idempotency-key", HeaderValue::from_static(KEY));
        }
        self.asked(Method::DELETE, at, first).await?;
        let (status, body) = self.asked(Method::DELETE, at, second).await?;
        match status {
            409 | 412 | 422 => Ok(()),
            _ => Err(format!(
                "`{}` is said to be of level M2, and does not know an `Idempotency-Key` again: after \
                 deleting an entity that is not there, with a version, another request with the same \
                 key gave {} instead of HTTP status 412 (the same answer) or 422: write \
                 `level = \"M1\"`, or correct the module",
                self.settings.url,
                said(status, &body)
            )),
        }
    }

    /// What is cancelled before it was tried cannot be tried any more.
    async fn keeps_what_is_cancelled(&self) -> Result<Level, String> {
        let cancelled = self.asked_about_part(Method::DELETE, Bytes::new()).await?;
        let (status, body) = cancelled;
        if !(200..=299).contains(&status) {
            return Err(self.is_not_m3(
                "cancelling what was never tried",
                &said(status, &body),
                "2xx",
            ));
        }
        let nothing = Bytes::from_static(b"{\"effects\":[]}");
        let (status, body) = self.asked_about_part(Method::POST, nothing).await?;
        if (200..=299).contains(&status) {
            // It is not to be left there.
            self.asked_about_part(Method::DELETE, Bytes::new()).await?;
        }
        match status {
            410 => Ok(Level::M3),
            _ => Err(self.is_not_m3("trying what was cancelled", &said(status, &body), "410")),
        }
    }

    fn is_not_m3(&self, what: &str, gave: &str, expected: &str) -> String {
        let place = self.settings.transactions.as_ref().map(ToString::to_string);
        format!(
            "`{}` is said to be of level M3, and does not keep to it: {what}, at `{}`, gave {gave} \
             instead of HTTP status {expected}: write another `level`, or correct the module",
            self.settings.url,
            place.unwrap_or_default()
        )
    }

    async fn asked_about_part(&self, method: Method, body: Bytes) -> Result<(u16, Bytes), String> {
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        let asked = self.part(method, PART, headers, body).await;
        asked.map_err(|NoAnswer(why)| why)
    }

    async fn asked(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
    ) -> Result<(u16, Bytes), String> {
        let asked = self.ask(method, url, headers, Bytes::new()).await;
        let (status, _, body) = asked.map_err(|NoAnswer(why)| why)?;
        Ok((status, body))
    }
}

/// A version that nothing has.
fn any_version() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(IF_MATCH, HeaderValue::from_static("\"syncline-probe\""));
    headers
}
