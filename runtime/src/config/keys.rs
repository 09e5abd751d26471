//! Every key of the file, section by section. The reader refuses what is not listed here, and a
//! test compares these lists with `docs/configuration.md`.

/// The keys of one section.
#[derive(Debug)]
pub(super) struct Keys {
    /// The section as the reference calls it; user-chosen names are `NAME`.
    pub(super) section: &'static str,
    /// What is read.
    pub(super) known: &'static [&'static str],
    /// What a later version will read, and what that is.
    pub(super) later: &'static [(&'static str, &'static str)],
}

pub(super) const FILE: Keys = Keys {
    section: "",
    known: &["nats", "secrets", "plugins", "targets", "api", "pipelines"],
    later: &[("admin", "the admin server")],
};

pub(super) const NATS: Keys = Keys {
    section: "nats",
    known: &[
        "url",
        "name",
        "credentials",
        "nkey",
        "user",
        "password",
        "token",
        "tls",
        "domain",
        "api_prefix",
        "replicas",
    ],
    later: &[],
};

pub(super) const TLS: Keys = Keys {
    section: "nats.tls",
    known: &["ca", "cert", "key", "required"],
    later: &[],
};

pub(super) const SECRET: Keys = Keys {
    section: "secrets.NAME",
    known: &["env", "file"],
    later: &[],
};

pub(super) const PLUGIN: Keys = Keys {
    section: "plugins.NAME",
    known: &["path", "config", "grants", "http", "limits"],
    later: &[],
};

pub(super) const GRANTS: Keys = Keys {
    section: "plugins.NAME.grants",
    known: &["lookup", "secrets", "state", "http"],
    later: &[],
};

pub(super) const HTTP: Keys = Keys {
    section: "plugins.NAME.http.HOST",
    known: &["methods", "headers", "networks", "tls"],
    later: &[],
};

pub(super) const HTTP_TLS: Keys = Keys {
    section: "plugins.NAME.http.HOST.tls",
    known: &["ca", "cert", "key"],
    later: &[],
};

pub(super) const PLUGIN_LIMITS: Keys = Keys {
    section: "plugins.NAME.limits",
    known: &[
        "memory",
        "time",
        "host_time",
        "host_calls",
        "effects",
        "output",
        "log",
        "metric_series",
        "instances",
        "http_time",
        "http_request",
        "http_response",
        "http_connections",
    ],
    later: &[],
};

pub(super) const TARGET: Keys = Keys {
    section: "targets.NAME",
    known: &[
        "kind",
        "subject",
        "stream",
        "core",
        "bucket",
        "url",
        "table",
        "key",
        "columns",
        "data",
        "entity",
        "version",
        "connections",
        "collection",
        "headers",
        "level",
        "transactions",
        "tls",
        "create",
        "timeout",
        "rate_limit",
        "breaker",
        "contract",
        "versions",
        "feed",
    ],
    later: &[],
};

pub(super) const TARGET_TLS: Keys = Keys {
    section: "targets.NAME.tls",
    known: &["ca", "cert", "key"],
    later: &[],
};

pub(super) const BREAKER: Keys = Keys {
    section: "targets.NAME.breaker",
    known: &["failures", "pause"],
    later: &[],
};

pub(super) const CONTRACT: Keys = Keys {
    section: "targets.NAME.contract",
    known: &["version", "schema"],
    later: &[],
};

pub(super) const VERSIONS: Keys = Keys {
    section: "targets.NAME.versions",
    known: &[
        "version",
        "schema",
        "adapter",
        "cases",
        "deprecated",
        "sunset",
    ],
    later: &[],
};

pub(super) const API: Keys = Keys {
    section: "api",
    known: &["listen", "tls", "tokens", "jwt", "service"],
    later: &[],
};

pub(super) const API_TLS: Keys = Keys {
    section: "api.tls",
    known: &["cert", "key"],
    later: &[],
};

pub(super) const JWT: Keys = Keys {
    section: "api.jwt",
    known: &["keys", "issuer", "audience", "scopes", "rate_limit"],
    later: &[],
};

pub(super) const SERVICE: Keys = Keys {
    section: "api.service",
    known: &["name", "prefix", "scopes", "rate_limit"],
    later: &[],
};

pub(super) const TOKEN: Keys = Keys {
    section: "api.tokens.NAME",
    known: &["sha256", "scopes", "rate_limit"],
    later: &[],
};

pub(super) const PIPELINE: Keys = Keys {
    section: "pipelines.NAME",
    known: &[
        "source",
        "key",
        "stages",
        "to",
        "targets",
        "guarantee",
        "dedupe",
        "rate_limit",
        "retry",
        "on_failure",
        "limits",
        "lease",
        "partitions",
        "repartition",
        "hops",
    ],
    later: &[],
};

pub(super) const SOURCE: Keys = Keys {
    section: "pipelines.NAME.source",
    known: &[
        "stream", "subjects", "create", "consumer", "ack_wait", "subject", "queue", "reply",
        "pending",
    ],
    later: &[],
};

pub(super) const ROUTE: Keys = Keys {
    section: "pipelines.NAME.to",
    known: &["target", "entity", "operation", "key", "when"],
    later: &[],
};

pub(super) const WHEN: Keys = Keys {
    section: "pipelines.NAME.to.when",
    known: &["type"],
    later: &[],
};

pub(super) const DEDUPE: Keys = Keys {
    section: "pipelines.NAME.dedupe",
    known: &["horizon"],
    later: &[],
};

pub(super) const RETRY: Keys = Keys {
    section: "pipelines.NAME.retry",
    known: &["attempts", "backoff"],
    later: &[],
};

pub(super) const PIPELINE_LIMITS: Keys = Keys {
    section: "pipelines.NAME.limits",
    known: &["events", "bytes", "payload"],
    later: &[],
};

pub(super) const PARTITIONS: Keys = Keys {
    section: "pipelines.NAME.partitions",
    known: &["count", "token"],
    later: &[],
};

/// All of them, in the order of the reference.
#[cfg(test)]
pub(super) const ALL: [&Keys; 27] = [
    &FILE,
    &NATS,
    &TLS,
    &SECRET,
    &PLUGIN,
    &GRANTS,
    &HTTP,
    &HTTP_TLS,
    &PLUGIN_LIMITS,
    &TARGET,
    &TARGET_TLS,
    &BREAKER,
    &CONTRACT,
    &VERSIONS,
    &API,
    &API_TLS,
    &TOKEN,
    &JWT,
    &SERVICE,
    &PIPELINE,
    &SOURCE,
    &ROUTE,
    &WHEN,
    &DEDUPE,
    &RETRY,
    &PIPELINE_LIMITS,
    &PARTITIONS,
];
