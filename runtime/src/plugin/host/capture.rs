//! A guest's standard output and error: kept for the event, up to a limit, then swallowed.
//!
//! A panic's text is nowhere else, so it is attached to the trap.

use bytes::Bytes;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// How much a guest may write before it must ask again: the size of its own buffers.
const PERMIT: usize = 64 * 1024;

/// What a guest wrote. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Capture {
    written: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Capture {
    /// Keeps up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            written: Arc::default(),
            limit,
        }
    }

    /// What was written since the last call, as text.
    pub(crate) fn take(&self) -> String {
        let written = std::mem::take(&mut *self.written.lock());
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Forgets what was written.
    pub(crate) fn clear(&self) {
        let mut written = self.written.lock();
        if !written.is_empty() {
            written.clear();
        }
    }

    fn keep(&self, bytes: &[u8]) {
        let mut written = self.written.lock();
        let room = self.limit.saturating_sub(written.len());
        written.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for Capture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
