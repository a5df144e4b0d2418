//! HTTP service that policies ask. It remembers what it was asked, and answers as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Running service. It ends when it is dropped.
pub struct Service {
    address: SocketAddr,
    inner: Arc<Inner>,
    go: watch::Sender<bool>,
    /// Its threads.
    _runtime: Runtime,
}

/// What the service does about a path.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This status, with this body.
    Answer(u16, String),
    /// The same, once [`Service::release`] was called.
    Late(u16, String),
    /// A redirect.
    Redirect,
    /// So many bytes.
    Bytes(usize),
}

#[derive(Default)]
struct Inner {
    replies: Mutex<HashMap<String, Reply>>,
    asked: Mutex<Vec<String>>,
}

impl Service {
    /// Starts a service that knows no path: it answers 404.
    ///
    /// # Panics
    /// If there is no port left.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"))
    }

    /// Starts such a service at an address.
    ///
    /// # Panics
    /// If the address is taken.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.expect("the port is free");
        let address = listener.local_addr().expect("it listens");
        let inner = Arc::<Inner>::default();
        let (go, going) = watch::channel(false);
        let app = Router::new()
            .fallback(answer)
            .with_state((Arc::clone(&inner), going));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            inner,
            go,
            _runtime: runtime,
        }
    }

    /// Its URL, with this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Has it reply so to this path, as it stands in the request.
    pub fn reply(&self, path: &str, reply: Reply) -> &Self {
        let mut replies = lock(&self.inner.replies);
        replies.insert(path.to_owned(), reply);
        self
    }

    /// What it was asked so far: method, path and query, value of `authorization`, and body.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.inner.asked).clone()
    }

    /// Lets late replies go, from now on.
    pub fn release(&self) {
        self.go.send_replace(true);
    }
}

async fn answer(
    State((inner, mut going)): State<(Arc<Inner>, watch::Receiver<bool>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let authorization = authorization.unwrap_or("-");
    lock(&inner.asked).push(format!("{method} {uri} {authorization} {body}"));
    let reply = lock(&inner.replies).get(uri.path()).cloned();
    let status = |status| StatusCode::from_u16(status).unwrap_or_default();
    match reply {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Reply::Answer(code, body)) => (status(code), body).into_response(),
        Some(Reply::Late(code, body)) => {
            // Without the service nobody waits.
            let _ = going.wait_for(|going| *going).await;
            (status(code), body).into_response()
        }
        Some(Reply::Redirect) => (
            StatusCode::FOUND,
            [(header::LOCATION, "/v1/users/somebody")],
        )
            .into_response(),
        Some(Reply::Bytes(count)) => "x".repeat(count).into_response(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
