//! What was not granted is denied, and of the machine there is nothing.

use super::lab::{Lab, hostile, hostile_at_the_start, load, probe};
use serde_json::json;

#[tokio::test]
async fn what_the_manifest_did_not_ask_for_is_denied() {
    let lab = Lab::of(hostile().await).await;
    let answers = Lab::reason(lab.ask("every-capability").await);
    for (call, answer) in answers.split("; ").filter_map(|said| said.split_once(": ")) {
        let expected = if call.starts_with("state.") {
            "given"
        } else {
            "denied"
        };
        assert_eq!(answer, expected, "{call}");
    }
    assert_eq!(answers.split("; ").count(), 9, "{answers}");
}

#[tokio::test]
async fn state_without_a_grant_is_denied() {
    let lab = Lab::of(probe().await).await;
    for op in ["get", "put", "put-new", "add", "delete"] {
        let step = json!({ "do": "state", "op": op, "key": "k", "value": "v" });
        let report = lab.report(vec![step]).await;
        let error = report["results"][0]["error"].as_str().unwrap_or_default();
        assert!(error.contains("not granted"), "{op}: {report}");
    }
}

#[tokio::test]
async fn describe_gets_nothing_at_all() {
    let component = load(hostile_at_the_start("describe-calls"))
        .await
        .expect("it loads");
    let answers = &component.manifest().description;
    let denied = answers
        .split("; ")
        .filter(|answer| answer.ends_with(": denied"));
    assert_eq!(denied.count(), 9, "{answers}");
}

#[tokio::test]
async fn there_is_no_machine_around_a_guest() {
    let lab = Lab::of(hostile().await).await;
    let found = Lab::reason(lab.ask("outside").await);
    let expected = "env: 0; args: 0; folders: 0; read: closed; write: closed; list: closed; \
                    tcp: closed; udp: closed; resolve: closed";
    assert_eq!(found, expected);
}
