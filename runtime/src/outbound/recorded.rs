//! Answers that a test gives instead of a host.

use super::origin::Origin;
use super::refusal::Refusal;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One recorded answer. It is given as often as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The method that it answers; none: `GET`.
    method: Option<String>,
    /// The URL that it answers.
    url: String,
    /// The status; none: 200.
    status: Option<u16>,
    /// Its headers.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its body: text as it is, or JSON as text.
    #[serde(default)]
    body: Value,
}

/// The first recorded answer to a request.
pub(super) fn answer(
    recorded: &[Recorded],
    method: &Method,
    uri: &Uri,
) -> Result<http::Response<Bytes>, Refusal> {
    let found = recorded.iter().find(|one| one.answers(method, uri));
    let Some(found) = found else {
        return Err(Refusal::Withheld(format!(
            "nothing is sent here: a case records the answer to `{method} {uri}` in its `http`"
        )));
    };
    found.response().map_err(|why| {
        Refusal::Withheld(format!("the answer recorded for `{method} {uri}`: {why}"))
    })
}

impl Recorded {
    fn answers(&self, method: &Method, uri: &Uri) -> bool {
        let is_method = self.method.as_deref().unwrap_or("GET") == method.as_str();
        let same_place = |url: &Uri| {
            let (one, other) = (Origin::of(url), Origin::of(uri));
            one.is_ok() && one == other && path_of(url) == path_of(uri)
        };
        is_method && self.url.parse().is_ok_and(|url| same_place(&url))
    }

    fn response(&self) -> Result<http::Response<Bytes>, String> {
        let status = StatusCode::from_u16(self.status.unwrap_or(200));
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header"))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("`{value}` is no value of a header"))?;
            headers.insert(name, value);
        }
        let body = match &self.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() = status.map_err(|error| error.to_string())?;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn path_of(uri: &Uri) -> &str {
    uri.path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_gets_the_answer_that_was_recorded_for_it() {
        let recorded: Vec<Recorded> = serde_json::from_value(json!([
            { "url": "https://api.example.com/a?x=1", "body": { "n": 1 } },
            { "url": "https://api.example.com", "status": 404, "body": "gone" },
            { "method": "POST", "url": "https://api.example.com/a?x=1", "headers": { "etag": "7" } },
        ]))
        .unwrap();
        let ask = |method: Method, url: &str| {
            let answered = answer(&recorded, &method, &url.parse().unwrap());
            answered.map(|it| {
                (
                    it.status().as_u16(),
                    String::from_utf8_lossy(it.body()).into_owned(),
                )
            })
        };
        let found = ask(Method::GET, "https://API.example.com:443/a?x=1");
        assert_eq!(found, Ok((200, "{\"n\":1}".to_owned())));
        let found = ask(Method::GET, "https://api.example.com/");
        assert_eq!(found, Ok((404, "gone".to_owned())));
        assert!(ask(Method::POST, "https://api.example.com/a?x=1").is_ok());
        for (method, url) in [
            (Method::GET, "https://api.example.com/a?x=2"),
            (Method::GET, "http://api.example.com/"),
            (Method::PUT, "https://api.example.com/"),
        ] {
            let refused = ask(method, url).unwrap_err().to_string();
            assert!(refused.contains("its `http`"), "{refused}");
        }
    }
}
