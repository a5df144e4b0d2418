//! Records in memory, whose server fails when it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::records::{Found, Heard, Records, Written};
use crate::connection::Away;

/// What the server does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// It answers.
    Answers,
    /// There is no connection to it.
    Away,
    /// It stores what it is sent, and its answers are lost.
    Mute,
    /// It answers reads, and stores what it is sent, and its answers to that are lost.
    HalfMute,
    /// It is cut off: it stores nothing, and answers reads with what it had.
    CutOff,
    /// What it is sent is stored, and reads are answered by one that is cut off.
    Lags,
}

#[derive(Clone)]
struct Stored {
    found: Found,
    ends: Option<Instant>,
}

struct State {
    server: Server,
    sequence: u64,
    stored: HashMap<String, Stored>,
    /// What a server that is cut off has.
    old: HashMap<String, Stored>,
    asked: Vec<(String, String)>,
    heard: Heard,
}

/// Connection of one gateway to the servers.
#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    /// Of this connection, if it is another one than the others'.
    own: Arc<Mutex<Option<Server>>>,
    /// Server of this connection once it has read a record.
    later: Arc<Mutex<Option<Server>>>,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                server: Server::Answers,
                sequence: 0,
                stored: HashMap::new(),
                old: HashMap::new(),
                asked: Vec::new(),
                heard: Heard::Nobody,
            })),
            own: Arc::default(),
            later: Arc::default(),
        }
    }

    /// Another connection to the same servers.
    pub(super) fn another(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            own: Arc::default(),
            later: Arc::default(),
        }
    }

    /// Lets all connections have this server.
    pub(super) fn is(&self, server: Server) {
        self.state().server = server;
    }

    /// Lets this connection have this server.
    pub(super) fn is_alone(&self, server: Option<Server>) {
        let mut state = self.state();
        state.old = state.stored.clone();
        drop(state);
        *self.own.lock().unwrap() = server;
    }

    /// Lets this connection have this server once it has read a record.
    pub(super) fn is_alone_after_a_read(&self, server: Server) {
        *self.later.lock().unwrap() = Some(server);
    }

    /// Contents of the records whose names begin so, without the removed ones.
    pub(super) fn contents(&self, prefix: &str) -> Vec<String> {
        let all = self.all();
        let mut found: Vec<_> = all
            .into_iter()
            .filter(|(name, found)| name.starts_with(prefix) && !found.content.is_empty())
            .map(|(_, found)| String::from_utf8(found.content).unwrap())
            .collect();
        found.sort();
        found
    }

    /// Messages to gateways until now.
    pub(super) fn asked(&self) -> Vec<(String, String)> {
        self.state().asked.clone()
    }

    fn all(&self) -> HashMap<String, Found> {
        let mut state = self.state();
        let now = Instant::now();
        state
            .stored
            .retain(|_, stored| stored.ends.is_none_or(|ends| ends > now));
        let stored = state.stored.iter();
        stored
            .map(|(name, stored)| (name.clone(), stored.found.clone()))
            .collect()
    }

    fn server(&self) -> Server {
        let own = *self.own.lock().unwrap();
        own.unwrap_or(self.state().server)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

const SLOW: Duration = Duration::from_millis(500);

async fn slow() -> Away {
    sleep(SLOW).await;
    Away::Slow(SLOW)
}

impl Records for Fake {
    fn read(&self, name: &str) -> BoxFuture<'_, Result<Option<Found>, Away>> {
        let name = name.to_owned();
        async move {
            sleep(Duration::from_millis(1)).await;
            match self.server() {
                Server::Answers | Server::HalfMute => {
                    let found = self.all().get(&name).cloned();
                    if let Some(later) = self.later.lock().unwrap().take() {
                        self.is_alone(Some(later));
                    }
                    Ok(found)
                }
                Server::CutOff | Server::Lags => {
                    let state = self.state();
                    let old = state.old.get(&name);
                    // It removes by itself what has lived its time.
                    let old = old.filter(|it| it.ends.is_none_or(|ends| ends > Instant::now()));
                    Ok(old.map(|old| old.found.clone()))
                }
                Server::Away => Err(Away::NotConnected),
                Server::Mute => Err(slow().await),
            }
        }
        .boxed()
    }

    fn write(
        &self,
        name: &str,
        after: u64,
        content: Vec<u8>,
        life: Option<Duration>,
    ) -> BoxFuture<'_, Result<Written, Away>> {
        let name = name.to_owned();
        async move {
            sleep(Duration::from_millis(1)).await;
            let server = self.server();
            match server {
                Server::Away => return Err(Away::NotConnected),
                Server::CutOff => return Err(slow().await),
                Server::Answers | Server::Mute | Server::HalfMute | Server::Lags => {}
            }
            let last = self.all().get(&name).map_or(0, |found| found.sequence);
            let written = if last == after {
                let mut state = self.state();
                state.sequence += 1;
                let sequence = state.sequence;
                let stored = Stored {
                    found: Found { sequence, content },
                    ends: life.map(|life| Instant::now() + life),
                };
                state.stored.insert(name, stored);
                Written::At(sequence)
            } else {
                Written::Lost
            };
            match server {
                Server::Mute | Server::HalfMute => Err(slow().await),
                _ => Ok(written),
            }
        }
        .boxed()
    }

    fn ask(&self, gateway: &str, message: Vec<u8>, _: Duration) -> BoxFuture<'_, Heard> {
        let message = String::from_utf8(message).unwrap();
        let mut state = self.state();
        state.asked.push((gateway.to_owned(), message));
        let heard = state.heard.clone();
        std::future::ready(heard).boxed()
    }
}
