//! Which room may use which, and which outside name belongs to which room: the tables of
//! `ARCHITECTURE.md`.

use super::no_faults;
use super::sources::{Source, has_name, names_after, rust};

/// A room, and the rooms it may use. Everybody may use the ground: event, fault, provision, rate,
/// telemetry, tls, shutdown, key_locks, and what is asked of any stream: atomic_batch, last_message,
/// next_messages.
const BELOW: [(&str, &[&str]); 26] = [
    ("atomic_batch", &[]),
    ("last_message", &[]),
    ("next_messages", &[]),
    ("event", &[]),
    ("fault", &["shutdown"]),
    ("key_locks", &[]),
    ("provision", &[]),
    ("rate", &[]),
    ("telemetry", &[]),
    ("tls", &[]),
    ("shutdown", &[]),
    ("outbound", &[]),
    ("plugin", &["outbound"]),
    ("contract", &[]),
    ("target", &["contract"]),
    ("api", &["change", "contract", "target"]),
    ("change", &["feed", "target", "txn"]),
    ("feed", &["target"]),
    ("dead_letter", &[]),
    ("intake", &[]),
    ("control", &[]),
    ("txn", &["dead_letter", "plugin", "target"]),
    ("drift", &["contract", "plugin", "target", "txn"]),
    (
        "pipeline",
        &["contract", "feed", "intake", "plugin", "target", "txn"],
    ),
    (
        "config",
        &[
            "api", "change", "contract", "intake", "outbound", "pipeline", "plugin", "target",
        ],
    ),
    (
        "app",
        &[
            "api",
            "change",
            "config",
            "contract",
            "control",
            "dead_letter",
            "drift",
            "feed",
            "intake",
            "outbound",
            "pipeline",
            "plugin",
            "target",
            "txn",
        ],
    ),
];
const GROUND: [&str; 11] = [
    "atomic_batch",
    "last_message",
    "next_messages",
    "event",
    "fault",
    "key_locks",
    "provision",
    "rate",
    "telemetry",
    "tls",
    "shutdown",
];

/// The one file of `pipeline` that may name `intake`, for the settings of its source.
const SETTINGS_OF_PIPELINE: &str = "runtime/src/pipeline/config.rs";

/// An outside name, and where it may stand: paths within `runtime/src`. Tests may use what they
/// need.
const OUTSIDE: [(&str, &[&str]); 24] = [
    ("wasmtime", &["plugin/"]),
    ("wasmtime_wasi", &["plugin/"]),
    ("wasmtime_wasi_http", &["plugin/"]),
    (
        "tokio_rustls",
        &["api/files.rs", "api/server.rs", "outbound/connection.rs"],
    ),
    ("jsonwebtoken", &["api/access/"]),
    ("notify", &["plugin/watch.rs", "cli/rebuild.rs"]),
    (
        "async_nats",
        &[
            "atomic_batch.rs",
            "last_message.rs",
            "next_messages.rs",
            "api/server.rs",
            "api/service.rs",
            "change/relay.rs",
            "intake/",
            "control/",
            "target/",
            "dead_letter/",
            "txn/",
            "plugin/host/state.rs",
            "app/",
            "cli/",
        ],
    ),
    ("tokio_postgres", &["target/postgres/", "cli/bench/tables/"]),
    ("deadpool_postgres", &["target/postgres/"]),
    ("reqwest", &["target/http/"]),
    ("hyper", &["api/", "outbound/"]),
    ("hyper_util", &["api/server.rs", "outbound/connection.rs"]),
    (
        "http_body_util",
        &["api/", "outbound/", "plugin/host/http.rs"],
    ),
    ("percent_encoding", &["api/"]),
    ("subtle", &["api/access.rs"]),
    ("toml", &["config/", "cli/"]),
    ("jsonschema", &["contract/", "plugin/"]),
    ("tokio_util", &["shutdown.rs"]),
    ("tracing_subscriber", &["cli/"]),
    ("clap", &["cli/", "main.rs"]),
    ("anyhow", &["cli/", "main.rs"]),
    ("comfy_table", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("similar", &["cli/"]),
];

/// What only the command line may do.
const OF_THE_COMMAND_LINE: [&str; 7] = [
    "std::env",
    "env::var",
    "println!",
    "eprintln!",
    "print!",
    "std::process",
    "std::io::stdin",
];

/// Files of the runtime, by their path within `runtime/src`.
fn runtime() -> Vec<(String, Source)> {
    let inside = |file: Source| {
        let path = file.path.strip_prefix("runtime/src/")?.to_owned();
        Some((path, file))
    };
    rust().into_iter().filter_map(inside).collect()
}

/// The room that a file belongs to.
fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Whether code in `room` may name `used`.
fn may_use(room: &str, used: &str) -> bool {
    let Some((_, below)) = BELOW.iter().find(|(name, _)| *name == room) else {
        return used == room;
    };
    let is_ground = GROUND.contains(&used) && !GROUND.contains(&room);
    used == room || is_ground || below.contains(&used)
}

#[test]
fn a_room_uses_only_what_stands_below_it() {
    let mut faults = Vec::new();
    for (path, file) in runtime() {
        let room = room_of(&path);
        for (line, code) in file.code() {
            let used = names_after(code, "crate::").into_iter();
            let above = used.filter(|used| !may_use(room, used));
            faults.extend(above.map(|used| format!("{}: `{room}` uses `{used}`", file.at(line))));
        }
    }
    no_faults("see ARCHITECTURE.md for who may use whom", &faults);
}

#[test]
fn a_pipeline_knows_its_source_only_as_settings() {
    let mut faults = Vec::new();
    for (path, file) in runtime() {
        if room_of(&path) != "pipeline" || file.path == SETTINGS_OF_PIPELINE {
            continue;
        }
        let uses = file
            .code()
            .filter(|(_, code)| names_after(code, "crate::").contains(&"intake"));
        faults.extend(uses.map(|(line, _)| file.at(line)));
    }
    no_faults("intake and pipeline meet in app", &faults);
}

#[test]
fn every_room_is_in_the_table() {
    let mut faults = Vec::new();
    for (path, file) in runtime() {
        let room = room_of(&path);
        let known = BELOW.iter().any(|(name, _)| *name == room);
        if !known && !["cli", "lib", "main"].contains(&room) {
            faults.push(file.path);
        }
    }
    no_faults("a new room needs its line in BELOW", &faults);
}

#[test]
fn an_outside_name_stands_in_its_room_only() {
    let mut faults = Vec::new();
    for (path, file) in runtime() {
        let at_home = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        for (line, code) in file.production() {
            let uses = |name: &str| has_name(code, name) && code.contains(&format!("{name}::"));
            let guests = OUTSIDE
                .iter()
                .filter(|(name, places)| uses(name) && !at_home(places));
            faults.extend(guests.map(|(name, places)| {
                format!(
                    "{}: `{name}` belongs to {}",
                    file.at(line),
                    places.join(", ")
                )
            }));
        }
    }
    no_faults("outside names have one room", &faults);
}

#[test]
fn only_the_command_line_prints_and_reads_its_environment() {
    let mut faults = Vec::new();
    for (path, file) in runtime() {
        if ["cli", "main"].contains(&room_of(&path)) {
            continue;
        }
        for (line, code) in file.production() {
            let found = OF_THE_COMMAND_LINE.iter().find(|what| {
                let at = code.find(**what);
                at.is_some_and(|at| !code[..at].ends_with(|c: char| c.is_alphanumeric()))
            });
            if let Some(what) = found {
                faults.push(format!("{}: `{what}`", file.at(line)));
            }
        }
    }
    no_faults("the library never prints, exits or looks around", &faults);
}

/// The binary sees the library from outside; a `mod` of the library in it would be a second copy.
#[test]
fn the_command_line_goes_through_the_front_door() {
    let mut faults = Vec::new();
    for (path, file) in runtime() {
        if !["cli", "main"].contains(&room_of(&path)) {
            continue;
        }
        for (line, code) in file.code() {
            if names_after(code, "crate::")
                .iter()
                .any(|name| *name != "cli")
            {
                faults.push(format!("{}: {}", file.at(line), code.trim()));
            }
        }
    }
    no_faults("cli uses `syncline::`, never `crate::`", &faults);
}
