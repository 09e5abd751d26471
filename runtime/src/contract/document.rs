//! The file of a contract: read, checked, its schemas compiled.

use super::fault::{ContractError, Faults};
use super::key::Key;
use super::patch;
use super::pointer::join;
use super::references;
use super::schema::{DIALECT, compile, survey};
use crate::event::Operation;
use jsonschema::Validator;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What the file as a whole may have.
pub(super) const MEMBERS: [&str; 8] = [
    "$schema",
    "name",
    "version",
    "title",
    "description",
    "default",
    "entities",
    "$defs",
];
/// What an entity may have.
const MEMBERS_OF_ENTITY: [&str; 6] = [
    "title",
    "description",
    "key",
    "etag",
    "operations",
    "schema",
];

/// A versioned promise of a target module.
pub struct Contract {
    name: String,
    version: u32,
    default: Option<String>,
    entities: BTreeMap<String, Entity>,
    document: Value,
}

/// One kind of entity.
#[derive(Debug)]
pub struct Entity {
    /// What may be done with it.
    pub operations: Vec<Verb>,
    /// How its etags are used.
    pub etag: EtagPolicy,
    pub(super) key: Key,
    /// Of whole entities.
    pub(super) whole: Validator,
    /// Of patches.
    pub(super) patch: Validator,
}

/// What can be done with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read it.
    Retrieve,
    /// Create or replace it.
    Upsert,
    /// Merge into it.
    Merge,
    /// Remove it.
    Delete,
    /// Add a record.
    Append,
}

/// How the etags of an entity are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagPolicy {
    /// There are none: no effect may name one.
    None,
    /// Who names one is kept to it.
    Optional,
    /// Who changes an entity says which version of it was seen, or that there was none.
    Required,
}

/// The words of `operations`.
const VERBS: [(&str, Verb); 5] = [
    ("retrieve", Verb::Retrieve),
    ("upsert", Verb::Upsert),
    ("merge", Verb::Merge),
    ("delete", Verb::Delete),
    ("append", Verb::Append),
];

/// The words of `etag`.
const POLICIES: [(&str, EtagPolicy); 3] = [
    ("none", EtagPolicy::None),
    ("optional", EtagPolicy::Optional),
    ("required", EtagPolicy::Required),
];

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Retrieve,
        Self::Upsert,
        Self::Merge,
        Self::Delete,
        Self::Append,
    ];

    /// Its name in contracts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(&VERBS, self)
    }

    /// The verb of this name.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        let found = VERBS.iter().find(|(known, _)| *known == word);
        found.map(|(_, verb)| *verb)
    }

    /// What an effect does.
    #[must_use]
    pub fn of(operation: Operation) -> Self {
        match operation {
            Operation::Upsert => Self::Upsert,
            Operation::Merge => Self::Merge,
            Operation::Delete => Self::Delete,
            Operation::Append => Self::Append,
        }
    }
}

impl EtagPolicy {
    /// Its name in contracts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(&POLICIES, self)
    }
}

fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| *word)
}

impl Contract {
    /// The contract in `file`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: &Path) -> Result<Self, Vec<ContractError>> {
        let error = |place: String, fault: String| ContractError {
            file: file.to_owned(),
            place,
            fault,
        };
        let text = std::fs::read_to_string(file).map_err(|cause| {
            let fault = format!("the contract cannot be read: {cause}");
            vec![error(String::new(), fault)]
        })?;
        let document: Value = serde_json::from_str(&text).map_err(|cause| {
            let place = format!(":{}:{}", cause.line(), cause.column());
            vec![error(place, format!("it is not JSON: {cause}"))]
        })?;
        Self::read(document).map_err(|faults| faults.of(file))
    }

    /// The contract that a document holds, which is sound.
    #[cfg(test)]
    pub(crate) fn of_test(document: Value) -> Self {
        Self::read(document).unwrap()
    }

    /// The contract that a document holds.
    pub(super) fn read(document: Value) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let (name, version) = read_head(&document, &mut faults);
        check_schemas(&document, &mut faults);
        let mut entities = BTreeMap::new();
        let kinds = document.get("entities").and_then(Value::as_object);
        for kind in kinds.into_iter().flatten().map(|(kind, _)| kind) {
            if let Some(entity) = read_entity(&document, kind, &mut faults) {
                entities.insert(kind.clone(), entity);
            }
        }
        let default = read_default(&document, &mut faults);
        match faults.is_empty() {
            false => Err(faults),
            true => Ok(Self {
                name,
                version,
                default,
                entities,
                document,
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its major version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The kinds of entity.
    pub fn entities(&self) -> impl Iterator<Item = (&str, &Entity)> {
        self.entities
            .iter()
            .map(|(kind, entity)| (kind.as_str(), entity))
    }

    /// The kind of entity that `named` means: where it names none, the default one.
    ///
    /// # Errors
    /// What it has instead.
    pub fn entity(&self, named: Option<&str>) -> Result<(&str, &Entity), String> {
        let kind = named.or(self.default.as_deref());
        let found = kind.and_then(|kind| self.entities.get_key_value(kind));
        if let Some((kind, entity)) = found {
            return Ok((kind, entity));
        }
        let known: Vec<_> = self
            .entities
            .keys()
            .map(|kind| format!("`{kind}`"))
            .collect();
        let known = known.join(", ");
        Err(match kind {
            Some(kind) => format!(
                "{self} has no entity `{}`, only {known}",
                kind.escape_debug()
            ),
            None => format!("{self} has several entities, so that one has to be named: {known}"),
        })
    }

    pub(super) fn default(&self) -> Option<&str> {
        self.default.as_deref()
    }

    pub(super) fn document(&self) -> &Value {
        &self.document
    }
}

/// As messages name it.
impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract {} v{}", self.name, self.version)
    }
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contract({} v{})", self.name, self.version)
    }
}

/// The same document is the same contract.
impl PartialEq for Contract {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

impl Eq for Contract {}

fn read_head(document: &Value, faults: &mut Faults) -> (String, u32) {
    let Some(table) = document.as_object() else {
        faults.note(
            "",
            "a contract is a JSON object with `name`, `version` and `entities`",
        );
        return (String::new(), 0);
    };
    refuse_others(table, "", &MEMBERS, faults);
    if table.get("$schema").is_some_and(|said| *said != DIALECT) {
        let fault = format!("contracts are JSON Schema 2020-12: write \"{DIALECT}\" or nothing");
        faults.note("/$schema", fault);
    }
    let name = table
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        faults.note("/name", "name the contract: letters, digits, `_` and `-`");
    }
    let version = table.get("version").and_then(Value::as_u64);
    let version = version.and_then(|version| u32::try_from(version).ok());
    let version = version.unwrap_or_default();
    if version == 0 {
        faults.note("/version", "write the major version, a whole number from 1");
    }
    let entities = table.get("entities").and_then(Value::as_object);
    if entities.is_none_or(Map::is_empty) {
        faults.note("/entities", "write at least one: { \"customer\": { .. } }");
    }
    if table.get("$defs").is_some_and(|defs| !defs.is_object()) {
        faults.note("/$defs", "write an object: schemas by name");
    }
    (name.to_owned(), version)
}

fn refuse_others(table: &Map<String, Value>, at: &str, known: &[&str], faults: &mut Faults) {
    let others = table.keys().filter(|name| !known.contains(&name.as_str()));
    for name in others.filter(|name| !name.starts_with("x-")) {
        let fault = format!(
            "`{name}` means nothing here: write one of {}, or begin it with `x-`",
            known.join(", ")
        );
        faults.note(&join(at, name), fault);
    }
}

/// Surveys every schema of the document.
fn check_schemas(document: &Value, faults: &mut Faults) {
    let mut schemas = Vec::new();
    let named = |name: &str| document.get(name).and_then(Value::as_object);
    for (name, schema) in named("$defs").into_iter().flatten() {
        survey(schema, &join("/$defs", name), faults, &mut schemas);
    }
    for (kind, entity) in named("entities").into_iter().flatten() {
        let at = join("/entities", kind);
        Key::survey(document, &join(&at, "key"), faults, &mut schemas);
        if let Some(schema) = entity.get("schema") {
            survey(schema, &join(&at, "schema"), faults, &mut schemas);
        }
    }
    references::check(document, &schemas, faults);
}

fn read_entity(document: &Value, kind: &str, faults: &mut Faults) -> Option<Entity> {
    let at = join("/entities", kind);
    let Some(table) = document.pointer(&at).and_then(Value::as_object) else {
        faults.note(&at, "write an object with `operations` and `schema`");
        return None;
    };
    refuse_others(table, &at, &MEMBERS_OF_ENTITY, faults);
    let operations = read_operations(table, &join(&at, "operations"), faults);
    let etag = read_etag(table, &join(&at, "etag"), faults);
    let key = Key::read(document, &join(&at, "key"), faults);
    let place = join(&at, "schema");
    if !table.contains_key("schema") {
        faults.note(
            &place,
            "say what the entity looks like; `true` allows anything",
        );
    }
    if !faults.is_empty() {
        return None;
    }
    let patches = patch::add_patches(document, &place);
    Some(Entity {
        operations,
        etag,
        key,
        whole: compile(document, &place, faults)?,
        patch: compile(&patches, &patch::place_of(&place), faults)?,
    })
}

fn read_operations(table: &Map<String, Value>, at: &str, faults: &mut Faults) -> Vec<Verb> {
    let known = VERBS.map(|(word, _)| format!("\"{word}\"")).join(", ");
    let Some(items) = table.get("operations").and_then(Value::as_array) else {
        faults.note(at, format!("say which there are, a list out of {known}"));
        return Vec::new();
    };
    let mut verbs = Vec::new();
    for (n, item) in items.iter().enumerate() {
        match VERBS.iter().find(|(word, _)| item == word) {
            Some((_, verb)) if !verbs.contains(verb) => verbs.push(*verb),
            Some(_) => faults.note(&join(at, &n.to_string()), "it is there twice: remove one"),
            None => {
                let fault = format!("{item} is no operation: write one of {known}");
                faults.note(&join(at, &n.to_string()), fault);
            }
        }
    }
    verbs.sort_unstable();
    verbs
}

fn read_etag(table: &Map<String, Value>, at: &str, faults: &mut Faults) -> EtagPolicy {
    let Some(said) = table.get("etag") else {
        return EtagPolicy::Optional;
    };
    let found = POLICIES.iter().find(|(word, _)| said == word);
    if found.is_none() {
        let known = POLICIES.map(|(word, _)| format!("\"{word}\"")).join(", ");
        faults.note(at, format!("{said} is no policy: write one of {known}"));
    }
    found.map_or(EtagPolicy::Optional, |(_, policy)| *policy)
}

/// The kind of entity that is meant where none is named: the only one, or the one that is said.
fn read_default(document: &Value, faults: &mut Faults) -> Option<String> {
    let kinds = document.get("entities").and_then(Value::as_object)?;
    match document.get("default") {
        None if kinds.len() == 1 => kinds.keys().next().cloned(),
        None => None,
        Some(Value::String(kind)) if kinds.contains_key(kind) => Some(kind.clone()),
        Some(other) => {
            faults.note(
                "/default",
                format!("{other} is none of `entities`: name one"),
            );
            None
        }
    }
}
