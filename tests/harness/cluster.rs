//! Three real nats-servers on loopback that are one cluster. A test may kill, restart and pause
//! each, find who leads, and have a leader step down.

use super::eventually;
use super::nats::{Server, free_ports};
use async_nats::jetstream;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many servers there are.
const N_NODES: usize = 3;

/// A cluster. Its servers are killed when it is dropped.
pub(crate) struct Cluster {
    nodes: Vec<Arc<Server>>,
}

impl Cluster {
    /// Starts one and waits until its JetStream can hold three replicas. `settings` are lines added
    /// to the configuration of each server.
    pub(crate) async fn start(settings: &str) -> Self {
        // Somebody else may take a free port before a server does.
        for _ in 0..5 {
            if let Some(cluster) = Self::launch(settings).await {
                cluster.wait_for_jetstream().await;
                return cluster;
            }
        }
        panic!("the cluster does not start");
    }

    async fn launch(settings: &str) -> Option<Self> {
        let ports: [u16; 2 * N_NODES] = free_ports();
        let (clients, routes) = ports.split_at(N_NODES);
        let urls: Vec<_> = routes
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let mut nodes = Vec::new();
        for (n, (client, route)) in clients.iter().zip(routes).enumerate() {
            let own = format!(
                "server_name: {}\ncluster {{ name: test, listen: \"127.0.0.1:{route}\", \
                 routes: {urls:?} }}\n{settings}",
                name_of(n)
            );
            nodes.push(Arc::new(Server::on(*client, &own).await?));
        }
        Some(Self { nodes })
    }

    async fn wait_for_jetstream(&self) {
        let js = self.jetstream().await;
        let probe = jetstream::stream::Config {
            name: "PROBE".to_owned(),
            num_replicas: N_NODES,
            ..Default::default()
        };
        eventually("the cluster holds three replicas", async || {
            js.create_stream(probe.clone()).await.is_ok()
        })
        .await;
        js.delete_stream("PROBE").await.unwrap();
    }

    /// Where its servers listen.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url()).collect()
    }

    /// One of its servers.
    pub(crate) fn node(&self, n: usize) -> &Arc<Server> {
        &self.nodes[n]
    }

    /// JetStream through whichever server answers.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.urls()).await.unwrap())
    }

    /// Which server leads a stream, once one does.
    pub(crate) async fn leader(&self, js: &jetstream::Context, stream: &str) -> usize {
        let subject = format!("STREAM.INFO.{stream}");
        self.leader_by(js, &subject).await
    }

    /// Which server leads a consumer, once one does.
    pub(crate) async fn consumer_leader(
        &self,
        js: &jetstream::Context,
        stream: &str,
        consumer: &str,
    ) -> usize {
        let subject = format!("CONSUMER.INFO.{stream}.{consumer}");
        self.leader_by(js, &subject).await
    }

    async fn leader_by(&self, js: &jetstream::Context, subject: &str) -> usize {
        let mut leader = None;
        eventually(subject, async || {
            let told: Result<Value, _> = js.request(subject.to_owned(), &json!({})).await;
            let name = told.ok().and_then(|told| {
                let name = told["cluster"]["leader"].as_str()?;
                Some(name.to_owned())
            });
            leader = (0..N_NODES).find(|n| name.as_deref() == Some(&name_of(*n)));
            leader.is_some_and(|n| self.nodes[n].is_running())
        })
        .await;
        leader.unwrap()
    }

    /// Has the leader of a stream step down, and waits until another leads.
    pub(crate) async fn step_down(&self, js: &jetstream::Context, stream: &str) {
        self.depose(js, &format!("STREAM.LEADER.STEPDOWN.{stream}"))
            .await;
        self.leader(js, stream).await;
    }

    /// Has the leader of a consumer step down, and waits until another leads.
    pub(crate) async fn consumer_step_down(
        &self,
        js: &jetstream::Context,
        stream: &str,
        consumer: &str,
    ) {
        self.depose(js, &format!("CONSUMER.LEADER.STEPDOWN.{stream}.{consumer}"))
            .await;
        self.consumer_leader(js, stream, consumer).await;
    }

    async fn depose(&self, js: &jetstream::Context, subject: &str) {
        eventually(subject, async || {
            let told: Result<Value, _> = js.request(subject.to_owned(), &json!({})).await;
            told.is_ok_and(|told| told["success"] == true)
        })
        .await;
    }

    /// Starts a server again that was killed, and waits until every replica of `streams` is current.
    pub(crate) async fn restart(&self, n: usize, js: &jetstream::Context, streams: &[&str]) {
        self.nodes[n].relaunch().await;
        // Until then the cluster may still give it nothing to hold.
        self.wait_for_jetstream().await;
        for stream in streams {
            let subject = format!("STREAM.INFO.{stream}");
            eventually("every replica is current", async || {
                let told: Result<Value, _> = js.request(subject.clone(), &json!({})).await;
                told.is_ok_and(|told| {
                    let replicas = told["cluster"]["replicas"].as_array().cloned();
                    let replicas = replicas.unwrap_or_default();
                    replicas.len() == N_NODES - 1 && replicas.iter().all(|r| r["current"] == true)
                })
            })
            .await;
        }
    }
}

fn name_of(n: usize) -> String {
    format!("node-{n}")
}
