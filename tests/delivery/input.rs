//! What is no event, or hardly one: told why, never lost.

use crate::harness::{TestEnv, check_law};
use async_nats::HeaderMap;
use bytes::Bytes;
use syncline::event::DeadReason;

/// Headers, body, and what the dead letter says.
type Case = (Vec<(&'static str, &'static str)>, Bytes, &'static str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_no_event_becomes_a_dead_letter_that_says_why() {
    let env = TestEnv::start().await;
    let config = [super::BOTH, "limits = { payload = \"1KiB\" }\n"].concat();
    let runtime = env.run_with_parts(&config).await;
    let structured: &[(&str, &'static str)] = &[("content-type", "application/cloudevents+json")];
    let valid = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/t"),
        ("ce-type", "t"),
    ];
    let cases: Vec<Case> = vec![
        (structured.to_vec(), "nonsense".into(), "not a JSON object"),
        (structured.to_vec(), "[1]".into(), "not a JSON object"),
        (structured.to_vec(), "".into(), "not a JSON object"),
        (
            structured.to_vec(),
            vec![b'{', b'"', 0xff, b'"'].into(),
            "not a JSON object",
        ),
        (
            structured.to_vec(),
            r#"{"specversion":"1.0","source":"/t","type":"t"}"#.into(),
            "no `id`",
        ),
        (
            structured.to_vec(),
            r#"{"specversion":"0.3","id":"1","source":"/t","type":"t"}"#.into(),
            "specversion `0.3`",
        ),
        (
            structured.to_vec(),
            r#"{"specversion":"1.0","id":"1","source":"/t","type":"t","data_base64":"%"}"#.into(),
            "`data_base64`",
        ),
        (valid[..3].to_vec(), "{}".into(), "no `type`"),
        (valid[1..].to_vec(), "{}".into(), "no `specversion`"),
        (
            [&valid[..], &[("ce-time", "yesterday")]].concat(),
            "{}".into(),
            "RFC 3339",
        ),
        (
            vec![],
            vec![b'x'; 1025].into(),
            "1025 bytes, the limit `limits.payload` is 1024",
        ),
    ];
    for (headers, body, _) in &cases {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        env.publish("src.bad", map, body.clone()).await;
    }
    let counts = runtime.settled("p", cases.len() as u64).await;
    assert_eq!(counts.dead, cases.len() as u64);
    let mut letters = env.letters().await;
    letters.sort_by_key(|letter| letter.sequence);
    for (letter, (_, body, expected)) in letters.iter().zip(&cases) {
        assert_eq!(letter.reason, DeadReason::Invalid, "{letter:?}");
        assert!(
            letter.error.contains(expected),
            "{expected}: {}",
            letter.error
        );
        assert_eq!(letter.payload_bytes, body.len());
        assert_eq!(letter.subject, "src.bad");
    }
    assert_eq!(letters.len(), cases.len());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_bytes_up_to_the_limit_are_handed_on_unchanged() {
    let env = TestEnv::with_server_settings("max_payload: 4MB").await;
    let runtime = env.run_with_parts(super::BOTH).await;
    let payloads: [Vec<u8>; 4] = [
        Vec::new(),
        vec![0xff, 0x00, 0xfe, b'\r', b'\n'],
        b"{\"key\": ".to_vec(),
        vec![b'm'; 1 << 20],
    ];
    for payload in &payloads {
        env.send_raw("src.raw", payload.clone()).await;
    }
    let counts = runtime.settled("p", 4).await;
    assert_eq!((counts.done, counts.unkeyed), (4, 4));
    let published = env.messages("SEARCH").await;
    for payload in &payloads {
        assert!(published.iter().any(|message| message.payload == payload));
    }
    check_law(&runtime.drain().await);
}
