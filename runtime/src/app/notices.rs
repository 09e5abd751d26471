//! What is said at the start, since a user might otherwise only find out later.

use crate::config::Config;
use crate::pipeline;
use tracing::{info, warn};

/// What a user might otherwise only find out later.
pub(super) fn say_what_holds(config: &pipeline::Config) {
    use crate::intake::Source;
    let pipeline = &config.name;
    if config.to.is_empty() {
        warn!(%pipeline, "the pipeline has no `to`: events that still stand after the last stage \
            are dropped and counted as unrouted");
    }
    match &config.intake.source {
        Source::Core { .. } if config.intake.lease.is_some() => warn!(%pipeline, "core NATS sends \
            nothing again: an event that is lost before it is decided is lost; one runtime at a time \
            takes the events, further ones stand by"),
        Source::Core { .. } => warn!(%pipeline, "core NATS sends nothing again: an event that is \
            lost before it ends is lost"),
        Source::JetStream { .. } => {
            let shared_out = match &config.intake.partitions {
                Some(_) => "the runtimes with this pipeline share its partitions out among them",
                None => "one runtime at a time handles the events, further ones stand by",
            };
            info!(%pipeline, partitions = config.intake.n_partitions(), "{shared_out}");
        }
    }
}

/// In a cluster, what one server alone holds goes with that server's disk.
pub(super) fn say_whether_one_replica_is_enough(client: &async_nats::Client, config: &Config) {
    if config.nats.replicas == 1 && client.server_info().cluster.is_some() {
        warn!(
            "the server is one of a cluster, and what Syncline makes there (dead letters among it) \
            has one replica: `replicas = 3` under [nats] keeps three of what is made from then on"
        );
    }
}
