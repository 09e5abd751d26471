//! The description of the API as an OpenAPI 3.1 document, made of the contracts.

use super::answer::Contracts;
use super::batch::MOST;
use super::path::UNNAMED;
use super::problem::{self, ALL, Trouble};
use crate::contract::{Contract, EtagPolicy, Verb};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// Where schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";
/// What does not stand in a segment of a path as it is.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b'%')
    .add(b'\\')
    .add(b'^')
    .add(b'|')
    .add(b'[')
    .add(b']');

/// The document over the targets that are `permitted`.
pub(super) fn document(contracts: &Contracts, permitted: impl Fn(&str) -> bool) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for (target, contract) in contracts.iter().filter(|(target, _)| permitted(target)) {
        let prefix = format!("{target}.v{}", contract.version());
        schemas.extend(contract.schemas(SCHEMAS, &prefix));
        add_paths(&mut paths, target, contract, &prefix);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Syncline: the modules",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Entities of target modules, as their contracts describe them.",
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
            "parameters": parameters(),
            "responses": responses(),
        },
    })
}

fn add_paths(paths: &mut Map<String, Value>, target: &str, contract: &Contract, prefix: &str) {
    let readable =
        |(_, entity): &(&str, &crate::contract::Entity)| entity.forbids(Verb::Retrieve).is_none();
    let unnamed = contract
        .entity(None)
        .ok()
        .map(|(kind, entity)| (UNNAMED.to_owned(), kind, entity));
    let named = contract
        .entities()
        .map(|(kind, entity)| (segment(kind), kind, entity));
    for (segment, kind, entity) in named
        .chain(unnamed)
        .filter(|(_, kind, it)| readable(&(*kind, *it)))
    {
        let base = format!("/v{}/{target}/{segment}", contract.version());
        let schema = reference(SCHEMAS, &Contract::name_of_entity(prefix, kind));
        let id = |verb: &str| format!("{verb}.{prefix}.{segment}");
        let has_etags = entity.etag != EtagPolicy::None;
        let one = json!({
            "parameters": [key_of(contract, kind, prefix)],
            "get": one("get", &id("retrieve"), &schema, has_etags),
            "head": one("head", &id("head"), &schema, has_etags),
        });
        paths.insert(format!("{base}/{{key}}"), one);
        let several = json!({ "post": several(&id("retrieve-several"), &schema) });
        paths.insert(format!("{base}:retrieve"), several);
    }
}

/// A kind of entity in a path. What stands for none is written otherwise.
fn segment(kind: &str) -> String {
    match kind {
        UNNAMED => "%5F".to_owned(),
        kind => utf8_percent_encode(kind, ENCODED).to_string(),
    }
}

fn key_of(contract: &Contract, kind: &str, prefix: &str) -> Value {
    let plain = json!({ "type": "string", "minLength": 1 });
    // The schema of a key of several parts is that of a list, and the key a string that holds it.
    let schema = match contract.has_plain_key(kind) {
        true => {
            let own = reference(SCHEMAS, &Contract::name_of_key(prefix, kind));
            json!({ "allOf": [plain, own] })
        }
        false => plain,
    };
    json!({ "name": "key", "in": "path", "required": true, "schema": schema })
}

fn one(method: &str, id: &str, schema: &Value, has_etags: bool) -> Value {
    let headers = match has_etags {
        true => json!({ "ETag": { "schema": { "type": "string" } } }),
        false => json!({}),
    };
    let mut found = json!({ "description": "The entity.", "headers": headers });
    if let (Some(found), "get") = (found.as_object_mut(), method) {
        // What a mask leaves of an entity need not keep to its schema.
        let content =
            json!({ "application/json": { "schema": { "anyOf": [schema, true] } }, "*/*": {} });
        found.insert("content".to_owned(), content);
    }
    let mut responses = problems(&[400, 401, 403, 404, 422, 503]);
    responses.insert("200".to_owned(), found);
    responses.insert(
        "304".to_owned(),
        json!({ "description": "It is what If-None-Match names." }),
    );
    json!({
        "operationId": id,
        "parameters": [
            reference("/components/parameters", "fields"),
            reference("/components/parameters", "if-none-match"),
        ],
        "responses": responses,
    })
}

fn several(id: &str, schema: &Value) -> Value {
    let asked = json!({
        "type": "object",
        "properties": {
            "keys": {
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "maxItems": MOST,
            },
        },
        "required": ["keys"],
        "additionalProperties": false,
    });
    let told = json!({
        "type": "object",
        "properties": {
            "entities": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "key": { "type": "string" },
                        "etag": { "type": "string" },
                        "entity": { "anyOf": [schema, true] },
                    },
                    "required": ["key", "entity"],
                },
            },
            "missing": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["entities", "missing"],
    });
    let mut responses = problems(&[400, 401, 403, 408, 413, 415, 422, 503]);
    let content = json!({ "application/json": { "schema": told } });
    let found = json!({ "description": "Those that there are, in order.", "content": content });
    responses.insert("200".to_owned(), found);
    json!({
        "operationId": id,
        "parameters": [reference("/components/parameters", "fields")],
        "requestBody": { "required": true, "content": { "application/json": { "schema": asked } } },
        "responses": responses,
    })
}

fn problems(statuses: &[u16]) -> Map<String, Value> {
    let of = |status: &u16| {
        let name = status.to_string();
        let problem = reference("/components/responses", &name);
        (name, problem)
    };
    statuses.iter().map(of).collect()
}

fn parameters() -> Value {
    json!({
        "fields": {
            "name": "fields",
            "in": "query",
            "description": "The members to return, as in id,address/city.",
            "schema": { "type": "string", "minLength": 1 },
        },
        "if-none-match": {
            "name": "If-None-Match",
            "in": "header",
            "schema": { "type": "string" },
        },
    })
}

/// A response for each status that a problem has.
fn responses() -> Value {
    let mut responses = Map::new();
    for (trouble, status, ..) in ALL {
        let same = ALL.iter().filter(|(_, other, ..)| *other == status);
        let titles: Vec<_> = same.map(|(.., title)| *title).collect();
        let mut response = json!({
            "description": titles.join(". "),
            "content": { problem::MEDIA_TYPE: { "schema": shape() } },
        });
        if let (Some(response), Trouble::Busy | Trouble::Unavailable) =
            (response.as_object_mut(), trouble)
        {
            let seconds = json!({ "Retry-After": { "schema": { "type": "integer" } } });
            response.insert("headers".to_owned(), seconds);
        }
        responses.insert(status.as_u16().to_string(), response);
    }
    responses.into()
}

/// Of a problem (RFC 9457).
fn shape() -> Value {
    json!({
        "type": "object",
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
        },
        "required": ["type", "title", "status", "detail"],
    })
}

fn reference(place: &str, name: &str) -> Value {
    json!({ "$ref": format!("#{place}/{name}") })
}
