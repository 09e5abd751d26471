//! Records on disk, in parts of which each fits into memory: those of one place are in one part.

use super::DriftError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// How many parts there are. Each is an open file.
const PARTS: usize = 128;
/// Bytes of a part that wait in memory.
const BUFFER: usize = 16 * 1024;

/// Records that are being written. The files have no names: they are gone with the process.
pub(super) struct Spool {
    folder: PathBuf,
    parts: Vec<BufWriter<File>>,
}

impl Spool {
    pub(super) fn new(folder: &Path) -> Result<Self, DriftError> {
        let made: io::Result<Vec<_>> = (0..PARTS)
            .map(|_| {
                Ok(BufWriter::with_capacity(
                    BUFFER,
                    tempfile::tempfile_in(folder)?,
                ))
            })
            .collect();
        Ok(Self {
            parts: made.map_err(|cause| failed(folder, cause))?,
            folder: folder.to_owned(),
        })
    }

    /// Keeps what is known of `place`.
    pub(super) fn put(&mut self, place: &str, record: &impl Serialize) -> Result<(), DriftError> {
        let hash = Sha256::digest(place);
        let number = hash.first().map_or(0, |byte| usize::from(*byte) % PARTS);
        let Some(part) = self.parts.get_mut(number) else {
            return Ok(());
        };
        let written = serde_json::to_writer(&mut *part, record).map_err(io::Error::from);
        let written = written.and_then(|()| part.write_all(b"\n"));
        written.map_err(|cause| failed(&self.folder, cause))
    }

    /// Ends the writing.
    pub(super) fn read(self) -> Result<Parts, DriftError> {
        let Self { folder, parts } = self;
        let read: io::Result<Vec<_>> = parts
            .into_iter()
            .map(|part| {
                let mut file = part.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                Ok(file)
            })
            .collect();
        let files = read.map_err(|cause| failed(&folder, cause))?;
        Ok(Parts {
            files: files.into_iter(),
            folder,
        })
    }
}

/// The parts of a spool, one after the other.
pub(super) struct Parts {
    folder: PathBuf,
    files: std::vec::IntoIter<File>,
}

impl Parts {
    /// The records of the next part, in the order in which they were put; none: there is none.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Vec<T>>, DriftError> {
        let Some(file) = self.files.next() else {
            return Ok(None);
        };
        let lines = BufReader::new(file).lines();
        let records: io::Result<Vec<T>> = lines
            .map(|line| serde_json::from_str(&line?).map_err(io::Error::from))
            .collect();
        records
            .map(Some)
            .map_err(|cause| failed(&self.folder, cause))
    }
}

fn failed(folder: &Path, cause: io::Error) -> DriftError {
    DriftError::Spool {
        folder: folder.display().to_string(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_comes_back_once_and_what_belongs_together_in_one_part() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path()).unwrap();
        let place = |n: usize| format!("k-{}", n % 1_000);
        for n in 0..3_000 {
            spool.put(&place(n), &(place(n), n)).unwrap();
        }
        let mut parts = spool.read().unwrap();
        let (mut n_records, mut n_parts) = (0, 0);
        while let Some(records) = parts.next::<(String, usize)>().unwrap() {
            n_parts += 1;
            n_records += records.len();
            for (name, n) in &records {
                assert_eq!(*name, place(*n));
                assert_eq!(records.iter().filter(|(other, _)| other == name).count(), 3);
            }
            // No part is much larger than the others.
            assert!(records.len() < 150, "{}", records.len());
        }
        assert_eq!((n_records, n_parts), (3_000, PARTS));
    }
}
