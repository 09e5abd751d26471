//! What the design of transactions rests on, seen on the server that is here.

use crate::harness::Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_outlives_the_server_and_holds_its_rows() {
    let server = Postgres::start(4).await;
    server
        .sql("postgres", "CREATE TABLE t (k text PRIMARY KEY, v int)")
        .await;
    let prepared = "BEGIN; INSERT INTO t VALUES ('a', 1); PREPARE TRANSACTION 'syncline:x'";
    server.sql("postgres", prepared).await;
    server.kill();
    server.restart().await;
    let count = "SELECT count(*) FROM t";
    assert_eq!(server.value("postgres", count).await.unwrap(), "0");
    let rival = "SET lock_timeout = '50ms'; INSERT INTO t VALUES ('a', 2)";
    let held = server.try_sql("postgres", rival).await.unwrap_err();
    assert_eq!(held.code().unwrap().code(), "55P03", "{held}");
    let committed = "COMMIT PREPARED 'syncline:x'";
    server.sql("postgres", committed).await;
    assert_eq!(server.value("postgres", count).await.unwrap(), "1");
    let again = server.try_sql("postgres", committed).await.unwrap_err();
    assert_eq!(again.code().unwrap().code(), "42704", "{again}");
    server.stop_immediately();
    server.restart().await;
    assert_eq!(server.value("postgres", count).await.unwrap(), "1");
}
