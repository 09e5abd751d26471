//! The module that is a process of its own, on which the runs with kills rest.

use super::undo::{cause, put};
use crate::harness::{OutsideModule, TestEnv, serve_where_asked};
use serde_json::json;
use syncline::target::{Answer, Changed, Targets};
use syncline::telemetry::Metrics;

/// The process that it kills runs this test as well, and never comes to the second line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_is_killed_knows_what_it_was_asked() {
    serve_where_asked().await;
    let env = TestEnv::start().await;
    let module = OutsideModule::start(env.folder()).await;
    let url = module.url("/v2/{entity}/{key}");
    let config = format!("[targets.api]\nkind = \"http\"\nurl = \"{url}\"\nlevel = \"M2\"\n");
    let config = env.parse(&config);
    let targets = Targets::open(&env.js, &config.targets, &Metrics::new()).await;
    let targets = targets.unwrap();
    let api = targets.get("api").unwrap();
    let planned = put(json!({"name": "Ada"}));
    let image = api.image(&planned.effect).await.unwrap();
    for _ in 0..3 {
        // The request is known again, and the version stays.
        let changed = api.change(&planned, &image, &cause("1")).await;
        assert_eq!(changed, Changed::Yes);
        assert_eq!(api.image(&planned.effect).await.unwrap().etag, "\"1\"");
        let held = module.held();
        let expected = (
            "/v2/person/a".to_owned(),
            json!({"name": "Ada"}).to_string(),
        );
        assert_eq!((held.entities, held.reserved), (vec![expected], Vec::new()));
        module.kill();
        module.restart().await;
    }
    let other = api
        .change(&put(json!({"name": "Bea"})), &image, &cause("2"))
        .await;
    assert!(
        matches!(other, Changed::No(Answer::Conflict(_))),
        "{other:?}"
    );
}
