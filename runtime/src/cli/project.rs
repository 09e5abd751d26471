//! A plugin project: a folder with sources that a component is built from.

use super::failure::Failure;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folders that hold no sources.
const NO_SOURCES: [&str; 6] = [
    "target",
    "node_modules",
    "__pycache__",
    ".git",
    ".venv",
    ".syncline",
];

/// A folder with plugin sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Project {
    /// The folder.
    pub(super) dir: PathBuf,
    /// What builds it.
    pub(super) language: Language,
}

/// What a project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Language {
    /// `Cargo.toml` with a package.
    Rust,
    /// `package.json`.
    JavaScript,
    /// `pyproject.toml` or `plugin.py`.
    Python,
}

impl Project {
    /// The project in `dir`.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn at(dir: &Path) -> anyhow::Result<Self> {
        if let Some(language) = Language::of(dir) {
            return Ok(Self {
                dir: dir.to_owned(),
                language,
            });
        }
        let why = if dir.is_dir() {
            "it has no `Cargo.toml` with a [package]"
        } else {
            "there is no such folder"
        };
        let failure = Failure::new(format!("`{}` is no plugin project", dir.display()));
        Err(failure
            .why(why)
            .remedy("make one with `syncline new NAME`")
            .usage()
            .into())
    }

    /// The project that `component` is built from: in its folder or above it, down from `top`.
    pub(super) fn around(component: &Path, top: &Path) -> Option<Self> {
        let folders = component.ancestors().skip(1);
        let mut inside = folders.take_while(|dir| dir.starts_with(top));
        inside.find_map(|dir| {
            Language::of(dir).map(|language| Self {
                dir: dir.to_owned(),
                language,
            })
        })
    }

    /// The file that the project's component goes to unless the configuration names another:
    /// `NAME.wasm` in its folder.
    ///
    /// # Errors
    /// When the project has no name.
    pub(super) fn component(&self) -> anyhow::Result<PathBuf> {
        let name = match self.language {
            Language::Rust => package_name(&self.dir),
            Language::JavaScript | Language::Python => {
                let dir = self.dir.canonicalize().ok();
                dir.and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()))
            }
        };
        let failure = || Failure::new(format!("`{}` has no name", self.dir.display()));
        Ok(self.dir.join(format!("{}.wasm", name.ok_or_else(failure)?)))
    }

    /// Whether `component` is missing or older than a source.
    pub(super) fn is_newer_than(&self, component: &Path) -> bool {
        let Some(built) = modified(component) else {
            return true;
        };
        newest_source(&self.dir).is_some_and(|source| source > built)
    }

    /// The folders with sources: the project's own and those below it, not what is built from them.
    pub(super) fn source_folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.dir.clone()];
        let mut next = 0;
        while let Some(folder) = folders.get(next).cloned() {
            folders.extend(entries(&folder).filter(|entry| entry.is_dir()));
            next += 1;
        }
        folders
    }

    /// Whether a changed file asks for a new build.
    pub(super) fn has_source(&self, file: &Path) -> bool {
        let Ok(inside) = file.strip_prefix(&self.dir) else {
            return false;
        };
        let hidden = inside
            .iter()
            .any(|part| NO_SOURCES.iter().any(|name| part == *name));
        !hidden && is_source(file)
    }
}

impl Language {
    fn of(dir: &Path) -> Option<Self> {
        if package_name(dir).is_some() {
            return Some(Self::Rust);
        }
        let has = |name: &str| dir.join(name).is_file();
        if has("package.json") {
            return Some(Self::JavaScript);
        }
        (has("pyproject.toml") || has("plugin.py")).then_some(Self::Python)
    }
}

/// The name of the Rust package in `dir`; a workspace without one is no project.
fn package_name(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("Cargo.toml")).ok()?;
    let manifest: toml::Table = text.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

/// Components and what editors leave behind are no sources. Neither is the lock file: the build
/// itself writes it.
fn is_source(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let left_behind = name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp");
    !left_behind && !name.ends_with(".wasm") && name != "Cargo.lock"
}

/// What lies in a folder, without folders that hold no sources.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    found
        .filter(|entry| !NO_SOURCES.iter().any(|name| entry.file_name() == *name))
        // A link may lead in a circle.
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
}

fn newest_source(folder: &Path) -> Option<SystemTime> {
    let newest = |entry: PathBuf| match entry.is_dir() {
        true => newest_source(&entry),
        false if is_source(&entry) => modified(&entry),
        false => None,
    };
    entries(folder).filter_map(newest).max()
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file)
        .and_then(|found| found.modified())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn project(parent: &Path) -> Project {
        let dir = parent.join("hello");
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::create_dir_all(dir.join("target/release")).unwrap();
        fs::write(dir.join("Cargo.toml"), "[package]\nname = \"hello\"\n").unwrap();
        fs::write(dir.join("src/lib.rs"), "").unwrap();
        Project::at(&dir).unwrap()
    }

    #[test]
    fn a_project_is_found_from_its_component_up_to_the_top() {
        let temp = tempfile::tempdir().unwrap();
        let project = project(temp.path());
        let inside = project.dir.join("target/release/hello.wasm");
        assert_eq!(Project::around(&inside, temp.path()), Some(project.clone()));
        assert_eq!(Project::around(&inside, &project.dir.join("target")), None);
        assert_eq!(project.component().unwrap(), project.dir.join("hello.wasm"));
    }

    #[test]
    fn a_workspace_without_a_package_is_no_project() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        assert!(Project::at(temp.path()).is_err());
    }

    #[test]
    fn what_is_built_is_no_source() {
        let temp = tempfile::tempdir().unwrap();
        let project = project(temp.path());
        let is_source = |file: &str| project.has_source(&project.dir.join(file));
        assert!(is_source("src/lib.rs") && is_source("cases/a.json"));
        for built in [
            "target/release/x.d",
            "hello.wasm",
            "Cargo.lock",
            "src/.lib.rs.swp",
        ] {
            assert!(!is_source(built), "{built}");
        }
        let folders = project.source_folders();
        assert_eq!(folders, [project.dir.clone(), project.dir.join("src")]);
    }

    #[test]
    fn a_missing_component_is_older_than_everything() {
        let temp = tempfile::tempdir().unwrap();
        let project = project(temp.path());
        let component = project.dir.join("hello.wasm");
        assert!(project.is_newer_than(&component));
        fs::write(&component, "").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        fs::File::open(&component)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(!project.is_newer_than(&component));
    }
}
