//! What a new plugin needs in `syncline.toml`: itself, a pipeline through it, targets behind it.

use super::failure::Failure;
use std::io::Write as _;
use std::path::Path;
use toml::Table;

/// The head of a configuration that is made anew.
const HEAD: &str = r#"# Which events go through which plugins into which target modules.

[nats]
url = "nats://127.0.0.1:4222"
"#;

/// A target that the new pipeline writes to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its name.
    pub(super) name: String,
    /// Its section without the header.
    pub(super) section: String,
}

/// A plugin with its pipeline and targets.
#[derive(Debug)]
pub(super) struct Wiring<'a> {
    /// The plugin, and the pipeline.
    pub(super) name: &'a str,
    /// Where they write. Those that exist already are left as they are.
    pub(super) targets: Vec<Target>,
    /// Whether what the plugin lets through goes to the targets; else it names them itself.
    pub(super) routed: bool,
}

/// A configuration file with something added, not written yet.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    file: &'a Path,
    text: String,
}

impl Wiring<'_> {
    /// The subject whose events the pipeline takes.
    pub(super) fn subject(&self) -> String {
        format!("events.{}", self.name)
    }

    /// Adds itself to the configuration in `file`, where there is one; what stands there stays as
    /// it is.
    ///
    /// # Errors
    /// When the name is taken, or the file is not one that sections can be added to.
    pub(super) fn draft<'f>(&self, file: &'f Path) -> anyhow::Result<Draft<'f>> {
        let failure = || {
            Failure::new(format!(
                "cannot add `{}` to `{}`",
                self.name,
                file.display()
            ))
        };
        let before = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HEAD.to_owned(),
            Err(error) => return Err(failure().because(error).into()),
        };
        let existing: Table = before.parse().map_err(|error: toml::de::Error| {
            failure()
                .because(error)
                .remedy("correct the file first")
                .usage()
        })?;
        for section in ["plugins", "pipelines"] {
            if has(&existing, section, self.name) {
                let failure = failure().why(format!("it has [{section}.{}] already", self.name));
                return Err(failure.remedy("choose another name").usage().into());
            }
        }
        let added = self.sections(&existing);
        let text = format!("{}\n\n{added}", before.trim_end());
        if let Err(error) = text.parse::<Table>() {
            let remedy = format!("add this by hand:\n\n{added}");
            return Err(failure().because(error).remedy(remedy).usage().into());
        }
        Ok(Draft { file, text })
    }

    fn sections(&self, existing: &Table) -> String {
        let name = self.name;
        let mut sections = vec![format!("[plugins.{name}]\npath = \"{name}/{name}.wasm\"\n")];
        for target in &self.targets {
            if !has(existing, "targets", &target.name) {
                sections.push(format!("[targets.{}]\n{}", target.name, target.section));
            }
        }
        let stream = format!("EVENTS_{}", name.to_uppercase().replace('-', "_"));
        let subject = self.subject();
        let mut pipeline = format!(
            "[pipelines.{name}]\n\
             source = {{ stream = \"{stream}\", subjects = [\"{subject}\"], create = true }}\n\
             key = \"json:/id\"\n\
             stages = [\"{name}\"]\n"
        );
        if self.routed {
            let entry = |target: &Target| format!("{{ target = \"{}\" }}", target.name);
            let to: Vec<_> = self.targets.iter().map(entry).collect();
            pipeline.push_str(&format!("to = [{}]\n", to.join(", ")));
        }
        pipeline.push_str("guarantee = \"at-least-once\"\n");
        sections.push(pipeline);
        sections.join("\n")
    }
}

impl Draft<'_> {
    /// Puts the file in its place, in one step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self) -> std::io::Result<()> {
        if !self.file.exists() {
            return std::fs::write(self.file, &self.text);
        }
        let folder = self
            .file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut beside = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        beside.write_all(self.text.as_bytes())?;
        beside
            .as_file()
            .set_permissions(std::fs::metadata(self.file)?.permissions())?;
        beside.persist(self.file)?;
        Ok(())
    }
}

fn has(existing: &Table, section: &str, name: &str) -> bool {
    existing
        .get(section)
        .and_then(|section| section.get(name))
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline::config::Config;

    fn wiring(name: &str, routed: bool) -> Wiring<'_> {
        let section = format!("kind = \"kv\"\nbucket = \"{name}\"\ncreate = true\n");
        let targets = vec![Target {
            name: name.to_owned(),
            section,
        }];
        Wiring {
            name,
            targets,
            routed,
        }
    }

    fn check(file: &Path) -> Config {
        Config::load(file, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn a_new_configuration_is_sound() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("syncline.toml");
        wiring("hello-you", true)
            .draft(&file)
            .unwrap()
            .write()
            .unwrap();
        let config = check(&file);
        assert_eq!(config.pipelines[0].stages, ["hello-you"]);
        assert_eq!(config.pipelines[0].to[0].target, "hello-you");
        assert_eq!(
            config.plugins[0].path,
            temp.path().join("hello-you/hello-you.wasm")
        );
    }

    #[test]
    fn what_stands_in_the_file_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("syncline.toml");
        wiring("one", true).draft(&file).unwrap().write().unwrap();
        let before = std::fs::read_to_string(&file).unwrap()
            + "# a comment\n[targets.two]\n\
            kind = \"subject\"\nsubject = \"two.{key}\"\n";
        std::fs::write(&file, &before).unwrap();
        wiring("two", false).draft(&file).unwrap().write().unwrap();
        let after = std::fs::read_to_string(&file).unwrap();
        assert!(after.starts_with(&before), "{after}");
        assert_eq!(after.matches("[targets.two]").count(), 1);
        assert_eq!(check(&file).pipelines.len(), 2);
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("syncline.toml");
        wiring("one", true).draft(&file).unwrap().write().unwrap();
        assert!(wiring("one", true).draft(&file).is_err());
    }

    #[test]
    fn a_file_that_takes_no_sections_gets_none() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("syncline.toml");
        std::fs::write(&file, "plugins = { a = { path = \"a.wasm\" } }\n").unwrap();
        let error = wiring("one", true).draft(&file).unwrap_err();
        assert!(super::super::failure::explain(&error).contains("[plugins.one]"));
    }
}
