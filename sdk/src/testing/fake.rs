//! A host made of maps.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Manifest;
use crate::http::Response;
use crate::log::Level;
use crate::lookup::{Address, Entity};

/// What surrounds a plugin in a test.
#[derive(Debug, Default)]
pub struct FakeHost {
    manifest: Option<Manifest>,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) now: Duration,
    pub(super) entities: BTreeMap<(String, Option<String>, String), Entity>,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) lines: Vec<Line>,
    pub(super) counters: BTreeMap<String, u64>,
    pub(super) observed: BTreeMap<String, Vec<f64>>,
    pub(super) state_failure: Option<String>,
    pub(super) lookup_failure: Option<String>,
    pub(super) answers: Vec<(String, String, Response)>,
    pub(super) http_failure: Option<String>,
}

/// A log line that the plugin wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// How grave it is.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// Its fields, as text.
    pub fields: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Vec<u8>,
    pub(super) gone_at: Option<Duration>,
}

impl FakeHost {
    pub(super) fn new(manifest: Manifest) -> Self {
        Self {
            manifest: Some(manifest),
            ..Self::default()
        }
    }

    /// What the plugin says about itself.
    pub fn manifest(&self) -> &Manifest {
        self.manifest.as_ref().expect("a harness sets it")
    }

    /// What was asked for; `None` outside of a harness, where everything goes.
    pub(super) fn grants(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Puts a JSON entity where the plugin can look it up.
    pub fn entity(&mut self, target: &str, key: &str, data: impl Serialize) -> &mut Self {
        self.entity_at(&Address::new(target, key), data)
    }

    /// As [`entity`](Self::entity), in a target that holds several kinds. The etag is `1`, and
    /// grows when the entity is replaced.
    pub fn entity_at(&mut self, address: &Address, data: impl Serialize) -> &mut Self {
        let place = place(address);
        let known = self.entities.get(&place);
        let n_before: u32 = known
            .and_then(|it| it.etag.parse().ok())
            .unwrap_or_default();
        let entity = Entity {
            content_type: "application/json".into(),
            etag: (n_before + 1).to_string(),
            data: serde_json::to_vec(&data).expect("an entity of a test is JSON"),
        };
        self.entities.insert(place, entity);
        self
    }

    /// Gives the plugin a secret.
    pub fn secret(&mut self, name: &str, value: &str) -> &mut Self {
        self.secrets.insert(name.into(), value.into());
        self
    }

    /// Sets a value of the plugin's state.
    pub fn put_state(&mut self, key: &str, value: impl AsRef<[u8]>) -> &mut Self {
        let entry = Entry {
            value: value.as_ref().to_vec(),
            gone_at: None,
        };
        self.entries.insert(key.into(), entry);
        self
    }

    /// A value of the plugin's state.
    pub fn state(&self, key: &str) -> Option<&[u8]> {
        self.live(key).map(|entry| entry.value.as_slice())
    }

    /// Lets time pass for values that are kept for a time.
    pub fn advance(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// From now on state cannot be reached.
    pub fn fail_state(&mut self, why: &str) -> &mut Self {
        self.state_failure = Some(why.into());
        self
    }

    /// From now on no target can be looked up.
    pub fn fail_lookups(&mut self, why: &str) -> &mut Self {
        self.lookup_failure = Some(why.into());
        self
    }

    /// Records what is answered to every request with this method and URL.
    pub fn http(
        &mut self,
        method: &str,
        url: &str,
        status: u16,
        body: impl Into<Vec<u8>>,
    ) -> &mut Self {
        let answer = Response {
            status,
            headers: Vec::new(),
            body: body.into(),
        };
        self.http_answer(method, url, answer)
    }

    /// As [`http`](Self::http), with headers.
    pub fn http_answer(&mut self, method: &str, url: &str, answer: Response) -> &mut Self {
        self.answers.push((method.into(), url.into(), answer));
        self
    }

    /// From now on no host answers.
    pub fn fail_http(&mut self, why: &str) -> &mut Self {
        self.http_failure = Some(why.into());
        self
    }

    /// Everything can be reached again.
    pub fn recover(&mut self) -> &mut Self {
        (self.state_failure, self.lookup_failure) = (None, None);
        self.http_failure = None;
        self
    }

    /// The log lines so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What a counter stands at, over all its labels.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }

    /// What was added to a distribution, over all its labels.
    pub fn observed(&self, name: &str) -> &[f64] {
        self.observed.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn live(&self, key: &str) -> Option<&Entry> {
        self.entries
            .get(key)
            .filter(|entry| entry.gone_at.is_none_or(|gone| self.now < gone))
    }
}

pub(super) fn place(address: &Address) -> (String, Option<String>, String) {
    (
        address.target.clone(),
        address.entity.clone(),
        address.key.clone(),
    )
}
