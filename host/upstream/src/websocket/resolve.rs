//! Name resolution of backends.
//!
//! The system's resolver blocks, for half a minute if no name server answers. Each name is looked
//! up once at a time, in threads that do nothing else, and all waiting streams share the answer. So
//! waiting streams never take the threads of other names, disks or reloads.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use base::blocking::NAMES;

type Found = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// Lookups that are running.
static PENDING: LazyLock<Mutex<HashMap<String, Lookup>>> = LazyLock::new(Mutex::default);

type Lookup = Shared<BoxFuture<'static, Found>>;

/// Looks up the addresses of a host. It can take as long as the system's resolver does.
///
/// # Errors
/// The resolver's error.
pub(super) async fn lookup(host: &str, port: u16) -> Found {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok([SocketAddr::new(ip, port)].into());
    }
    lookup_with(host, resolve).await.map(|found| {
        let with_port = found
            .iter()
            .map(|address| SocketAddr::new(address.ip(), port));
        with_port.collect()
    })
}

fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

async fn lookup_with(host: &str, resolve: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Found {
    let looking = {
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        match pending.get(host) {
            Some(looking) => looking.clone(),
            None => {
                let looking = start(host.to_owned(), resolve);
                pending.insert(host.to_owned(), looking.clone());
                looking
            }
        }
    };
    looking.await
}

/// Starts a lookup, which runs to its end even if nothing waits for it.
fn start(host: String, resolve: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Lookup {
    let resolving = NAMES.run(move || {
        let found = resolve(&host);
        // Later callers start a new lookup.
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        pending.remove(&host);
        found
    });
    let found = async move {
        let found = resolving.await.unwrap_or_else(|error| Err(error.into()));
        found.map(Into::into).map_err(Arc::new)
    };
    found.boxed().shared()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use futures_util::future::join_all;

    use super::*;

    type Channel = (Mutex<Sender<()>>, Mutex<Receiver<()>>);

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        for (host, address) in [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")] {
            let found = lookup(host, 80).await.expect("an address");
            assert_eq!(found[..], [address.parse().expect("an address")]);
        }
        let found = lookup("localhost", 80).await.expect("it is in /etc/hosts");
        assert!(
            found
                .iter()
                .all(|it| it.ip().is_loopback() && it.port() == 80)
        );
    }

    #[tokio::test]
    async fn streams_that_wait_for_one_name_wait_for_one_lookup() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        static ANSWER: LazyLock<Channel> = LazyLock::new(|| {
            let (answer, waiting) = channel();
            (Mutex::new(answer), Mutex::new(waiting))
        });
        fn slow(_: &str) -> io::Result<Vec<SocketAddr>> {
            LOOKUPS.fetch_add(1, Ordering::Relaxed);
            ANSWER.1.lock().expect("alone").recv().expect("an answer");
            Err(io::Error::other("no such name"))
        }
        let mut waiting: Vec<_> = (0..1000)
            .map(|_| lookup_with("slow.example", slow).boxed())
            .collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        ANSWER.0.lock().expect("alone").send(()).expect("asked");
        for found in join_all(waiting).await {
            assert_eq!(found.expect_err("no name").to_string(), "no such name");
        }
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1);
        // The next one asks again.
        ANSWER.0.lock().expect("alone").send(()).expect("asked");
        lookup_with("slow.example", slow)
            .await
            .expect_err("no name");
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 2);
    }
}
