//! The keys of an `http` target.

use super::entry::Entry;
use super::secrets;
use super::section::Section;
use crate::target::Tls;
use crate::target::http::{Hidden, Level, Settings, TransactionUrl, UrlTemplate, is_free_header};

/// The keys that no other kind has.
pub(super) const KEYS: [&str; 4] = ["collection", "headers", "level", "transactions"];

/// The words of `level`.
pub(super) const LEVELS: [(&str, Option<Level>); 4] = [
    ("M0", Some(Level::M0)),
    ("M1", Some(Level::M1)),
    ("M2", Some(Level::M2)),
    ("M3", Some(Level::M3)),
];

pub(super) fn read(
    section: &Section<'_>,
    url: Option<UrlTemplate>,
    tls: Option<Tls>,
) -> Option<Settings> {
    let collection = section.read("collection", Entry::parse::<UrlTemplate>);
    let headers = section.read("headers", headers).unwrap_or_default();
    let level = section.read("level", |entry| entry.choose(&LEVELS));
    let transactions = section.read("transactions", Entry::parse::<TransactionUrl>);
    let url = url?;
    Some(Settings {
        transactions,
        collection: collection.or_else(|| url.parent()),
        url,
        headers,
        level: level.unwrap_or(Level::M0),
        tls: tls.unwrap_or_default(),
    })
}

/// Notes what is missing or does not go together.
pub(super) fn check(section: &Section<'_>, settings: Option<&Settings>) {
    let advice = "say where an entity is, as in \"https://crm.example.com/v2/{entity}/{key}\"";
    section.demand("url", advice);
    let Some(settings) = settings else { return };
    if !settings.url.has_key() {
        section.report("the URL of an http target has no `{key}`: every entity has one of its own");
    }
    if let Some(collection) = settings.collection.as_ref().filter(|url| url.has_key()) {
        section.report(format!(
            "`collection` is where records without a key go, and `{collection}` has one"
        ));
    }
    check_transactions(section, settings);
    if section.has("tls") && !settings.url.is_encrypted() {
        let why = "the URL begins with http://, so that nothing is encrypted: write https://";
        section.refuse(&["tls"], why);
    }
}

/// Where a part of a transaction is belongs to a module that has one.
fn check_transactions(section: &Section<'_>, settings: &Settings) {
    if settings.level == Level::M3 {
        let advice = "say where a module of level M3 keeps its part of a transaction, as in \
                      \"https://crm.example.com/transactions/{transaction}\"";
        section.demand("transactions", advice);
    } else {
        let why = "only a module of level M3 has a part in transactions: remove it, or write \
                   `level = \"M3\"`";
        section.refuse(&["transactions"], why);
    }
    let is_open = |url: &TransactionUrl| settings.url.is_encrypted() && !url.is_encrypted();
    if settings.transactions.as_ref().is_some_and(is_open) {
        section.report(
            "`url` begins with https:// and `transactions` does not, so that what stands in `headers` \
             would be sent in the open: write https://",
        );
    }
}

/// Where an entity is.
pub(super) fn url(entry: &Entry<'_>) -> Option<UrlTemplate> {
    let text = secrets::anywhere(entry)?;
    match text.expose().parse() {
        Ok(url) => Some(url),
        Err(fault) => {
            let fault: String = fault;
            entry.report(fault);
            None
        }
    }
}

/// Headers of each request. Their values are not shown.
fn headers(entry: &Entry<'_>) -> Option<Vec<(String, Hidden)>> {
    let mut headers = Vec::new();
    for (name, entry) in entry.fields()? {
        if !is_free_header(name) {
            entry.report_key(
                "this header is no header, or one that Syncline sets itself: remove it",
            );
            continue;
        }
        let Some(value) = secrets::anywhere(&entry) else {
            continue;
        };
        match Hidden::header(value.expose()) {
            Ok(value) => headers.push((name.to_owned(), value)),
            Err(fault) => entry.report(fault),
        }
    }
    Some(headers)
}
