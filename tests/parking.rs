//! `on_failure = "park-key"`: later events of a key wait behind one that failed, in order, and a replay
//! lets them go in order.

use crate::cli::command::Said;
use crate::cli::in_dir;
use crate::harness::{Ce, Process, TestEnv, check_law, check_law_of, eventually};
use serde_json::json;
use syncline::dead_letter::{Letter, STREAM};
use syncline::event::DeadReason;
use syncline::telemetry::PipelineCounts;

mod crash;
mod partitions;
mod release;

/// Events of the type `late` fail until there is a stream for `late.*`, those of the type `last` until there
/// is one for `last.*`. All of them go to `out`, after that.
const PARKING: &str = r#"
[targets.late]
kind = "subject"
subject = "late.{key}"

[targets.last]
kind = "subject"
subject = "last.{key}"

[targets.out]
kind = "subject"
subject = "out.{key}"
stream = "OUT"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [
    { target = "late", when = { type = "late" } },
    { target = "last", when = { type = "last" } },
    { target = "out" },
]
guarantee = "at-least-once"
retry = { attempts = 1, backoff = "1ms..1ms" }
on_failure = "park-key"
"#;

const NOTHING: [u64; 0] = [];

/// A target that nothing takes yet.
fn unheard(target: &str) -> String {
    format!("kind = \"subject\"\nsubject = \"{target}.{{key}}\"\n")
}

/// One that can take nothing with `atomic`, which is known when an event is there.
fn incapable(target: &str) -> String {
    format!("kind = \"http\"\nurl = \"http://127.0.0.1:9/{target}/{{key}}\"\ncreate = false\n")
}

/// The same, with every event decided once.
fn atomic() -> String {
    let mut config = PARKING.replace("at-least-once", "atomic");
    for target in ["late", "last"] {
        config = config.replace(&unheard(target), &incapable(target));
        let (route, appends) = (
            format!("target = \"{target}\""),
            format!("target = \"{target}\", operation = \"append\""),
        );
        config = config.replace(&route, &appends);
    }
    config
}

/// The configuration with a stream for what `target` is to take.
fn mended(config: &str, target: &str) -> String {
    let stream = format!("stream = \"{}\"\ncreate = true\n", target.to_uppercase());
    let able = [unheard(target), stream].concat();
    match config.contains(&incapable(target)) {
        true => config.replace(&incapable(target), &able),
        false => config.replace(&unheard(target), &able),
    }
}

fn event(n: u32, key: &str, kind: &str) -> Ce {
    let data = json!({"key": key, "n": n});
    Ce::new(format!("{key}-{n}")).kind(kind).data(data)
}

/// Publishes the first event of a key, which fails, and as many more as make `n_events`.
async fn publish(env: &TestEnv, key: &str, n_events: u32) {
    env.send("src.a", &event(1, key, "late")).await;
    for n in 2..=n_events {
        env.send("src.a", &event(n, key, "plain")).await;
    }
}

/// What the target `out` holds of a key, in order.
async fn applied(env: &TestEnv, key: &str) -> Vec<u64> {
    let subject = format!("out.{key}");
    let messages = env.messages("OUT").await.into_iter();
    let of_key = messages.filter(|message| message.subject == subject);
    of_key
        .map(|message| message.json()["n"].as_u64().unwrap())
        .collect()
}

/// Open letters of a key, in the order of the source.
async fn letters(env: &TestEnv, key: &str) -> Vec<Letter> {
    let letters = env.letters().await.into_iter();
    let mut letters: Vec<_> = letters.filter(|letter| letter.key == key).collect();
    letters.sort_by_key(|letter| letter.sequence);
    letters
}

fn dlq(env: &TestEnv, args: &[&str]) -> Said {
    let url = env.nats.url();
    in_dir(
        env.folder(),
        &[&["dlq"], args, &["--nats", &url]].concat(),
        "",
    )
}

/// Replays the letter that holds a key.
async fn replay_first(env: &TestEnv, key: &str) {
    let first = &letters(env, key).await[0];
    assert_eq!(dlq(env, &["replay", &first.id]).fine(), "replayed 1\n");
}

/// Waits until what the target `out` holds of a key is `expected`.
async fn until_applied(env: &TestEnv, key: &str, expected: &[u64]) {
    let mut last = Vec::new();
    eventually("the key has come so far", async || {
        last = applied(env, key).await;
        last.len() >= expected.len()
    })
    .await;
    assert_eq!(last, expected);
}

/// Waits until every message of the source and every request is answered for.
async fn until_quiet(env: &TestEnv) {
    eventually("everything is answered for", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
            && env.unacked(STREAM, "replay-p").await == (0, 0)
    })
    .await;
}

fn ends(counts: &PipelineCounts) -> (u64, u64, u64) {
    (counts.done, counts.dead, counts.parked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_events_of_the_key_wait_and_other_keys_flow_on() {
    for config in [PARKING.to_owned(), atomic()] {
        let env = TestEnv::start().await;
        let runtime = env.run(&config).await;
        publish(&env, "a", 5).await;
        for n in 1..=5 {
            env.send("src.a", &event(n, "b", "plain")).await;
        }
        let counts = runtime.settled("p", 10).await;
        assert_eq!(ends(&counts), (5, 1, 4));
        assert_eq!(applied(&env, "a").await, NOTHING);
        assert_eq!(applied(&env, "b").await, [1, 2, 3, 4, 5]);
        until_quiet(&env).await;

        let letters = letters(&env, "a").await;
        assert!(letters.iter().all(|letter| letter.holds_key), "{letters:?}");
        let reasons: Vec<_> = letters.iter().map(|letter| letter.reason).collect();
        assert_ne!(reasons[0], DeadReason::Parked);
        assert_eq!(reasons[1..], [DeadReason::Parked; 4]);
        let waits = &letters[4];
        assert_eq!((waits.sequence, waits.attempts), (5, 0));
        assert_eq!(waits.event_id.as_deref(), Some("a-5"));
        check_law(&runtime.drain().await);
    }
}
