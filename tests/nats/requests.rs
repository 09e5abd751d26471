//! Core NATS: requests that are answered, messages for which there is no room, connections that are
//! lost.

use crate::harness::{Ce, Running, TestEnv, check_law, eventually};
use async_nats::{HeaderMap, Message};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;

const PIPELINE: &str = r#"
[pipelines.p]
source = { subject = "ask.>", queue = "q", reply = true }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }]
guarantee = "at-least-once"
dedupe = { horizon = "1h" }
retry = { attempts = 2, backoff = "10ms" }
"#;

/// A request of any headers and body, and its answer.
async fn ask(env: &TestEnv, headers: HeaderMap, body: bytes::Bytes) -> Message {
    let client = env.client();
    let answer = client.request_with_headers("ask.a", headers, body);
    let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
    answer.expect("an answer in time").unwrap()
}

async fn ask_event(env: &TestEnv, id: u32, data: Value) -> Message {
    let event = Ce::new(id).data(data);
    ask(env, event.headers(), event.data.clone()).await
}

fn body(answer: &Message) -> Value {
    serde_json::from_slice(&answer.payload).unwrap()
}

fn header(answer: &Message, name: &str) -> Option<String> {
    let headers = answer.headers.as_ref().unwrap();
    headers.get(name).map(ToString::to_string)
}

fn code(answer: &Message) -> Option<String> {
    header(answer, "Nats-Service-Error-Code")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_is_told_how_its_event_ended() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(PIPELINE).await;
    let done = ask_event(&env, 1, json!({"key": "c-1"})).await;
    assert_eq!(
        (code(&done), header(&done, "Nats-Service-Error")),
        (None, None)
    );
    assert_eq!(header(&done, "content-type").unwrap(), "application/json");
    let told = body(&done);
    assert_eq!(
        (&told["outcome"], &told["effects"]),
        (&json!("done"), &json!(1))
    );
    assert_eq!(
        told["event"],
        json!({"id": "1", "source": "/test", "type": "test.event"})
    );
    assert_eq!(told["events"][0]["data"], json!({"key": "c-1"}));
    // The answer comes after the effects.
    assert_eq!(env.entry("crm", "c-1").await, Some(json!({"key": "c-1"})));

    let again = body(&ask_event(&env, 1, json!({"key": "c-1"})).await);
    assert_eq!(
        (&again["outcome"], &again["effects"]),
        (&json!("duplicate"), &json!(0))
    );
    let filtered = ask_event(&env, 2, json!({"key": "c-2", "do": "drop"})).await;
    assert_eq!(
        (code(&filtered), &body(&filtered)["outcome"]),
        (None, &json!("filtered"))
    );

    let rejected = ask_event(&env, 3, json!({"key": "c-3", "do": "reject"})).await;
    assert_eq!(code(&rejected).as_deref(), Some("422"));
    let text = header(&rejected, "Nats-Service-Error").unwrap();
    assert!(text.starts_with("reject: "), "{text}");
    let told = body(&rejected);
    assert_eq!(
        (&told["outcome"], &told["reason"]),
        (&json!("dead"), &json!("reject"))
    );
    assert_eq!(told["dead_letter"], env.letters().await[0].id);
    let exhausted = ask_event(&env, 4, json!({"key": "c-4", "do": "retry"})).await;
    assert_eq!(code(&exhausted).as_deref(), Some("503"));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/cloudevents+json");
    let invalid = ask(&env, headers, "nonsense".into()).await;
    assert_eq!(code(&invalid).as_deref(), Some("400"));

    // A message that nobody waits for is handled as it always was.
    let event = Ce::new(5).data(json!({"key": "c-5"}));
    let (headers, data) = (event.headers(), event.data.clone());
    env.client()
        .publish_with_headers("ask.a", headers, data)
        .await
        .unwrap();
    let counts = runtime.settled("p", 7).await;
    assert_eq!((counts.done, counts.filtered), (2, 1));
    assert_eq!((counts.dead, counts.duplicate), (3, 1));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runtimes_of_one_queue_group_share_the_requests_and_each_is_answered_once() {
    let env = TestEnv::start().await;
    let one = env.run_with_parts(PIPELINE).await;
    let other = env.run_with_parts(PIPELINE).await;
    let inbox = env.client().new_inbox();
    let mut answers = env.client().subscribe(inbox.clone()).await.unwrap();
    for id in 0..100 {
        let event = Ce::new(id).data(json!({"key": format!("c-{id}")}));
        let (headers, data) = (event.headers(), event.data.clone());
        let client = env.client();
        let sent = client.publish_with_reply_and_headers("ask.a", inbox.clone(), headers, data);
        sent.await.unwrap();
    }
    let mut ids = Vec::new();
    while ids.len() < 100 {
        let answer = futures::StreamExt::next(&mut answers).await.unwrap();
        assert_eq!(body(&answer)["outcome"], "done");
        ids.push(body(&answer)["event"]["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    let summaries = [one.drain().await, other.drain().await];
    let done = summaries
        .each_ref()
        .map(|summary| summary.pipelines["p"].done);
    assert_eq!(done[0] + done[1], 100);
    assert!(done.iter().all(|n| *n > 0), "{done:?}");
    summaries.iter().for_each(check_law);
    // Nothing came on top.
    env.client().flush().await.unwrap();
    let more = futures::FutureExt::now_or_never(futures::StreamExt::next(&mut answers));
    assert!(more.is_none(), "{more:?}");
}

const SLOW: &str = r#"
[pipelines.p]
source = { subject = "ask.>", queue = "q", reply = true, pending = 5 }
key = "json:/key"
stages = ["probe"]
guarantee = "at-least-once"
retry = { attempts = 1000, backoff = "1h" }
limits = { events = 1 }
"#;

/// One event that never ends in time, and `n` requests behind it.
async fn crowd(env: &TestEnv, runtime: &Running, n: u32) -> JoinSet<Message> {
    let stuck = Ce::new("stuck").data(json!({"key": "k", "do": "retry"}));
    let (headers, data) = (stuck.headers(), stuck.data.clone());
    env.client()
        .publish_with_headers("ask.a", headers, data)
        .await
        .unwrap();
    runtime
        .until("p", "one is at work", |counts| counts.received == 1)
        .await;
    let mut asked = JoinSet::new();
    for id in 0..n {
        let client = env.client();
        let event = Ce::new(id).data(json!({"key": "k"}));
        asked.spawn(async move {
            let request = async_nats::Request::new()
                .headers(event.headers())
                .payload(event.data)
                .timeout(Some(Duration::from_secs(60)));
            client.send_request("ask.a", request).await.unwrap()
        });
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_room_are_counted_and_every_requester_hears_of_it() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(SLOW).await;
    let asked = crowd(&env, &runtime, 20).await;
    let counts = runtime
        .until("p", "15 are missed", |counts| counts.missed == 15)
        .await;
    assert_eq!((counts.received, counts.in_flight), (1, 1));
    // Those that wait are turned away at the end.
    let summary = runtime.drain().await;
    let mut codes: Vec<_> = asked.join_all().await.iter().filter_map(code).collect();
    codes.sort();
    let expected = [vec!["429"; 15], vec!["503"; 5]].concat();
    assert_eq!(codes, expected);
    assert_eq!(summary.pipelines["p"].missed, 15);
    check_law(&summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_at_work_hears_of_the_end_of_the_runtime() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(SLOW).await;
    let client = env.client();
    let stuck = Ce::new("stuck").data(json!({"key": "k", "do": "retry"}));
    let mut asked = JoinSet::new();
    asked.spawn(async move {
        let (headers, data) = (stuck.headers(), stuck.data);
        client
            .request_with_headers("ask.a", headers, data)
            .await
            .unwrap()
    });
    runtime
        .until("p", "it is at work", |counts| counts.received == 1)
        .await;
    check_law(&runtime.drain().await);
    let answer = asked.join_all().await.remove(0);
    assert_eq!(code(&answer).as_deref(), Some("503"));
    assert_eq!(body(&answer)["error"], "the runtime ends: ask again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_lost_while_listening_is_counted() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(PIPELINE).await;
    env.nats.kill();
    env.nats.restart().await;
    runtime
        .until("p", "it is counted", |counts| counts.interrupted == 1)
        .await;
    eventually("requests are answered again", async || {
        let event = Ce::new(1).data(json!({"key": "c-1"}));
        let (headers, data) = (event.headers(), event.data.clone());
        let client = env.client();
        client
            .request_with_headers("ask.a", headers, data)
            .await
            .is_ok()
    })
    .await;
    let summary = runtime.drain().await;
    assert_eq!(summary.pipelines["p"].interrupted, 1);
    check_law(&summary);
}
