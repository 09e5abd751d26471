//! Files that the binary carries: the SDK, the plugin contract, and the templates of new projects.

use std::io;
use std::path::Path;

/// A file: its path within its folder, and its text.
pub(super) type File = (&'static str, &'static str);

macro_rules! files {
    ($root:literal: $($path:literal)*) => {
        &[$(($path, include_str!(concat!($root, $path)))),*]
    };
}

/// The manifest of the SDK where it stands alone.
pub(super) const SDK_MANIFEST: File = (
    "Cargo.toml",
    include_str!("../../../sdk/standalone.Cargo.toml"),
);

/// The sources of the SDK.
pub(super) const SDK: &[File] = files!("../../../sdk/src/":
    "bindings.rs"
    "component.rs"
    "effect.rs"
    "error.rs"
    "event.rs"
    "host.rs"
    "http.rs"
    "http/wasi.rs"
    "lib.rs"
    "log.rs"
    "lookup.rs"
    "manifest.rs"
    "metrics.rs"
    "plugin.rs"
    "secrets.rs"
    "state.rs"
    "testing/capabilities.rs"
    "testing/case.rs"
    "testing/fake.rs"
    "testing/grants.rs"
    "testing/harness.rs"
    "testing/json.rs"
    "testing/mod.rs"
    "verdict.rs");

/// The WIT package that host and plugins share.
pub(super) const WIT: &[File] = files!("../../../wit/":
    "capabilities.wit"
    "deps/wasi-clocks.wit"
    "deps/wasi-http.wit"
    "deps/wasi-io.wit"
    "types.wit"
    "world.wit");

/// A Rust plugin that lets some events pass.
pub(super) const RUST_FILTER: &[File] = files!("../../templates/plugin/rust/filter/":
    ".gitignore"
    "Cargo.toml.in"
    "cases/orders.json"
    "src/lib.rs");

/// A Rust plugin that changes events.
pub(super) const RUST_TRANSFORM: &[File] = files!("../../templates/plugin/rust/transform/":
    ".gitignore"
    "Cargo.toml.in"
    "cases/not-an-order.json"
    "cases/orders.json"
    "src/lib.rs");

/// A Rust plugin that writes to several targets.
pub(super) const RUST_ROUTE: &[File] = files!("../../templates/plugin/rust/route/":
    ".gitignore"
    "Cargo.toml.in"
    "cases/orders.json"
    "src/lib.rs");

/// Writes files into a folder, which is made. `{{name}}` and `{{sdk}}` of files that end in `.in`
/// are filled in.
pub(super) fn write(
    files: &[File],
    folder: &Path,
    placeholders: &[(&str, &str)],
) -> io::Result<()> {
    for (path, text) in files {
        let (path, text) = match path.strip_suffix(".in") {
            Some(path) => (path, fill(text, placeholders)),
            None => (*path, (*text).to_owned()),
        };
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, text)?;
    }
    Ok(())
}

fn fill(text: &str, placeholders: &[(&str, &str)]) -> String {
    placeholders
        .iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Every file below `folder`, by its path within it.
    fn below(folder: &Path) -> Vec<String> {
        let (mut found, mut paths) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).unwrap();
                paths.extend(entries.map(|entry| entry.unwrap().path()));
                continue;
            }
            let inside = path.strip_prefix(folder).unwrap();
            found.push(inside.to_str().unwrap().to_owned());
        }
        found.sort();
        found
    }

    #[test]
    fn no_file_is_forgotten() {
        let runtime = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let templates = runtime.join("templates/plugin/rust");
        let folders = [
            (SDK, runtime.join("../sdk/src")),
            (WIT, runtime.join("../wit")),
            (RUST_FILTER, templates.join("filter")),
            (RUST_TRANSFORM, templates.join("transform")),
            (RUST_ROUTE, templates.join("route")),
        ];
        for (embedded, folder) in folders {
            let embedded: Vec<_> = embedded.iter().map(|(path, _)| *path).collect();
            let mut found = below(&folder);
            found.retain(|path| path != "README.md");
            assert_eq!(embedded, found, "{}", folder.display());
        }
    }

    #[test]
    fn placeholders_are_filled() {
        let filled = fill(
            "{{name}} {{sdk}} {{name}}",
            &[("name", "a"), ("sdk", "../b")],
        );
        assert_eq!(filled, "a ../b a");
        for (_, text) in [RUST_FILTER, RUST_TRANSFORM, RUST_ROUTE].concat() {
            let filled = fill(text, &[("name", "a"), ("sdk", "b")]);
            assert!(!filled.contains("{{name}}") && !filled.contains("{{sdk}}"));
        }
    }
}
