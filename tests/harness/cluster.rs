//! Three real nats-servers on loopback that are one cluster. A test may kill, restart and pause
//! each, find who leads, and have a leader step down.

use super::eventually;
use super::nats::{Server, free_ports};
use async_nats::jetstream;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many servers there are.
const N_NODES: usize = 3;

/// A cluster. Its servers are killed when it is dropped.
pub(crate) struct Cluster {
    nodes: Vec<Arc<Server>>,
    /// Where each tells how it is.
    monitors: Vec<u16>,
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
        let ports: [u16; 3 * N_NODES] = free_ports();
        let (clients, others) = ports.split_at(N_NODES);
        let (routes, monitors) = others.split_at(N_NODES);
        let urls: Vec<_> = routes
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let mut nodes = Vec::new();
        for (n, (client, route)) in clients.iter().zip(routes).enumerate() {
            let own = format!(
                "server_name: {}\nhttp: \"127.0.0.1:{}\"\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: {urls:?} }}\n\
                 {settings}",
                name_of(n),
                monitors[n]
            );
            nodes.push(Arc::new(Server::on(*client, &own).await?));
        }
        let monitors = monitors.to_vec();
        Some(Self { nodes, monitors })
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

    /// Which server leads the cluster itself, once one does.
    pub(crate) async fn meta_leader(&self) -> usize {
        let mut leader = None;
        eventually("the cluster has a leader", async || {
            for n in (0..N_NODES).filter(|n| self.nodes[*n].is_running()) {
                let told = self.told_by(n, "/jsz").await;
                let name = told
                    .as_ref()
                    .and_then(|t| t["meta_cluster"]["leader"].as_str());
                leader = (0..N_NODES).find(|n| name == Some(name_of(*n).as_str()));
                if leader.is_some_and(|n| self.nodes[n].is_running()) {
                    return true;
                }
            }
            false
        })
        .await;
        leader.unwrap()
    }

    /// Waits until every server has all that it is to hold, and holds it as the others do.
    pub(crate) async fn healthy(&self) {
        for n in 0..N_NODES {
            eventually(&format!("{} is healthy", name_of(n)), async || {
                let told = self.told_by(n, "/healthz").await;
                told.is_some_and(|told| told["status"] == "ok")
            })
            .await;
        }
    }

    /// What the monitor of a server tells.
    async fn told_by(&self, n: usize, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitors[n]))
            .await
            .ok()?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
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
