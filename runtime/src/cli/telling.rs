//! How entities are told as events: options that several commands share.

use syncline::drift::Telling;

/// How entities are told.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TellingArgs {
    /// Only this kind of entity
    #[arg(long, value_name = "KIND")]
    pub(super) entity: Option<String>,

    /// The events' type [default: TARGET.KIND.updated]
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,

    /// The events' source [default: /targets/TARGET]
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// The NATS subject that the events seem to come from; `{entity}` and `{key}` are filled in
    /// [default: TARGET.KIND.KEY]
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
}

impl TellingArgs {
    /// As it was typed.
    pub(super) fn typed(&self) -> String {
        let all = [
            ("entity", &self.entity),
            ("type", &self.kind),
            ("source", &self.source),
            ("subject", &self.subject),
        ];
        let typed = all.into_iter();
        let typed = typed.filter_map(|(name, value)| Some((name, value.as_ref()?)));
        typed
            .map(|(name, value)| format!(" --{name} {value}"))
            .collect()
    }

    /// As it is for the entities of a target.
    pub(super) fn of(&self, target: &str) -> Telling {
        Telling {
            target: target.to_owned(),
            kind: self.kind.clone(),
            source: self.source.clone(),
            subject: self.subject.clone(),
        }
    }
}
