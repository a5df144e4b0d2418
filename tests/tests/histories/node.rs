//! A gateway without sockets and policies: a process with the real claims and the real chains.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::rejection::Rejection;
use cluster::chain::{Chain, ChainError};
use cluster::claims::{ClusterClaims, LetGo, Times};
use cluster::record::Fin;
use cluster::{Cluster, Place};
use futures_util::FutureExt as _;
use serde_json::json;
use session::registry::{ClaimError, Registry, SessionGuard, Uncommitted};
use sluice_tests::nats;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::SPACE;
use crate::said::{Event, Manner, Nanos, Order, Waited, What, audio, now};

/// Leases that end in a history's time. The servers count in whole seconds.
const TIMES: Times = Times {
    life: Duration::from_secs(3),
    fence: Duration::from_secs(2),
    renewing: Duration::from_millis(250),
    gap: Duration::from_secs(1),
};
/// Number of times that a policy is asked about a session.
const ROUNDS: usize = 4;
/// Time for a session that was evicted to end.
const SEALING: Duration = Duration::from_millis(1500);

/// What all tasks of the process share.
struct Node {
    cluster: Cluster,
    registry: Registry,
    /// By session, and by generation of the stream: what ends it.
    ends: Mutex<HashMap<String, CancellationToken>>,
}

fn say(what: What) {
    say_at(now(), what);
}

fn say_at(at: Nanos, what: What) {
    let line = serde_json::to_string(&Event { at, what }).unwrap();
    // Whoever started it may be gone.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Serves until the input ends: the arguments are its name, and the URLs of the servers.
pub fn serve(name: &str, urls: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (orders, mut ordered) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order: Order = serde_json::from_str(&line.unwrap()).unwrap();
            orders.send(order).unwrap();
        }
    });
    runtime.unwrap().block_on(async {
        let node = Arc::new(Node {
            cluster: nats::client(urls),
            registry: Registry::default(),
            ends: Mutex::default(),
        });
        let let_go: LetGo = Arc::new(|_, _| std::future::ready(()).boxed());
        let mut terms = ClusterClaims::share_as(name, TIMES, &node.cluster, &node.registry, let_go);
        tokio::spawn(async move {
            while terms.changed().await.is_ok() {
                let term = *terms.borrow_and_update();
                let (at, here) = (now(), Instant::now());
                let nanos = |passed: Duration| u64::try_from(passed.as_nanos()).unwrap();
                say_at(
                    at,
                    term.map_or(What::NoTerm, |term| What::Term {
                        incarnation: term.incarnation,
                        since: at - nanos(here.saturating_duration_since(term.since)),
                        until: at + nanos(term.until.saturating_duration_since(here)),
                    }),
                );
            }
        });
        while let Some(order) = ordered.recv().await {
            node.clone().obey(order);
        }
    });
}

impl Node {
    fn obey(self: Arc<Self>, order: Order) {
        match order {
            Order::Claim {
                session,
                key,
                manner,
                patience_ms,
            } => {
                let end = self.end(&session);
                let patience = Duration::from_millis(patience_ms);
                tokio::spawn(self.claim(session, key, manner, patience, end));
            }
            Order::Release { session } => self.end(&session).cancel(),
            Order::Stream {
                generation,
                subject,
            } => {
                let end = self.end(&format!("stream {generation}"));
                tokio::spawn(self.stream(generation, subject, end));
            }
            Order::Finish { generation } => self.end(&format!("stream {generation}")).cancel(),
        }
    }

    fn end(&self, of: &str) -> CancellationToken {
        let mut ends = self.ends.lock().unwrap();
        ends.entry(of.to_owned()).or_default().clone()
    }

    async fn claim(
        self: Arc<Self>,
        session: String,
        key: String,
        manner: Manner,
        patience: Duration,
        end: CancellationToken,
    ) {
        let (began, deadline) = (now(), Instant::now() + patience);
        let mut attempts = 1_u32..;
        // Each attempt is a session of its own, as of a client that comes back.
        let (guard, session) = loop {
            let session = format!("{session}.{}", attempts.next().unwrap_or_default());
            let guard = session::testing::start(&self.registry, &session);
            let why = match self.admit(&guard, &key, manner).await {
                Ok(()) => break (guard, session),
                Err(why) => why.to_string(),
            };
            drop(guard);
            if Instant::now() >= deadline || end.is_cancelled() {
                return say(What::Refused { session, key, why });
            }
            sleep(Duration::from_millis(fastrand::u64(20..100))).await;
        };
        let here = guard.session();
        let ended = async {
            here.evicted_have_ended().await;
            here.evicted_elsewhere_have_ended().await;
        };
        let waited = match timeout(SEALING, ended).await {
            Ok(()) => Waited::Ended,
            Err(_) => Waited::Long,
        };
        say(What::Granted {
            session: session.clone(),
            key,
            began,
            waited,
        });
        tokio::select! {
            _ = here.evicted() => {
                say(What::Told { session: session.clone() });
                // It is sealed.
                sleep(Duration::from_millis(fastrand::u64(0..30))).await;
            }
            () = end.cancelled() => {}
        }
        say(What::Ended { session });
        drop(guard);
    }

    /// Asks a policy that wants the key, as often as a gateway does.
    async fn admit(
        &self,
        guard: &SessionGuard,
        key: &str,
        manner: Manner,
    ) -> Result<(), Uncommitted> {
        let (registry, session) = (&self.registry, guard.session());
        let mut result = Err(Uncommitted::Held);
        for _ in 0..ROUNDS {
            let mark = registry.mark(session);
            let answer = match (registry.claim(session, key), manner) {
                (Err(ClaimError::Held(holder)), Manner::Evicts) => {
                    let over = holder.session_id;
                    say(What::Evicting {
                        session: session.facts.session_id.to_string(),
                        key: key.to_owned(),
                        over: over.clone(),
                    });
                    let notice = Rejection::new(4003, "superseded", "a newer connection");
                    registry.evict(session, key, &over, notice)
                }
                (answer, _) => answer,
            };
            result = match answer {
                Ok(()) => registry.commit(session, mark).await,
                Err(_) => {
                    registry.give_way(session, mark);
                    match registry.answers_hold(session).await {
                        Ok(()) => return Err(Uncommitted::Held),
                        Err(unsettled) => Err(unsettled),
                    }
                }
            };
            match &result {
                Ok(()) => return Ok(()),
                Err(unsettled) => {
                    registry.undo(session, mark);
                    if *unsettled != Uncommitted::Held {
                        return result;
                    }
                    registry.untell(session);
                }
            }
        }
        result
    }

    async fn stream(self: Arc<Self>, generation: u32, subject: String, end: CancellationToken) {
        if let Err(why) = self.write(generation, subject, end).await {
            let why = why.to_string();
            say(What::Over { generation, why });
        }
    }

    /// Writes what the client sends, until another gateway has the stream or the client ends it.
    async fn write(
        &self,
        generation: u32,
        subject: String,
        end: CancellationToken,
    ) -> Result<(), ChainError> {
        let place = Place {
            space: SPACE.to_owned(),
            subject,
        };
        let about = json!({"generation": generation}).to_string();
        let cluster = self.cluster.clone();
        let mut chain = match generation {
            1 => Chain::begin(cluster, place, about).await?,
            _ => Chain::take(cluster, place, about).await?,
        };
        let from = chain.bytes();
        say(What::Taken { generation, from });
        while !end.is_cancelled() {
            let size = fastrand::usize(1..3200);
            let audio = audio(generation, chain.bytes(), size);
            chain.append(audio.into()).await?;
            let bytes = chain.bytes();
            say(What::Acked { generation, bytes });
            sleep(Duration::from_millis(fastrand::u64(1..30))).await;
        }
        let bytes = chain.finish(Fin::Complete).await?;
        say(What::Finished { generation, bytes });
        Ok(())
    }
}
