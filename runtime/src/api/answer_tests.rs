//! Requests and their answers, over entities in memory.

use super::access::Door;
use super::answer::{Contracts, Desk, Modules, Nobody, Read};
use super::batch::MOST;
use super::body::LARGEST;
use super::config::{Bearer, Hash, Token};
use super::reply::Reply;
use crate::contract::{AdaptedVersions, Contract};
use crate::target::{Found, Listed, Page, Position, ReadError, Wanted};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A target that holds `a`, `b/c` and `text`, and is away for `away`.
struct Shelf;

impl Read for Shelf {
    fn read<'a>(
        &'a self,
        target: &'a str,
        entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, ReadError>> {
        async move {
            let found = |content_type: &str, data: String| Found {
                content_type: content_type.to_owned(),
                etag: "7".to_owned(),
                data: data.into(),
            };
            let entity = entity.unwrap_or("unnamed");
            match key {
                "a" | "b/c" => {
                    let id = format!("{target} {entity} {key}");
                    let data = format!(
                        r#"{{"id":"{id}","n":123456789012345678901234567890,"at":{{"x":1,"y":2}}}}"#
                    );
                    Ok(Some(found("application/json", data)))
                }
                "text" => Ok(Some(found("text/plain", "plain".to_owned()))),
                "odd" => Err(ReadError::Invalid("no such key can be".to_owned())),
                "away" => Err(ReadError::Unavailable("it is away".to_owned())),
                "never" => futures::future::pending().await,
                _ => Ok(None),
            }
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        target: &'a str,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Page, ReadError>> {
        async move {
            let all = ["a", "b/c", "text"].into_iter();
            let keys = all.filter(|key| key.starts_with(wanted.prefix));
            let keys = keys.filter(|key| wanted.after.is_none_or(|it| *key > it.as_str()));
            let keys: Vec<_> = keys.collect();
            let mut page = Page::default();
            for key in keys.iter().take(wanted.limit) {
                page.entities.push(Listed {
                    entity: wanted.entity.map(str::to_owned),
                    key: (*key).to_owned(),
                    found: self.read(target, wanted.entity, key).await?.unwrap(),
                });
            }
            let is_more = keys.len() > wanted.limit;
            let last = page.entities.last().map(|last| last.key.clone());
            page.next = last.filter(|_| is_more).map(Position::new);
            Ok(page)
        }
        .boxed()
    }
}

fn desk() -> Desk {
    let contract = Contract::of_test(json!({
        "name": "crm",
        "version": 2,
        "default": "customer",
        "entities": {
            "customer": {
                "operations": ["retrieve", "upsert"],
                "key": { "schema": { "pattern": "^c-" } },
                "schema": { "properties": { "seat": { "$ref": "#/$defs/seat" } } },
            },
            "plain note": { "operations": ["retrieve"], "schema": true, "etag": "none" },
            "secret": { "operations": ["upsert"], "schema": true },
        },
        "$defs": { "seat": { "type": "object" } },
    }));
    let contract = Arc::new(contract);
    let targets = ["crm", "other"].map(|name| (name.to_owned(), contract.clone()));
    let token = |name: &str, scopes: &[&str]| Token {
        hash: Hash::of(name.as_bytes()),
        bearer: Bearer {
            name: name.to_owned(),
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            rate: (name == "slow").then(|| "2/m burst 2".parse().unwrap()),
        },
    };
    let tokens = vec![
        token("crm", &["crm:retrieve"]),
        token("all", &["*:retrieve"]),
        token("none", &[]),
        token("slow", &["crm:retrieve"]),
    ];
    let modules = Modules {
        contracts: Contracts::from(targets),
        adapted: AdaptedVersions::default(),
        source: Arc::new(Shelf),
        changes: Arc::new(Nobody),
    };
    Desk::new(Door::new(tokens, None), modules)
}

fn request(method: &str, uri: &str, token: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

async fn body_of(reply: Reply) -> Value {
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

async fn get(uri: &str) -> Reply {
    desk().answer(request("GET", uri, "all", "")).await
}

#[tokio::test]
async fn an_entity_is_read_as_the_target_holds_it() {
    let reply = get("/v2/crm/customer/a").await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()["etag"], "\"7\"");
    assert_eq!(reply.headers()["content-type"], "application/json");
    assert_eq!(reply.headers()["x-content-type-options"], "nosniff");
    assert!(!reply.headers().contains_key("access-control-allow-origin"));
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    let exact = r#"{"id":"crm customer a","n":123456789012345678901234567890,"at":{"x":1,"y":2}}"#;
    assert_eq!(body, exact);
    for (uri, id) in [
        ("/v2/crm/customer/b%2Fc", "crm customer b/c"),
        ("/v2/crm/_/a", "crm unnamed a"),
        ("/v2/other/plain%20note/a", "other plain note a"),
        ("/v2/crm/customer/a?fields=id", "crm customer a"),
    ] {
        let body = body_of(get(uri).await).await;
        assert_eq!(body["id"], id, "{uri}");
        assert_eq!(body.get("at").is_none(), uri.contains("fields"), "{uri}");
    }
    let text = get("/v2/crm/customer/text").await;
    assert_eq!(text.headers()["content-type"], "text/plain");
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    let ask = |tag: &str, uri: &str| {
        let mut request = request("GET", uri, "all", "");
        request
            .headers_mut()
            .insert("if-none-match", tag.parse().unwrap());
        request
    };
    let reply = desk()
        .answer(ask("\"6\", W/\"7\"", "/v2/crm/customer/a?fields=id"))
        .await;
    assert_eq!(reply.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(reply.headers()["etag"], "\"7\"");
    assert!(
        reply
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
    let reply = desk().answer(ask("\"6\"", "/v2/crm/customer/a")).await;
    assert_eq!(reply.status(), StatusCode::OK);
    // Of this kind there are no etags to name.
    let reply = desk().answer(ask("\"7\"", "/v2/crm/plain%20note/a")).await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert!(!reply.headers().contains_key("etag"));
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_is_told_when_to_ask_again() {
    let desk = desk();
    let ask = async |token: &str| {
        let request = request("GET", "/v2/crm/customer/a", token, "");
        desk.answer(request).await
    };
    assert_eq!(ask("slow").await.status(), StatusCode::OK);
    assert_eq!(ask("slow").await.status(), StatusCode::OK);
    tokio::time::advance(Duration::from_millis(500)).await;
    let reply = ask("slow").await;
    assert_eq!(reply.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.headers()["retry-after"], "30");
    let problem = body_of(reply).await;
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.ends_with("#rate-limited"), "{problem}");
    // Another token has a limit of its own, or none.
    for _ in 0..100 {
        assert_eq!(ask("crm").await.status(), StatusCode::OK);
    }
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(ask("slow").await.status(), StatusCode::OK);
    assert_eq!(ask("slow").await.status(), 429);
}

/// Method, path, token; what comes of it: the status, and the name of the problem.
const WRONG: [(&str, &str, &str, u16, &str); 30] = [
    ("GET", "/v2/crm/customer/a", "nobody", 401, "unauthorized"),
    ("GET", "/nowhere", "nobody", 401, "unauthorized"),
    ("GET", "/openapi.json", "nobody", 401, "unauthorized"),
    ("POST", "/v2/crm/customer:retrieve", "", 401, "unauthorized"),
    ("GET", "/v2/other/customer/a", "crm", 403, "forbidden"),
    ("GET", "/v2/unknown/customer/a", "crm", 403, "forbidden"),
    ("GET", "/v2/crm/customer/a", "none", 403, "forbidden"),
    (
        "POST",
        "/v2/crm/customer:retrieve",
        "none",
        403,
        "forbidden",
    ),
    ("GET", "/nowhere", "all", 404, "not-found"),
    (
        "GET",
        "/v2/unknown/customer/a",
        "all",
        404,
        "unknown-target",
    ),
    ("GET", "/v1/crm/customer/a", "all", 404, "unknown-version"),
    ("GET", "/v2/crm/invoice/a", "all", 404, "unknown-entity"),
    ("GET", "/v2/crm/customer/b", "all", 404, "no-such-key"),
    ("HEAD", "/v2/crm/customer/b", "all", 404, "no-such-key"),
    ("GET", "/v2/crm/customer/%ff", "all", 400, "bad-request"),
    (
        "GET",
        "/v2/crm/customer/a?field=id",
        "all",
        400,
        "bad-request",
    ),
    ("PUT", "/v2/crm/customer/a", "all", 403, "forbidden"),
    ("POST", "/v2/crm/customer", "all", 403, "forbidden"),
    ("GET", "/v2/crm/customer", "none", 403, "forbidden"),
    ("GET", "/v2/crm/customer?limit=0", "all", 400, "bad-request"),
    ("GET", "/v2/crm/secret", "all", 405, "operation-not-allowed"),
    ("PUT", "/v2/crm/customer", "all", 405, "method-not-allowed"),
    ("GET", "/v1/transactions", "all", 405, "method-not-allowed"),
    (
        "OPTIONS",
        "/v2/crm/customer/a",
        "all",
        405,
        "method-not-allowed",
    ),
    (
        "GET",
        "/v2/crm/customer:retrieve",
        "all",
        405,
        "method-not-allowed",
    ),
    (
        "GET",
        "/v2/crm/secret/a",
        "all",
        405,
        "operation-not-allowed",
    ),
    ("GET", "/v2/crm/customer/odd", "all", 422, "not-readable"),
    (
        "GET",
        "/v2/crm/customer/text?fields=id",
        "all",
        422,
        "no-fields",
    ),
    ("GET", "/v2/crm/customer/away", "all", 503, "unavailable"),
    ("POST", "/openapi.json", "all", 405, "method-not-allowed"),
];

#[tokio::test]
async fn what_is_wrong_is_told_as_a_problem() {
    for (method, uri, token, status, name) in WRONG {
        let what = format!("{method} {uri} as {token}");
        let reply = desk().answer(request(method, uri, token, "")).await;
        assert_eq!(reply.status().as_u16(), status, "{what}");
        let headers = reply.headers().clone();
        assert_eq!(
            headers["content-type"], "application/problem+json",
            "{what}"
        );
        assert_eq!(
            headers.contains_key("www-authenticate"),
            status == 401,
            "{what}"
        );
        assert_eq!(headers.contains_key("retry-after"), status == 503, "{what}");
        assert_eq!(headers.contains_key("allow"), status == 405, "{what}");
        let body = body_of(reply).await;
        assert_eq!(body["status"], status, "{what}");
        let link = body["type"].as_str().unwrap();
        assert!(
            link.ends_with(&format!("/docs/api.md#{name}")),
            "{what}: {link}"
        );
        assert!(!body["title"].as_str().unwrap().is_empty(), "{what}");
        assert!(!body["detail"].as_str().unwrap().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn several_entities_are_read_at_once() {
    let ask = |uri: &str, body: String| request("POST", uri, "crm", &body);
    let uri = "/v2/crm/customer:retrieve";
    let body = json!({ "keys": ["b/c", "gone", "a"] }).to_string();
    let told = body_of(
        desk()
            .answer(ask(&format!("{uri}?fields=id"), body.clone()))
            .await,
    )
    .await;
    let one = |key: &str| {
        let id = format!("crm customer {key}");
        json!({ "key": key, "etag": "\"7\"", "entity": { "id": id } })
    };
    assert_eq!(
        told,
        json!({ "entities": [one("b/c"), one("a")], "missing": ["gone"] })
    );
    let whole = desk().answer(ask(uri, body)).await;
    let whole = whole.into_body().collect().await.unwrap().to_bytes();
    let whole = String::from_utf8_lossy(&whole);
    assert!(
        whole.contains("\"n\":123456789012345678901234567890,"),
        "{whole}"
    );
    let long = format!("{{\"keys\":[\"{}\"]}}", "k".repeat(LARGEST));
    let many = json!({ "keys": vec!["a"; MOST + 1] }).to_string();
    for (body, status) in [
        ("", 400),
        ("{}", 400),
        ("{\"keys\":[]}", 400),
        ("{\"keys\":[1]}", 400),
        ("{\"keys\":[\"a\"],\"more\":1}", 400),
        (&many, 400),
        (&long, 413),
        ("{\"keys\":[\"a\",\"text\"]}", 422),
        ("{\"keys\":[\"a\",\"away\"]}", 503),
    ] {
        let reply = desk().answer(ask(uri, body.to_owned())).await;
        assert_eq!(reply.status().as_u16(), status, "{body:.60}");
    }
    let mut form = ask(uri, "keys=a".to_owned());
    let media_type = "application/x-www-form-urlencoded".parse().unwrap();
    form.headers_mut().insert("content-type", media_type);
    assert_eq!(desk().answer(form).await.status().as_u16(), 415);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_is_given_up() {
    let body = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<hyper::body::Frame<Bytes>, std::io::Error>,
    >());
    let (parts, _) = request("POST", "/v2/crm/customer:retrieve", "all", "").into_parts();
    let reply = desk().answer(Request::from_parts(parts, body)).await;
    assert_eq!(reply.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(reply.headers()["connection"], "close");
}

#[tokio::test]
async fn so_many_requests_are_answered_at_once_and_no_more() {
    let desk = desk();
    let ask = |key: &str| request("GET", &format!("/v2/crm/customer/{key}"), "all", "");
    let mut waiting: Vec<_> = (0..super::answer::AT_ONCE)
        .map(|_| Box::pin(desk.answer(ask("never"))))
        .collect();
    for asked in &mut waiting {
        assert!(futures::poll!(asked).is_pending());
    }
    let reply = desk.answer(ask("a")).await;
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers()["retry-after"], "1");
    drop(waiting.pop());
    assert_eq!(desk.answer(ask("a")).await.status(), StatusCode::OK);
}

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    if let Some(Value::String(uri)) = value.get("$ref") {
        found.push(uri.clone());
    }
    match value {
        Value::Object(members) => members.values().for_each(|it| references(it, found)),
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_description_tells_what_the_asker_may_read() {
    let reply = desk()
        .answer(request("GET", "/openapi.json", "crm", ""))
        .await;
    assert_eq!(reply.headers()["content-type"], "application/json");
    let document = body_of(reply).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    let expected = [
        "/v2/crm/_",
        "/v2/crm/_/{key}",
        "/v2/crm/_:retrieve",
        "/v2/crm/customer",
        "/v2/crm/customer/{key}",
        "/v2/crm/customer:retrieve",
        "/v2/crm/plain%20note",
        "/v2/crm/plain%20note/{key}",
        "/v2/crm/plain%20note:retrieve",
    ];
    assert_eq!(paths, expected);
    let methods = document["paths"]["/v2/crm/customer/{key}"]
        .as_object()
        .unwrap();
    let methods: Vec<_> = methods.keys().collect();
    assert_eq!(methods, ["get", "head", "parameters"]);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.contains_key("crm.v2.entity.customer"));
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.contains(&"#/components/schemas/crm.v2.def.seat".to_owned()));
    for uri in found {
        let pointer = uri.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{uri} leads nowhere");
    }
    let all = body_of(get("/openapi.json").await).await;
    assert_eq!(all["paths"].as_object().unwrap().len(), 2 * expected.len());
    let none = desk()
        .answer(request("GET", "/openapi.json", "none", ""))
        .await;
    assert!(body_of(none).await["paths"].as_object().unwrap().is_empty());
}

#[tokio::test]
async fn a_list_goes_on_from_its_cursor() {
    let (mut uri, mut keys) = ("/v2/crm/customer?limit=2".to_owned(), Vec::new());
    loop {
        let reply = get(&uri).await;
        assert_eq!(reply.status(), StatusCode::OK, "{uri}");
        let link = reply.headers().get("link").cloned();
        let page = body_of(reply).await;
        for one in page["entities"].as_array().unwrap() {
            keys.push(one["key"].as_str().unwrap().to_owned());
            assert_eq!(one["etag"], "\"7\"");
            assert_eq!(one.get("entity").is_some(), one["key"] != "text");
        }
        assert_eq!(page.get("next").is_some(), link.is_some());
        let Some(link) = link else { break };
        let link = link.to_str().unwrap();
        let (next, rel) = link.split_once('>').unwrap();
        assert_eq!(rel, "; rel=\"next\"");
        uri = next.trim_start_matches('<').to_owned();
    }
    assert_eq!(keys, ["a", "b/c", "text"]);
    let page = body_of(get("/v2/crm/customer?prefix=b%2F&fields=id").await).await;
    let expected =
        json!([{ "key": "b/c", "etag": "\"7\"", "entity": { "id": "crm customer b/c" } }]);
    assert_eq!(page["entities"], expected);
}
