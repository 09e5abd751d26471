//! Core NATS sources with `guarantee = "atomic"`.

use super::{die_at, launch};
use crate::harness::{Ce, PARTS, TestEnv, check_law, eventually};
use serde_json::json;

const PIPELINE: &str = r#"
[pipelines.p]
source = { subject = "src.>", reply = true }
key = "json:/key"
to = [{ target = "crm" }, { target = "search", entity = "c" }]
lease = "1s"
"#;

fn config() -> String {
    [PARTS, PIPELINE].concat()
}

/// Sends a request until it is answered: nobody subscribes while a runtime takes over.
async fn ask(env: &TestEnv, id: &str, n: u32) -> serde_json::Value {
    let event = Ce::new(id).data(json!({"key": "k", "n": n}));
    let mut answer = None;
    eventually("the request is answered", async || {
        let (headers, data) = (event.headers(), event.structured()["data"].to_string());
        let client = env.client();
        let asked = client.request_with_headers("src.a", headers, data.into());
        answer = asked.await.ok();
        answer.is_some()
    })
    .await;
    serde_json::from_slice(&answer.unwrap().payload).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_runtime_takes_the_events_and_the_other_stands_by() {
    let env = TestEnv::start().await;
    let first = env.run(&config()).await;
    let second = env.run(&config()).await;
    for n in 1..=20 {
        let answer = ask(&env, &n.to_string(), n).await;
        assert_eq!(answer["outcome"], "done");
    }
    // The same event again, with other data.
    assert_eq!(ask(&env, "20", 21).await["outcome"], "duplicate");
    let done = [&first, &second].map(|runtime| runtime.counts("p").done);
    assert!(done.contains(&20) && done.contains(&0), "{done:?}");
    check_law(&first.drain().await);
    assert_eq!(ask(&env, "21", 22).await["outcome"], "done");
    check_law(&second.drain().await);
    assert_eq!(env.n_messages("SEARCH").await, 21);
    assert_eq!(env.entry("crm", "k").await.unwrap()["n"], 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_is_carried_out_by_the_next_one() {
    let env = TestEnv::start().await;
    let dying = {
        let (env, config) = (&env, config());
        async move { die_at(env, &config, "between-effects").await }
    };
    let asking = async {
        // Nobody answers; it has arrived when the program dies.
        let event = Ce::new(1).data(json!({"key": "k", "n": 1}));
        eventually("the decision is made", async || {
            let data = event.structured()["data"].to_string();
            let client = env.client();
            let sent = client.publish_with_headers("src.a", event.headers(), data.into());
            sent.await.unwrap();
            let stream = env.js.get_stream("TX").await;
            match stream {
                Ok(_) => env.n_messages_on("TX", "tx.done.p.>").await == 1,
                Err(_) => false,
            }
        })
        .await;
    };
    futures::join!(dying, asking);
    let mut process = launch(&env, &config(), "");
    assert!(process.is_ready().await);
    eventually("every effect is there", async || {
        let entry = env.entry("crm", "k").await;
        entry.is_some() && env.n_messages("SEARCH").await == 1
    })
    .await;
    drop(process.drain().await);
}
