//! Several runtimes with one API: one makes the changes, whichever is asked.

use super::changes::World;
use super::client::{ask, get};
use crate::harness::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_runtime_is_asked_changes_are_made_and_made_once() {
    let world = World::start().await;
    let first = world.env.run(&world.config()).await;
    let made = ask(first.api(), "PUT /v2/crm/_/a", &[], r#"{"n":1}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    let second = world.env.run(&world.config()).await;
    let key = ("Idempotency-Key", "k");
    let passed = ask(second.api(), "PATCH /v2/crm/_/a", &[key], r#"{"n":2}"#).await;
    assert_eq!(passed.status, 200, "{passed:?}");
    assert_eq!(get(first.api(), "/v2/crm/_/a").await.json()["n"], 2);
    let again = ask(first.api(), "PATCH /v2/crm/_/a", &[key], r#"{"n":2}"#).await;
    assert_eq!(again.headers["idempotent-replayed"], "true", "{again:?}");
    let stale = ("If-None-Match", "*");
    let failed = ask(second.api(), "PUT /v1/billing/_/a", &[stale], r#"{"n":1}"#).await;
    assert_eq!(failed.status, 201, "{failed:?}");
    let failed = ask(second.api(), "PUT /v1/billing/_/a", &[stale], r#"{"n":1}"#).await;
    assert_eq!(failed.status, 412, "{failed:?}");

    assert!(first.drain().await.drained);
    eventually("the other one makes them", async || {
        let answer = ask(second.api(), "PATCH /v2/crm/_/a", &[], r#"{"n":3}"#).await;
        answer.status == 200
    })
    .await;
    assert!(second.drain().await.drained);
}
