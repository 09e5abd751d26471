//! Effects and events as the data describes them.

use crate::Report;
use serde::Deserialize;
use std::collections::BTreeMap;
use syncline_sdk::prelude::*;

#[derive(Deserialize)]
pub(crate) struct EffectSpec {
    target: Option<String>,
    entity: Option<String>,
    operation: Option<Operation>,
    key: Option<String>,
    precondition: Option<PreconditionSpec>,
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    payload: Option<Value>,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PreconditionSpec {
    Absent,
    Present,
    LookedUp,
    Etag(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NextSpec {
    #[default]
    Stop,
    Pass,
    Forward,
}

#[derive(Deserialize)]
pub(crate) struct EventSpec {
    id: Option<String>,
    #[serde(rename = "type")]
    type_: Option<String>,
    source: Option<String>,
    data: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

pub(crate) fn accept(
    report: &Report<'_>,
    effects: Vec<EffectSpec>,
    next: NextSpec,
    events: Vec<EventSpec>,
) -> Result<Verdict> {
    let effects = effects.into_iter().map(|effect| effect.make(report));
    let next = match next {
        NextSpec::Stop => Next::Stop,
        NextSpec::Pass => Next::Pass,
        NextSpec::Forward => {
            let events = events.into_iter().enumerate();
            let events = events.map(|(index, event)| event.make(index, report.event));
            Next::Forward(events.collect::<Result<_>>()?)
        }
    };
    Ok(Verdict::Accept {
        effects: effects.collect::<Result<_>>()?,
        next,
    })
}

impl EffectSpec {
    fn make(self, report: &Report<'_>) -> Result<Effect> {
        let key = self
            .key
            .unwrap_or_else(|| report.event.delivery.key.clone());
        let mut effect = Effect::new(self.operation.unwrap_or(Operation::Upsert), key);
        effect = match (self.text, self.payload) {
            (Some(text), _) => effect.data("text/plain", text),
            (None, Some(payload)) => effect.json(&payload)?,
            (None, None) => effect.json(&report.to_json())?,
        };
        effect.target = self.target;
        effect.entity = self.entity;
        effect.content_type = self.content_type.or(effect.content_type);
        effect.headers = self.headers.into_iter().collect();
        effect.precondition = self.precondition.map(|precondition| match precondition {
            PreconditionSpec::Absent => Precondition::Absent,
            PreconditionSpec::Present => Precondition::Present,
            PreconditionSpec::Etag(etag) => Precondition::Etag(etag),
            PreconditionSpec::LookedUp => Precondition::Etag(last_etag(report)),
        });
        Ok(effect)
    }
}

fn last_etag(report: &Report<'_>) -> String {
    let etag = report
        .results
        .iter()
        .rev()
        .find_map(|result| result["etag"].as_str());
    etag.unwrap_or_default().to_owned()
}

impl EventSpec {
    fn make(self, index: usize, event: &Event) -> Result<Event> {
        let mut made = match self.data {
            Some(data) => event.with_json(&data)?,
            None => event.clone(),
        };
        made.id = self.id.unwrap_or_else(|| format!("{}.{index}", event.id));
        made.type_ = self.type_.unwrap_or(made.type_);
        made.source = self.source.unwrap_or(made.source);
        made.headers.extend(self.headers);
        Ok(made)
    }
}
