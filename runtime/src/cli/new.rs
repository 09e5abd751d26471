//! `syncline new`: a plugin project that builds, and its place in the configuration.

use super::embedded::{self, File};
use super::failure::{Exit, Failure};
use super::print::Printer;
use super::wiring::{Target, Wiring};
use clap::ValueEnum;
use std::path::Path;
use syncline::config::DEFAULT_FILE;

/// Where the SDK and the contract go, beside the projects that use them.
const SHARED: &str = ".syncline";
/// What `dev` keeps there is nobody else's.
const SHARED_IGNORED: &str = "/nats/\n/nats.log\n";
/// The longest name.
const LONGEST: usize = 64;

/// Names that Rust keeps for itself, and those of the crates that a plugin depends on.
const TAKEN: &str = "Self abstract alloc as async await become box break const continue core crate \
                     do dyn else enum extern false final fn for gen if impl in let loop macro \
                     match mod move mut override priv proc_macro pub ref return self serde static \
                     std struct super syncline-sdk syncline_sdk test trait true try type typeof \
                     unsafe unsized use virtual where while yield";

/// Make a plugin project in ./NAME and add it to ./syncline.toml
///
/// The project builds and its cases pass at once. Its plugin is added to ./syncline.toml with a
/// pipeline through it and the targets behind it; the file is made when there is none, and what
/// stands in it stays. The SDK is written to ./.syncline, where the project depends on it: keep
/// that folder with the project.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plugin's name: a letter, then letters, digits, `-` and `_`
    name: String,

    /// The language of the plugin
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,

    /// What the plugin does with events
    #[arg(long, value_enum, default_value_t = Template::Filter)]
    template: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// Rust.
    Rust,
    /// JavaScript; not available yet.
    Js,
    /// Python; not available yet.
    Python,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Template {
    /// Lets some events pass.
    Filter,
    /// Changes events.
    Transform,
    /// Writes to several targets.
    Route,
}

/// Makes the project.
pub(super) fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let name = args.name.as_str();
    let failure = || Failure::new(format!("cannot make the plugin `{name}`"));
    if args.lang != Language::Rust {
        let remedy = "use --lang rust; components in other languages can be built by hand and \
                      named in the configuration";
        let failure = failure()
            .why("only Rust projects can be made yet")
            .remedy(remedy);
        return Err(failure.usage().into());
    }
    check(name).map_err(|why| failure().why(why).remedy("choose another name").usage())?;
    let project = Path::new(name);
    if project.exists() {
        let failure = failure().why(format!("`./{name}` exists already"));
        return Err(failure
            .remedy("choose another name, or remove it")
            .usage()
            .into());
    }
    let wiring = Wiring {
        name,
        targets: args.template.targets(name),
        routed: !matches!(args.template, Template::Route),
    };
    let draft = wiring.draft(Path::new(DEFAULT_FILE))?;
    write_shared().map_err(|error| {
        Failure::new(format!("cannot write the SDK to `./{SHARED}`")).because(error)
    })?;
    let placeholders = [("name", name), ("sdk", "../.syncline/sdk")];
    embedded::write(args.template.files(), project, &placeholders)
        .and_then(|()| draft.write())
        .map_err(|error| failure().because(error))?;
    printer.text(&next_steps(name, args.template, &wiring.subject()))?;
    Ok(Exit::Fine)
}

fn next_steps(name: &str, template: Template, subject: &str) -> String {
    format!(
        "made ./{name} and added it to ./{DEFAULT_FILE}\n\n\
         next:\n  \
         syncline test {name}\n  \
         syncline dev\n\
         and in another terminal:\n  \
         echo '{}' | syncline send {subject} --type order.created\n",
        template.example()
    )
}

fn write_shared() -> std::io::Result<()> {
    let shared = Path::new(SHARED);
    embedded::write(embedded::WIT, &shared.join("wit"), &[])?;
    embedded::write(&[embedded::SDK_MANIFEST], &shared.join("sdk"), &[])?;
    embedded::write(embedded::SDK, &shared.join("sdk").join("src"), &[])?;
    embedded::write(&[(".gitignore", SHARED_IGNORED)], shared, &[])
}

/// Why a name cannot be a crate's, a plugin's and a subject's.
fn check(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("a name begins with a letter".to_owned());
    }
    if !name.chars().all(plain) {
        return Err("a name is made of letters, digits, `-` and `_`".to_owned());
    }
    if name.len() > LONGEST {
        return Err(format!("the name is longer than {LONGEST} characters"));
    }
    if TAKEN.split_whitespace().any(|taken| taken == name) {
        return Err("Rust or the SDK uses that name".to_owned());
    }
    Ok(())
}

impl Template {
    fn files(self) -> &'static [File] {
        match self {
            Self::Filter => embedded::RUST_FILTER,
            Self::Transform => embedded::RUST_TRANSFORM,
            Self::Route => embedded::RUST_ROUTE,
        }
    }

    /// The targets that events of the template go to.
    fn targets(self, name: &str) -> Vec<Target> {
        let target = |name: &str, section: String| Target {
            name: name.to_owned(),
            section,
        };
        let bucket =
            |bucket: &str| format!("kind = \"kv\"\nbucket = \"{bucket}\"\ncreate = true\n");
        match self {
            Self::Filter | Self::Transform => vec![target(name, bucket(name))],
            Self::Route => {
                let audit = "kind = \"subject\"\nsubject = \"audit.{key}\"\nstream = \"AUDIT\"\n\
                             create = true\n";
                vec![
                    target("orders", bucket("orders")),
                    target("audit", audit.to_owned()),
                ]
            }
        }
    }

    /// Data that the template's plugin makes something of.
    fn example(self) -> &'static str {
        match self {
            Self::Filter | Self::Route => r#"{"id":"o-1","amount":250}"#,
            Self::Transform => r#"{"id":"o-1","lines":[{"price":2.5,"quantity":4}]}"#,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_would_refuse_are_refused_here() {
        for good in ["hello", "a", "crm-map", "only_eu", "V2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "", "2nd", "-a", "_a", "a b", "a.b", "a/b", "..", "é", "fn", "test", &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
