//! The imports of a component, answered by the [`FakeHost`] of the running test.
//!
//! The functions have the signatures of the generated ones, so that `host.rs` can take either.

use std::cell::RefCell;

use super::fake::FakeHost;
use crate::bindings::syncline::plugin::types::Error;

thread_local! {
    static HOST: RefCell<FakeHost> = RefCell::default();
}

/// Runs `work` with this host as the one that capabilities reach.
pub(super) fn during<T>(host: &mut FakeHost, work: impl FnOnce() -> T) -> T {
    /// Gives the host back also when the work panics.
    struct Swapped<'a>(&'a mut FakeHost);
    impl Drop for Swapped<'_> {
        fn drop(&mut self) {
            HOST.with_borrow_mut(|current| std::mem::swap(current, self.0));
        }
    }
    HOST.with_borrow_mut(|current| std::mem::swap(current, host));
    let _back = Swapped(host);
    work()
}

pub(crate) mod log {
    use super::HOST;
    use crate::log::Level;
    use crate::testing::Line;

    pub(crate) fn write(level: Level, message: &str, fields: &[(String, String)]) {
        let line = Line {
            level,
            message: message.into(),
            fields: fields.to_vec(),
        };
        HOST.with_borrow_mut(|host| host.lines.push(line));
    }

    pub(crate) fn enabled(_level: Level) -> bool {
        true
    }
}

pub(crate) mod state {
    use std::time::Duration;

    use super::{Error, FakeHost, HOST};
    use crate::testing::fake::Entry;
    use crate::testing::grants;

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        with(|host| Ok(host.state(key).map(<[u8]>::to_vec)))
    }

    pub(crate) fn get_many(keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        keys.iter().map(|key| get(key)).collect()
    }

    pub(crate) fn put(key: &str, value: &[u8], ttl_s: Option<u32>) -> Result<(), Error> {
        with(|host| {
            let gone_at = ttl_s.map(|ttl| host.now + Duration::from_secs(ttl.into()));
            host.entries.insert(
                key.into(),
                Entry {
                    value: value.to_vec(),
                    gone_at,
                },
            );
            Ok(())
        })
    }

    pub(crate) fn put_new(key: &str, value: &[u8], ttl_s: Option<u32>) -> Result<bool, Error> {
        let absent = get(key)?.is_none();
        if absent {
            put(key, value, ttl_s)?;
        }
        Ok(absent)
    }

    pub(crate) fn add(key: &str, delta: i32) -> Result<i64, Error> {
        let not_a_number = || Error::Invalid(format!("{key} holds no counter"));
        let counter = match get(key)? {
            None => 0,
            Some(text) => std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(not_a_number)?,
        };
        let counter = counter.checked_add(delta.into()).ok_or_else(not_a_number)?;
        put(key, counter.to_string().as_bytes(), None)?;
        Ok(counter)
    }

    pub(crate) fn delete(key: &str) -> Result<(), Error> {
        with(|host| {
            host.entries.remove(key);
            Ok(())
        })
    }

    fn with<T>(work: impl FnOnce(&mut FakeHost) -> Result<T, Error>) -> Result<T, Error> {
        HOST.with_borrow_mut(|host| {
            grants::check_capability(host.grants(), "state");
            match &host.state_failure {
                Some(why) => Err(Error::Unavailable(why.clone())),
                None => work(host),
            }
        })
    }
}

pub(crate) mod lookup {
    use super::{Error, HOST};
    use crate::lookup::{Address, Entity};
    use crate::testing::{fake, grants};

    pub(crate) fn get(address: &Address) -> Result<Option<Entity>, Error> {
        HOST.with_borrow(|host| {
            grants::check_lookup(host.grants(), &address.target);
            match &host.lookup_failure {
                Some(why) => Err(Error::Unavailable(why.clone())),
                None => Ok(host.entities.get(&fake::place(address)).cloned()),
            }
        })
    }

    pub(crate) fn get_many(addresses: &[Address]) -> Result<Vec<Option<Entity>>, Error> {
        addresses.iter().map(get).collect()
    }
}

pub(crate) mod secrets {
    use super::{Error, HOST};
    use crate::testing::grants;

    pub(crate) fn get(name: &str) -> Result<Option<String>, Error> {
        HOST.with_borrow(|host| {
            grants::check_secret(host.grants(), name);
            Ok(host.secrets.get(name).cloned())
        })
    }
}

pub(crate) mod metrics {
    use super::HOST;
    use crate::testing::grants;

    pub(crate) fn count(name: &str, delta: u32, labels: &[(String, String)]) {
        grants::check_metric(name, labels);
        HOST.with_borrow_mut(|host| {
            *host.counters.entry(name.into()).or_default() += u64::from(delta);
        });
    }

    pub(crate) fn observe(name: &str, value: f64, labels: &[(String, String)]) {
        grants::check_metric(name, labels);
        HOST.with_borrow_mut(|host| host.observed.entry(name.into()).or_default().push(value));
    }
}

pub(crate) mod http {
    use super::HOST;
    use crate::http::{Fault, Request, Response};
    use crate::testing::grants;

    pub(crate) fn carry(request: &Request) -> Result<Response, Fault> {
        HOST.with_borrow(|host| {
            grants::check_host(host.grants(), &request.url);
            if let Some(why) = &host.http_failure {
                return Err(Fault::Away(why.clone()));
            }
            let mut answers = host.answers.iter();
            let found =
                answers.find(|(method, url, _)| (method, url) == (&request.method, &request.url));
            let missing = || Fault::Refused("nothing is sent here: record its answer".into());
            found
                .map(|(_, _, answer)| answer.clone())
                .ok_or_else(missing)
        })
    }
}
