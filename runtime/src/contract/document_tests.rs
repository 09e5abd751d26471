//! Files that are contracts, and files that are none.

use super::document::{Contract, EtagPolicy, Verb};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn read(text: &str) -> Result<Contract, String> {
    let document = serde_json::from_str(text).expect(text);
    let file = Path::new("crm.v2.json");
    Contract::read(document).map_err(|faults| {
        let faults = faults.of(file).into_iter();
        faults
            .map(|fault| fault.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn with_schema(schema: &Value) -> String {
    let entities = json!({ "customer": { "operations": ["upsert"], "schema": schema } });
    json!({ "name": "crm", "version": 2, "entities": entities }).to_string()
}

#[test]
fn a_contract_says_what_it_has() {
    let contract = read(
        r##"{
            "name": "crm", "version": 2, "description": "customers", "default": "customer",
            "entities": {
                "customer": {
                    "key": { "members": ["/id"], "schema": { "pattern": "^c-" } },
                    "etag": "required",
                    "operations": ["delete", "retrieve", "upsert"],
                    "schema": { "type": "object", "properties": { "home": { "$ref": "#/$defs/address" } } }
                },
                "note": { "operations": ["append"], "schema": true }
            },
            "$defs": { "address": { "type": "object" } },
            "x-owner": "sales"
        }"##,
    )
    .unwrap();
    assert_eq!((contract.name(), contract.version()), ("crm", 2));
    let (kind, customer) = contract.entity(None).unwrap();
    assert_eq!((kind, customer.etag), ("customer", EtagPolicy::Required));
    assert_eq!(
        customer.operations,
        [Verb::Retrieve, Verb::Upsert, Verb::Delete]
    );
    let (_, note) = contract.entity(Some("note")).unwrap();
    assert_eq!(note.etag, EtagPolicy::Optional);
    let none = contract.entity(Some("invoice")).unwrap_err();
    assert_eq!(
        none,
        "contract crm v2 has no entity `invoice`, only `customer`, `note`"
    );
}

#[test]
fn of_one_entity_no_name_is_needed_and_of_several_one_is() {
    let one = read(&with_schema(&json!(true))).unwrap();
    assert_eq!(one.entity(None).unwrap().0, "customer");
    let entity = json!({ "operations": [], "schema": true });
    let several = json!({ "name": "a", "version": 1, "entities": { "b": entity, "c": entity } });
    let fault = read(&several.to_string())
        .unwrap()
        .entity(None)
        .unwrap_err();
    assert!(fault.contains("one has to be named: `b`, `c`"), "{fault}");
}

/// Documents, and what is told of them.
const FAULTS: [(&str, &str); 18] = [
    ("[]", "crm.v2.json: a contract is a JSON object"),
    (
        r#"{"name":"a b","version":1}"#,
        "#/name: name the contract: letters",
    ),
    (
        r#"{"name":"a","version":0}"#,
        "#/version: write the major version",
    ),
    (
        r#"{"name":"a","version":1.5}"#,
        "#/version: write the major version",
    ),
    (
        r#"{"name":"a","version":1}"#,
        "#/entities: write at least one",
    ),
    (
        r#"{"name":"a","version":1,"entities":{}}"#,
        "#/entities: write at least one",
    ),
    (
        r#"{"nme":"a"}"#,
        "#/nme: `nme` means nothing here: write one of $schema, name",
    ),
    (
        r#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#,
        "#/$schema: contracts are JSON Schema 2020-12",
    ),
    (
        r#"{"entities":{"a":{"schema":true}}}"#,
        "#/entities/a/operations: say which there are",
    ),
    (
        r#"{"entities":{"a":{"operations":["upsert","updat"]}}}"#,
        "#/entities/a/operations/1: \"updat\" is no operation: write one of \"retrieve\"",
    ),
    (
        r#"{"entities":{"a":{"operations":["upsert","upsert"]}}}"#,
        "#/entities/a/operations/1: it is there twice",
    ),
    (
        r#"{"entities":{"a":{"operations":[]}}}"#,
        "#/entities/a/schema: say what the entity",
    ),
    (
        r#"{"entities":{"a":{"etag":"strong"}}}"#,
        "#/entities/a/etag: \"strong\" is no policy: write one of \"none\"",
    ),
    (
        r#"{"entities":{"a/b":{"keys":1}}}"#,
        "#/entities/a~1b/keys: `keys` means nothing here",
    ),
    (
        r#"{"entities":{"a":{"key":"/id"}}}"#,
        "#/entities/a/key: write an object",
    ),
    (
        r#"{"entities":{"a":{"key":{"members":["id"]}}}}"#,
        "#/entities/a/key/members/0: \"id\" is no JSON pointer",
    ),
    (
        r#"{"entities":{"a":{}},"default":"b"}"#,
        "#/default: \"b\" is none of `entities`",
    ),
    (
        r#"{"entities":{"a":{"key":{"schema":{"type":"strng"}}}}}"#,
        "#/entities/a/key/schema/type: it is no JSON Schema",
    ),
];

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_to_do() {
    for (text, expected) in FAULTS {
        let faults = read(text).unwrap_err();
        assert!(faults.contains(expected), "{text}: {faults}");
    }
}

#[test]
fn what_is_wrong_with_a_schema_is_told_with_its_place() {
    let cases = [
        (json!({"type": "strng"}), "/type: it is no JSON Schema"),
        (
            json!({"properties": {"a": {"minimum": "0"}}}),
            "/properties/a/minimum: it is no JSON",
        ),
        (
            json!({"propertys": {}}),
            "/propertys: `propertys` is no keyword of contracts",
        ),
        (
            json!({"nullable": true}),
            "/nullable: `nullable` is no keyword of contracts: write \"null\"",
        ),
        (
            json!({"definitions": {}}),
            "/definitions: `definitions` is no keyword of contracts: write `$defs`",
        ),
        (
            json!({"$id": "https://a"}),
            "/$id: `$id` is no keyword of contracts: a contract is one file",
        ),
        (
            json!({"items": {"$ref": "#/$defs/b"}}),
            "/items/$ref: \"#/$defs/b\" is no schema of this file",
        ),
        (
            json!({"$ref": "address.json"}),
            "/$ref: \"address.json\" is no schema of this file",
        ),
        (
            json!({"$ref": "#"}),
            "/$ref: \"#\" is no schema of this file",
        ),
        (json!({"$ref": "#/entities/customer/operations"}), "/$ref: "),
        (
            json!({"pattern": "(?=a)b"}),
            "/pattern: `(?=a)b` is no regular expression that takes linear",
        ),
        (
            json!({"patternProperties": {"(?!a)": {}}}),
            "/patternProperties/(?!a): ",
        ),
        (
            json!({"format": "emial"}),
            "/format: \"emial\" is no format that is checked",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            "/$schema: contracts are",
        ),
        (
            json!({"$ref": "#/entities/customer/schema"}),
            ": it says of itself",
        ),
        (
            json!({"anyOf": [{"type": "null"}, {"$ref": "#/entities/customer/schema"}]}),
            ": it says of itself",
        ),
    ];
    for (schema, expected) in cases {
        let faults = read(&with_schema(&schema)).unwrap_err();
        let expected = format!("#/entities/customer/schema{expected}");
        assert!(faults.contains(&expected), "{schema}: {faults}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = r#"{"name":"","version":1,"entities":{"a":{"etag":1,"operations":[2]}}}"#;
    let faults = read(text).unwrap_err();
    assert_eq!(faults.lines().count(), 4, "{faults}");
}

#[test]
fn a_file_that_is_no_json_is_told_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.v1.json");
    std::fs::write(&file, "{\n  \"name\": \"a\",\n}").unwrap();
    let faults = Contract::load(&file).unwrap_err();
    assert!(
        faults[0]
            .to_string()
            .contains("a.v1.json:3:1: it is not JSON"),
        "{faults:?}"
    );
    let faults = Contract::load(&folder.path().join("b.v1.json")).unwrap_err();
    assert!(
        faults[0]
            .to_string()
            .contains("b.v1.json: the contract cannot be read")
    );
}

const MANUAL: &str = include_str!("../../../docs/contracts.md");

#[test]
fn the_contract_of_the_manual_is_one_and_all_words_are_explained() {
    let (_, example) = MANUAL.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert_eq!(read(example).unwrap().to_string(), "contract crm v2");
    let members = super::document::MEMBERS.iter();
    for word in members.chain(&["operations", "schema", "etag", "append", "\"none\""]) {
        assert!(MANUAL.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn the_words_for_what_differs_are_those_of_the_manual() {
    let (_, table) = MANUAL.split_once("as its `change`:").unwrap();
    let documented: BTreeSet<&str> = table.split('`').skip(1).step_by(2).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/contract/compare");
    let mut text = String::new();
    for file in std::fs::read_dir(folder).unwrap() {
        text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let said = text.split('"').skip(1).step_by(2);
    let is_word = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let said: BTreeSet<&str> = said.filter(is_word).collect();
    let missing: Vec<_> = documented.difference(&said).collect();
    assert!(
        missing.is_empty(),
        "the manual has words that nothing says: {missing:?}"
    );
    let compound = said.iter().filter(|word| word.contains('-'));
    let missing: Vec<_> = compound
        .filter(|word| !documented.contains(*word))
        .collect();
    assert!(missing.is_empty(), "the manual lacks {missing:?}");
}

#[test]
fn the_contract_of_the_example_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let contract = Contract::load(&root.join("../examples/saas/contracts/crm.v1.json"));
    assert_eq!(contract.unwrap().to_string(), "contract crm v1");
}
