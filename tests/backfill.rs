//! `syncline backfill`: what a module holds, handed to one pipeline as events.

use crate::cli::command::{Said, command};
use crate::cli::in_dir;
use crate::harness::{Ce, PARTS, TestEnv, check_law, eventually, guests};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use time::format_description::well_known::Rfc3339;

/// A module, and two pipelines on one source: only one of them is filled.
const CONFIG: &str = r#"
[targets.a]
kind = "kv"
bucket = "a"
create = true

[targets.out]
kind = "subject"
subject = "out.{key}"
stream = "OUT"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
to = [{ target = "out" }]

[pipelines.q]
source = { stream = "SRC", subjects = ["src.>"], create = true }
to = [{ target = "search" }]
"#;

fn text() -> String {
    [PARTS, CONFIG].concat()
}

/// Makes `n` entities, and the file that commands read.
async fn ready(env: &TestEnv, config: &str, n: usize) {
    std::fs::write(env.folder().join("syncline.toml"), env.text(config)).unwrap();
    let bucket = env.bucket("a").await;
    for n in 0..n {
        let entity = json!({"n": n});
        bucket
            .put(format!("k-{n}"), entity.to_string().into())
            .await
            .unwrap();
    }
}

/// `syncline backfill ARGS`, beside the test.
async fn backfill(env: &TestEnv, args: &str) -> Said {
    let folder = env.folder().to_owned();
    let args = format!("backfill {args}");
    let run = move || in_dir(&folder, &args.split(' ').collect::<Vec<_>>(), "");
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn fine(env: &TestEnv, args: &str) -> Value {
    let said = backfill(env, &format!("{args} --json")).await;
    assert_eq!(said.stderr, "", "{said:?}");
    serde_json::from_str(&said.fine()).unwrap()
}

/// How often each entity has come out.
async fn came_out(env: &TestEnv) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for message in env.messages("OUT").await {
        *times.entry(message.json()["n"].to_string()).or_default() += 1;
    }
    times
}

async fn check_each_came(env: &TestEnv, n_entities: usize, times: usize) {
    let came = came_out(env).await;
    assert_eq!(came.len(), n_entities);
    let others: Vec<_> = came.iter().filter(|(_, n)| **n != times).collect();
    assert!(others.is_empty(), "not {times} times: {others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_module_holds_comes_out_of_one_pipeline_once() {
    const N: usize = 1_000;
    let env = TestEnv::start().await;
    ready(&env, &text(), N).await;
    let runtime = env.run(&text()).await;
    let filled = fine(&env, "p --from a").await;
    assert_eq!(
        (filled["events"].as_u64(), filled["handed"].as_u64()),
        (Some(1_000), Some(1_000))
    );
    check_each_came(&env, N, 1).await;
    // It was handled before the command ended, and what was handed over is forgotten.
    let counts = runtime.counts("p");
    assert_eq!(
        (counts.received, counts.done, counts.in_flight),
        (1_000, 1_000, 0)
    );
    assert_eq!(env.n_messages("SYNCLINE_DLQ").await, 1);
    assert_eq!(runtime.counts("q").received, 0);
    assert_eq!(env.n_messages("SRC").await, 0);
    // The same again is done, and anew everything comes again.
    assert_eq!(fine(&env, "p --from a").await["before"], json!(true));
    check_each_came(&env, N, 1).await;
    fine(&env, "p --from a --restart").await;
    check_each_came(&env, N, 2).await;
    // Another wish is another run.
    fine(&env, "p --from a --type a.other").await;
    check_each_came(&env, N, 3).await;
    check_law(&runtime.drain().await);
}

/// A `syncline backfill` that can be killed.
fn begin(env: &TestEnv, args: &str) -> Child {
    let args = format!("backfill {args}");
    let mut command = command(env.folder(), args.split(' '));
    command
        .envs(guests::all())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_is_killed_again_and_again_misses_nothing_and_repeats_nothing() {
    const N: usize = 2_500;
    let env = TestEnv::start().await;
    ready(&env, &text(), N).await;
    let mut runtime = env.spawn(&text()).await;
    for round in 1..=6 {
        // Slow at first, so that it is killed between pages; then as fast as it goes.
        let rate = if round < 4 { " --rate 2000" } else { "" };
        let mut child = begin(&env, &format!("p --from a{rate}"));
        eventually("some more come out", async || {
            env.n_messages("OUT").await >= round * 350 || child.try_wait().unwrap().is_some()
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 2 == 0 {
            runtime.kill();
            runtime = env.spawn(&text()).await;
        }
    }
    let filled = fine(&env, "p --from a").await;
    assert_eq!(filled["events"].as_u64(), Some(N as u64), "{filled}");
    check_each_came(&env, N, 1).await;
    runtime.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_are_told_as_the_manual_says() {
    let env = TestEnv::start().await;
    let stage = "[pipelines.p]\nstages = [\"probe\"]\nkey = \"json:/id\"\n";
    let config = text().replace("[pipelines.p]\n", stage);
    ready(&env, &config, 0).await;
    let bucket = env.js.get_key_value("a").await.unwrap();
    let entity =
        json!({"id": 7, "do": "accept", "effects": [{"target": "out", "operation": "append"}]});
    bucket
        .put(
            "customer.c=20é".replace('é', "=C3=A9"),
            entity.to_string().into(),
        )
        .await
        .unwrap();
    let runtime = env.run(&config).await;
    fine(&env, "p --from a --entity customer").await;
    fine(
        &env,
        "p --from a --entity customer --type x.y --source crm --subject s.{entity}.{key}",
    )
    .await;
    let told: Vec<Value> = env
        .messages("OUT")
        .await
        .iter()
        .map(|message| message.json())
        .collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    let event = &told[0]["event"];
    assert_eq!(event["id"], json!("customer/c é@1"), "{event:#}");
    assert_eq!(event["type"], json!("a.customer.updated"));
    assert_eq!(
        (&event["source"], &event["subject"]),
        (&json!("/targets/a"), &json!("c é"))
    );
    assert_eq!(event["datacontenttype"], json!("application/json"));
    assert_eq!(
        told[0]["delivery"]["address"],
        json!("a.customer.c=20=C3=A9"),
        "{:#}",
        told[0]
    );
    assert_eq!(told[0]["delivery"]["key"], json!("7"));
    assert_eq!(
        (&told[1]["event"]["type"], &told[1]["event"]["source"]),
        (&json!("x.y"), &json!("crm"))
    );
    assert_eq!(
        told[1]["delivery"]["address"],
        json!("s.customer.c=20=C3=A9")
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_handled_by_the_one_who_has_its_partition() {
    const N: usize = 300;
    let env = TestEnv::start().await;
    let shared = "[pipelines.p]\nkey = \"subject:2\"\npartitions = 4\n";
    let config = text().replace("[pipelines.p]\n", shared);
    let config = config.replace("\"src.>\"]", "\"src.*.x\"]");
    ready(&env, &config, N).await;
    let (one, other) = (env.run(&config).await, env.run(&config).await);
    fine(&env, "p --from a --subject src.{key}.x").await;
    check_each_came(&env, N, 1).await;
    let counts = [one.drain().await, other.drain().await];
    let received = counts.iter().map(|summary| summary.pipelines["p"].received);
    assert_eq!(received.sum::<u64>(), N as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_source_held_since_a_time_is_handled_again() {
    let env = TestEnv::start().await;
    ready(&env, &text(), 0).await;
    let runtime = env.run(&text()).await;
    let send = async |n: u64| {
        env.send(&format!("src.{n}"), &Ce::new(n).data(json!({"n": n})))
            .await;
        runtime.settled("p", n + 1).await;
    };
    for n in 0..10 {
        send(n).await;
    }
    let stream = env.js.get_stream("SRC").await.unwrap();
    let since = stream
        .direct_get(6)
        .await
        .unwrap()
        .time
        .format(&Rfc3339)
        .unwrap();
    assert_eq!(
        fine(&env, &format!("p --since {since}")).await["events"],
        json!(5)
    );
    let came = came_out(&env).await;
    let twice: Vec<&str> = came
        .iter()
        .filter(|(_, n)| **n == 2)
        .map(|(n, _)| n.as_str())
        .collect();
    assert_eq!(twice, ["5", "6", "7", "8", "9"]);
    assert_eq!(fine(&env, "p --since 1h").await["events"], json!(10));
    assert_eq!(runtime.counts("q").received, 10);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said_and_nothing_is_handed_over() {
    let env = TestEnv::start().await;
    ready(&env, &text(), 3).await;
    let said = backfill(&env, "p --from a").await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("has never run"), "{said:?}");
    let runtime = env.run(&text()).await;
    for (args, expected) in [
        ("nobody --from a", "no pipeline `nobody`"),
        ("p --from nobody", "no target `nobody`"),
        ("p --from out", "holds no entities"),
        ("p", "--from"),
        ("p --since yesterday", "neither a time"),
        ("p --since 1h --entity x", "cannot be used with"),
    ] {
        let said = backfill(&env, args).await;
        assert_eq!(said.code, 2, "{args}: {said:?}");
        assert!(said.stderr.contains(expected), "{args}: {said:?}");
    }
    assert_eq!(env.n_messages("SYNCLINE_DLQ").await, 0);
    // An entity that fits into the bucket, and into no message with what tells about it.
    let bucket = env.js.get_key_value("a").await.unwrap();
    let large = format!("{{\"n\":\"{}\"}}", "x".repeat(1_048_000));
    bucket.put("large", large.into()).await.unwrap();
    let said = backfill(&env, "p --from a").await;
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (1, "p: 3 events handled, 1 left out\n"),
        "{said:?}"
    );
    assert!(said.stderr.contains("left out: a.large"), "{said:?}");
    check_law(&runtime.drain().await);
}
