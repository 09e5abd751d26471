//! Events on their way through: in, to the targets, and answered for.

use crate::harness::{Ce, TestEnv, check_law};
use serde_json::json;

const BASIC: &str = r#"
[plugins.probe]
path = "${PROBE}"

[targets.crm]
kind = "kv"
bucket = "crm"
create = true

[targets.search]
kind = "subject"
subject = "search.index.{key}"
stream = "SEARCH"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }, { target = "search" }]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_flows_through_the_plugin_to_every_target() {
    let env = TestEnv::start().await;
    let runtime = env.run(BASIC).await;
    env.send(
        "src.a",
        &Ce::new("1").data(json!({"key": "c-1", "name": "Ada"})),
    )
    .await;
    runtime.settled("p", 1).await;

    let entry = env.entry("crm", "c-1").await;
    assert_eq!(entry, Some(json!({"key": "c-1", "name": "Ada"})));
    let indexed = env.messages("SEARCH").await;
    assert_eq!(indexed.len(), 1);
    assert_eq!(indexed[0].subject, "search.index.c-1");
    check_law(&runtime.drain().await);
}
