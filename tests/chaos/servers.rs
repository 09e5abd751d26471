//! The servers of a run: one, or a cluster of three whose streams have three replicas.

use super::settings::{Mode, Settings};
use crate::harness::{Cluster, Server, TestEnv};
use async_nats::jetstream;
use std::sync::Arc;
use std::time::Duration;

/// What a server of a cluster can lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The stream that events come from.
    Source,
    /// The pipeline's consumer on it.
    Consumer,
    /// The stream of leases, markers and decisions.
    Records,
    /// The stream of dead letters.
    Letters,
    /// A bucket that effects go to.
    Bucket,
    /// A stream that effects go to.
    Target,
    /// The cluster itself: who makes streams and consumers.
    Meta,
}

/// Each with its name in a report.
const ROLES: [(&str, Role); 7] = [
    ("source", Role::Source),
    ("consumer", Role::Consumer),
    ("records", Role::Records),
    ("letters", Role::Letters),
    ("bucket", Role::Bucket),
    ("target", Role::Target),
    ("meta", Role::Meta),
];

/// How long the memory of message ids is that holds hardly anything back.
const FORGETFUL: Duration = Duration::from_millis(100);

/// The servers.
pub(super) enum Servers {
    /// One.
    One(Arc<Server>),
    /// Three.
    Cluster(Box<Cluster>),
}

impl Role {
    /// Its name in a report.
    pub(super) fn name(self) -> &'static str {
        let found = ROLES.iter().find(|(_, role)| *role == self);
        found.unwrap().0
    }
}

/// Those that there are in a run: one whose effects go to tables has no bucket.
pub(super) fn roles(settings: &Settings) -> Vec<Role> {
    let in_tables = matches!(settings.mode, Mode::Database | Mode::Databases);
    let roles = ROLES.iter().map(|(_, role)| *role);
    let roles = roles.filter(|role| !in_tables || *role != Role::Bucket);
    roles.collect()
}

impl Servers {
    /// As many as the run asks for, and their environment.
    pub(super) async fn start(settings: &Settings) -> (Self, TestEnv) {
        if settings.nodes == 1 {
            let env = TestEnv::start().await;
            return (Self::One(env.nats.clone()), env);
        }
        let cluster = Cluster::start("").await;
        let mut env = TestEnv::clustered(&cluster).await;
        env.reach = format!("{}\nreplicas = {}", env.reach, settings.nodes);
        (Self::Cluster(Box::new(cluster)), env)
    }

    /// A connection that knows all of them.
    pub(super) async fn connect(&self) -> async_nats::Client {
        let urls = match self {
            Self::One(server) => vec![server.url()],
            Self::Cluster(cluster) => cluster.urls(),
        };
        async_nats::connect(urls).await.unwrap()
    }

    /// Makes a stream that is as safe as they allow. A forgetful one holds hardly any second copy back.
    pub(super) async fn stream(&self, env: &TestEnv, name: &str, subject: &str, forgetful: bool) {
        let mut config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            allow_direct: true,
            num_replicas: match self {
                Self::One(_) => 1,
                Self::Cluster(cluster) => cluster.urls().len(),
            },
            ..Default::default()
        };
        if forgetful {
            config.duplicate_window = FORGETFUL;
        }
        env.js.create_stream(config).await.unwrap();
    }

    /// The only one, of a run on one.
    pub(super) fn only(&self) -> &Server {
        match self {
            Self::One(server) => server,
            Self::Cluster(_) => panic!("there are three servers"),
        }
    }

    /// Which of the cluster's servers leads in this role, and the server.
    pub(super) async fn leader(&self, env: &TestEnv, role: Role) -> Arc<Server> {
        let Self::Cluster(cluster) = self else {
            panic!("one server leads nobody");
        };
        let of = async |stream| cluster.leader(&env.js, stream).await;
        let leader = match role {
            Role::Source => of("SRC").await,
            Role::Consumer => cluster.consumer_leader(&env.js, "SRC", "syncline-p").await,
            Role::Records => of("TX").await,
            Role::Letters => of("SYNCLINE_DLQ").await,
            Role::Bucket => of("KV_crm").await,
            Role::Target => of("SEARCH").await,
            Role::Meta => cluster.meta_leader().await,
        };
        cluster.node(leader).clone()
    }

    /// Waits until somebody leads in each role: a program can be started.
    pub(super) async fn led(&self, env: &TestEnv, settings: &Settings) {
        if let Self::Cluster(_) = self {
            for role in roles(settings) {
                self.leader(env, role).await;
            }
        }
    }

    /// Waits until each is there and holds all that it is to hold: one of them can be spared.
    pub(super) async fn whole(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.healthy().await;
        }
    }
}
