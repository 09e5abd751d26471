//! `syncline build`: a plugin project becomes a component.

use super::environment;
use super::failure::{Exit, Failure};
use super::print::Printer;
use super::project::{Language, Project};
use bytesize::ByteSize;
use serde::Deserialize;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// What Rust calls the platform of components.
const TARGET: &str = "wasm32-wasip2";

/// Build a plugin project into a component
///
/// Runs `cargo build --release --target wasm32-wasip2` in the project and puts the component beside
/// its sources, as NAME.wasm. The file is replaced in one step, so that a running syncline can swap
/// it in.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plugin project
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// Builds and says where the component is.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let project = Project::at(&args.dir)?;
    let file = project.component()?;
    let size = build(&project, &file).await?;
    printer.line(&format!("built {} ({})", file.display(), ByteSize(size)))?;
    Ok(Exit::Fine)
}

/// Builds `project` into `file` and returns the component's size.
///
/// # Errors
/// When the compiler is missing or does not succeed; it has said why on stderr.
pub(super) async fn build(project: &Project, file: &Path) -> anyhow::Result<u64> {
    let artifact = match project.language {
        Language::Rust => cargo_build(&project.dir).await?,
        Language::JavaScript => {
            return Err(not_available(project, "npx jco componentize").into());
        }
        Language::Python => {
            return Err(not_available(project, "componentize-py").into());
        }
    };
    put(&artifact, file).map_err(|error| {
        Failure::new(format!("cannot put the component to `{}`", file.display()))
            .because(error)
            .into()
    })
}

fn not_available(project: &Project, tool: &str) -> Failure {
    Failure::new(format!("cannot build `{}`", project.dir.display()))
        .why("only Rust projects can be built yet")
        .remedy(format!(
            "build the component with `{tool}` and name it in the configuration"
        ))
}

/// One line of what cargo reports on stdout, as far as it matters here.
#[derive(Deserialize)]
struct Report {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<BuiltTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct BuiltTarget {
    kind: Vec<String>,
}

/// Runs cargo and returns the component that it made.
async fn cargo_build(dir: &Path) -> anyhow::Result<PathBuf> {
    let failure = || Failure::new(format!("cannot build `{}`", dir.display()));
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics");
    if !std::io::stderr().is_terminal() {
        cargo.arg("--quiet");
    }
    // A build that nobody waits for any more ends.
    cargo
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let child = cargo.stdout(Stdio::piped()).spawn().map_err(|error| {
        failure()
            .why(format!("cargo does not start: {error}"))
            .remedy("install Rust (https://rustup.rs) or put cargo on PATH")
    })?;
    // Not `output`: that would swallow what cargo says on stderr.
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| failure().because(error))?;
    if !output.status.success() {
        let failure = failure().why(format!("cargo ended with {}", output.status));
        return Err(match target_is_missing().await {
            true => failure.remedy(format!("rustup target add {TARGET}")).into(),
            false => failure.remedy("see the compiler's messages above").into(),
        });
    }
    component_in(&output.stdout, &dir.join("Cargo.toml")).ok_or_else(|| {
        failure()
            .why("the package made no component")
            .remedy("add to its Cargo.toml:\n[lib]\ncrate-type = [\"cdylib\"]")
            .into()
    })
}

/// The component among the files that cargo reports for the package of `manifest`.
fn component_in(reports: &[u8], manifest: &Path) -> Option<PathBuf> {
    let manifest = manifest
        .canonicalize()
        .unwrap_or_else(|_| manifest.to_owned());
    let reports = reports.split(|byte| *byte == b'\n');
    let reports = reports.filter_map(|line| serde_json::from_slice::<Report>(line).ok());
    let libraries = reports.filter(|report| {
        let is_library = |target: &BuiltTarget| target.kind.iter().any(|kind| kind == "cdylib");
        report.reason == "compiler-artifact"
            && report.manifest_path.as_ref() == Some(&manifest)
            && report.target.as_ref().is_some_and(is_library)
    });
    let is_component = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "wasm");
    libraries
        .flat_map(|report| report.filenames)
        .find(is_component)
}

/// Whether Rust's standard library for components is not installed.
async fn target_is_missing() -> bool {
    let rustc = environment::variable("RUSTC").unwrap_or_else(|| "rustc".to_owned());
    let asked = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .await;
    asked.is_ok_and(|answer| {
        let folder = String::from_utf8_lossy(&answer.stdout);
        answer.status.success() && !Path::new(folder.trim()).is_dir()
    })
}

/// Copies the component beside `file` and renames it there: nobody ever reads half of it.
fn put(artifact: &Path, file: &Path) -> std::io::Result<u64> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut beside = tempfile::Builder::new()
        .prefix(".component-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    let size = std::io::copy(&mut std::fs::File::open(artifact)?, &mut beside)?;
    let permissions = std::fs::metadata(artifact)?.permissions();
    beside.as_file().set_permissions(permissions)?;
    beside.persist(file)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_found_among_what_cargo_reports() {
        let report = |manifest: &str, kind: &str, files: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","target":
                {{"kind":[{kind}]}},"filenames":[{files}]}}"#
            )
            .replace('\n', "")
        };
        let reports = [
            report("/dep/Cargo.toml", r#""lib""#, r#""/t/libdep.rlib""#),
            report("/p/Cargo.toml", r#""custom-build""#, r#""/t/build""#),
            report(
                "/p/Cargo.toml",
                r#""cdylib","rlib""#,
                r#""/t/libp.rlib","/t/p.wasm""#,
            ),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "not json".to_owned(),
        ];
        let reports = reports.join("\n").into_bytes();
        let found = component_in(&reports, Path::new("/p/Cargo.toml"));
        assert_eq!(found, Some(PathBuf::from("/t/p.wasm")));
        assert_eq!(component_in(&reports, Path::new("/q/Cargo.toml")), None);
    }

    #[test]
    fn a_component_replaces_the_one_before_it() {
        let temp = tempfile::tempdir().unwrap();
        let (artifact, file) = (temp.path().join("built"), temp.path().join("x.wasm"));
        std::fs::write(&file, "old").unwrap();
        std::fs::write(&artifact, "newer").unwrap();
        assert_eq!(put(&artifact, &file).unwrap(), 5);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "newer");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
    }
}
