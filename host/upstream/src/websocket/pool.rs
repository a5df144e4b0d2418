//! Connection pool: idle connections to a backend, made before they are needed.
//!
//! A new stream saves the round trips of TCP and TLS. Each session makes its own upgrade, because
//! that says whose stream it is. The pool is refilled only after a connection was taken, so that an
//! idle gateway does nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::backends::Address;
use super::transport::BackendTransport;

/// Maximum age of an idle connection. Servers do not wait forever for the first byte.
const LONGEST: Duration = Duration::from_secs(5);

/// Idle connections to each address of a backend.
pub(super) struct ConnectionPool {
    size: usize,
    idle: Mutex<HashMap<(String, u16), IdleConnections>>,
}

/// Idle connections to one address.
#[derive(Default)]
struct IdleConnections {
    ready: Vec<(Instant, BackendTransport)>,
    /// Number of connections that are being made.
    coming: usize,
}

/// Connection that is being made for the pool.
pub(super) struct Coming {
    pool: Arc<ConnectionPool>,
    key: (String, u16),
}

impl ConnectionPool {
    /// Pool with this many connections to each address.
    pub(super) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            idle: Mutex::default(),
        })
    }

    /// Takes a connection that seems alive.
    pub(super) fn take(&self, address: &Address) -> Option<BackendTransport> {
        let mut idle = self.lock();
        let connections = idle.get_mut(&key(address))?;
        while let Some((since, mut transport)) = connections.ready.pop() {
            if since.elapsed() >= LONGEST {
                connections.ready.clear();
                return None;
            }
            // A server sends nothing before a request, so anything readable is the end.
            let mut byte = [0];
            if transport.read(&mut byte).now_or_never().is_none() {
                return Some(transport);
            }
        }
        None
    }

    /// Permission to make one more connection, if there are not enough.
    pub(super) fn lacks(self: &Arc<Self>, address: &Address) -> Option<Coming> {
        let key = key(address);
        let mut idle = self.lock();
        let connections = idle.entry(key.clone()).or_default();
        connections
            .ready
            .retain(|(since, _)| since.elapsed() < LONGEST);
        if connections.ready.len() + connections.coming >= self.size {
            return None;
        }
        connections.coming += 1;
        drop(idle);
        Some(Coming {
            pool: Arc::clone(self),
            key,
        })
    }

    // Nothing here is half changed, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u16), IdleConnections>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Coming {
    /// Adds the connection to the pool.
    pub(super) fn arrived(self, transport: BackendTransport) {
        if let Some(connections) = self.pool.lock().get_mut(&self.key) {
            connections.ready.push((Instant::now(), transport));
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let Some(connections) = self.pool.lock().get_mut(&self.key) {
            connections.coming -= 1;
        }
    }
}

fn key(address: &Address) -> (String, u16) {
    (address.host.clone(), address.port)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::super::backends::Backends;
    use super::*;

    #[tokio::test]
    async fn what_is_taken_is_alive_and_no_more_is_kept_than_its_size() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let backends = Backends::of("pool", vec![("127.0.0.1".to_owned(), port)]);
        let address = backends.in_order().next().unwrap();
        let pool = ConnectionPool::new(2);
        let connect = async || {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            (stream, listener.accept().await.unwrap().0)
        };
        let lacks = || pool.lacks(&address).expect("it has not enough");
        let (alive, server) = connect().await;
        lacks().arrived(BackendTransport::plain(alive));
        let (dead, gone) = connect().await;
        drop(gone);
        dead.readable().await.unwrap();
        lacks().arrived(BackendTransport::plain(dead));
        assert!(pool.lacks(&address).is_none());
        // The one that came last is taken first.
        let mut taken = pool.take(&address).expect("one is alive");
        assert!(pool.take(&address).is_none());
        assert!(pool.lacks(&address).is_some());
        drop(server);
        assert_eq!(taken.read(&mut [0]).await.unwrap(), 0);
    }
}
