//! Structured log lines. The host adds plugin, pipeline and event id, and hides secrets.
//!
//! ```
//! use syncline_sdk::{info, warn};
//!
//! let (key, n_tries) = ("7", 3);
//! info!("customer {key} is new");
//! warn!(key, n_tries = n_tries + 1; "still no answer");
//! ```

use crate::host;

pub use crate::bindings::syncline::plugin::log::Level;

/// Whether lines of this level are kept at all.
pub fn enabled(level: Level) -> bool {
    host::log::enabled(level)
}

/// Writes a line; the macros skip the work when nobody keeps it.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    host::log::write(level, message, &host::owned(fields));
}

/// `line!` names a standard macro, so this is what the five level macros share.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    (@field $name:ident) => { $name };
    (@field $name:ident $value:expr) => { $value };
    ($level:ident, $($name:ident $(= $value:expr)?),+ ; $($message:tt)+) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            let fields = [$((
                stringify!($name),
                ::std::string::ToString::to_string(&$crate::__log!(@field $name $($value)?)),
            )),+];
            let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
            $crate::log::write($crate::log::Level::$level, &format!($($message)+), &fields);
        }
    };
    ($level:ident, $($message:tt)+) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write($crate::log::Level::$level, &format!($($message)+), &[]);
        }
    };
}

/// Logs at level trace; see [`mod@crate::log`].
#[macro_export]
macro_rules! trace { ($($line:tt)+) => { $crate::__log!(Trace, $($line)+) }; }

/// Logs at level debug; see [`mod@crate::log`].
#[macro_export]
macro_rules! debug { ($($line:tt)+) => { $crate::__log!(Debug, $($line)+) }; }

/// Logs at level info; see [`mod@crate::log`].
#[macro_export]
macro_rules! info { ($($line:tt)+) => { $crate::__log!(Info, $($line)+) }; }

/// Logs at level warn; see [`mod@crate::log`].
#[macro_export]
macro_rules! warn { ($($line:tt)+) => { $crate::__log!(Warn, $($line)+) }; }

/// Logs at level error; see [`mod@crate::log`].
#[macro_export]
macro_rules! error { ($($line:tt)+) => { $crate::__log!(Error, $($line)+) }; }
