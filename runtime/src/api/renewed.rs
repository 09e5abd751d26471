//! What is made of files, and made anew when these change.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tracing::{info, warn};

/// What a file looked like.
type Look = Option<(SystemTime, u64)>;
/// What makes something of files.
type Make<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

/// What is made of files, as they were when they last were sound.
pub(super) struct Renewed<T> {
    /// What stands in logs.
    name: &'static str,
    files: Vec<PathBuf>,
    make: Make<T>,
    now: Mutex<(Arc<T>, Vec<Look>)>,
}

impl<T> Renewed<T> {
    /// Makes it for the first time.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub(super) fn open(
        name: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // Looked at first: what changes while it is read is read again.
        let look = look(&files);
        let made = make()?;
        Ok(Self {
            name,
            files,
            make: Box::new(make),
            now: Mutex::new((Arc::new(made), look)),
        })
    }

    /// As it is now.
    pub(super) fn now(&self) -> Arc<T> {
        self.now.lock().0.clone()
    }

    /// Makes it anew where a file has changed. Where that fails, it stays as it is.
    pub(super) fn renew(&self) {
        let look = look(&self.files);
        if self.now.lock().1 == look {
            return;
        }
        let made = (self.make)();
        let mut now = self.now.lock();
        now.1 = look;
        match made {
            Ok(made) => {
                now.0 = Arc::new(made);
                info!(what = self.name, "files of the API were read anew");
            }
            Err(error) => {
                warn!(what = self.name, %error, "files of the API cannot be used, what they held before stays");
            }
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<Look> {
    let look = |file: &PathBuf| {
        let found = std::fs::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    files.iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_read_again_and_what_is_unsound_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let from = file.clone();
        let open = || {
            let from = from.clone();
            Renewed::open("number", vec![from.clone()], move || {
                let text = std::fs::read_to_string(&from).map_err(|error| error.to_string())?;
                text.parse::<u32>().map_err(|error| error.to_string())
            })
        };
        assert!(open().is_err());
        write("1");
        let number = open().unwrap();
        let renewed = || {
            number.renew();
            *number.now()
        };
        assert_eq!(renewed(), 1);
        write("22");
        assert_eq!(renewed(), 22);
        write("two");
        assert_eq!(renewed(), 22);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(renewed(), 22);
        write("4444");
        assert_eq!(renewed(), 4_444);
    }
}
