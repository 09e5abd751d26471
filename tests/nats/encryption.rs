//! TLS with a private authority, certificates of our own, and what is said when they do not fit.

use super::keys::Authority;
use super::{refused, works};
use crate::harness::TestEnv;
use tempfile::TempDir;
use time::Duration;

const ONE_DAY: Duration = Duration::days(1);

/// A folder with `ca.pem`, `server.pem`, `client.pem`, and strangers' `other-ca.pem` and
/// `other.pem`.
fn certificates(name: &str, good_for: Duration) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    own.write(&at("ca.pem"));
    own.sign(name, good_for, &at("server"));
    own.sign("syncline", ONE_DAY, &at("client"));
    other.write(&at("other-ca.pem"));
    other.sign("syncline", ONE_DAY, &at("other"));
    folder
}

/// Lines of a server's configuration that encrypt; with `verify` it wants certificates.
fn tls(folder: &TempDir, verify: bool) -> String {
    let at = |name: &str| folder.path().join(name);
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: {verify} }}",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    )
}

const OWN: &str = "url = \"tls://ADDRESS\"\ntls = { ca = \"ca.pem\", required = true }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let folder = certificates("127.0.0.1", ONE_DAY);
    let settings = tls(&folder, false);
    let env = TestEnv::guarded(folder, &settings, OWN).await;
    works(&env).await;
    refused(
        &env,
        "url = \"ADDRESS\"",
        &[
            "an authority that this system does not trust",
            "`ca` under [nats.tls]",
        ],
        &[],
    );
    refused(
        &env,
        &OWN.replace("ca.pem", "other-ca.pem"),
        &["other-ca.pem` does not hold", "`ca` under [nats.tls]"],
        &[],
    );
    refused(
        &env,
        &OWN.replace("ca.pem", "server.key"),
        &["`ca` under [nats.tls]"],
        &[],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_want_a_certificate_of_ours() {
    let folder = certificates("127.0.0.1", ONE_DAY);
    let settings = tls(&folder, true);
    let own = OWN.replace(
        "required",
        "cert = \"client.pem\", key = \"client.key\", required",
    );
    let env = TestEnv::guarded(folder, &settings, &own).await;
    works(&env).await;
    let expected = [
        "it wants a certificate of ours",
        "`cert` and `key` under [nats.tls]",
    ];
    refused(&env, OWN, &expected, &[]);
    let expected = [
        "refuses our certificate `",
        "other.pem`",
        "`cert` and `key` under [nats.tls]",
    ];
    refused(&env, &own.replace("client.", "other."), &expected, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_or_time_is_refused() {
    let at_home = "url = \"ADDRESS\"";
    for (name, good_for, expected) in [
        (
            "nats.example",
            ONE_DAY,
            "its certificate is for another name",
        ),
        ("127.0.0.1", -ONE_DAY, "its certificate is not valid: "),
    ] {
        let folder = certificates(name, good_for);
        // Without TLS for the environment's own client: the server allows both.
        let settings = format!("{}\nallow_non_tls: true", tls(&folder, false));
        let env = TestEnv::guarded(folder, &settings, at_home).await;
        refused(&env, OWN, &[expected, "under [nats"], &[]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_encryption_is_refused_where_it_is_required() {
    let folder = certificates("127.0.0.1", ONE_DAY);
    let env = TestEnv::guarded(folder, "", "url = \"ADDRESS\"").await;
    for reach in [
        OWN,
        "url = \"tls://ADDRESS\"\n",
        "url = \"ADDRESS\"\ntls = { required = true }\n",
    ] {
        let expected = [
            "it does not speak TLS",
            "`url` under [nats]",
            "`required = true`",
        ];
        refused(&env, reach, &expected, &[]);
    }
    works(&env).await;
}
