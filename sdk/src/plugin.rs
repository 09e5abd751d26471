//! The two forms of a plugin: a trait, and a function with a description around it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Event, Manifest, Result, Verdict};

/// A plugin with room for preparation in [`new`](Self::new) and memory between events.
///
/// ```
/// use serde::Deserialize;
/// use syncline_sdk::prelude::*;
///
/// struct Sample { keep: u32, seen: u32 }
///
/// #[derive(Deserialize)]
/// struct Config { one_in: u32 }
///
/// impl Plugin for Sample {
///     type Config = Config;
///
///     fn manifest() -> Manifest {
///         manifest!().accepts(["page.viewed"])
///     }
///
///     fn new(config: Config) -> Result<Self> {
///         let keep = (config.one_in > 0).then_some(config.one_in).or_reject("one_in is 0")?;
///         Ok(Self { keep, seen: 0 })
///     }
///
///     fn process(&mut self, _event: &Event) -> Result<Verdict> {
///         self.seen += 1;
///         Ok((self.seen % self.keep == 0).into())
///     }
/// }
///
/// plugin!(Sample);
/// ```
///
/// An instance may be thrown away after any event and there may be several: memory is a cache, what
/// must last belongs into [`state`](crate::state).
pub trait Plugin: Sized {
    /// The settings, read from the `config` table of the plugin. [`NoConfig`] when there are none.
    type Config: DeserializeOwned;

    /// What the plugin is and wants. Called before any configuration exists; capabilities do not
    /// answer here.
    fn manifest() -> Manifest;

    /// Starts an instance; an error keeps the pipeline from starting and is shown to the operator.
    /// Only log and secrets answer here.
    fn new(config: Self::Config) -> Result<Self>;

    /// Thinks about one event. [`Verdict`] lists what turns into one with `.into()`.
    fn process(&mut self, event: &Event) -> Result<Verdict>;
}

/// The configuration of a plugin that has none: any key is an error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Makes a crate a plugin.
///
/// Around a function, with the plugin's name and what it is:
///
/// ```
/// use syncline_sdk::prelude::*;
///
/// plugin! {
///     /// Drops what the load generator sends.
///     NoTestTraffic {
///         accepts: ["order.*"],
///         process: is_real,
///     }
/// }
///
/// fn is_real(event: &Event) -> bool {
///     event.attribute("synthetic").is_none()
/// }
/// ```
///
/// The doc comment becomes the manifest's description. `process` names the function; it takes the
/// event and, when `config` names a type that serde can read, the configuration:
/// `fn(&Event, &Config) -> impl Into<Verdict>`. All other keys are methods of
/// [`Manifest`](crate::Manifest).
///
/// Or around a type that implements [`Plugin`](crate::Plugin): `plugin!(Sample);`.
///
/// Once per crate; in a native build it exports nothing.
#[macro_export]
macro_rules! plugin {
    ($(#[doc = $doc:literal])* $name:ident { $($keys:tt)* }) => {
        $crate::__plugin_of_function!(($name [$($doc)*]) [] [] [] $($keys)*);
    };
    ($plugin:ty) => {
        #[allow(dead_code, reason = "natively only tests use the plugin")]
        const _: fn() = $crate::assert_plugin::<$plugin>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::Component<$plugin>;
            $crate::bindings::export!(Exported with_types_in $crate::bindings);
        };
    };
}

/// Sorts the keys of `plugin!` into manifest, configuration and function, then writes the plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __plugin_of_function {
    ($about:tt $manifest:tt [] $process:tt config: $config:ty $(, $($keys:tt)*)?) => {
        $crate::__plugin_of_function!($about $manifest [$config] $process $($($keys)*)?);
    };
    ($about:tt $manifest:tt $config:tt [] process: $process:path $(, $($keys:tt)*)?) => {
        $crate::__plugin_of_function!($about $manifest $config [$process] $($($keys)*)?);
    };
    ($about:tt [$($m:tt)*] $config:tt $process:tt $key:ident: $value:expr $(, $($keys:tt)*)?) => {
        $crate::__plugin_of_function!(
            $about [$($m)* .$key($value)] $config $process $($($keys)*)?
        );
    };
    ($about:tt $manifest:tt $config:tt []) => {
        compile_error!("plugin!: name the function, `process: my_function`");
    };
    ($about:tt $manifest:tt [] [$process:path]) => {
        $crate::__plugin_of_function!(
            @write $about $manifest $crate::NoConfig, (|event, _| $process(event))
        );
    };
    ($about:tt $manifest:tt [$config:ty] [$process:path]) => {
        $crate::__plugin_of_function!(
            @write $about $manifest $config, (|event, config| $process(event, config))
        );
    };
    (@write ($name:ident [$($doc:literal)*]) [$($m:tt)*] $config:ty, $process:expr) => {
        $(#[doc = $doc])*
        struct $name($config);

        impl $crate::Plugin for $name {
            type Config = $config;

            fn manifest() -> $crate::Manifest {
                let about = [$($doc),*].map(str::trim).join(" ");
                let manifest = $crate::manifest!();
                let manifest = if about.is_empty() { manifest } else { manifest.description(about) };
                manifest $($m)*
            }

            fn new(config: $config) -> $crate::Result<Self> {
                Ok(Self(config))
            }

            fn process(&mut self, event: &$crate::Event) -> $crate::Result<$crate::Verdict> {
                let process: fn(&$crate::Event, &$config) -> _ = $process;
                Ok($crate::Verdict::from(process(event, &self.0)))
            }
        }

        $crate::plugin!($name);
    };
}
