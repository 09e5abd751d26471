//! What a start makes, what it finds missing, and what it says then.

use super::{PIPELINE, target};
use crate::harness::{PARTS, Postgres, Running, TestEnv, check_law};
use crate::nats::keys::Authority;
use syncline::app::AppError;

/// Why a start with these targets is refused.
async fn refused(env: &TestEnv, targets: &str) -> String {
    let config = env.parse(&[PARTS, targets, PIPELINE].concat());
    match Running::try_start(config).await {
        Err(error @ AppError::Targets(_)) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it starts"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named_before_any_event_is_taken() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let checked = |lines: &str| target("db", &server, lines);
    let whole = checked("table = \"crm\"\nkey = \"id\"");
    assert!(refused(&env, &whole).await.contains("`syncline_meta.seen`"));
    // Syncline's own tables come with the first target that may make what is missing.
    let made = target(
        "made",
        &server,
        "table = \"made\"\nkey = \"id\"\ncreate = true",
    );
    let runtime = env.run(&[PARTS, &made, PIPELINE].concat()).await;
    check_law(&runtime.drain().await);
    let table = "CREATE TABLE crm (id text, region text, name varchar(8), n int UNIQUE)";
    let cases = [
        (
            "table = \"crm\"\nkey = \"id\"",
            "table `crm` does not exist",
        ),
        (
            "table = \"crm\"\nkey = \"id\"",
            "no column `data`, only `id`, `region`, `name`, `n`",
        ),
        (
            "table = \"crm\"\nkey = \"id\"\ndata = \"name\"",
            "column `name` of table `crm` is of type character varying",
        ),
        (
            "table = \"crm\"\nkey = [\"id\", \"region\"]\ncolumns = [\"name\"]",
            "no primary key or unique index of exactly `id`, `region`",
        ),
        (
            "table = \"other\"\nkey = \"id\"\ncolumns = [\"name\"]\ncreate = true",
            "table `other` does not exist, and what types its columns have is not known",
        ),
    ];
    for (n, (lines, expected)) in cases.into_iter().enumerate() {
        if n == 1 {
            server.sql("postgres", table).await;
        }
        let said = refused(&env, &checked(lines)).await;
        assert!(said.contains("cannot open target `db`"), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // A column that tells rows apart will do, whatever else the table has.
    let runtime = env
        .run(
            &[
                PARTS,
                &checked("table = \"crm\"\nkey = \"n\"\ncolumns = [\"name\"]"),
                PIPELINE,
            ]
            .concat(),
        )
        .await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_and_a_server_that_is_not_there_are_named_without_the_password() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let made = target(
        "made",
        &server,
        "table = \"crm\"\nkey = \"id\"\ncreate = true",
    );
    let runtime = env.run(&[PARTS, &made, PIPELINE].concat()).await;
    check_law(&runtime.drain().await);
    let guest = "CREATE USER guest; GRANT USAGE ON SCHEMA syncline_meta TO guest; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA syncline_meta TO guest; \
                 GRANT SELECT ON crm TO guest";
    server.sql("postgres", guest).await;
    let as_guest = |port: u16| {
        format!(
            "[targets.db]\nkind = \"postgres\"\ntable = \"crm\"\nkey = \"id\"\n\
             url = \"postgres://guest:hunter2@127.0.0.1:{port}/postgres\"\n"
        )
    };
    let said = refused(&env, &as_guest(server.port())).await;
    assert!(
        said.contains("may not INSERT, UPDATE, DELETE on table `crm`"),
        "{said}"
    );
    server.kill();
    let said = refused(&env, &as_guest(server.port())).await;
    let place = format!("database `127.0.0.1:{}/postgres`", server.port());
    assert!(said.contains(&place) && !said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_connection_is_made_to_the_server_that_the_authority_knows_and_no_other() {
    let env = TestEnv::start().await;
    let at = |name: &str| env.folder().join(name);
    let authority = Authority::new("own");
    authority.write(&at("ca.pem"));
    Authority::new("other").write(&at("other.pem"));
    authority.sign("127.0.0.1", time::Duration::days(1), &at("server"));
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    let (cert, key) = (read("server.pem"), read("server.key"));
    let files = [("server.crt", &*cert), ("server.key", &*key)];
    let server = Postgres::with_settings(0, &["ssl=on"], &files).await;
    let ca = |name: &str| {
        format!("table = \"crm\"\nkey = \"id\"\ncreate = true\ntls = {{ ca = \"{name}\" }}")
    };
    let said = refused(&env, &target("db", &server, &ca("other.pem"))).await;
    assert!(said.contains("certificate"), "{said}");
    let known = target("db", &server, &ca("ca.pem"));
    let runtime = env.run(&[PARTS, &known, PIPELINE].concat()).await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE ssl AND application_name = 'syncline'";
    assert_ne!(server.value("postgres", encrypted).await.unwrap(), "0");
    check_law(&runtime.drain().await);
}
