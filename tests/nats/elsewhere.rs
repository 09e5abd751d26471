//! JetStream that is not where the connection goes: in a domain behind a leaf node, or in another
//! account that exports it.

use super::works;
use crate::harness::{Server, TestEnv, check_law, eventually};
use async_nats::HeaderMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_is_reached_through_a_leaf_node() {
    let folder = tempfile::tempdir().unwrap();
    let store = |name: &str| {
        let store = folder.path().join(name);
        format!("jetstream {{ domain: {name}, store_dir: {store:?} }}")
    };
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let leaf_port = port.local_addr().unwrap().port();
    drop(port);
    let leafs = format!(
        "{}\nleafnodes {{ listen: \"127.0.0.1:{leaf_port}\" }}",
        store("hub")
    );
    let hub = Server::start(&leafs).await;
    let remote = format!(
        "{}\nleafnodes {{ remotes: [{{ url: \"nats-leaf://127.0.0.1:{leaf_port}\" }}] }}",
        store("edge")
    );
    let reach = "url = \"ADDRESS\"\ndomain = \"hub\"\n";
    let env = TestEnv::guarded(folder, &remote, reach).await;
    eventually("the domain answers", async || {
        env.js.query_account().await.is_ok()
    })
    .await;
    works(&env).await;
    // All of it is in the hub, and nothing on the edge.
    let there = async_nats::jetstream::new(hub.connect().await);
    for stream in ["SRC", "KV_crm", "SYNCLINE_DLQ"] {
        there.get_stream(stream).await.unwrap();
    }
    let here = async_nats::jetstream::new(env.nats.connect().await);
    assert_eq!(here.query_account().await.unwrap().streams, 0);
    dead_letters_arrive(&env).await;
}

/// An account that has JetStream and exports it, and one that imports it under another prefix.
const ACCOUNTS: &str = r#"
accounts {
  OWNER: {
    jetstream: enabled
    users: [{ user: owner, password: owner }]
    exports: [
      { service: "$JS.API.>", response: stream }
      { service: "$JS.ACK.>" }
      { service: "$KV.>" }
      { service: "src.>" }
      { service: "syncline.>" }
      { service: "tx.>" }
    ]
  }
  APP: {
    users: [{ user: app, password: app }]
    imports: [
      { service: { account: OWNER, subject: "$JS.API.>" }, to: "owner.API.>" }
      { service: { account: OWNER, subject: "$KV.>" }, to: "owner.API.$KV.>" }
      { service: { account: OWNER, subject: "$JS.ACK.>" } }
      { service: { account: OWNER, subject: "src.>" } }
      { service: { account: OWNER, subject: "syncline.>" } }
      { service: { account: OWNER, subject: "tx.>" } }
    ]
  }
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_of_another_account_is_reached_through_a_prefix() {
    let reach =
        "url = \"ADDRESS\"\nuser = \"app\"\npassword = \"app\"\napi_prefix = \"owner.API\"\n";
    let env = TestEnv::guarded(tempfile::tempdir().unwrap(), ACCOUNTS, reach).await;
    works(&env).await;
    dead_letters_arrive(&env).await;
}

async fn dead_letters_arrive(env: &TestEnv) {
    let runtime = env.run(super::COPY).await;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/cloudevents+json");
    env.publish("src.a", headers, "nonsense".into()).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.dead, 1);
    assert_eq!(env.letters().await[0].subject, "src.a");
    check_law(&runtime.drain().await);
}
