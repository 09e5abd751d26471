//! Every way to say who we are, and what is said when the server does not believe it.

use super::keys::Operator;
use super::{refused, works};
use crate::harness::TestEnv;
use nkeys::KeyPair;
use time::Duration;

const URL: &str = "url = \"ADDRESS\"\n";

fn reach(lines: &str) -> String {
    [URL, lines].concat()
}

async fn guarded(settings: &str, lines: &str) -> TestEnv {
    TestEnv::guarded(tempfile::tempdir().unwrap(), settings, &reach(lines)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_a_password_is_let_in_and_a_wrong_one_is_named() {
    let settings = "authorization { users: [{ user: ada, password: hunter22 }] }";
    let env = guarded(settings, "user = \"ada\"\npassword = \"hunter22\"").await;
    works(&env).await;
    refused(
        &env,
        &reach("user = \"ada\"\npassword = \"hunter33\""),
        &[
            "refuses the user `ada`",
            "`user` and `password` under [nats]",
        ],
        &["hunter33"],
    );
    refused(
        &env,
        "url = \"nats://ada:hunter33@ADDRESS\"",
        &["refuses the user in the URL", "`url` under [nats]"],
        &["hunter33", "ada"],
    );
    refused(
        &env,
        URL,
        &[
            "refuses clients that do not say who they are",
            "`credentials`, `nkey`",
        ],
        &[],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_let_in_and_a_wrong_one_is_told() {
    let env = guarded("authorization { token: hunter22 }", "token = \"hunter22\"").await;
    works(&env).await;
    let expected = ["refuses our token", "`token` under [nats]"];
    refused(
        &env,
        &reach("token = \"hunter33\""),
        &expected,
        &["hunter33"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_nkey_is_let_in_and_a_wrong_or_damaged_one_is_told() {
    let (known, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let settings = format!(
        "authorization {{ users: [{{ nkey: {} }}] }}",
        known.public_key()
    );
    let own = known.seed().unwrap();
    let env = guarded(&settings, &format!("nkey = \"{own}\"")).await;
    works(&env).await;
    let seed = stranger.seed().unwrap();
    let expected = ["refuses our nkey", "`nkey` under [nats]"];
    refused(
        &env,
        &reach(&format!("nkey = \"{seed}\"")),
        &expected,
        &[&seed],
    );
    let cut = &own[..own.len() - 4];
    let expected = ["the seed of our nkey cannot be used", "`nkey` under [nats]"];
    refused(
        &env,
        &reach(&format!("nkey = \"{cut}\"")),
        &expected,
        &[cut],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_is_let_in_and_one_of_another_or_expired_is_named() {
    let operator = Operator::new();
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("own.creds", operator.credentials(Duration::hours(1))),
        ("expired.creds", operator.credentials(-Duration::hours(1))),
        (
            "other.creds",
            Operator::new().credentials(Duration::hours(1)),
        ),
        ("text.creds", "hello".to_owned()),
    ];
    for (name, text) in &files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let own = reach("credentials = \"own.creds\"");
    let env = TestEnv::guarded(folder, &operator.settings(), &own).await;
    works(&env).await;
    for (name, text) in &files[1..3] {
        let seed = text.lines().find(|line| line.starts_with("SU")).unwrap();
        let fault = format!("{name}`");
        refused(
            &env,
            &reach(&format!("credentials = \"{name}\"")),
            &[
                "refuses the user in `",
                &fault,
                "`credentials` under [nats]",
            ],
            &[seed],
        );
    }
    refused(
        &env,
        &reach("credentials = \"text.creds\""),
        &["text.creds` cannot be used", "a user's JWT and seed"],
        &[],
    );
}
