//! A dead letter that is replayed is handled by its own pipeline, in the order of its key, once.

use crate::cli::command::Said;
use crate::cli::in_dir;
use crate::harness::{Ce, Running, TestEnv, check_law};
use serde_json::{Value, json};
use syncline::dead_letter::{LetterSummary, Replayed, Selection};

/// Its target takes nothing until there is a stream for `late.*`.
const PIPELINE: &str = r#"
[targets.late]
kind = "subject"
subject = "late.{key}"

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "late" }]
guarantee = "at-least-once"
retry = { attempts = 1, backoff = "1ms..1ms" }
"#;

fn event(id: impl ToString, key: &str) -> Ce {
    let n = id.to_string();
    Ce::new(id).data(json!({"key": key, "n": n}))
}

fn dlq(env: &TestEnv, args: &[&str]) -> Said {
    let url = env.nats.url();
    in_dir(
        env.folder(),
        &[&["dlq"], args, &["--nats", &url]].concat(),
        "",
    )
}

/// A runtime, and so many events of each key that it gave up.
async fn with_letters(env: &TestEnv, keys: &[&str], each: u64) -> Running {
    let runtime = env.run(PIPELINE).await;
    let mut n_sent = 0;
    for n in 0..each {
        for key in keys {
            env.send("src.a", &event(format!("{key}-{n}"), key)).await;
            n_sent += 1;
        }
    }
    let counts = runtime.settled("p", n_sent).await;
    assert_eq!(counts.dead, n_sent);
    runtime
}

async fn open_letters(env: &TestEnv) -> Vec<LetterSummary> {
    let letters = env.dead_letters().await;
    letters.list(&Selection::default()).await.unwrap()
}

/// What the target holds of a key, in order.
async fn held(env: &TestEnv, key: &str) -> Vec<String> {
    let subject = format!("late.{key}");
    let messages = env.messages("LATE").await.into_iter();
    let of_key = messages.filter(|message| message.subject == subject);
    of_key
        .map(|message| message.json()["n"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_replayed_in_order_and_once() {
    let env = TestEnv::start().await;
    let runtime = with_letters(&env, &["a", "b"], 10).await;
    env.stream("LATE", &["late.*"]).await;

    let said = dlq(&env, &["replay", "--key", "a", "--dry-run", "--json"]).fine();
    assert_eq!(said.lines().count(), 10);
    assert_eq!(open_letters(&env).await.len(), 20, "nothing has changed");

    let said = dlq(&env, &["replay", "--key", "a"]).fine();
    assert_eq!(said, "replayed 10\n");
    let counts = runtime.settled("p", 30).await;
    assert_eq!((counts.done, counts.replayed), (10, 10));
    let expected: Vec<_> = (0..10).map(|n| format!("a-{n}")).collect();
    assert_eq!(held(&env, "a").await, expected);
    assert_eq!(held(&env, "b").await, Vec::<String>::new());

    // Again: nothing is left of `a`.
    let said = dlq(&env, &["replay", "--key", "a"]).fine();
    assert_eq!(said, "replayed 0\n");
    let open = open_letters(&env).await;
    assert!(open.iter().all(|letter| letter.key == "b"), "{open:?}");
    let said = dlq(&env, &["replay", "--pipeline", "p", "--json"]).fine();
    assert_eq!(
        serde_json::from_str::<Value>(&said).unwrap(),
        json!({"replayed": 10, "before": 0})
    );
    let counts = runtime.settled("p", 40).await;
    assert_eq!((counts.done, counts.dead), (20, 20));
    assert_eq!(held(&env, "b").await.len(), 10);
    assert_eq!(held(&env, "a").await.len(), 10);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_replay_one_letter_replay_it_once() {
    let env = TestEnv::start().await;
    let runtime = with_letters(&env, &["a"], 8).await;
    env.stream("LATE", &["late.*"]).await;
    let letters = env.dead_letters().await;
    let open = open_letters(&env).await;
    let both = || async {
        let mut n_now = 0;
        for letter in &open {
            let replayed = letters.replay(letter, false).await.unwrap();
            n_now += usize::from(replayed == Replayed::Now);
        }
        n_now
    };
    let (one, other) = futures::join!(both(), both());
    assert_eq!(one + other, 8);
    let counts = runtime.settled("p", 16).await;
    assert_eq!((counts.done, counts.replayed), (8, 8));
    assert_eq!(held(&env, "a").await.len(), 8);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_waits_for_its_pipeline_and_survives_its_end() {
    let env = TestEnv::start().await;
    let runtime = with_letters(&env, &["a"], 3).await;
    check_law(&runtime.drain().await);
    env.stream("LATE", &["late.*"]).await;
    assert_eq!(
        dlq(&env, &["replay", "--pipeline", "p"]).fine(),
        "replayed 3\n"
    );

    // Killed with the replays at work or waiting: the next one takes them.
    env.spawn(PIPELINE).await.kill();
    let runtime = env.spawn(PIPELINE).await;
    crate::harness::eventually("the replays are handled", async || {
        held(&env, "a").await.len() >= 3 && env.unacked("SYNCLINE_DLQ", "replay-p").await == (0, 0)
    })
    .await;
    assert_eq!(held(&env, "a").await, ["a-0", "a-1", "a-2"]);
    crate::harness::check_law_of(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_again_is_a_new_letter_with_the_whole_story() {
    let env = TestEnv::start().await;
    let runtime = with_letters(&env, &["a"], 1).await;
    assert_eq!(
        dlq(&env, &["replay", "--pipeline", "p"]).fine(),
        "replayed 1\n"
    );
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.done), (2, 0));
    let open = open_letters(&env).await;
    assert_eq!(open.len(), 1, "the first one was replayed");
    assert_eq!(open[0].generation, 1);
    let letter = &env.letters().await[0];
    assert_eq!((letter.subject.as_str(), letter.sequence), ("src.a", 1));
    assert_eq!(letter.history.len(), 2, "{:?}", letter.history);

    // And that one can be replayed as well.
    env.stream("LATE", &["late.*"]).await;
    assert_eq!(dlq(&env, &["replay", &letter.id]).fine(), "replayed 1\n");
    runtime.settled("p", 3).await;
    assert_eq!(held(&env, "a").await, ["a-0"]);
    assert_eq!(open_letters(&env).await, []);
    check_law(&runtime.drain().await);
}

const TWO_TARGETS: &str = r#"
[targets.first]
kind = "subject"
subject = "first.{key}"
stream = "FIRST"
create = true

[targets.late]
kind = "subject"
subject = "late.{key}"

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "first" }, { target = "late" }]
guarantee = "at-least-once"
retry = { attempts = 1, backoff = "1ms..1ms" }

[pipelines.other]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "first" }]
guarantee = "at-least-once"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_effects_are_left_out_unless_all_are_wanted() {
    let env = TestEnv::start().await;
    let runtime = env.run(TWO_TARGETS).await;
    env.send("src.a", &event("1", "a")).await;
    env.send("src.a", &event("2", "b")).await;
    runtime.settled("p", 2).await;
    runtime.settled("other", 2).await;
    assert_eq!(env.n_messages("FIRST").await, 4);
    env.stream("LATE", &["late.*"]).await;

    assert_eq!(dlq(&env, &["replay", "--key", "a"]).fine(), "replayed 1\n");
    runtime.settled("p", 3).await;
    assert_eq!(
        env.n_messages("FIRST").await,
        4,
        "what it had taken already"
    );
    assert_eq!(env.n_messages("LATE").await, 1);
    assert_eq!(
        dlq(&env, &["replay", "--key", "b", "--all"]).fine(),
        "replayed 1\n"
    );
    runtime.settled("p", 4).await;
    assert_eq!(env.n_messages("FIRST").await, 5);
    assert_eq!(env.n_messages("LATE").await, 2);
    let other = runtime.counts("other");
    assert_eq!((other.received, other.replayed), (2, 0), "it had its turn");
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_payload_is_replayed_and_deleted_with_its_letter() {
    let env = TestEnv::start().await;
    let runtime = env.run(PIPELINE).await;
    // Does not fit into a letter, in base64 and with its context.
    let text = "x".repeat(900_000);
    let large = Ce::new("1").data(json!({"key": "a", "n": "1", "text": text}));
    env.send("src.a", &large).await;
    runtime.settled("p", 1).await;
    env.stream("LATE", &["late.*"]).await;
    assert_eq!(
        dlq(&env, &["replay", "--pipeline", "p"]).fine(),
        "replayed 1\n"
    );
    runtime.settled("p", 2).await;
    assert_eq!(env.messages("LATE").await[0].payload, large.data);
    let store = env
        .js
        .get_object_store("SYNCLINE_DLQ_PAYLOADS")
        .await
        .unwrap();
    let n_objects = async || {
        use futures::StreamExt as _;
        let listed = store.list().await.unwrap();
        listed
            .filter(|object| futures::future::ready(object.as_ref().is_ok_and(|o| !o.deleted)))
            .count()
            .await
    };
    assert_eq!(n_objects().await, 1);
    crate::harness::eventually("its replay is acknowledged", async || {
        env.unacked("SYNCLINE_DLQ", "replay-p").await == (0, 0)
    })
    .await;
    let said = dlq(&env, &["purge", "--replayed", "--pipeline", "p"]).fine();
    assert_eq!(said, "deleted 1\n");
    assert_eq!(n_objects().await, 0);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replay_still_needs_is_not_purged() {
    let env = TestEnv::start().await;
    let runtime = with_letters(&env, &["a", "b"], 2).await;
    check_law(&runtime.drain().await);
    assert_eq!(
        dlq(&env, &["purge", "--key", "b", "--dry-run", "--json"])
            .fine()
            .lines()
            .count(),
        2
    );
    assert_eq!(dlq(&env, &["purge", "--key", "b"]).fine(), "deleted 2\n");
    assert_eq!(open_letters(&env).await.len(), 2);
    assert_eq!(dlq(&env, &["replay", "--key", "a"]).fine(), "replayed 2\n");
    let said = dlq(&env, &["purge", "--replayed", "--pipeline", "p"]).fine();
    assert_eq!(
        said,
        "deleted 0, kept 2 whose replay is still to be handled\n"
    );
    assert_eq!(
        dlq(&env, &["list", "--replayed", "--json"])
            .fine()
            .lines()
            .count(),
        2
    );

    // A request whose letter somebody deleted all the same: said, and out of the way.
    let stream = env.js.get_stream("SYNCLINE_DLQ").await.unwrap();
    stream.purge().filter("syncline.dlq.>").await.unwrap();
    let runtime = env.spawn(PIPELINE).await;
    crate::harness::eventually("the requests are answered", async || {
        env.unacked("SYNCLINE_DLQ", "replay-p").await == (0, 0)
    })
    .await;
    assert!(
        runtime.log().contains("the dead letter is gone"),
        "{}",
        runtime.log()
    );
    let summary = runtime.drain().await;
    assert_eq!(summary["pipelines"]["p"]["received"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_wishes_are_refused() {
    let env = TestEnv::start().await;
    for verb in ["replay", "purge"] {
        let said = dlq(&env, &[verb]);
        assert_eq!(said.code, 2);
        assert!(
            said.stderr.contains("nothing says which dead letters"),
            "{}",
            said.stderr
        );
        let said = dlq(&env, &[verb, "p.nothing"]);
        assert_eq!(said.code, 1);
        assert!(
            said.stderr.contains("cannot find dead letter `p.nothing`"),
            "{}",
            said.stderr
        );
    }
    assert_eq!(dlq(&env, &["replay", "--key", "a", "--rate", "0"]).code, 2);
}

const MERGES: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
guarantee = "at-least-once"
retry = { attempts = 1, backoff = "1ms..1ms" }
"#;

/// Merges `{name: true}` into the entry `shared`, and sends a message to `late` if that is wanted.
fn merge(id: &str, name: &str, late: bool) -> Ce {
    let mut effects = vec![
        json!({"target": "crm", "key": "shared", "operation": "merge",
        "payload": {name: true}}),
    ];
    if late {
        effects.insert(
            0,
            json!({"target": "late", "key": "shared", "operation": "append"}),
        );
    }
    Ce::new(id).data(json!({"key": "k", "do": "accept", "effects": effects}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_merge_is_applied_to_what_later_events_made() {
    let env = TestEnv::start().await;
    let late = "[targets.late]\nkind = \"subject\"\nsubject = \"late.{key}\"\n";
    let config = [crate::harness::PARTS, late, MERGES].concat();
    let runtime = env.run(&config).await;
    env.send("src.a", &merge("1", "first", true)).await;
    env.send("src.a", &merge("2", "second", false)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.done), (1, 1));
    env.stream("LATE", &["late.*"]).await;
    assert_eq!(dlq(&env, &["replay", "--key", "k"]).fine(), "replayed 1\n");
    runtime.settled("p", 3).await;
    let entry = env.entry("crm", "shared").await.unwrap();
    assert_eq!(
        (&entry["first"], &entry["second"]),
        (&json!(true), &json!(true))
    );
    // It goes on to name the later event: a redelivery of that one is still known.
    let last = env.messages("KV_crm").await.pop().unwrap();
    assert_eq!(last.header("Syncline-Source-Sequence"), Some("2"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_one_letter_of_an_event_leaves_the_payload_of_another() {
    let env = TestEnv::start().await;
    let runtime = env.run(PIPELINE).await;
    let text = "x".repeat(900_000);
    let large = Ce::new("1").data(json!({"key": "a", "n": "1", "text": text}));
    env.send("src.a", &large).await;
    runtime.settled("p", 1).await;
    assert_eq!(dlq(&env, &["replay", "--key", "a"]).fine(), "replayed 1\n");
    runtime.settled("p", 2).await;
    crate::harness::eventually("its replay is acknowledged", async || {
        env.unacked("SYNCLINE_DLQ", "replay-p").await == (0, 0)
    })
    .await;
    let said = dlq(&env, &["purge", "--replayed", "--key", "a"]).fine();
    assert_eq!(said, "deleted 1\n");
    env.stream("LATE", &["late.*"]).await;
    assert_eq!(dlq(&env, &["replay", "--key", "a"]).fine(), "replayed 1\n");
    runtime.settled("p", 3).await;
    assert_eq!(env.messages("LATE").await[0].payload, large.data);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_cannot_be_read_does_not_hold_the_others() {
    let env = TestEnv::start().await;
    let runtime = env.run(PIPELINE).await;
    let text = "x".repeat(900_000);
    let large = Ce::new("1").data(json!({"key": "a", "n": "1", "text": text}));
    env.send("src.a", &large).await;
    env.send("src.a", &event("2", "b")).await;
    runtime.settled("p", 2).await;
    check_law(&runtime.drain().await);
    env.js
        .delete_object_store("SYNCLINE_DLQ_PAYLOADS")
        .await
        .unwrap();
    env.stream("LATE", &["late.*"]).await;
    assert_eq!(
        dlq(&env, &["replay", "--pipeline", "p"]).fine(),
        "replayed 2\n"
    );
    let runtime = env.spawn(PIPELINE).await;
    crate::harness::eventually("both requests are answered", async || {
        env.unacked("SYNCLINE_DLQ", "replay-p").await == (0, 0)
    })
    .await;
    assert_eq!(held(&env, "b").await, ["2"]);
    let log = runtime.log();
    assert!(log.contains("payload of the dead letter is gone"), "{log}");
    crate::harness::check_law_of(&runtime.drain().await);
}
