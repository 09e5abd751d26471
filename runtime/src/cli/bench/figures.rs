//! What was measured, as it is printed.

use super::Args;
use super::api::Compared;
use super::place::Place;
use serde::Serialize;
use serde_json::Value;

/// The longest bar of a curve, in characters.
const WIDTH: u32 = 40;

/// Every figure; what was not measured is null.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    /// Events per second of the bare forwarder: the median of its turns.
    pub(super) forwarder_eps: Option<f64>,
    /// Microseconds of processor time for an event, the server's included; not of a foreign server.
    pub(super) forwarder_cpu_us: Option<f64>,
    /// Events per second as the examples of async-nats would forward.
    pub(super) forwarder_example_eps: Option<f64>,
    /// Microseconds of processor time for an event then, the server's included.
    pub(super) forwarder_example_cpu_us: Option<f64>,
    /// The forwarder's turns, each against that of the examples before it.
    pub(super) ratio_forwarder_example: Option<f64>,
    /// The forwarder's turns, each against the one before: how much the ground moves.
    pub(super) forwarder_aa_ratio: Option<f64>,
    /// The least and the greatest of those.
    pub(super) forwarder_aa_range: Option<(f64, f64)>,
    /// Events per second of the pipeline.
    pub(super) at_least_once_eps: Option<f64>,
    /// Microseconds of processor time for an event, the server's included.
    pub(super) at_least_once_cpu_us: Option<f64>,
    /// Events per second of the pipeline with `dedupe`.
    pub(super) dedupe_eps: Option<f64>,
    /// Its turns with `dedupe`, each against the one before without.
    pub(super) ratio_dedupe: Option<f64>,
    /// Events per second of the pipeline with `guarantee = "atomic"` and two effects for each.
    pub(super) atomic_eps: Option<f64>,
    /// The pipeline's turns, each against the forwarder's before and after it.
    pub(super) ratio_at_least_once: Option<f64>,
    /// The least and the greatest of those.
    pub(super) ratio_at_least_once_range: Option<(f64, f64)>,
    /// Those turns, each against the forwarder's before and after it.
    pub(super) ratio_atomic: Option<f64>,
    /// Events per second where both effects are written with the decision, on `TX`.
    pub(super) joined_eps: Option<f64>,
    /// Those turns, each against the forwarder's before and after it.
    pub(super) ratio_joined: Option<f64>,
    /// Events per second then, by how many may be in flight.
    pub(super) joined_eps_by_in_flight: Vec<(u32, f64)>,
    /// Turns of events without effects: with `guarantee = "atomic"` against at-least-once before it.
    pub(super) ratio_atomic_idle: Option<f64>,
    /// Events per second of an atomic pipeline into a table.
    pub(super) postgres_eps: Option<f64>,
    /// Events per second of a bare loop that writes the same rows, each in a transaction of its own.
    pub(super) bare_postgres_eps: Option<f64>,
    /// The pipeline's turns, each against the loop's before and after it.
    pub(super) ratio_postgres: Option<f64>,
    /// Events per second of an atomic pipeline into tables of two databases.
    pub(super) two_databases_eps: Option<f64>,
    /// Events per second of a bare loop that prepares in both and commits in both.
    pub(super) bare_two_databases_eps: Option<f64>,
    /// The pipeline's turns, each against the loop's before and after it.
    pub(super) ratio_two_databases: Option<f64>,
    /// From event stored to effect stored, microseconds.
    pub(super) p50_us: Option<u64>,
    /// The same for the slowest of a hundred.
    pub(super) p99_us: Option<u64>,
    /// From event stored to the second of two effects stored, with `guarantee = "atomic"`.
    pub(super) atomic_p50_us: Option<u64>,
    /// The same for the slowest of a hundred.
    pub(super) atomic_p99_us: Option<u64>,
    /// From event stored to the second of two effects stored, where they are written with the decision.
    pub(super) joined_p50_us: Option<u64>,
    /// The same for the slowest of a hundred.
    pub(super) joined_p99_us: Option<u64>,
    /// The same, of events without a hot key among them.
    pub(super) calm_p99_us: Option<f64>,
    /// The same, of those beside a hot key, over whose events the plugin takes 50 ms.
    pub(super) hot_key_p99_us: Option<f64>,
    /// The second turns, each against the first before it.
    pub(super) ratio_hot_key: Option<f64>,
    /// A read of an entity over the API, microseconds.
    pub(super) api_p50_us: Option<f64>,
    /// The same for the slowest of a hundred.
    pub(super) api_p99_us: Option<f64>,
    /// A bare `get` of the same entry.
    pub(super) kv_get_p50_us: Option<f64>,
    /// The same for the slowest of a hundred.
    pub(super) kv_get_p99_us: Option<f64>,
    /// The API's turns, each against the bare ones before and after it, for the slowest of a hundred.
    pub(super) api_p99_ratio: Option<f64>,
    /// The least and the greatest of those.
    pub(super) api_p99_ratio_range: Option<(f64, f64)>,
    /// The bare turns, each against the one before, the least and the greatest: how much the ground moves.
    pub(super) kv_get_aa_range: Option<(f64, f64)>,
    /// The same seven with eight reads in flight.
    pub(super) api_8_p50_us: Option<f64>,
    /// The same for the slowest of a hundred.
    pub(super) api_8_p99_us: Option<f64>,
    /// A bare `get` of the same entry.
    pub(super) kv_get_8_p50_us: Option<f64>,
    /// The same for the slowest of a hundred.
    pub(super) kv_get_8_p99_us: Option<f64>,
    /// The API's turns, each against the bare ones before and after it, for the slowest of a hundred.
    pub(super) api_8_p99_ratio: Option<f64>,
    /// The least and the greatest of those.
    pub(super) api_8_p99_ratio_range: Option<(f64, f64)>,
    /// The bare turns, each against the one before, the least and the greatest: how much the ground moves.
    pub(super) kv_get_8_aa_range: Option<(f64, f64)>,
    /// One call that echoes 1 KiB, nanoseconds.
    pub(super) call_ns: Option<f64>,
    /// One call of the JSON transform.
    pub(super) call_json_ns: Option<f64>,
    /// The same transform as native code.
    pub(super) native_json_ns: Option<f64>,
    /// From nothing to a plugin that is ready, its code in the cache.
    pub(super) warm_start_ms: Option<f64>,
    /// Resident memory of a runtime at rest with four plugins.
    pub(super) rss_mb: Option<f64>,
    /// Whether every event of every turn arrived.
    pub(super) all_arrived: Option<bool>,
    events: u64,
    payload_bytes: u32,
    keys: u64,
    rounds: u32,
    rate: u32,
    cores: usize,
    nats_server: String,
    optimised: bool,
}

impl Figures {
    /// No figure yet; what the run is about.
    pub(super) fn of(args: &Args, place: &Place) -> Self {
        Self {
            events: args.events,
            payload_bytes: args.payload,
            keys: args.keys,
            rounds: args.rounds,
            rate: args.rate,
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            nats_server: place.version(),
            optimised: !cfg!(debug_assertions),
            ..Self::default()
        }
    }

    /// Notes what reads came to, one at a time.
    pub(super) fn read(&mut self, compared: &Compared) {
        self.api_p50_us = compared.api_p50_us;
        self.api_p99_us = compared.api_p99_us;
        self.kv_get_p50_us = compared.bare_p50_us;
        self.kv_get_p99_us = compared.bare_p99_us;
        self.api_p99_ratio = compared.ratio;
        self.api_p99_ratio_range = compared.ratio_range;
        self.kv_get_aa_range = compared.aa_range;
    }

    /// Notes what reads came to, eight at a time.
    pub(super) fn read_at_8(&mut self, compared: &Compared) {
        self.api_8_p50_us = compared.api_p50_us;
        self.api_8_p99_us = compared.api_p99_us;
        self.kv_get_8_p50_us = compared.bare_p50_us;
        self.kv_get_8_p99_us = compared.bare_p99_us;
        self.api_8_p99_ratio = compared.ratio;
        self.api_8_p99_ratio_range = compared.ratio_range;
        self.kv_get_8_aa_range = compared.aa_range;
    }

    /// Name and value of each figure.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let Ok(Value::Object(figures)) = serde_json::to_value(self) else {
            return Vec::new();
        };
        let row = |(name, value): (String, Value)| match value {
            Value::Null => vec![name, "-".to_owned()],
            Value::String(text) => vec![name, text],
            // Drawn by itself.
            Value::Array(points) if points.iter().all(Value::is_array) => {
                vec![name, format!("{} points", points.len())]
            }
            other => vec![name, other.to_string()],
        };
        figures.into_iter().map(row).collect()
    }

    /// Events per second over events in flight, a bar for each point.
    pub(super) fn curve(&self) -> Vec<Vec<String>> {
        let points = &self.joined_eps_by_in_flight;
        let greatest = points.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
        let row = |(in_flight, rate): &(u32, f64)| {
            let is_reached = |block: &u32| f64::from(*block) / f64::from(WIDTH) <= rate / greatest;
            let bar = (1..=WIDTH).filter(is_reached).map(|_| '█').collect();
            vec![in_flight.to_string(), rate.to_string(), bar]
        };
        points.iter().map(row).collect()
    }
}

/// The middle of `values`; none of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        0 => Some(f64::midpoint(*sorted.get(sorted.len() / 2 - 1)?, upper)),
        _ => Some(upper),
    }
}

/// The least and the greatest of `values`, rounded to thousandths.
pub(super) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().reduce(f64::min)?;
    let greatest = values.iter().copied().reduce(f64::max)?;
    Some((rounded(least, 3), rounded(greatest, 3)))
}

/// `value` to so many decimal places: more would only seem to say something.
pub(super) fn rounded(value: f64, places: i32) -> f64 {
    let unit = 10_f64.powi(places);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(range(&[0.8, 0.61239, 0.7]), Some((0.612, 0.8)));
    }
}
