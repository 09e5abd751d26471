//! Entities of targets, listed page by page.

use crate::harness::{Postgres, TestEnv};
use async_nats::jetstream::kv;
use bytes::Bytes;
use futures::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use syncline::event::{KeyAlphabet, escape_key, unescape_key};
use syncline::target::{Listed, Page, Position, ReadError, Target, Targets, Wanted};
use syncline::telemetry::Metrics;

const BUCKET: &str = "[targets.t]\nkind = \"kv\"\nbucket = \"crm\"\n";

/// Keys that somebody has to escape, or that are alike until their last character.
const KEYS: [&str; 22] = [
    "a",
    "a.",
    ".a",
    "a.b",
    "a.bc",
    "a.b.c",
    "a..b",
    "a%",
    "a%b",
    "a_",
    "a_b",
    "a\\",
    "a\\b",
    "A",
    "ab",
    "B",
    "é",
    "éa",
    "it's \"x\"",
    "*",
    ">",
    "[1,2]",
];
const PREFIXES: [&str; 14] = [
    "", "a", "a.", "a.b", "a.b.", "a..", "a%", "a_", "a\\", "A", "é", "*", "it's", "none",
];

async fn targets(env: &TestEnv, config: &str) -> Targets {
    let config = env.parse(config);
    let opened = Targets::open(&env.js, &config.targets, &Metrics::new()).await;
    opened.unwrap_or_else(|errors| panic!("{errors:?}"))
}

async fn page(
    target: &Target,
    (entity, prefix): (Option<&str>, &str),
    after: Option<&Position>,
    limit: usize,
) -> Page {
    let wanted = Wanted {
        entity,
        prefix,
        after,
        limit,
    };
    target.list(&wanted).await.unwrap()
}

/// Every entity, in the order in which pages of `limit` have them.
async fn all(target: &Target, which: (Option<&str>, &str), limit: usize) -> Vec<Listed> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = page(target, which, after.as_ref(), limit).await;
        assert!(page.entities.len() <= limit);
        listed.extend(page.entities);
        match page.next {
            None => return listed,
            // Through a URL and back.
            Some(next) => {
                let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                assert!(next.as_str().bytes().all(is_safe), "{next}");
                after = Some(Position::new(next.as_str()));
            }
        }
    }
}

fn keys_of(listed: &[Listed]) -> BTreeSet<&str> {
    let keys: BTreeSet<_> = listed.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys.len(), listed.len(), "something came twice");
    keys
}

/// Each list that can be asked for has the keys that begin so, and what a read of them finds.
async fn check_prefixes(target: &Target, entity: Option<&str>) {
    for prefix in PREFIXES {
        let listed = all(target, (entity, prefix), 3).await;
        let expected = KEYS.into_iter().filter(|key| key.starts_with(prefix));
        assert_eq!(keys_of(&listed), expected.collect(), "{prefix}");
        for one in listed {
            assert_eq!(one.entity.as_deref(), entity);
            let found = target.read(entity, &one.key).await.unwrap();
            assert_eq!(found, Some(one.found), "{}", one.key);
        }
    }
}

/// Writes entries under keys that need no escaping.
async fn put(bucket: &kv::Store, entries: impl Iterator<Item = (String, Bytes)>) {
    let written = entries.map(|(key, value)| async move { bucket.put(key, value).await.unwrap() });
    futures::stream::iter(written)
        .buffer_unordered(64)
        .collect::<Vec<_>>()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_listed_by_kind_and_by_what_its_keys_begin_with() {
    let env = TestEnv::start().await;
    let bucket = env.bucket("crm").await;
    let alphabet = KeyAlphabet::BucketKey;
    for key in KEYS {
        let escaped = escape_key(key, alphabet);
        put(
            &bucket,
            std::iter::once((format!("c=2E.{escaped}"), key.to_owned().into())),
        )
        .await;
        bucket
            .put(format!("other.{escaped}"), "{}".into())
            .await
            .unwrap();
    }
    bucket.put("other.gone", "{}".into()).await.unwrap();
    bucket.delete("other.gone").await.unwrap();
    // Names that are nobody's: no key is written so.
    for foreign in ["other.a=b", "other.=61", "other.=2e"] {
        bucket.put(foreign, "{}".into()).await.unwrap();
    }
    let targets = targets(&env, &format!("{BUCKET}create = \"check\"")).await;
    let target = targets.get("t").unwrap();
    check_prefixes(target, Some("c.")).await;
    check_prefixes(target, Some("other")).await;
    assert_eq!(
        page(target, (Some("other"), ""), None, 100)
            .await
            .n_nameless,
        3
    );
    assert_eq!(
        page(target, (Some("none"), ""), None, 100).await,
        Page::default()
    );
    // Without a kind, what is before the key belongs to it, where both together are a key.
    let everything = all(target, (None, ""), 7).await;
    let names = KEYS.map(|key| format!("other.{}", escape_key(key, alphabet)));
    let whole = names.iter().filter_map(|name| {
        let key = unescape_key(name)?;
        (escape_key(&key, alphabet) == *name).then_some(key)
    });
    let whole: BTreeSet<String> = whole.collect();
    assert!(whole.len() > 10);
    let whole = whole.iter().map(String::as_str).collect();
    assert_eq!(keys_of(&everything), whole);
    assert!(keys_of(&everything).contains("other.a.b"));
    assert_eq!(keys_of(&all(target, (None, "other.a.b"), 7).await).len(), 3);
    for one in everything {
        assert_eq!(target.read(None, &one.key).await.unwrap(), Some(one.found));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_change_while_they_are_listed_come_again_and_the_others_once() {
    let env = TestEnv::start().await;
    let config = kv::Config {
        bucket: "crm".to_owned(),
        history: 5,
        ..Default::default()
    };
    let bucket = env.js.create_key_value(config).await.unwrap();
    const N: usize = 3_000;
    let named = |n: usize, value: &'static str| (format!("k-{n}"), Bytes::from(value));
    put(&bucket, (0..N).map(|n| named(n, "old"))).await;
    // Older values of some lie before everything else.
    put(&bucket, (0..100).map(|n| named(n, "first"))).await;
    for adopted in ["create = \"check\"", "create = false"] {
        let targets = targets(&env, &format!("{BUCKET}{adopted}")).await;
        let target = targets.get("t").unwrap();
        let mut listed: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
        let (mut after, mut n_pages) = (None, 0);
        loop {
            let page = page(target, (None, ""), after.as_ref(), 250).await;
            for one in page.entities {
                listed.entry(one.key).or_default().push(one.found.data);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            // Some that came, and some that are still to come.
            put(
                &bucket,
                (0..N).step_by(500).map(|n| named(n + n_pages, "new")),
            )
            .await;
            bucket
                .delete(format!("k-{}", N - 1 - n_pages))
                .await
                .unwrap();
            n_pages += 1;
        }
        assert!(n_pages >= N / 250, "{n_pages}");
        for n in 0..N {
            let key = format!("k-{n}");
            let now = bucket.get(&key).await.unwrap();
            let values = listed.remove(&key).unwrap_or_default();
            if let Some(now) = now {
                assert_eq!(values.last(), Some(&now), "{key}");
                assert!(values.len() == 1 || now == "new", "{key}: {values:?}");
            }
        }
        assert!(listed.is_empty(), "{listed:?}");
        put(&bucket, (0..N).map(|n| named(n, "old"))).await;
    }
    let stream = env.js.get_stream("KV_crm").await.unwrap();
    assert_eq!(stream.cached_info().state.consumer_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_ends_before_it_is_too_large_to_hold() {
    let env = TestEnv::start().await;
    let bucket = env.bucket("crm").await;
    let large = |n: usize| (format!("k-{n:02}"), Bytes::from(vec![b'x'; 900_000]));
    put(&bucket, (0..12).map(large)).await;
    let server = Postgres::start(0).await;
    server
        .sql("postgres", "CREATE TABLE t (id text PRIMARY KEY, data jsonb); \
            INSERT INTO t SELECT 'k-' || n, to_jsonb(repeat('x', 900000)) FROM generate_series(10, 21) n")
        .await;
    let url = server.url("postgres");
    let config = format!(
        "{BUCKET}create = \"check\"\n[targets.db]\nkind = \"postgres\"\nurl = \"{url}\"\ntable = \"t\"\n\
         key = \"id\"\ncreate = true"
    );
    let targets = targets(&env, &config).await;
    for name in ["t", "db"] {
        let target = targets.get(name).unwrap();
        let first = page(target, (None, ""), None, 100).await;
        assert_eq!(first.entities.len(), 5, "{name}");
        assert_eq!(
            keys_of(&all(target, (None, ""), 100).await).len(),
            12,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_listed_in_the_order_of_its_keys() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let url = server.url("postgres");
    let sql = async |text: String| server.sql("postgres", &text).await;
    let literal = |key: &str| format!("E'{}'", key.replace('\\', "\\\\").replace('\'', "''"));
    // An order of the alphabet, in which `a` and `A` are neighbours, for the names of one kind.
    sql(
        "CREATE COLLATION nearly (provider = icu, locale = 'und-u-ks-level2'); \
         CREATE TABLE one (id text COLLATE nearly PRIMARY KEY, data jsonb); \
         CREATE TABLE several (kind text, region text, id bigint, name text, \
           PRIMARY KEY (kind, region, id))"
            .to_owned(),
    )
    .await;
    for key in KEYS {
        sql(format!(
            "INSERT INTO one VALUES ({}, to_jsonb(1))",
            literal(key)
        ))
        .await;
    }
    sql(
        "INSERT INTO several SELECT 'kind' || n % 2, 'r\"' || n % 3, n, 'x' \
         FROM generate_series(1, 3000) n"
            .to_owned(),
    )
    .await;
    let target = |name: &str, lines: &str| {
        format!("[targets.{name}]\nkind = \"postgres\"\nurl = \"{url}\"\ncreate = true\n{lines}\n")
    };
    let config = [
        target("one", "table = \"one\"\nkey = \"id\""),
        target("several", "table = \"several\"\nkey = [\"region\", \"id\"]\nentity = \"kind\"\ncolumns = [\"name\"]"),
        target("records", "table = \"records\""),
    ]
    .concat();
    let targets = targets(&env, &config).await;
    check_prefixes(targets.get("one").unwrap(), None).await;
    let several = targets.get("several").unwrap();
    let everything = all(several, (None, ""), 250).await;
    assert_eq!(everything.len(), 3_000);
    for entity in ["kind0", "kind1"] {
        let listed = all(several, (Some(entity), ""), 250).await;
        assert_eq!(keys_of(&listed).len(), 1_500);
        let begins = all(several, (Some(entity), "[\"r\\\"1\","), 250).await;
        assert_eq!(begins.len(), 500);
        for one in begins.into_iter().step_by(100) {
            let found = several.read(Some(entity), &one.key).await.unwrap();
            assert_eq!(
                (one.entity.as_deref(), found),
                (Some(entity), Some(one.found))
            );
        }
    }
    // What comes behind the position comes, what was there stays, what goes is gone.
    let first = page(several, (Some("kind0"), ""), None, 100).await;
    sql("DELETE FROM several WHERE region = 'r\"1'; \
         INSERT INTO several VALUES ('kind0', 'r\"0', -1, 'x'), ('kind0', 'z', 1, 'x')"
        .to_owned())
    .await;
    let (mut after, mut keys) = (first.next, Vec::new());
    while let Some(position) = &after {
        let next = page(several, (Some("kind0"), ""), Some(position), 100).await;
        keys.extend(next.entities.into_iter().map(|one| one.key));
        after = next.next;
    }
    assert_eq!(keys.len(), 901);
    assert_eq!(keys.last().map(String::as_str), Some("[\"z\",1]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_listed_says_why() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    env.bucket("crm").await;
    let url = server.url("postgres");
    let config = format!(
        "{BUCKET}create = \"check\"\n[targets.s]\nkind = \"subject\"\nsubject = \"out.{{key}}\"\n\
         [targets.h]\nkind = \"http\"\nurl = \"http://127.0.0.1:9/{{key}}\"\ncreate = false\n\
         [targets.records]\nkind = \"postgres\"\nurl = \"{url}\"\ntable = \"records\"\ncreate = true\n\
         [targets.rows]\nkind = \"postgres\"\nurl = \"{url}\"\ntable = \"rows\"\nkey = \"id\"\ncreate = true\n"
    );
    let targets = targets(&env, &config).await;
    let elsewhere = Position::new("kraut!");
    let cases = [
        ("s", None, None, "holds no entities"),
        ("h", None, None, "nothing says where its module lists"),
        ("records", None, None, "has no `key`"),
        ("rows", Some("customer"), None, "no column for `customer`"),
        ("rows", None, Some(&elsewhere), "`kraut!` is no position"),
        ("t", None, Some(&elsewhere), "`kraut!` is no position"),
    ];
    for (name, entity, after, expected) in cases {
        let wanted = Wanted {
            entity,
            prefix: "",
            after,
            limit: 10,
        };
        match targets.get(name).unwrap().list(&wanted).await {
            Err(ReadError::Invalid(fault)) => assert!(fault.contains(expected), "{name}: {fault}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
