//! Files that are no plugin, or one for another host: refused with what is wrong and what to do.

use super::lab::{Lab, load};
use super::{FOREIGN_IMPORT, HOSTILE, OLDER_CONTRACT, OTHER_WORLD, PROBE};
use crate::harness::guests::bytes;
use syncline::plugin::PluginError;

/// Why the bytes are refused.
async fn refusal(bytes: Vec<u8>) -> String {
    match load(bytes).await {
        Err(error @ PluginError::Unloadable { .. }) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[tokio::test]
async fn what_is_no_component_is_refused_for_what_it_is() {
    names(&refusal(vec![]).await, &["guest.wasm", "empty"]);
    names(
        &refusal(b"just some text".to_vec()).await,
        &["not WebAssembly"],
    );
    names(
        &refusal(b"\0asm\x01\0\0\0".to_vec()).await,
        &["core WebAssembly module", "wasm32-wasip2"],
    );
    names(
        &refusal(b"\0asm\x0d\0\x01\0".to_vec()).await,
        &["another world"],
    );
}

/// Wherever it was cut.
#[tokio::test]
async fn a_truncated_component_is_refused() {
    let whole = bytes(OTHER_WORLD);
    for tenths in 1..10 {
        let cut = whole[..whole.len() * tenths / 10].to_vec();
        let fault = refusal(cut).await;
        assert!(
            fault.contains("damaged") || fault.contains("another world"),
            "{fault}"
        );
    }
    names(&refusal(whole[..6].to_vec()).await, &["cut short"]);
}

#[tokio::test]
async fn noise_in_a_component_is_refused_or_harmless() {
    let whole = bytes(OTHER_WORLD);
    let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..50 {
        let mut broken = whole.clone();
        for _ in 0..8 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let at = usize::try_from(noise).expect("64 bits") % (broken.len() - 8) + 8;
            broken[at] = noise.to_le_bytes()[3];
        }
        // It is a component of another world at best.
        refusal(broken).await;
    }
}

#[tokio::test]
async fn a_foreign_import_is_refused_by_its_name() {
    let fault = refusal(bytes(FOREIGN_IMPORT)).await;
    names(&fault, &["acme:database/query@1.0.0", "no grant"]);
}

#[tokio::test]
async fn another_world_is_told_by_what_it_exports() {
    let fault = refusal(bytes(OTHER_WORLD)).await;
    names(
        &fault,
        &[
            "another world",
            "syncline:plugin/handler",
            "acme:greeter/greeting@1.0.0",
        ],
    );
}

#[tokio::test]
async fn another_version_of_the_contract_is_refused_and_both_are_named() {
    names(&refusal(bytes(OLDER_CONTRACT)).await, &["0.0.9", "0.1"]);
    let newer = rebuilt_for(HOSTILE, "0.2.0");
    names(&refusal(newer).await, &["0.2.0", "0.1"]);
}

/// A later 0.1 has more functions, and none of them is imported here.
#[tokio::test]
async fn a_later_version_that_only_grew_is_served() {
    let component = load(rebuilt_for(PROBE, "0.1.1")).await.expect("it loads");
    assert_eq!(component.world_version(), "0.1.1");
    let lab = Lab::of(&component).await;
    assert_eq!(
        Lab::reason(lab.ask(r#"{"do":"drop","reason":"served"}"#).await),
        "served"
    );
}

/// The guest as if it were built against another version of the package: its name is all that
/// differs.
fn rebuilt_for(guest: &str, version: &str) -> Vec<u8> {
    const BUILT_FOR: &[u8] = b"0.1.0";
    assert_eq!(version.len(), BUILT_FOR.len());
    let mut bytes = bytes(guest);
    let package = b"syncline:plugin/";
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(package.len())
        .position(|w| w == package)
    {
        at += found + package.len();
        let name = bytes[at..]
            .iter()
            .position(|byte| *byte == b'@')
            .expect("a version");
        let place = at + name + 1..at + name + 1 + BUILT_FOR.len();
        if bytes[place.clone()] == *BUILT_FOR {
            bytes[place].copy_from_slice(version.as_bytes());
        }
    }
    bytes
}
