//! The keywords of JSON Schema 2020-12, which of them hold schemas, and what is wrong with a schema
//! as part of a contract.

use super::fault::Faults;
use super::pointer::{join, to_fragment};
use jsonschema::{Draft, PatternOptions, ValidationOptions, Validator};
use serde_json::{Map, Value, json};

/// The dialect of contracts.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What stands at a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A schema.
    Schema,
    /// A list of schemas.
    List,
    /// Schemas by name.
    Named,
    /// Something else.
    Other,
    /// Something else that asserts nothing.
    Note,
}

use Holds::{List, Named, Note, Other, Schema};

/// Every keyword that a contract may use. What is not here is a slip of the pen, or cannot be
/// compared.
const KEYWORDS: [(&str, Holds); 52] = [
    ("$ref", Other),
    ("$defs", Named),
    ("allOf", List),
    ("anyOf", List),
    ("oneOf", List),
    ("not", Schema),
    ("if", Schema),
    ("then", Schema),
    ("else", Schema),
    ("type", Other),
    ("enum", Other),
    ("const", Other),
    ("multipleOf", Other),
    ("minimum", Other),
    ("maximum", Other),
    ("exclusiveMinimum", Other),
    ("exclusiveMaximum", Other),
    ("minLength", Other),
    ("maxLength", Other),
    ("pattern", Other),
    ("format", Other),
    ("contentEncoding", Other),
    ("contentMediaType", Other),
    ("contentSchema", Schema),
    ("prefixItems", List),
    ("items", Schema),
    ("contains", Schema),
    ("minContains", Other),
    ("maxContains", Other),
    ("minItems", Other),
    ("maxItems", Other),
    ("uniqueItems", Other),
    ("unevaluatedItems", Schema),
    ("properties", Named),
    ("patternProperties", Named),
    ("additionalProperties", Schema),
    ("unevaluatedProperties", Schema),
    ("propertyNames", Schema),
    ("required", Other),
    ("minProperties", Other),
    ("maxProperties", Other),
    ("dependentRequired", Other),
    ("dependentSchemas", Named),
    ("$schema", Note),
    ("$comment", Note),
    ("title", Note),
    ("description", Note),
    ("default", Note),
    ("examples", Note),
    ("deprecated", Note),
    ("readOnly", Note),
    ("writeOnly", Note),
];

/// What stands at `keyword`; none: it is not known. Names that begin with `x-` are free.
pub(super) fn holds(keyword: &str) -> Option<Holds> {
    if keyword.starts_with("x-") {
        return Some(Note);
    }
    let known = KEYWORDS.iter().find(|(name, _)| *name == keyword);
    known.map(|(_, holds)| *holds)
}

/// The schemas right within `schema`, each with its keyword and pointer.
pub(super) fn within<'a>(schema: &'a Value, at: &str) -> Vec<(&'a str, String, &'a Value)> {
    let mut found = Vec::new();
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let here = join(at, keyword);
        match (holds(keyword), value) {
            (Some(Schema), _) => found.push((keyword.as_str(), here, value)),
            (Some(List), Value::Array(items)) => {
                let items = items.iter().enumerate();
                found.extend(
                    items.map(|(n, item)| (keyword.as_str(), join(&here, &n.to_string()), item)),
                );
            }
            (Some(Named), Value::Object(named)) => {
                let named = named.iter();
                found.extend(named.map(|(name, item)| (keyword.as_str(), join(&here, name), item)));
            }
            _ => {}
        }
    }
    found
}

/// How schemas of contracts are compiled: formats are promises, patterns take linear time, and
/// nothing is fetched.
pub(super) fn options() -> ValidationOptions<'static> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .offline()
}

/// The schema at `pointer` of `document`, compiled.
pub(super) fn compile(document: &Value, pointer: &str, faults: &mut Faults) -> Option<Validator> {
    let mut whole = document.clone();
    let root = whole.as_object_mut()?;
    root.insert("$schema".to_owned(), json!(DIALECT));
    root.insert("$ref".to_owned(), json!(to_fragment(pointer)));
    match options().build(&whole) {
        Ok(validator) => Some(validator),
        Err(error) => {
            faults.note(pointer, format!("it cannot be used: {error}"));
            None
        }
    }
}

/// Notes what is wrong with the schema at `at` and those within it, and their places in `schemas`.
pub(super) fn survey(schema: &Value, at: &str, faults: &mut Faults, schemas: &mut Vec<String>) {
    if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
        let place = format!("{at}{}", error.instance_path());
        faults.note(&place, format!("it is no JSON Schema: {error}"));
        return;
    }
    look(schema, at, faults);
    let mut open = vec![(at.to_owned(), schema)];
    while let Some((at, schema)) = open.pop() {
        for (_, at, inner) in within(schema, &at) {
            look(inner, &at, faults);
            open.push((at, inner));
        }
        schemas.push(at);
    }
}

/// Notes what is wrong with one schema, whose shape is right.
fn look(schema: &Value, at: &str, faults: &mut Faults) {
    let Some(schema) = schema.as_object() else {
        return;
    };
    for keyword in schema.keys().filter(|name| holds(name).is_none()) {
        faults.note(&join(at, keyword), unknown(keyword));
    }
    let dialect = schema.get("$schema").filter(|said| **said != DIALECT);
    if dialect.is_some() {
        let fault = format!("contracts are JSON Schema 2020-12: write \"{DIALECT}\" or nothing");
        faults.note(&join(at, "$schema"), fault);
    }
    let sound = |rule: Value| options().build(&rule).is_ok();
    for (place, pattern) in patterns(schema, at) {
        if !sound(json!({ "pattern": pattern })) {
            let fault = format!(
                "`{pattern}` is no regular expression that takes linear time: write it without \
                 look-around and back-references"
            );
            faults.note(&place, fault);
        }
    }
    if let Some(format) = schema.get("format")
        && !sound(json!({ "format": format }))
    {
        let fault = format!(
            "{format} is no format that is checked: write one of JSON Schema 2020-12, or a `pattern`"
        );
        faults.note(&join(at, "format"), fault);
    }
}

fn patterns<'a>(schema: &'a Map<String, Value>, at: &str) -> Vec<(String, &'a str)> {
    let mut found = Vec::new();
    if let Some(Value::String(pattern)) = schema.get("pattern") {
        found.push((join(at, "pattern"), pattern.as_str()));
    }
    if let Some(Value::Object(named)) = schema.get("patternProperties") {
        let at = join(at, "patternProperties");
        found.extend(named.keys().map(|name| (join(&at, name), name.as_str())));
    }
    found
}

/// What to do about a keyword that is not known.
fn unknown(keyword: &str) -> String {
    let advice = match keyword {
        "definitions" => "write `$defs`",
        "dependencies" => "write `dependentRequired` or `dependentSchemas`",
        "additionalItems" => "write `prefixItems` and `items`",
        "nullable" => "write \"null\" among the types",
        "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" => {
            "a contract is one file, and a `$ref` in it a JSON pointer, as in \"#/$defs/address\""
        }
        _ => "correct it, or begin it with `x-` where it means nothing here",
    };
    format!("`{keyword}` is no keyword of contracts: {advice}")
}
