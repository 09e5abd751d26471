//! The description of the API as an OpenAPI 3.1 document, made of the contracts.

use super::answer::Modules;
use super::batch::MOST;
use super::path::{TRANSACTIONS, UNNAMED};
use super::problem::{self, ALL, Trouble};
use super::transaction;
use super::version::deprecate;
use crate::contract::{Contract, Entity, EtagPolicy, Verb};
use crate::target::LARGEST_PAGE;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// What is done to one entity, and by which method.
const METHODS: [(Verb, &str); 5] = [
    (Verb::Retrieve, "get"),
    (Verb::Retrieve, "head"),
    (Verb::Upsert, "put"),
    (Verb::Merge, "patch"),
    (Verb::Delete, "delete"),
];
/// The problems that a change may meet.
const CHANGE_PROBLEMS: [u16; 13] = [
    400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 428, 503, 504,
];
/// Where parameters stand in the document.
const PARAMETERS: &str = "/components/parameters";
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
pub(super) fn document(modules: &Modules, permitted: impl Fn(&str, Verb) -> bool) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    let mut may_change = false;
    for (target, contract, retirement) in modules.all() {
        let permits = |verb: Verb| permitted(target, verb);
        if !Verb::ALL.into_iter().any(permits) {
            continue;
        }
        may_change |= Verb::ALL
            .into_iter()
            .any(|verb| verb != Verb::Retrieve && permits(verb));
        let prefix = format!("{target}.v{}", contract.version());
        schemas.extend(contract.schemas(SCHEMAS, &prefix));
        let mut served = Map::new();
        add_paths(&mut served, (target, contract, &prefix), permits);
        if retirement.deprecated.is_some() || retirement.sunset.is_some() {
            served.values_mut().for_each(deprecate);
        }
        paths.extend(served);
    }
    if may_change {
        paths.insert(TRANSACTIONS.to_owned(), json!({ "post": transactions() }));
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
            "securitySchemes": { "token": security() },
            "schemas": schemas,
            "parameters": parameters(),
            "responses": responses(),
        },
    })
}

/// A kind of entity as the document needs it.
struct Described<'a> {
    entity: &'a Entity,
    /// What it looks like.
    schema: Value,
    /// What operations are called after.
    name: String,
}

fn add_paths(
    paths: &mut Map<String, Value>,
    (target, contract, prefix): (&str, &Contract, &str),
    permits: impl Fn(Verb) -> bool,
) {
    let unnamed = contract
        .entity(None)
        .ok()
        .map(|(kind, entity)| (UNNAMED.to_owned(), kind, entity));
    let named = contract
        .entities()
        .map(|(kind, entity)| (segment(kind), kind, entity));
    for (segment, kind, entity) in named.chain(unnamed) {
        let serves = |verb: Verb| permits(verb) && entity.forbids(verb).is_none();
        let base = format!("/v{}/{target}/{segment}", contract.version());
        let described = Described {
            entity,
            schema: reference(SCHEMAS, &Contract::name_of_entity(prefix, kind)),
            name: format!("{prefix}.{segment}"),
        };
        let mut one = Map::new();
        for (verb, method) in METHODS {
            if serves(verb) {
                one.insert(method.to_owned(), described.operation(verb, method));
            }
        }
        if !one.is_empty() {
            one.insert(
                "parameters".to_owned(),
                json!([key_of(contract, kind, prefix)]),
            );
            paths.insert(format!("{base}/{{key}}"), one.into());
        }
        if serves(Verb::Retrieve) {
            let several = json!({ "post": described.several() });
            paths.insert(format!("{base}:retrieve"), several);
        }
        let mut all = Map::new();
        if serves(Verb::Retrieve) {
            all.insert("get".to_owned(), described.list("list"));
            all.insert("head".to_owned(), described.list("head-list"));
        }
        if serves(Verb::Append) {
            let append = described.operation(Verb::Append, "post");
            all.insert("post".to_owned(), append);
        }
        if !all.is_empty() {
            paths.insert(base, all.into());
        }
    }
}

/// A kind of entity in a path. What stands for none is written otherwise.
pub(super) fn segment(kind: &str) -> String {
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

impl Described<'_> {
    fn operation(&self, verb: Verb, method: &str) -> Value {
        match verb {
            Verb::Retrieve => self.retrieve(method),
            _ => self.change(verb),
        }
    }

    /// A response with the entity's etag, where it has any.
    fn response(&self, description: &str) -> Value {
        let headers = match self.entity.etag {
            EtagPolicy::None => json!({}),
            _ => json!({ "ETag": { "schema": { "type": "string" } } }),
        };
        json!({ "description": description, "headers": headers })
    }

    fn with_entity(&self, mut response: Value) -> Value {
        // What a mask leaves of an entity need not keep to its schema.
        let content = json!({ "application/json": { "schema": { "anyOf": [self.schema, true] } }, "*/*": {} });
        if let Some(response) = response.as_object_mut() {
            response.insert("content".to_owned(), content);
        }
        response
    }

    fn retrieve(&self, method: &str) -> Value {
        let mut responses = problems(&[400, 401, 403, 404, 422, 503]);
        let found = match method {
            "get" => self.with_entity(self.response("The entity.")),
            _ => self.response("The entity."),
        };
        responses.insert("200".to_owned(), found);
        responses.insert(
            "304".to_owned(),
            self.response("It is what If-None-Match names."),
        );
        let id = if method == "get" { "retrieve" } else { "head" };
        json!({
            "operationId": format!("{id}.{}", self.name),
            "parameters": [
                reference(PARAMETERS, "fields"),
                reference(PARAMETERS, "if-none-match"),
            ],
            "responses": responses,
        })
    }

    fn change(&self, verb: Verb) -> Value {
        let mut responses = problems(&CHANGE_PROBLEMS);
        responses.insert("204".to_owned(), self.response("It holds."));
        match verb {
            Verb::Upsert => {
                let created = self.response("It holds, and there was none before.");
                responses.insert("201".to_owned(), created);
            }
            Verb::Merge => {
                let merged = self.with_entity(self.response("The entity as it is now."));
                responses.insert("200".to_owned(), merged);
            }
            _ => {}
        }
        let mut parameters = vec![reference(PARAMETERS, "idempotency-key")];
        if verb != Verb::Append {
            parameters.push(reference(PARAMETERS, "if-match"));
            parameters.push(reference(PARAMETERS, "if-none-match"));
        }
        let mut operation = Map::new();
        let id = format!("{}.{}", verb.as_str(), self.name);
        operation.insert("operationId".to_owned(), id.into());
        operation.insert("parameters".to_owned(), parameters.into());
        operation.insert("responses".to_owned(), responses.into());
        let content = match verb {
            Verb::Delete => return operation.into(),
            Verb::Merge => {
                json!({ "application/merge-patch+json": { "schema": { "type": "object" } } })
            }
            _ => json!({ "application/json": { "schema": self.schema } }),
        };
        let body = json!({ "required": true, "content": content });
        operation.insert("requestBody".to_owned(), body);
        operation.into()
    }

    fn list(&self, word: &str) -> Value {
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
                            "entity": { "anyOf": [self.schema, true] },
                        },
                        "required": ["key"],
                    },
                },
                "next": { "type": "string" },
            },
            "required": ["entities"],
        });
        let mut responses = problems(&[400, 401, 403, 404, 422, 503]);
        let mut page = json!({
            "description": "Some of the entities.",
            "headers": { "Link": { "schema": { "type": "string" } } },
        });
        if let (Some(page), "list") = (page.as_object_mut(), word) {
            let content = json!({ "application/json": { "schema": told } });
            page.insert("content".to_owned(), content);
        }
        responses.insert("200".to_owned(), page);
        let parameters = ["prefix", "limit", "cursor", "fields"];
        json!({
            "operationId": format!("{word}.{}", self.name),
            "parameters": parameters.map(|name| reference(PARAMETERS, name)),
            "responses": responses,
        })
    }

    fn several(&self) -> Value {
        let asked = json!({
            "type": "object",
            "properties": {
                "keys": {
                    "type": "array",
                    "items": { "type": "string", "minLength": 1 },
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
                            "entity": { "anyOf": [self.schema, true] },
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
            "operationId": format!("retrieve-several.{}", self.name),
            "parameters": [reference(PARAMETERS, "fields")],
            "requestBody": { "required": true, "content": { "application/json": { "schema": asked } } },
            "responses": responses,
        })
    }
}

fn security() -> Value {
    json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token that the configuration knows, or a JWT of the issuer that it names.",
    })
}

/// Several changes at once.
fn transactions() -> Value {
    let text = json!({ "type": "string" });
    let effect = json!({
        "type": "object",
        "properties": {
            "target": text,
            "version": { "type": "integer", "minimum": 1 },
            "entity": { "type": ["string", "null"] },
            "operation": { "enum": ["upsert", "merge", "delete", "append"] },
            "key": text,
            "payload": true,
            "if_match": text,
            "if_none_match": text,
        },
        "required": ["target", "version", "operation"],
        "additionalProperties": false,
    });
    let effects = json!({
        "type": "array",
        "items": effect,
        "minItems": 1,
        "maxItems": transaction::MOST,
    });
    let asked = json!({
        "type": "object",
        "properties": { "effects": effects },
        "required": ["effects"],
        "additionalProperties": false,
    });
    let told = json!({
        "type": "object",
        "properties": { "effects": { "type": "array", "items": { "type": "object" } } },
        "required": ["effects"],
    });
    let mut responses = problems(&CHANGE_PROBLEMS);
    // A change in it may be one that the contract does not allow.
    responses.extend(problems(&[405]));
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "All of it holds.",
            "content": { "application/json": { "schema": told } },
        }),
    );
    json!({
        "operationId": "transact",
        "parameters": [reference(PARAMETERS, "idempotency-key")],
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
    // Whatever is asked may be asked too often.
    statuses.iter().chain(&[429]).map(of).collect()
}

fn parameters() -> Value {
    json!({
        "fields": {
            "name": "fields",
            "in": "query",
            "description": "The members to return, as in id,address/city.",
            "schema": { "type": "string", "minLength": 1 },
        },
        "prefix": {
            "name": "prefix",
            "in": "query",
            "description": "What the keys begin with.",
            "schema": { "type": "string" },
        },
        "limit": {
            "name": "limit",
            "in": "query",
            "schema": { "type": "integer", "minimum": 1, "maximum": LARGEST_PAGE },
        },
        "cursor": {
            "name": "cursor",
            "in": "query",
            "description": "Where to go on: `next` of the page before.",
            "schema": { "type": "string" },
        },
        "if-match": {
            "name": "If-Match",
            "in": "header",
            "description": "The ETag of the version that the change rests on, or *.",
            "schema": { "type": "string" },
        },
        "if-none-match": {
            "name": "If-None-Match",
            "in": "header",
            "schema": { "type": "string" },
        },
        "idempotency-key": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "What the request is known by: sent again, it changes nothing more.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
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
        let is_passing = matches!(
            trouble,
            Trouble::RateLimited | Trouble::Busy | Trouble::Unavailable | Trouble::UnknownOutcome
        );
        if let (Some(response), true) = (response.as_object_mut(), is_passing) {
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
