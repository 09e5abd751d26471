//! What names stand for.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

type Resolve = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// Tells the addresses of a name.
#[derive(Clone)]
pub struct Resolver(Arc<Resolve>);

impl Resolver {
    /// As this machine does it.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|name| {
            async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            .boxed()
        })
    }

    /// As `resolve` does it.
    pub fn new(
        resolve: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(resolve))
    }

    pub(super) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(name.to_owned()).await
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver(..)")
    }
}
