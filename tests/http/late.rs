//! Log records that come late: their runtime was stopped while they were on their way, and another one is at work.

use super::atomic::{config, event, held};
use super::parts;
use crate::atomic::launch;
use crate::harness::{Ce, Fault, Module, TestEnv, check_law, eventually};
use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;

/// A runtime dies once everything is prepared; what it had written down before that.
async fn begun_by_a_runtime_that_died(env: &TestEnv, config: &str) -> Vec<(String, Bytes)> {
    let mut process = launch(env, config, "die=prepared:1");
    eventually("the program dies", async || process.has_ended()).await;
    env.last_on("TX", "tx.log.>").await
}

async fn n_in_state(env: &TestEnv, state: &str) -> usize {
    let of_state = format!(r#""state":"{state}""#);
    let logged = env.last_on("TX", "tx.log.>").await;
    let is_so = |body: &Bytes| String::from_utf8_lossy(body).contains(&of_state);
    logged.iter().filter(|(_, body)| is_so(body)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_comes_late_does_not_take_back_what_was_done_anew() {
    for level in ["M0", "M1"] {
        let (env, module) = (TestEnv::start().await, Module::start().await);
        let text = config(&module, level);
        env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event(1)).await;
        let late = begun_by_a_runtime_that_died(&env, &text).await;
        assert_eq!(late.len(), 1);
        // The next one makes the same change, and stands still before it decides: for three rounds.
        let mut running = launch(&env, &text, "stall=prepared:1:8000");
        eventually("it is taken back, and done anew", async || {
            let closed = n_in_state(&env, "ABORTED").await;
            let begun = n_in_state(&env, "PREPARING").await;
            (closed, begun) == (1, 1) && held(&env, &module).await == (Some(1), Some(1), 0)
        })
        .await;
        for (subject, body) in late {
            env.publish(&subject, HeaderMap::new(), body).await;
        }
        eventually("the late one is closed", async || {
            n_in_state(&env, "PREPARING").await == 1
        })
        .await;
        assert_eq!(held(&env, &module).await, (Some(1), Some(1), 0), "{level}");
        eventually("the event has ended", async || {
            env.unacked("SRC", "syncline-p").await == (0, 0)
        })
        .await;
        assert!(!running.has_ended());
        drop(running.drain().await);
        assert_eq!(held(&env, &module).await, (Some(1), Some(1), 1), "{level}");
        assert_eq!(n_in_state(&env, "HEURISTIC").await, 0, "{level}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_comes_late_and_is_met_at_the_next_takeover_changes_nothing() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let text = config(&module, "M1");
    let source = env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event(1)).await;
    let late = begun_by_a_runtime_that_died(&env, &text).await;
    source.purge().await.unwrap();
    let runtime = env.run(&text).await;
    eventually("what was begun is taken back", async || {
        held(&env, &module).await == (None, None, 0)
    })
    .await;
    check_law(&runtime.drain().await);
    for (subject, body) in late {
        env.publish(&subject, HeaderMap::new(), body).await;
    }
    // Somebody else writes what the event would have written, and something else.
    module.put("/v2/person/k", r#"{"key":"k","n":1}"#);
    let crm = env.js.get_key_value("crm").await.unwrap();
    crm.put("k", json!({"n": 7}).to_string().into())
        .await
        .unwrap();
    let runtime = env.run(&text).await;
    let other = Ce::new("other").data(json!({"key": "other", "n": 2}));
    env.send("src.a", &other).await;
    assert_eq!(runtime.settled("p", 1).await.done, 1);
    check_law(&runtime.drain().await);
    assert_eq!(held(&env, &module).await, (Some(1), Some(7), 1));
    assert_eq!(n_in_state(&env, "PREPARING").await, 0);
    assert_eq!(n_in_state(&env, "HEURISTIC").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_ended_when_the_runtime_is_to_end_is_waited_for() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let text = parts::alone(&module);
    let source = env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event(1)).await;
    let late = begun_by_a_runtime_that_died(&env, &text).await;
    source.purge().await.unwrap();
    let runtime = env.run(&text).await;
    eventually("what was reserved is given up", async || {
        module.reserved().is_empty() && n_in_state(&env, "PREPARING").await == 0
    })
    .await;
    for (subject, body) in late {
        env.publish(&subject, HeaderMap::new(), body).await;
    }
    let n_before = module.journal().len();
    module.misbehave([Fault::Late(Duration::from_secs(2))]);
    eventually("the module is asked to give it up", async || {
        module.journal().len() > n_before
    })
    .await;
    check_law(&runtime.drain().await);
    assert_eq!(
        n_in_state(&env, "PREPARING").await,
        0,
        "its answer is noted"
    );
}
