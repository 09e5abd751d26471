//! Whether a module keeps to what it is said to: asked at the start, not believed.

use super::{Http, Level, NoAnswer, said};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, IF_MATCH};

/// The key and the kind of an entity that nobody has.
const NOBODY: &str = "syncline-probe";

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
        if self.settings.level == Level::M0 {
            return Ok(Level::M0);
        }
        // An entity that is not there has no version: whoever looks at `If-Match` writes nothing.
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, HeaderValue::from_static("\"syncline-probe\""));
        let (status, body) = self.asked(Method::DELETE, &at, headers).await?;
        match status {
            412 => Ok(self.settings.level),
            _ => Err(format!(
                "`{url}` is said to be of level {}, and does not look at `If-Match`: deleting an \
                 entity that is not there, with a version, gave {} instead of HTTP status 412: write \
                 `level = \"M0\"`, or correct the module",
                self.settings.level.as_str(),
                said(status, &body)
            )),
        }
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
