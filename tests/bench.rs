//! `syncline bench`, a part of it, with few events.

use crate::cli::in_dir;
use crate::harness::TestEnv;
use async_nats::jetstream;
use serde_json::Value;

#[tokio::test]
async fn reads_over_the_api_are_measured_against_bare_ones() {
    let env = TestEnv::start().await;
    let url = env.nats.url();
    let part = ["bench", "--nats", &url, "--only", "api", "--json"];
    let small = ["--events", "100", "--keys", "10", "--rounds", "2"];
    let said = in_dir(env.folder(), &[&part[..], &small].concat(), "").fine();
    let figures: Value = serde_json::from_str(&said).unwrap();
    for n in ["", "_8"] {
        let figure = |name: &str| figures[name].as_f64().unwrap();
        for side in ["api", "kv_get"] {
            let p50 = figure(&format!("{side}{n}_p50_us"));
            let p99 = figure(&format!("{side}{n}_p99_us"));
            assert!(0.0 < p50 && p50 <= p99, "{figures}");
        }
        let ratio = figure(&format!("api{n}_p99_ratio"));
        let range = &figures[format!("api{n}_p99_ratio_range")];
        let (least, most) = (range[0].as_f64().unwrap(), range[1].as_f64().unwrap());
        assert!(0.0 < least && least <= ratio && ratio <= most, "{figures}");
    }
    for other in ["at_least_once_eps", "p99_us", "all_arrived"] {
        assert_eq!(figures[other], Value::Null, "{other} was not asked for");
    }
    let jetstream = jetstream::new(async_nats::connect(&url).await.unwrap());
    let left = jetstream.get_key_value("BENCH_SYNCLINE_READ").await;
    assert!(left.is_err(), "the bucket is deleted in the end");
}
