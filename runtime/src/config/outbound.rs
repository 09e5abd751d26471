//! `grants.http` of a plugin, and `[plugins.NAME.http.HOST]`.

use super::entry::Entry;
use super::env;
use super::keys;
use super::secrets::{self, Secret};
use super::suggest;
use crate::outbound::{Grant, METHODS, Network, Pattern, Placed, Settings, is_placeable};
use crate::tls::Tls;
use http::{HeaderName, Method};
use std::collections::BTreeMap;
use toml::de::DeValue;

type Secrets = BTreeMap<String, Secret>;

/// How a secret is named within a text.
const SECRET: &str = "${secret:";

/// The hosts that a plugin may send requests to.
pub(super) fn hosts(entry: &Entry<'_>) -> Option<Vec<Grant>> {
    let mut grants: Vec<Grant> = Vec::new();
    for (entry, text) in entry.texts()? {
        match text.parse::<Pattern>() {
            Ok(pattern) if grants.iter().any(|grant| grant.pattern == pattern) => {
                entry.report(format!("`{pattern}` is there twice: remove one"));
            }
            Ok(pattern) => grants.push(Grant::of(pattern)),
            Err(fault) => entry.report(fault),
        }
    }
    Some(grants)
}

/// How the granted hosts are reached.
pub(super) fn reach(grants: &mut [Grant], entry: &Entry<'_>, secrets: &Secrets) {
    for (host, entry) in entry.fields().unwrap_or_default() {
        let pattern = match host.parse::<Pattern>() {
            Ok(pattern) => pattern,
            Err(fault) => {
                entry.report_key(fault);
                continue;
            }
        };
        let Some(settings) = settings(&entry, &pattern, secrets) else {
            continue;
        };
        match grants.iter_mut().find(|grant| grant.pattern == pattern) {
            Some(grant) => grant.settings = settings,
            None => {
                let known: Vec<_> = grants.iter().map(|g| g.pattern.to_string()).collect();
                let hint = suggest::hint(host, known.iter().map(String::as_str));
                entry.report_key(format!(
                    "`{pattern}` is not granted: name it in `http` of the plugin's `grants`{hint}"
                ));
            }
        }
    }
}

fn settings(entry: &Entry<'_>, pattern: &Pattern, secrets: &Secrets) -> Option<Settings> {
    let section = entry.section(&keys::HTTP)?;
    let mut settings = Settings::default();
    section.set("methods", &mut settings.methods, methods);
    section.set("headers", &mut settings.headers, |entry| {
        headers(entry, secrets)
    });
    section.set("networks", &mut settings.networks, networks);
    section.set("tls", &mut settings.tls, tls);
    if !settings.headers.is_empty() && !pattern.is_exact() {
        let why = "what is set would go to every host below the name: name each host that gets it";
        section.refuse(&["headers"], why);
    }
    if !pattern.is_encrypted() {
        let why = "requests to http:// are not encrypted: grant the host without it";
        section.refuse(&["tls"], why);
    }
    Some(settings)
}

fn methods(entry: &Entry<'_>) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for (entry, text) in entry.texts()? {
        match METHODS.iter().find(|method| method.as_str() == text) {
            Some(method) => methods.push(method.clone()),
            None => {
                let known: Vec<_> = METHODS.iter().map(Method::as_str).collect();
                let known = known.join(", ");
                entry.report(format!("`{text}` cannot be granted: {known}"));
            }
        }
    }
    Some(methods)
}

fn networks(entry: &Entry<'_>) -> Option<Vec<Network>> {
    let entries = entry.texts()?;
    let networks = entries.iter().filter_map(|(entry, _)| entry.parse());
    Some(networks.collect())
}

fn tls(entry: &Entry<'_>) -> Option<Tls> {
    let section = entry.section(&keys::HTTP_TLS)?;
    if section.has("cert") != section.has("key") {
        section.report("`cert` and `key` go together: write both or none");
    }
    Some(Tls {
        ca: section.read("ca", Entry::existing_file),
        cert: section.read("cert", Entry::existing_file),
        key: section.read("key", Entry::existing_file),
    })
}

/// Headers of each request, which the plugin does not see.
fn headers(entry: &Entry<'_>, secrets: &Secrets) -> Option<Vec<Placed>> {
    let mut headers: Vec<Placed> = Vec::new();
    for (name, entry) in entry.fields()? {
        let name = match name.parse::<HeaderName>() {
            Ok(name) if is_placeable(&name) => name,
            _ => {
                let why = "this header is no header, or one that Syncline sets itself: remove it";
                entry.report_key(why);
                continue;
            }
        };
        if headers.iter().any(|placed| placed.name == name) {
            entry.report_key(format!("`{name}` is there twice: remove one"));
            continue;
        }
        let Some((value, hidden)) = value(&entry, secrets) else {
            continue;
        };
        match Placed::new(name, &value, hidden) {
            Ok(placed) => headers.push(placed),
            Err(fault) => entry.report(fault),
        }
    }
    Some(headers)
}

/// A value, and the secrets in it.
fn value(entry: &Entry<'_>, secrets: &Secrets) -> Option<(String, Vec<String>)> {
    let DeValue::String(text) = entry.value else {
        let secret = secrets::anywhere(entry)?.expose().to_owned();
        return Some((secret.clone(), vec![secret]));
    };
    match with_secrets(text, entry.file.env, secrets) {
        Ok((value, _)) if value.is_empty() => entry.report("the string is empty: write a value"),
        Ok(found) => return Some(found),
        Err(fault) => entry.report(fault),
    }
    None
}

/// `text` with every `${secret:NAME}` and `${NAME}` replaced, and the secrets that were put in.
fn with_secrets(
    text: &str,
    env: env::Env<'_>,
    secrets: &Secrets,
) -> Result<(String, Vec<String>), String> {
    let (mut value, mut hidden) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(SECRET) {
        value.push_str(&env::replace(before, env)?);
        let (name, tail) = after
            .split_once('}')
            .ok_or_else(|| format!("`{SECRET}` has no closing `}}`"))?;
        let secret = secrets.get(name).ok_or_else(|| {
            let hint = suggest::hint(name, secrets.keys().map(String::as_str));
            format!("no secret `{name}` is configured: add it to [secrets]{hint}")
        })?;
        value.push_str(secret.expose());
        hidden.push(secret.expose().to_owned());
        rest = tail;
    }
    value.push_str(&env::replace(rest, env)?);
    Ok((value, hidden))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::plugin::Limits;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn secrets_and_variables_are_put_into_a_value() {
        let secrets = Secrets::from([("crm_token".to_owned(), Secret::from("t0p ${X}"))]);
        let env = |name: &str| (name == "TENANT").then(|| "acme".to_owned());
        let put = |text: &str| with_secrets(text, &env, &secrets);
        let (value, hidden) = put("${TENANT}: Bearer ${secret:crm_token}!").unwrap();
        assert_eq!(value, "acme: Bearer t0p ${X}!");
        assert_eq!(hidden, ["t0p ${X}"]);
        assert_eq!(put("plain").unwrap(), ("plain".to_owned(), vec![]));
        for (text, expected) in [
            ("${secret:crm_toke}", "did you mean `crm_token`"),
            ("${secret:crm_token", "no closing"),
            ("${NOBODY}", "is not set"),
        ] {
            let fault = put(text).unwrap_err();
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }

    #[test]
    fn hosts_of_plugins_are_read() {
        let env = |name: &str| match name {
            "REGION" => Some("eu".to_owned()),
            "TOKEN" => Some("hush".to_owned()),
            _ => None,
        };
        let config = Config::parse(
            r#"
            [secrets.crm_token]
            env = "TOKEN"
            [plugins.crm]
            path = "crm.wasm"
            grants.http = ["api.example.com:8443", "*.example.com", "http://127.0.0.1:9000"]
            limits = { http_time = "1s", http_request = "1KiB", http_response = 10, http_connections = 1 }
            [plugins.crm.http."api.example.com:8443"]
            methods = ["GET", "POST"]
            headers = { Authorization = "Bearer ${secret:crm_token}", x-key = { env = "TOKEN" }, x-region = "${REGION}" }
            networks = ["10.0.0.0/8", "fd00::/8"]
            "#,
            Path::new("/etc/syncline"),
            &env,
        )
        .unwrap_or_else(|problems| panic!("{problems}"));
        let plugin = &config.plugins[0];
        let [api, below, here] = plugin.grants.http.as_slice() else {
            panic!("{:?}", plugin.grants.http)
        };
        let patterns = [api, below, here].map(|grant| grant.pattern.to_string());
        let expected = [
            "api.example.com:8443",
            "*.example.com",
            "http://127.0.0.1:9000",
        ];
        assert_eq!(patterns, expected);
        assert_eq!(api.settings.methods, [Method::GET, Method::POST]);
        let placed = |name: &str, value: &str, secrets: &[&str]| {
            let secrets = secrets.iter().map(ToString::to_string).collect();
            Placed::new(name.parse().unwrap(), value, secrets).unwrap()
        };
        let headers = [
            placed("authorization", "Bearer hush", &["hush"]),
            placed("x-key", "hush", &["hush"]),
            placed("x-region", "eu", &[]),
        ];
        assert_eq!(api.settings.headers, headers);
        assert_eq!(api.settings.networks.len(), 2);
        assert_eq!(below.settings, Settings::default());
        let limits = Limits {
            http_time: Duration::from_secs(1),
            http_request: bytesize::ByteSize::kib(1),
            http_response: bytesize::ByteSize::b(10),
            http_connections: 1,
            ..Limits::default()
        };
        assert_eq!(plugin.limits, limits);
    }
}
