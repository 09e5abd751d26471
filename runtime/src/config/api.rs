//! `[api]`: whether the target modules can be read and changed over HTTP, and by whom.

use super::entry::Entry;
use super::keys;
use super::names::{self, Names};
use super::section::Section;
use super::targets::Flavor;
use crate::api::{
    Bearer, Config, DEFAULT_LISTEN, Hash, Jwt, Listen, OverNats, Permitted, Scope, Token,
};
use crate::contract::Verb;
use crate::tls::Identity;

/// How the service is called where nothing else is said, and what its subjects begin with.
const DEFAULT_SERVICE: &str = "syncline";
const DEFAULT_PREFIX: &str = "syncline.api";

pub(super) fn read(entry: &Entry<'_>, known: &Names) -> Option<Config> {
    let section = entry.section(&keys::API)?;
    let listen = read_listen(&section);
    let tls = section.read("tls", read_tls);
    let service = section.read("service", |entry| read_service(entry, known));
    let jwt = section.read("jwt", |entry| read_jwt(entry, known));
    if !section.has("jwt") {
        let advice = "say whom to let in, as in [api.tokens.NAME] or [api.jwt]: nobody else is";
        section.demand("tokens", advice);
    }
    let tokens = section.read("tokens", |entry| {
        let fields = entry.fields()?;
        if fields.is_empty() && !section.has("jwt") {
            section.report("there is no token, so that nobody is let in: add [api.tokens.NAME]");
        }
        Some(read_tokens(fields, known))
    });
    Some(Config {
        listen: listen?,
        tls,
        tokens: tokens.unwrap_or_default(),
        jwt,
        service,
    })
}

/// Other machines may reach it only where what they send is encrypted.
fn read_listen(section: &Section<'_>) -> Option<Listen> {
    let Some(entry) = section.get("listen") else {
        return DEFAULT_LISTEN.parse().ok();
    };
    let listen: Listen = entry.parse()?;
    if !listen.is_local() && !section.has("tls") {
        entry.report(format!(
            "`{listen}` can be reached from other machines, and without TLS tokens would be sent in the \
             open: add [api.tls] with a certificate, or write 127.0.0.1 or [::1]"
        ));
    }
    Some(listen)
}

fn read_tls(entry: &Entry<'_>) -> Option<Identity> {
    let section = entry.section(&keys::API_TLS)?;
    let advice =
        "name the file with the certificate, in PEM, and those between it and an authority";
    let cert = section.require("cert", advice, Entry::existing_file);
    let advice = "name the file with the private key of the certificate, in PEM";
    let key = section.require("key", advice, Entry::existing_file);
    Some(Identity {
        cert: cert?,
        key: key?,
    })
}

fn read_tokens(fields: Vec<(&str, Entry<'_>)>, known: &Names) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (name, entry) in fields {
        let Some(token) = read_token(name, &entry, known) else {
            continue;
        };
        if let Some(other) = tokens.iter().find(|other| other.hash == token.hash) {
            let same = &other.bearer.name;
            entry.report_key(format!(
                "it is the same token as `{same}`: give it one of its own"
            ));
        }
        tokens.push(token);
    }
    tokens
}

fn read_jwt(entry: &Entry<'_>, known: &Names) -> Option<Jwt> {
    let section = entry.section(&keys::JWT)?;
    let advice = "name the file with the public keys of the issuer, a JWK Set";
    let keys = section.require("keys", advice, Entry::existing_file);
    let advice = "write what the issuer calls itself, as in the claim `iss` of its tokens";
    let issuer = section.require("issuer", advice, Entry::text);
    let advice = "write what the issuer calls this API, as in the claim `aud` of its tokens";
    let audience = section.require("audience", advice, Entry::text);
    let rate = section.read("rate_limit", Entry::parse);
    let scopes = read_scopes(&section, known);
    Some(Jwt {
        keys: keys?,
        issuer: issuer?,
        audience: audience?,
        scopes: scopes?,
        rate,
    })
}

fn read_token(name: &str, entry: &Entry<'_>, known: &Names) -> Option<Token> {
    let name = names::own(name, entry);
    let section = entry.section(&keys::TOKEN)?;
    let advice = "write the SHA-256 of the token, 64 hexadecimal digits";
    let hash = section.require("sha256", advice, Entry::parse::<Hash>);
    let rate = section.read("rate_limit", Entry::parse);
    let scopes = read_scopes(&section, known)?;
    Some(Token {
        hash: hash?,
        bearer: Bearer { name, scopes, rate },
    })
}

fn read_service(entry: &Entry<'_>, known: &Names) -> Option<OverNats> {
    let section = entry.section(&keys::SERVICE)?;
    let name = match section.get("name") {
        Some(entry) => names::of_nats(&entry)?,
        None => DEFAULT_SERVICE.to_owned(),
    };
    let prefix = match section.get("prefix") {
        Some(entry) => read_prefix(&entry)?,
        None => DEFAULT_PREFIX.to_owned(),
    };
    let rate = section.read("rate_limit", Entry::parse);
    let scopes = read_scopes(&section, known)?;
    Some(OverNats {
        bearer: Bearer {
            name: format!("nats:{name}"),
            scopes,
            rate,
        },
        name,
        prefix,
    })
}

fn read_prefix(entry: &Entry<'_>) -> Option<String> {
    let prefix = entry.text()?;
    let is_plain = |token: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !token.is_empty() && token.bytes().all(plain)
    };
    if !prefix.split('.').all(is_plain) {
        entry.report(format!(
            "`{prefix}` cannot begin subjects: write letters, digits, `_` and `-`, parted by dots"
        ));
        return None;
    }
    Some(prefix)
}

fn read_scopes(section: &Section<'_>, known: &Names) -> Option<Vec<Scope>> {
    let advice = "say what it permits, as in scopes = [\"crm:retrieve\"]";
    let scopes = section.require("scopes", advice, Entry::texts)?;
    let scopes = scopes
        .iter()
        .filter_map(|(entry, _)| read_scope(entry, known));
    Some(scopes.collect())
}

fn read_scope(entry: &Entry<'_>, known: &Names) -> Option<Scope> {
    let scope: Scope = entry.parse()?;
    let Some(target) = &scope.target else {
        return Some(scope);
    };
    if !known.targets.iter().any(|(name, _)| name == target) {
        entry.report(format!(
            "no target `{target}` is configured: add [targets.{target}]"
        ));
    } else if scope.permits == Permitted::One(Verb::Retrieve)
        && matches!(known.flavor(target), Some(Flavor::Subject { .. }))
    {
        entry.report(format!(
            "target `{target}` is a subject, of which nothing can be read"
        ));
    } else if !known.contracts.contains_key(target) && known.flavor(target).is_some() {
        entry.report(format!(
            "target `{target}` has no contract, by which alone it can be served: name one as its `contract`"
        ));
    }
    Some(scope)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use serde_json::json;

    const REST: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
contract = { version = 2, schema = "crm.v2.json" }
[targets.bare]
kind = "kv"
bucket = "bare"
[targets.out]
kind = "subject"
subject = "out"
stream = "OUT"
"#;

    fn parse(lines: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let customer = json!({ "operations": ["retrieve"], "schema": true });
        let contract = json!({ "name": "crm", "version": 2, "entities": { "customer": customer } });
        std::fs::write(folder.path().join("crm.v2.json"), contract.to_string()).unwrap();
        for file in ["cert.pem", "key.pem", "jwks.json"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let read = Config::parse(&format!("{REST}{lines}"), folder.path(), &|_: &str| None);
        read.map_err(|problems| problems.to_string())
    }

    fn token(name: &str, digit: char, scopes: &str) -> String {
        let hash = digit.to_string().repeat(64);
        format!("[api.tokens.{name}]\nsha256 = \"{hash}\"\nscopes = {scopes}\n")
    }

    fn jwt(scopes: &str) -> String {
        format!(
            "[api.jwt]\nkeys = \"jwks.json\"\nissuer = \"i\"\naudience = \"a\"\nscopes = {scopes}\n"
        )
    }

    #[test]
    fn what_an_issuer_may_permit_is_said() {
        let lines = jwt("[\"crm:retrieve\"]") + "rate_limit = \"5/s\"\n";
        let api = parse(&lines).unwrap().api.unwrap();
        assert!(!api.permits_changes());
        assert!(api.tokens.is_empty());
        let jwt = api.jwt.unwrap();
        assert!(jwt.keys.ends_with("jwks.json"));
        assert_eq!((jwt.issuer.as_str(), jwt.audience.as_str()), ("i", "a"));
        assert_eq!(jwt.rate, "5/s".parse().ok());
        let api = parse(&super::tests::jwt("[\"*:write\"]")).unwrap().api;
        assert!(api.unwrap().permits_changes());
    }

    #[test]
    fn nothing_listens_unless_it_is_asked_for() {
        assert_eq!(parse("").unwrap().api, None);
        let api = parse(&token("reader", 'a', "[\"crm:retrieve\", \"*:retrieve\"]"));
        let api = api.unwrap().api.unwrap();
        assert_eq!(api.listen, super::DEFAULT_LISTEN.parse().unwrap());
        assert_eq!(api.tokens[0].bearer.name, "reader");
        assert_eq!(api.tokens[0].bearer.scopes.len(), 2);
    }

    #[test]
    fn what_would_let_in_nobody_or_everybody_is_refused() {
        let one = token("a", 'a', "[\"crm:retrieve\"]");
        let listen = |address: &str| format!("[api]\nlisten = \"{address}\"\n{one}");
        for (lines, expected) in [
            (listen("127.0.0.1:0"), ""),
            (listen("[::1]:9"), ""),
            (
                listen("0.0.0.0:80"),
                "api.listen: `0.0.0.0:80` can be reached from other machines, and without TLS",
            ),
            (
                listen("localhost:80"),
                "api.listen: `localhost:80` is no address",
            ),
            ("[api]\n".to_owned(), "`tokens` is missing"),
            ("[api.tokens]\n".to_owned(), "there is no token"),
            (
                format!("{one}{}", token("b", 'a', "[]")),
                "api.tokens.b: it is the same token as `a`",
            ),
            (
                token("a", 'x', "[]"),
                "api.tokens.a.sha256: a SHA-256 has 64 hexadecimal digits",
            ),
            (token("a", 'a', "[\"crm\"]"), "`crm` is no scope"),
            (
                token("a", 'a', "[\"crm:read\"]"),
                "`read` cannot be permitted",
            ),
            (
                token("a", 'a', "[\"cmr:retrieve\"]"),
                "no target `cmr` is configured",
            ),
            (
                token("a", 'a', "[\"bare:retrieve\"]"),
                "target `bare` has no contract",
            ),
            (
                token("a", 'a', "[\"out:retrieve\"]"),
                "target `out` is a subject",
            ),
        ] {
            let told = parse(&lines).err().unwrap_or_default();
            assert!(told.contains(expected), "{lines}: {told}");
            assert_eq!(told.is_empty(), expected.is_empty(), "{lines}: {told}");
        }
    }

    #[test]
    fn what_an_issuer_or_encryption_needs_is_asked_for() {
        let one = token("a", 'a', "[\"crm:retrieve\"]");
        let listen = |address: &str| format!("[api]\nlisten = \"{address}\"\n{one}");
        for (lines, expected) in [
            (
                format!(
                    "{}[api.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n",
                    listen("0.0.0.0:80")
                ),
                "",
            ),
            (
                format!("{one}[api.tls]\ncert = \"gone.pem\"\n"),
                "there is no file",
            ),
            (
                format!("{one}[api.tls]\ncert = \"cert.pem\"\n"),
                "api.tls: `key` is missing",
            ),
            (format!("[api.tokens]\n{}", jwt("[\"*:retrieve\"]")), ""),
            (jwt("[\"cmr:retrieve\"]"), "no target `cmr` is configured"),
            (
                "[api.jwt]\nkeys = \"jwks.json\"\nissuer = \"i\"\nscopes = []\n".to_owned(),
                "api.jwt: `audience` is missing",
            ),
            (
                jwt("[]").replace("scopes = []", ""),
                "api.jwt: `scopes` is missing",
            ),
        ] {
            let told = parse(&lines).err().unwrap_or_default();
            assert!(told.contains(expected), "{lines}: {told}");
            assert_eq!(told.is_empty(), expected.is_empty(), "{lines}: {told}");
        }
    }
}
