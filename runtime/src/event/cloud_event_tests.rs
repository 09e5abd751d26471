//! Events in every mode, good and bad.

use super::*;

const ORIGIN: RawOrigin<'_> = RawOrigin {
    stream: "S",
    subject: "a.b",
    sequence: 7,
};

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(
        pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
    )
}

fn structured(body: &str) -> Result<(Event, Bytes), InvalidEvent> {
    let headers = headers(&[(
        "Content-Type",
        "application/cloudevents+json; charset=UTF-8",
    )]);
    Event::decode(&headers, &Bytes::from(body.to_owned()), ORIGIN)
}

#[test]
fn binary_mode_takes_attributes_from_headers() {
    let headers = headers(&[
        ("ce-specversion", "1.0"),
        ("CE-Id", "1"),
        ("ce-source", "/crm%20eu"),
        ("ce-type", "t"),
        ("ce-region", "eu"),
        ("content-type", "application/json"),
        ("Nats-Msg-Id", "x"),
        ("x-own", "kept"),
    ]);
    let (event, data) = Event::decode(&headers, &Bytes::from_static(b"{}"), ORIGIN).unwrap();
    assert_eq!(event.source, "/crm eu");
    assert_eq!(event.attribute("region"), Some("eu"));
    assert_eq!(event.data_content_type.as_deref(), Some("application/json"));
    assert_eq!(
        event.headers,
        Headers(vec![("x-own".into(), "kept".into())])
    );
    assert_eq!(&data[..], b"{}");
}

#[test]
fn the_content_type_may_be_an_attribute_or_a_header() {
    let mut pairs = vec![
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", "t"),
        ("ce-datacontenttype", "text/plain"),
    ];
    let kind = |pairs: &[(&str, &str)]| {
        Event::decode(&headers(pairs), &Bytes::new(), ORIGIN)
            .unwrap()
            .0
            .data_content_type
            .unwrap()
    };
    assert_eq!(kind(&pairs), "text/plain");
    pairs.push(("content-type", "application/json"));
    assert_eq!(kind(&pairs), "application/json");
}

#[test]
fn structured_mode_keeps_data_byte_for_byte() {
    let (event, data) = structured(
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","n":5,"data":{"b": 1,"a":2}}"#,
    )
    .unwrap();
    assert_eq!(event.attribute("n"), Some("5"));
    assert_eq!(&data[..], br#"{"b": 1,"a":2}"#);
}

#[test]
fn a_string_of_another_type_than_json_is_its_text() {
    let event = |kind: &str| {
        let body = format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"{kind}","data":"hi"}}"#
        );
        structured(&body).unwrap().1
    };
    assert_eq!(&event("text/plain")[..], b"hi");
    assert_eq!(&event("application/json")[..], b"\"hi\"");
}

#[test]
fn a_message_that_is_no_cloud_event_is_raw() {
    let (event, _) = Event::decode(&headers(&[]), &Bytes::new(), ORIGIN).unwrap();
    assert_eq!(
        (event.id.as_str(), event.kind.as_str()),
        ("S:7", "nats.message")
    );
    assert_eq!(event.source, "nats://S/a.b");
    let named = headers(&[("nats-msg-id", "m-1")]);
    let (event, _) = Event::decode(&named, &Bytes::new(), ORIGIN).unwrap();
    assert_eq!(event.id, "m-1");
}

#[test]
fn malformed_events_say_what_is_wrong() {
    let cases = [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        (r#"{"id":"1","source":"s","type":"t"}"#, "no `specversion`"),
        (
            r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#,
            "specversion `0.3`",
        ),
        (
            r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#,
            "no `id`",
        ),
        (
            r#"{"specversion":"1.0","id":1.5,"source":"s","type":"t"}"#,
            "`id` is not a string",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}"#,
            "RFC 3339",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","a-b":"x"}"#,
            "attribute name",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"*"}"#,
            "base64",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":""}"#,
            "both",
        ),
    ];
    for (body, expected) in cases {
        let error = structured(body).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
    let missing = headers(&[
        ("ce-specversion", "1.0"),
        ("ce-source", "s"),
        ("ce-type", "t"),
    ]);
    let error = Event::decode(&missing, &Bytes::new(), ORIGIN).unwrap_err();
    assert_eq!(error, InvalidEvent::Missing("id"));
}

#[test]
fn json_and_headers_give_the_event_back() {
    let (event, data) = structured(
        r#"{"specversion":"1.0","id":"é%","source":"s","type":"t","subject":"x","data":{"a":1}}"#,
    )
    .unwrap();
    let again = Event::from_json(event.to_json(&data).to_string().as_bytes()).unwrap();
    assert_eq!(again, (event.clone(), data.clone()));
    let (binary, _) = Event::decode(&event.to_headers(), &data, ORIGIN).unwrap();
    assert_eq!(binary, event);
}
