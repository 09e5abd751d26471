//! Lines of stdin, one at a time, however many there are and however slowly they come.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Stdin};

/// The longest line that is read. NATS itself takes messages of at most 64 MiB.
const LONGEST: usize = 64 << 20;

/// The lines of an input, counted from 1; empty ones are passed over.
pub(super) struct Lines<R = Stdin> {
    reader: BufReader<R>,
    number: u64,
}

/// One line that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Which one, from 1.
    pub(super) number: u64,
    /// Its content, or nothing when it is longer than a line may be.
    pub(super) content: Option<Vec<u8>>,
}

impl Lines {
    /// The lines of stdin.
    pub(super) fn of_stdin() -> Self {
        Self::new(tokio::io::stdin())
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            reader: BufReader::with_capacity(64 << 10, input),
            number: 0,
        }
    }

    /// Whether the next line is here already.
    pub(super) fn has_next(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    /// The next line that is not empty.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let Some(content) = self.read_line().await? else {
                return Ok(None);
            };
            self.number += 1;
            match content {
                Some(bytes) if bytes.trim_ascii().is_empty() => {}
                content => {
                    return Ok(Some(Line {
                        number: self.number,
                        content,
                    }));
                }
            }
        }
    }

    /// A line without its end; the inner `None` stands for one that is too long.
    async fn read_line(&mut self) -> std::io::Result<Option<Option<Vec<u8>>>> {
        let mut line = Vec::new();
        let mut too_long = false;
        let mut any = false;
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(any.then_some((!too_long).then_some(line)));
            }
            any = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available
                .get(..end.unwrap_or(available.len()))
                .unwrap_or_default();
            too_long |= line.len() + part.len() > LONGEST;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                line.truncate(line.strip_suffix(b"\r").unwrap_or(&line).len());
                return Ok(Some((!too_long).then_some(line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &'static [u8]) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push((line.number, line.content.unwrap()));
        }
        all
    }

    #[tokio::test]
    async fn lines_keep_their_numbers_and_empty_ones_are_passed_over() {
        let lines = all(b"a\r\n\n  \nb\nlast").await;
        let expected: [(u64, &[u8]); 3] = [(1, b"a"), (4, b"b"), (5, b"last")];
        assert_eq!(
            lines,
            expected.map(|(number, content)| (number, content.to_vec()))
        );
        assert_eq!(all(b"").await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_named_and_the_next_one_read() {
        let endless = tokio::io::AsyncReadExt::take(tokio::io::repeat(b'x'), LONGEST as u64 + 1);
        let input = tokio::io::AsyncReadExt::chain(endless, &b"\nb"[..]);
        let mut lines = Lines::new(input);
        assert_eq!(
            lines.next().await.unwrap(),
            Some(Line {
                number: 1,
                content: None
            })
        );
        let second = Line {
            number: 2,
            content: Some(b"b".to_vec()),
        };
        assert_eq!(lines.next().await.unwrap(), Some(second));
    }
}
