//! The ways out that WASI would offer.

use std::net::{TcpStream, UdpSocket};
use wasip2::clocks::monotonic_clock::subscribe_duration;

/// What is there of the machine, `PLACE: FOUND`.
pub(crate) fn everything() -> Vec<String> {
    let preopened = wasip2::filesystem::preopens::get_directories();
    let loopback = "127.0.0.1:4222";
    vec![
        format!("env: {}", std::env::vars().count()),
        format!("args: {}", std::env::args().count()),
        format!("folders: {}", preopened.len()),
        format!("read: {}", outcome(std::fs::read("/etc/hostname"))),
        format!("write: {}", outcome(std::fs::write("/tmp/hostile", "x"))),
        format!("list: {}", outcome(std::fs::read_dir("/"))),
        format!("tcp: {}", outcome(TcpStream::connect(loopback))),
        format!("udp: {}", outcome(UdpSocket::bind(loopback))),
        format!("resolve: {}", outcome(TcpStream::connect("localhost:4222"))),
    ]
}

fn outcome<T>(result: std::io::Result<T>) -> &'static str {
    match result {
        Ok(_) => "open",
        Err(_) => "closed",
    }
}

/// Makes `n` timers and forgets their handles.
pub(crate) fn leak_pollables(n: usize) -> String {
    for _ in 0..n {
        std::mem::forget(subscribe_duration(1_000_000_000_000));
    }
    format!("{n} leaked")
}

/// Asks for `n` random bytes at once.
pub(crate) fn random(n: usize) -> String {
    let bytes = wasip2::random::random::get_random_bytes(n as u64);
    format!("{} bytes", bytes.len())
}
