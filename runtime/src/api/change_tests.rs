//! Changes and their answers, over one entity in memory and somebody who makes changes as told.

use super::access::Door;
use super::answer::{Change, Contracts, Desk, Modules, Read};
use super::config::{Bearer, Hash, Token};
use super::reply::Reply;
use crate::change::{Asked, Changed, Edit, Name};
use crate::contract::{AdaptedVersions, Contract};
use crate::event::{Operation, Precondition};
use crate::target::{Found, Page, ReadError, Wanted};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where `a` is, and nothing else, whatever was changed.
struct Shelf;

const ENTITY: &[u8] = br#"{"id":"a","n":1}"#;

impl Read for Shelf {
    fn read<'a>(
        &'a self,
        _target: &'a str,
        _entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, ReadError>> {
        let found = (key == "a").then(|| Found {
            content_type: "application/json".to_owned(),
            etag: "7".to_owned(),
            data: Bytes::from_static(ENTITY),
        });
        futures::future::ready(Ok(found)).boxed()
    }

    fn list<'a>(
        &'a self,
        _target: &'a str,
        _wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Page, ReadError>> {
        futures::future::ready(Ok(Page::default())).boxed()
    }
}

/// Makes changes as told, and keeps what was asked.
#[derive(Default)]
struct Hand {
    answer: Option<Changed>,
    /// What was found of the names that were asked for before, in turn.
    before: Mutex<Vec<Option<Changed>>>,
    asked: Mutex<Vec<Asked>>,
}

impl Change for Hand {
    fn find<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Option<Changed>> {
        let mut before = self.before.lock();
        let found = match name.is_given() && !before.is_empty() {
            true => before.remove(0),
            false => None,
        };
        futures::future::ready(found).boxed()
    }

    fn make(&self, asked: Asked) -> BoxFuture<'_, Changed> {
        self.asked.lock().push(asked);
        let answer = self.answer.clone().unwrap_or(Changed::Done);
        futures::future::ready(answer).boxed()
    }
}

struct Lab {
    desk: Desk,
    hand: Arc<Hand>,
}

impl Lab {
    fn new() -> Self {
        Self::with(Hand::default())
    }

    fn answering(answer: Changed) -> Self {
        Self::with(Hand {
            answer: Some(answer),
            ..Hand::default()
        })
    }

    fn with(hand: Hand) -> Self {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
        let contract = Contract::of_test(json!({
            "name": "crm",
            "version": 2,
            "default": "customer",
            "entities": {
                "customer": {
                    "operations": ["retrieve", "upsert", "merge", "delete"],
                    "schema": schema,
                },
                "careful": { "operations": ["retrieve", "upsert"], "schema": true, "etag": "required" },
                "hidden": { "operations": ["upsert", "delete"], "schema": true },
                "log": { "operations": ["append"], "schema": schema },
            },
        }));
        let token = |name: &str, scope: &str| Token {
            hash: Hash::of(name.as_bytes()),
            bearer: Bearer {
                name: name.to_owned(),
                scopes: vec![scope.parse().unwrap()],
                rate: None,
            },
        };
        let hand = Arc::new(hand);
        let modules = Modules {
            contracts: Contracts::from([("crm".to_owned(), Arc::new(contract))]),
            adapted: AdaptedVersions::default(),
            source: Arc::new(Shelf),
            changes: hand.clone(),
        };
        let tokens = vec![
            token("all", "*:*"),
            token("writer", "crm:write"),
            token("reader", "crm:retrieve"),
        ];
        let desk = Desk::new(Door::new(tokens, None), modules);
        Self { desk, hand }
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", "Bearer all");
        }
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        self.desk.answer(request.body(body).unwrap()).await
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.hand.asked.lock())
    }

    /// The only effect that was asked for.
    fn effect(&self) -> (Operation, String, Option<Precondition>) {
        let asked = self.asked();
        let [only] = asked.as_slice() else {
            panic!("{asked:?}");
        };
        let [Edit { target, effect, .. }] = only.effects.as_slice() else {
            panic!("{only:?}");
        };
        assert_eq!(&**target, "crm");
        let precondition = effect.precondition.clone();
        (effect.operation, effect.key.clone(), precondition)
    }
}

async fn problem(reply: Reply) -> String {
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let link = body["type"].as_str().unwrap().to_owned();
    link.rsplit_once('#').unwrap().1.to_owned()
}

/// A request, one header, its body; its status, and the effect that it asks for.
type Asking = (
    &'static str,
    (&'static str, &'static str),
    &'static str,
    u16,
    (Operation, &'static str, Option<&'static str>),
);

const PLAIN: (&str, &str) = ("x", "");
const SAME: (&str, &str) = ("if-match", "\"7\"");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const UPSERT: Operation = Operation::Upsert;
const DELETE: Operation = Operation::Delete;

#[rustfmt::skip]
const ASKING: [Asking; 11] = [
    ("PUT /v2/crm/customer/b", PLAIN, "{}", 201, (UPSERT, "b", None)),
    ("PUT /v2/crm/_/a", PLAIN, "{}", 204, (UPSERT, "a", None)),
    ("PUT /v2/crm/customer/a", SAME, "{}", 204, (UPSERT, "a", Some("7"))),
    ("PUT /v2/crm/careful/b", ("if-none-match", "*"), "1", 201, (UPSERT, "b", Some("absent"))),
    ("PATCH /v2/crm/customer/a", MERGE, "{}", 200, (Operation::Merge, "a", Some("present"))),
    ("PATCH /v2/crm/customer/a", SAME, "{}", 200, (Operation::Merge, "a", Some("7"))),
    ("DELETE /v2/crm/customer/a", PLAIN, "", 204, (DELETE, "a", None)),
    ("DELETE /v2/crm/customer/a", SAME, "", 204, (DELETE, "a", Some("7"))),
    // Of what nobody may read it is not told whether it was there.
    ("PUT /v2/crm/hidden/b", PLAIN, "1", 204, (UPSERT, "b", None)),
    ("DELETE /v2/crm/hidden/b", PLAIN, "", 204, (DELETE, "b", None)),
    ("POST /v2/crm/log", PLAIN, "{}", 204, (Operation::Append, "", None)),
];

#[tokio::test]
async fn methods_become_effects() {
    for (line, header, body, status, (operation, key, condition)) in ASKING {
        let lab = Lab::new();
        let reply = lab.ask(line, &[header], body).await;
        assert_eq!(reply.status().as_u16(), status, "{line} {header:?}");
        let precondition = condition.map(|condition| match condition {
            "absent" => Precondition::Absent,
            "present" => Precondition::Present,
            etag => Precondition::Etag(etag.to_owned()),
        });
        let expected = (operation, key.to_owned(), precondition);
        assert_eq!(lab.effect(), expected, "{line} {header:?}");
    }
}

/// A request, one header, its body; its status, and the problem.
type Refused = (
    &'static str,
    (&'static str, &'static str),
    &'static str,
    u16,
    &'static str,
);

#[rustfmt::skip]
const WRONG: [Refused; 14] = [
    ("PATCH /v2/crm/customer/b", PLAIN, "{}", 404, "no-such-key"),
    ("DELETE /v2/crm/customer/b", PLAIN, "", 404, "no-such-key"),
    ("PUT /v2/crm/customer/a", ("if-match", "\"6\""), "{}", 412, "precondition-failed"),
    ("PUT /v2/crm/customer/a", ("if-none-match", "*"), "{}", 412, "precondition-failed"),
    ("PUT /v2/crm/careful/a", PLAIN, "{}", 428, "precondition-required"),
    ("PUT /v2/crm/careful/a", ("if-match", "*"), "{}", 428, "precondition-required"),
    ("PUT /v2/crm/customer/a", PLAIN, r#"{"n":"one"}"#, 422, "not-in-contract"),
    ("PUT /v2/crm/customer/a", PLAIN, "{", 422, "not-in-contract"),
    ("POST /v2/crm/log", PLAIN, r#"{"n":"one"}"#, 422, "not-in-contract"),
    ("PUT /v2/crm/log/a", PLAIN, "{}", 405, "operation-not-allowed"),
    ("POST /v2/crm/customer", PLAIN, "{}", 405, "operation-not-allowed"),
    ("PUT /v2/crm/customer/a", ("content-type", "text/plain"), "{}", 415, "wrong-media-type"),
    ("PUT /v2/crm/customer/a", ("authorization", "Bearer reader"), "{}", 403, "forbidden"),
    ("PUT /v2/crm/customer/a", ("idempotency-key", ""), "{}", 400, "bad-request"),
];

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_asked_for() {
    for (line, header, body, status, name) in WRONG {
        let lab = Lab::new();
        let reply = lab.ask(line, &[header], body).await;
        let what = format!("{line} {header:?} {body}");
        assert_eq!(reply.status().as_u16(), status, "{what}");
        if name == "operation-not-allowed" {
            let allow = match line {
                "POST /v2/crm/customer" => "GET, HEAD",
                _ => "",
            };
            assert_eq!(reply.headers()["allow"], allow, "{what}");
        }
        assert_eq!(problem(reply).await, name, "{what}");
        assert!(lab.asked().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn what_became_of_a_change_is_told() {
    let why = || "why".to_owned();
    for (changed, line, header, status, name) in [
        (Changed::Reused, "PUT", ("x", ""), 422, "key-reused"),
        (
            Changed::Conflict(why()),
            "PUT",
            ("if-match", "\"7\""),
            412,
            "precondition-failed",
        ),
        (
            Changed::Conflict(why()),
            "PATCH",
            ("x", ""),
            409,
            "conflict",
        ),
        (Changed::Refused(why()), "PUT", ("x", ""), 422, "refused"),
        (
            Changed::NotNow(why()),
            "DELETE",
            ("x", ""),
            503,
            "unavailable",
        ),
        (
            Changed::Unknown(why()),
            "PUT",
            ("x", ""),
            504,
            "unknown-outcome",
        ),
    ] {
        let lab = Lab::answering(changed);
        let line = format!("{line} /v2/crm/customer/a");
        let reply = lab.ask(&line, &[header], "{}").await;
        assert_eq!(reply.status().as_u16(), status, "{line}");
        assert_eq!(reply.headers().contains_key("retry-after"), status > 500);
        assert_eq!(problem(reply).await, name, "{line}");
    }
}

#[tokio::test]
async fn an_etag_is_given_of_what_the_client_knows() {
    let exact = std::str::from_utf8(ENTITY).unwrap();
    let writer = [("authorization", "Bearer writer")];
    for (line, headers, body, has_etag) in [
        ("PUT", &[][..], exact, true),
        ("PUT", &[], r#"{ "n": 1, "id": "a" }"#, true),
        ("PUT", &writer, exact, true),
        // Somebody has changed it since.
        ("PUT", &[], r#"{"n":2}"#, false),
        ("PATCH", &[], "{}", true),
        ("PATCH", &writer, "{}", false),
        ("DELETE", &[], "", false),
    ] {
        let lab = Lab::new();
        let line = format!("{line} /v2/crm/customer/a");
        let reply = lab.ask(&line, headers, body).await;
        assert!(reply.status().is_success(), "{line}");
        assert_eq!(
            reply.headers().contains_key("etag"),
            has_etag,
            "{line} {body}"
        );
        let shown = reply.into_body().collect().await.unwrap().to_bytes();
        let expected: &[u8] = match line.starts_with("PATCH") && headers.is_empty() {
            true => ENTITY,
            false => b"",
        };
        assert_eq!(shown, expected, "{line} {headers:?}");
    }
}

#[tokio::test]
async fn a_request_that_was_carried_out_is_not_carried_out_again() {
    let key = ("idempotency-key", "k-1");
    for (before, n_asked, status, replayed) in [
        (vec![None], 1, 201, false),
        (vec![Some(Changed::Before)], 0, 204, true),
        (vec![Some(Changed::Reused)], 0, 422, false),
        (
            vec![Some(Changed::NotNow("away".to_owned()))],
            0,
            503,
            false,
        ),
    ] {
        let lab = Lab::with(Hand {
            before: Mutex::new(before),
            ..Hand::default()
        });
        let reply = lab.ask("PUT /v2/crm/customer/b", &[key], "{}").await;
        assert_eq!(reply.status().as_u16(), status);
        let mark = reply.headers().get("idempotent-replayed");
        assert_eq!(mark.is_some_and(|it| it == "true"), replayed);
        assert_eq!(lab.asked().len(), n_asked);
    }
    // Its copy was faster: what it rests on is gone, by its own doing.
    let lab = Lab::with(Hand {
        before: Mutex::new(vec![None, Some(Changed::Before)]),
        ..Hand::default()
    });
    let headers = [key, ("if-none-match", "*")];
    let reply = lab.ask("PUT /v2/crm/customer/a", &headers, "{}").await;
    assert_eq!(reply.status().as_u16(), 204);
    assert_eq!(reply.headers()["idempotent-replayed"], "true");
}

#[tokio::test]
async fn several_changes_are_asked_for_as_one() {
    let lab = Lab::new();
    let body = json!({ "effects": [
        { "target": "crm", "version": 2, "entity": "customer", "operation": "upsert", "key": "b",
          "payload": { "n": 1 }, "if_none_match": "*" },
        { "target": "crm", "version": 2, "operation": "merge", "key": "a", "payload": {} },
        { "target": "crm", "version": 2, "entity": "customer", "operation": "delete", "key": "a",
          "if_match": "\"7\"" },
        { "target": "crm", "version": 2, "entity": "log", "operation": "append", "payload": {} },
    ] });
    let reply = lab
        .ask("POST /v1/transactions", &[], &body.to_string())
        .await;
    assert_eq!(reply.status().as_u16(), 200);
    let told = reply.into_body().collect().await.unwrap().to_bytes();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["effects"][1]["entity"], "customer");
    let asked = lab.asked();
    let effects = &asked[0].effects;
    let conditions: Vec<_> = effects
        .iter()
        .map(|edit| edit.effect.precondition.clone())
        .collect();
    let expected = [
        Some(Precondition::Absent),
        Some(Precondition::Present),
        Some(Precondition::Etag("7".to_owned())),
        None,
    ];
    assert_eq!((asked.len(), conditions.as_slice()), (1, &expected[..]));
    assert_eq!(effects[0].effect.payload, r#"{"n":1}"#);
    assert_eq!(effects[1].effect.entity, None);
}

#[tokio::test]
async fn one_change_that_cannot_be_refuses_all() {
    let sound = json!({ "target": "crm", "version": 2, "entity": "customer", "operation": "upsert",
                        "key": "b", "payload": {} });
    for (member, value, status, name) in [
        ("target", json!("erp"), 404, "unknown-target"),
        ("version", json!(1), 404, "unknown-version"),
        ("entity", json!("hidden"), 405, "operation-not-allowed"),
        ("operation", json!("delete"), 400, "bad-request"),
        ("operation", json!("read"), 400, "bad-request"),
        ("operation", json!("merge"), 404, "no-such-key"),
        ("key", json!(""), 400, "bad-request"),
        ("payload", json!({ "n": "one" }), 422, "not-in-contract"),
        ("if_match", json!("\"7\""), 412, "precondition-failed"),
        ("other", json!(1), 400, "bad-request"),
    ] {
        let mut odd = sound.clone();
        odd[member] = value.clone();
        if member == "entity" {
            odd["operation"] = json!("merge");
        }
        let body = json!({ "effects": [sound, odd] });
        let lab = Lab::new();
        let reply = lab
            .ask("POST /v1/transactions", &[], &body.to_string())
            .await;
        let what = format!("{member} {value}");
        assert_eq!(reply.status().as_u16(), status, "{what}");
        assert_eq!(problem(reply).await, name, "{what}");
        assert!(lab.asked().is_empty(), "{what}");
    }
    for effects in [json!([]), vec![sound.clone(); 101].into()] {
        let body = json!({ "effects": effects });
        let reply = Lab::new()
            .ask("POST /v1/transactions", &[], &body.to_string())
            .await;
        assert_eq!(problem(reply).await, "bad-request");
    }
    let lab = Lab::new();
    let body = json!({ "effects": [sound] }).to_string();
    let reader = [("authorization", "Bearer reader")];
    let reply = lab.ask("POST /v1/transactions", &reader, &body).await;
    assert_eq!(problem(reply).await, "forbidden");
}

#[tokio::test]
async fn the_description_tells_what_the_asker_may_change() {
    let lab = Lab::new();
    let methods = async |token: &str| {
        let header = format!("Bearer {token}");
        let headers = [("authorization", header.as_str())];
        let reply = lab.ask("GET /openapi.json", &headers, "").await;
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let document: Value = serde_json::from_slice(&body).unwrap();
        let paths = document["paths"].as_object().unwrap().clone();
        let told = paths.into_iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().clone();
            let methods = methods.into_iter().map(|(method, _)| method);
            let methods = methods.filter(|method| method != "parameters");
            methods.map(move |method| format!("{method} {path}"))
        });
        told.collect::<Vec<_>>()
    };
    let reader = methods("reader").await;
    assert!(
        reader.iter().all(|it| it.starts_with("get ")
            || it.starts_with("head ")
            || it.contains(":retrieve"))
    );
    let writer = methods("writer").await;
    for expected in [
        "put /v2/crm/customer/{key}",
        "patch /v2/crm/customer/{key}",
        "delete /v2/crm/hidden/{key}",
        "post /v2/crm/log",
        "post /v1/transactions",
    ] {
        assert!(
            writer.iter().any(|it| it == expected),
            "{expected}: {writer:?}"
        );
        assert!(!reader.iter().any(|it| it == expected), "{expected}");
    }
    assert!(
        !writer.iter().any(|it| it.starts_with("get ")),
        "{writer:?}"
    );
}
