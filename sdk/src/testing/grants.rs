//! The checks of the host against the manifest, as failed assertions.

use crate::{Manifest, Next, Verdict};

/// Header names that steer the server and the host.
const RESERVED: [&str; 2] = ["nats-", "syncline-"];

/// Whether the plugin is asked about events of this type.
pub(super) fn accepts(manifest: &Manifest, type_: &str) -> bool {
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => type_.starts_with(start),
        None => pattern == type_,
    };
    manifest.accepts.is_empty() || manifest.accepts.iter().any(matches)
}

pub(super) fn check(manifest: &Manifest, verdict: &Verdict) {
    for effect in verdict.effects() {
        if let Some(target) = &effect.target {
            let named = names(&manifest.targets, target);
            assert!(
                named,
                "an effect is for the target {target}, not in the manifest's `targets`"
            );
        }
        check_headers(&effect.headers);
    }
    if let Verdict::Accept {
        next: Next::Forward(events),
        ..
    } = verdict
    {
        events
            .iter()
            .for_each(|event| check_headers(&event.headers));
    }
}

pub(super) fn check_capability(manifest: Option<&Manifest>, name: &str) {
    let wanted = manifest.is_none_or(|it| it.capabilities.iter().any(|wanted| wanted == name));
    assert!(
        wanted,
        "the plugin uses {name}, which is not in the manifest's `capabilities`"
    );
}

pub(super) fn check_lookup(manifest: Option<&Manifest>, target: &str) {
    let named = manifest.is_none_or(|it| names(&it.lookups, target));
    assert!(
        named,
        "the plugin looks {target} up, which is not in the manifest's `lookups`"
    );
}

pub(super) fn check_secret(manifest: Option<&Manifest>, name: &str) {
    let named = manifest.is_none_or(|it| it.secrets.iter().any(|secret| secret == name));
    assert!(
        named,
        "the plugin asks for the secret {name}, not in the manifest's `secrets`"
    );
}

pub(super) fn check_host(manifest: Option<&Manifest>, url: &str) {
    let place = url.strip_prefix("https://").unwrap_or(url);
    let at = place.find("://").map_or(0, |at| at + 3);
    let end = place[at..]
        .find(['/', '?', '#'])
        .map_or(place.len(), |end| at + end);
    let host = place[..end].to_ascii_lowercase();
    let named = manifest.is_none_or(|it| {
        let mut hosts = it
            .attributes
            .iter()
            .filter(|(name, _)| name == "http")
            .peekable();
        let is_open = hosts.peek().is_none();
        is_open || hosts.any(|(_, named)| means(named, &host))
    });
    assert!(
        named,
        "the plugin sends a request to {host}, which is not in the manifest's `http`"
    );
}

/// Whether a host that a manifest names is this one: itself, one below its `*.`, or any.
fn means(named: &str, host: &str) -> bool {
    let named = named.strip_prefix("https://").unwrap_or(named);
    let below = named
        .strip_prefix('*')
        .is_some_and(|end| host.ends_with(end));
    named == "*" || named == host || below
}

pub(super) fn check_metric(name: &str, labels: &[(String, String)]) {
    let keys = labels.iter().map(|(key, _)| key.as_str());
    for name in std::iter::once(name).chain(keys) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let valid = !name.is_empty() && name.chars().all(plain);
        assert!(
            valid,
            "metric names and label keys are [a-z0-9_]+, not {name:?}"
        );
    }
}

fn check_headers(headers: &[(String, String)]) {
    for (name, _) in headers {
        let lower = name.to_ascii_lowercase();
        let reserved = RESERVED.iter().any(|start| lower.starts_with(start));
        assert!(!reserved, "the header {name} is the host's own");
    }
}

/// Whether a list of targets names this one: as it is, with a major version, or as part of all.
fn names(targets: &[String], target: &str) -> bool {
    let name = |listed: &String| listed.split('@').next() == Some(target);
    targets.iter().any(|listed| listed == "*" || name(listed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effect, manifest};

    #[test]
    fn targets_are_named_plainly_by_version_or_all() {
        let listed = |target: &str| names(&[target.to_owned()], "crm");
        assert!(listed("crm") && listed("crm@2") && listed("*"));
        assert!(!listed("crm2") && !listed("search"));
    }

    #[test]
    fn a_star_at_the_end_stands_for_any_rest() {
        let manifest = manifest!().accepts(["order.*", "ping"]);
        assert!(accepts(&manifest, "order.paid") && accepts(&manifest, "ping"));
        assert!(!accepts(&manifest, "orders.paid") && !accepts(&manifest, "ping.pong"));
        assert!(accepts(&manifest!(), "anything"));
    }

    #[test]
    #[should_panic(expected = "not in the manifest's `targets`")]
    fn an_effect_for_another_target_fails_the_test() {
        let verdict = Verdict::pass().with(Effect::delete("7").to("search"));
        check(&manifest!().targets(["crm"]), &verdict);
    }

    #[test]
    #[should_panic(expected = "the host's own")]
    fn reserved_headers_fail_the_test() {
        check(
            &manifest!(),
            &Verdict::pass().with(Effect::append("7").header("Nats-Msg-Id", "1")),
        );
    }
}
