//! A cluster of three whose leaders step down and are killed, while events flow.

use crate::harness::{Ce, Cluster, PARTS, Running, TestEnv, check_law, eventually};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use syncline::shutdown::Shutdown;
use tokio::task::JoinSet;

/// With the retries that a pipeline has when it says nothing.
const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"] }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }, { target = "search" }]
guarantee = "at-least-once"
dedupe = { horizon = "1h" }
"#;

/// What Syncline makes, and what the test makes.
const STREAMS: [&str; 5] = ["SRC", "SYNCLINE_DLQ", "TX", "KV_crm", "SEARCH"];
const N_KEYS: usize = 6;
/// Between two events of a key: what comes should not pile up on a slow machine.
const PACE: Duration = Duration::from_millis(25);

/// Events that come as long as nobody says stop: for each key, how many.
struct Load {
    stop: Shutdown,
    senders: JoinSet<(String, u32)>,
}

impl Load {
    fn start(env: &Arc<TestEnv>) -> Self {
        let stop = Shutdown::new();
        let mut senders = JoinSet::new();
        for key in 0..N_KEYS {
            let key = format!("k{key}");
            senders.spawn(send(env.clone(), key, stop.clone()));
        }
        Self { stop, senders }
    }

    async fn end(self) -> BTreeMap<String, u32> {
        self.stop.begin();
        self.senders.join_all().await.into_iter().collect()
    }
}

/// Sends the events of one key one after the other, each until the stream has it. Every seventh is
/// one that the plugin rejects.
async fn send(env: Arc<TestEnv>, key: String, stop: Shutdown) -> (String, u32) {
    let mut n = 0;
    let mut pace = tokio::time::interval(PACE);
    while !stop.has_begun() {
        pace.tick().await;
        n += 1;
        let data = match n % 7 {
            0 => json!({"key": key, "n": n, "do": "reject"}),
            _ => json!({"key": key, "n": n}),
        };
        let id = format!("{key}-{n}");
        env.send_surely("src.a", &Ce::new(&id).data(data)).await;
    }
    (key, n)
}

/// Every event had its effects or became a dead letter, in the order of its key.
async fn check(env: &TestEnv, runtime: Running, sent: &BTreeMap<String, u32>) {
    let n_sent: u64 = sent.values().map(|n| u64::from(*n)).sum();
    let n_bad: u64 = sent.values().map(|n| u64::from(n / 7)).sum();
    assert!(n_sent > 100, "too little load: {sent:?}");
    eventually("every event is acknowledged", async || {
        let stream = env.js.get_stream("SRC").await;
        let Ok(stream) = stream else { return false };
        let info = stream.consumer_info("syncline-p").await;
        info.is_ok_and(|info| (info.num_ack_pending, info.num_pending) == (0, 0))
    })
    .await;
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for message in env.messages("SEARCH").await {
        let effect = message.header("Syncline-Effect-Id").unwrap().to_owned();
        assert!(known.insert(effect), "twice: {message:?}");
        let data = message.json();
        let key = data["key"].as_str().unwrap().to_owned();
        let n = u32::try_from(data["n"].as_u64().unwrap()).unwrap();
        seen.entry(key).or_default().push(n);
    }
    for (key, n) in sent {
        let expected: Vec<u32> = (1..=*n).filter(|n| n % 7 != 0).collect();
        let seen = seen.remove(key).unwrap_or_default();
        let parted = seen
            .iter()
            .zip(&expected)
            .find(|(seen, expected)| seen != expected);
        assert_eq!(
            parted, None,
            "{key} is out of order: what came, what should have come"
        );
        assert_eq!(seen.len(), expected.len(), "{key}");
        let last = expected.last().unwrap();
        assert_eq!(env.entry("crm", key).await.unwrap()["n"], *last);
    }
    let letters: BTreeSet<_> = env.letters().await.into_iter().map(|l| l.id).collect();
    assert_eq!(letters.len() as u64, n_bad);
    let summary = runtime.drain().await;
    check_law(&summary);
    let counts = &summary.pipelines["p"];
    assert_eq!(
        (counts.done, counts.dead),
        (n_sent - n_bad, n_bad),
        "{counts:?}"
    );
}

async fn start(cluster: &Cluster) -> (Arc<TestEnv>, Running) {
    let mut env = TestEnv::clustered(cluster).await;
    env.reach = format!("{}\nreplicas = 3", env.reach);
    env.replicated("SRC", &["src.>"]).await;
    let runtime = env.run(&[PARTS, PIPELINE].concat()).await;
    for stream in STREAMS {
        let found = env.js.get_stream(stream).await.unwrap();
        assert_eq!(found.cached_info().config.num_replicas, 3, "{stream}");
    }
    (Arc::new(env), runtime)
}

/// Waits until more has come out than so far.
async fn goes_on(runtime: &Running) {
    let before = runtime.counts("p").done;
    runtime
        .until("p", "events flow", |counts| counts.done > before + 10)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_may_step_down_under_load() {
    let cluster = Cluster::start("").await;
    let (env, runtime) = start(&cluster).await;
    let load = Load::start(&env);
    goes_on(&runtime).await;
    for stream in STREAMS {
        cluster.step_down(&env.js, stream).await;
        goes_on(&runtime).await;
    }
    cluster
        .consumer_step_down(&env.js, "SRC", "syncline-p")
        .await;
    goes_on(&runtime).await;
    check(&env, runtime, &load.end().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_may_be_killed_under_load() {
    let cluster = Cluster::start("").await;
    let (env, runtime) = start(&cluster).await;
    let load = Load::start(&env);
    for stream in ["SRC", "SYNCLINE_DLQ", "KV_crm"] {
        goes_on(&runtime).await;
        let leader = cluster.leader(&env.js, stream).await;
        cluster.node(leader).kill();
        goes_on(&runtime).await;
        cluster.restart(leader, &env.js, &STREAMS).await;
    }
    let leader = cluster.consumer_leader(&env.js, "SRC", "syncline-p").await;
    cluster.node(leader).kill();
    goes_on(&runtime).await;
    cluster.restart(leader, &env.js, &STREAMS).await;
    check(&env, runtime, &load.end().await).await;
}

/// Copies events of a stream on one server to a bucket on three. One more failure than that gives
/// an event up.
const IMPATIENT: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
create = true

[pipelines.p]
source = { stream = "ONE", subjects = ["one.>"] }
key = "json:/key"
to = [{ target = "crm" }]
guarantee = "at-least-once"
lease = "5m"
retry = { attempts = 2, backoff = "10ms" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_whose_stream_has_no_leader_waits_without_an_attempt_being_counted() {
    let cluster = Cluster::start("").await;
    let mut env = TestEnv::clustered(&cluster).await;
    env.stream("ONE", &["one.>"]).await;
    let stays = cluster.leader(&env.js, "ONE").await;
    // Where no majority is, no lease is kept alive either: this one outlives the test, on a connection
    // that is not cut.
    let url = cluster.node(stays).url();
    env.reach = format!("url = \"{url}\"\nreplicas = 3");
    let runtime = env.run(IMPATIENT).await;
    while cluster.leader(&env.js, "KV_crm").await == stays {
        cluster.step_down(&env.js, "KV_crm").await;
    }
    let goes: Vec<_> = (0..3).filter(|n| *n != stays).collect();
    goes.iter().for_each(|n| cluster.node(*n).kill());
    let event = Ce::new(1).data(json!({"key": "c-1"}));
    env.send_surely("one.a", &event).await;
    let counts = runtime
        .until("p", "it is tried more often than it may fail", |counts| {
            counts.retries >= 4
        })
        .await;
    assert_eq!((counts.in_flight, counts.dead), (1, 0));
    for n in &goes {
        cluster.node(*n).relaunch().await;
    }
    let counts = runtime
        .until("p", "it has ended", |counts| counts.in_flight == 0)
        .await;
    assert_eq!((counts.done, counts.dead), (1, 0));
    check_law(&runtime.drain().await);
}
