//! Servers that are not there, that die, or that send their clients away.

use super::works;
use crate::harness::{Ce, Cluster, TestEnv, check_law, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_several_that_is_down_is_passed_over() {
    let mut env = TestEnv::start().await;
    let gone = TestEnv::start().await;
    gone.nats.kill();
    env.reach = format!("url = [\"{}\", \"{}\"]", gone.nats.url(), env.nats.url());
    works(&env).await;
}

/// The runtime is told of one server alone and learns of the others from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sends_its_clients_away_or_dies_is_left_for_another() {
    let settings = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"";
    let cluster = Cluster::start(settings).await;
    let mut env = TestEnv::clustered(&cluster).await;
    env.reach = format!("url = \"{}\"\nreplicas = 3", cluster.node(0).url());
    let runtime = env.run(super::COPY).await;
    let send = async |n: u32| {
        let event = Ce::new(n).data(json!({"key": format!("c-{n}")}));
        env.send_surely("src.a", &event).await;
    };
    let done = async |n: u64| {
        runtime
            .until("p", "all are done", |counts| {
                counts.done >= n && counts.in_flight == 0
            })
            .await
    };
    send(1).await;
    done(1).await;
    cluster.node(0).lame_duck();
    send(2).await;
    done(2).await;
    eventually("the server ends", async || !cluster.node(0).is_running()).await;
    send(3).await;
    done(3).await;
    cluster
        .restart(0, &env.js, &["SRC", "KV_crm", "SYNCLINE_DLQ"])
        .await;
    // Whichever it uses now.
    cluster.node(1).kill();
    send(4).await;
    done(4).await;
    cluster
        .restart(1, &env.js, &["SRC", "KV_crm", "SYNCLINE_DLQ"])
        .await;
    cluster.node(2).kill();
    send(5).await;
    let counts = done(5).await;
    assert_eq!(counts.dead, 0, "{counts:?}");
    cluster
        .restart(2, &env.js, &["SRC", "KV_crm", "SYNCLINE_DLQ"])
        .await;
    assert_eq!(env.kv("crm").await.len(), 5);
    check_law(&runtime.drain().await);
}
