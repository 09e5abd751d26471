//! `syncline tx show`: one transaction, and what it changes.

use super::super::connection::NatsArgs;
use super::super::failure::Exit;
use super::super::print::Printer;
use super::super::verdict::payload_json;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use syncline::event::{Headers, Operation};
use syncline::target::Image;
use syncline::txn::{Change, TakenBack, Transaction, TransactionSummary};

/// Show one transaction whole: its event, what it changes, what was there before, and what taking it
/// back came to
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    nats: NatsArgs,

    /// The transaction, as `tx list` calls it
    gid: String,

    /// Print one JSON object on one line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct TransactionJson {
    #[serde(flatten)]
    summary: TransactionSummary,
    changes: Vec<ChangeJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    taken_back: Vec<TakenBack>,
}

#[derive(Serialize)]
struct ChangeJson {
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<String>,
    operation: Operation,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    headers: Headers,
    #[serde(flatten)]
    payload: PayloadJson,
    /// Of a change that is made before the decision; the others follow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<BeforeJson>,
}

/// What an entity was; neither payload: there was none, or it was empty.
#[derive(Serialize)]
struct BeforeJson {
    is_there: bool,
    etag: String,
    #[serde(flatten)]
    payload: PayloadJson,
}

#[derive(Serialize)]
struct PayloadJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    super::with_transactions(&args.nats, async |transactions| {
        let found = match transactions {
            Some(transactions) => transactions.get(&args.gid).await?,
            None => None,
        };
        let Some(transaction) = found else {
            return Err(super::none("show", &args.gid));
        };
        let shown = TransactionJson::of(transaction);
        match args.json {
            true => printer.json(&shown)?,
            false => printer.line(&serde_json::to_string_pretty(&shown)?)?,
        }
        Ok(Exit::Fine)
    })
    .await
}

impl TransactionJson {
    fn of(transaction: Transaction) -> Self {
        Self {
            summary: transaction.summary,
            changes: transaction.changes.iter().map(ChangeJson::of).collect(),
            taken_back: transaction.taken_back,
        }
    }
}

impl ChangeJson {
    fn of(change: &Change) -> Self {
        let effect = &change.planned.effect;
        Self {
            target: change.planned.target.to_string(),
            entity: effect.entity.clone(),
            operation: effect.operation,
            key: effect.key.clone(),
            content_type: effect.content_type.clone(),
            headers: effect.headers.clone(),
            payload: PayloadJson::of(effect.content_type.as_deref(), &effect.payload),
            before: change.before.as_ref().map(BeforeJson::of),
        }
    }
}

impl BeforeJson {
    fn of(image: &Image) -> Self {
        let data = image.data.clone().unwrap_or_default();
        Self {
            is_there: image.data.is_some(),
            etag: image.etag.clone(),
            payload: PayloadJson::of(None, &data),
        }
    }
}

impl PayloadJson {
    fn of(content_type: Option<&str>, payload: &Bytes) -> Self {
        let (payload, payload_base64) = payload_json(content_type, payload);
        Self {
            payload,
            payload_base64,
        }
    }
}

fn is_empty(headers: &Headers) -> bool {
    headers.0.is_empty()
}
