//! Which dead letters a command means.

use super::super::failure::Failure;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as ValueError;
use std::time::SystemTime;
use syncline::dead_letter::{DeadLetters, LetterSummary, Selection};
use syncline::event::DeadReason;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A choice by what the letters are about.
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Only of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,

    /// Only with this ordering key
    #[arg(long)]
    key: Option<String>,

    /// Only given up for this reason: invalid, reject, trap, bad-answer, contract, refused, conflict,
    /// exhausted, parked
    #[arg(long, value_parser = reason)]
    reason: Option<DeadReason>,

    /// Only given up at or after this time: RFC 3339, or how long ago, as in `2h`
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<OffsetDateTime>,

    /// Only given up before this time: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    until: Option<OffsetDateTime>,
}

/// A choice by name or by what the letters are about; one of them is needed.
#[derive(Debug, clap::Args)]
pub(super) struct Pick {
    /// These dead letters, as `dlq list` calls them
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    #[command(flatten)]
    filter: Filter,
}

impl Filter {
    pub(super) fn selection(&self) -> Selection {
        Selection {
            pipeline: self.pipeline.clone(),
            key: self.key.clone(),
            reason: self.reason,
            since: self.since,
            until: self.until,
            ..Selection::default()
        }
    }
}

impl Pick {
    /// The letters that are meant, oldest first: the open ones, or those that were `replayed`.
    ///
    /// # Errors
    /// When nothing says which, or there is none of a name.
    pub(super) async fn find(
        &self,
        letters: Option<&DeadLetters>,
        replayed: bool,
    ) -> anyhow::Result<Vec<LetterSummary>> {
        let selection = self.filter.selection();
        if self.ids.is_empty() && selection == Selection::default() {
            let failure = Failure::new("nothing says which dead letters are meant");
            let remedy = "name them, or choose by --pipeline, --key, --reason, --since or --until";
            return Err(failure.remedy(remedy).usage().into());
        }
        let selection = Selection {
            replayed,
            ..selection
        };
        let mut found = match letters {
            Some(letters) => letters.list(&selection).await?,
            None => Vec::new(),
        };
        if self.ids.is_empty() {
            return Ok(found);
        }
        found.retain(|letter| self.ids.contains(&letter.id));
        let missing = |id: &&String| !found.iter().any(|letter| letter.id == **id);
        match self.ids.iter().find(missing) {
            None => Ok(found),
            Some(id) => {
                let state = if replayed { "replayed" } else { "open" };
                let failure = Failure::new(format!("cannot find dead letter `{id}`"));
                let failure = failure.why(format!("no {state} one has that id"));
                Err(failure
                    .remedy("`syncline dlq list` shows the open ones")
                    .into())
            }
        }
    }
}

fn reason(text: &str) -> Result<DeadReason, String> {
    DeadReason::deserialize(text.into_deserializer()).map_err(|error: ValueError| error.to_string())
}

/// A point in time: RFC 3339, or how long ago.
pub(in crate::cli) fn point_in_time(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let point = SystemTime::now().checked_sub(ago);
        return point
            .map(Into::into)
            .ok_or_else(|| "that is too long ago".to_owned());
    }
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        "neither a time like 2026-01-31T12:00:00Z nor a duration like `2h` ago".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_how_long_ago() {
        let point = point_in_time("2026-01-31T12:00:00+01:00").unwrap();
        assert_eq!(point.unix_timestamp(), 1_769_857_200);
        let ago = OffsetDateTime::now_utc() - point_in_time("2h").unwrap();
        assert!(ago.whole_minutes() >= 119, "{ago}");
        assert!(point_in_time("yesterday").is_err());
    }

    #[test]
    fn reasons_are_those_of_dead_letters() {
        assert_eq!(reason("bad-answer"), Ok(DeadReason::BadAnswer));
        assert!(reason("boredom").unwrap_err().contains("parked"));
    }
}
