//! NATS as it is in production: who may connect, over what, to which part of it, and what happens
//! when servers go.

mod adoption;
mod elsewhere;
mod encryption;
mod failover;
mod identity;
pub(crate) mod keys;
mod permissions;
mod reconnect;
mod requests;

use crate::cli::command::{Said, command, run};
use crate::harness::{Ce, Running, TestEnv, check_law};
use serde_json::json;

/// Copies events of a stream to a bucket, both made when they are missing.
const COPY: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "crm" }]
guarantee = "at-least-once"
"#;

/// An event gets through, from the source to the target.
async fn works(env: &TestEnv) {
    let runtime = Running::start(env.parse(COPY)).await;
    let event = Ce::new("1").data(json!({"key": "c-1"}));
    // Whether the stream takes it is heard a moment later where the two are not on one server.
    env.send_surely("src.a", &event).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.done, 1);
    assert_eq!(env.entry("crm", "c-1").await, Some(json!({"key": "c-1"})));
    check_law(&runtime.drain().await);
}

/// The start is refused with `reach` under `[nats]`: exit code 3, the server's name and every one of
/// `expected`, and none of `secrets`.
fn refused(env: &TestEnv, reach: &str, expected: &[&str], secrets: &[&str]) -> Said {
    let file = env.folder().join("refused.toml");
    let reach = env.nats.reached_by(reach);
    std::fs::write(&file, format!("[nats]\n{reach}\n{COPY}")).unwrap();
    let said = run(command(env.folder(), ["run", "-c", "refused.toml"]), "");
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (3, ""),
        "{reach}\n{said:?}"
    );
    let address = env.nats.reached_by("ADDRESS");
    for expected in expected.iter().chain([&&*address]) {
        assert!(
            said.stderr.contains(expected),
            "{expected}:\n{}",
            said.stderr
        );
    }
    for secret in secrets {
        assert!(!said.stderr.contains(secret), "{secret}:\n{}", said.stderr);
    }
    said
}
