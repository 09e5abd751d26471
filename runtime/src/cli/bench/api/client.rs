//! A client of the API as thin as can be: it sends bytes that were made before, and looks for no more than
//! where the answer ends.

use anyhow::Context as _;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a head ends with.
const END: &[u8] = b"\r\n\r\n";

/// A connection that stays open.
pub(super) struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot reach the API at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::new(),
        })
    }

    /// The body of the answer to `request`.
    ///
    /// # Errors
    /// When it is anything but 200.
    pub(super) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        let from = loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                anyhow::bail!("the API closed the connection");
            }
            if let Some(from) = body(&self.answer)? {
                break from;
            }
        };
        Ok(self.answer.get(from..).unwrap_or_default())
    }
}

/// Where the body of an answer begins, once it is whole.
fn body(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let ends = answer.windows(END.len()).position(|four| four == END);
    let Some((head, body)) = ends.and_then(|at| answer.split_at_checked(at + END.len())) else {
        return Ok(None);
    };
    let mut lines = std::str::from_utf8(head)?.split("\r\n");
    let status = lines.next().unwrap_or_default();
    anyhow::ensure!(status == "HTTP/1.1 200 OK", "the API answered `{status}`");
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("the API says no length")?.parse()?;
    anyhow::ensure!(body.len() <= length, "the API says more than was asked");
    Ok((body.len() == length).then_some(head.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 200 OK\r\netag: \"7\"\r\ncontent-length: 2\r\n\r\n{}";
        for until in 0..whole.len() {
            assert_eq!(body(&whole[..until]).unwrap(), None, "{until}");
        }
        assert_eq!(body(whole).unwrap(), Some(whole.len() - 2));
        assert!(body(&[whole.as_slice(), b"}"].concat()).is_err());
        assert!(body(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
