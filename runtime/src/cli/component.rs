//! One component on its own: loaded, started with capabilities in memory, asked about events.

use super::environment;
use super::failure::Failure;
use super::verdict::Answer;
use std::path::Path;
use syncline::event::{Acceptance, Envelope, Next, Verdict};
use syncline::plugin::{CallError, Component, Engine, EngineConfig, PluginError, Solo, World};

/// An engine that keeps compiled code in the user's cache.
///
/// # Errors
/// When the cache cannot be used.
pub(super) fn engine() -> anyhow::Result<Engine> {
    let config = EngineConfig {
        cache_dir: environment::cache_dir(),
    };
    Engine::new(&config).map_err(|error| {
        Failure::new("cannot start the plugin host")
            .because(error)
            .remedy("set SYNCLINE_CACHE to a folder that only you can write to")
            .into()
    })
}

/// Loads the component in `file`.
///
/// # Errors
/// When there is none, or it is no plugin that this version can run.
pub(super) async fn load(engine: &Engine, file: &Path) -> anyhow::Result<Component> {
    if !file.exists() {
        let failure = Failure::new(format!("cannot load `{}`", file.display()))
            .why("there is no such file")
            .remedy("build it with `syncline build`, or check the path");
        return Err(failure.into());
    }
    Ok(Component::load(engine, file).await?)
}

/// A plugin that works alone.
pub(super) struct Lone<'a> {
    component: &'a Component,
    solo: Solo,
}

impl<'a> Lone<'a> {
    /// Starts the plugin in its world.
    ///
    /// # Errors
    /// [`PluginError`] when it does not start there.
    pub(super) async fn start(
        engine: &Engine,
        component: &'a Component,
        world: World,
    ) -> Result<Self, PluginError> {
        let solo = Solo::start(engine, component, world).await?;
        Ok(Self { component, solo })
    }

    /// What the plugin says about one event. As in a pipeline, events that it does not accept pass
    /// it untouched.
    ///
    /// # Errors
    /// [`CallError::Host`] when it could not be asked.
    pub(super) async fn answer(
        &self,
        envelope: &Envelope,
        attempt: u32,
    ) -> Result<Answer, CallError> {
        let result = if self.component.manifest().accepts(&envelope.event.kind) {
            self.solo.call(envelope, attempt).await
        } else {
            Ok(Verdict::Accept(Acceptance {
                effects: Vec::new(),
                next: Next::Pass,
            }))
        };
        Answer::of(envelope, result)
    }
}
