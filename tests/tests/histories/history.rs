//! One history: three gateways, two keys and a stream, and what happens to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Place;
use sluice_tests::proxy::{Fault, Proxy};

use crate::SPACE;
use crate::gateway::{Gateway, Log, disturb, heal, live};
use crate::model::Seen;
use crate::said::{Event, Manner, Nanos, Order, What, now};
use crate::schedule::{GATEWAYS, KEYS, Step, Trouble, steps};

/// Time for a gateway to begin, and for all to come to rest at the end.
const PATIENCE: Duration = Duration::from_secs(45);
/// Time in which a gateway is connected again, after something happened to it.
const AFTER: Nanos = 4_000_000_000;

/// Ways of the gateways of one history to the servers. They are used again by the next one.
pub type Ways = [[Proxy; 3]; GATEWAYS];

/// History while it is played.
struct History<'a> {
    seed: u64,
    ways: &'a Ways,
    log: Arc<Log>,
    gateways: [Gateway; GATEWAYS],
    troubles: HashMap<String, Vec<(Nanos, Nanos)>>,
    killed: HashMap<String, Nanos>,
    sessions: u32,
    generations: u32,
    subject: String,
}

/// Plays a history. Gives what was seen, for the model.
pub fn play(seed: u64, nonce: u64, ways: &Ways, log: &Arc<Log>) -> Result<Seen, String> {
    let gateways =
        std::array::from_fn(|n| Gateway::start(format!("{nonce:x}-{seed}-g{n}"), &ways[n], log));
    let history = History {
        seed,
        ways,
        log: Arc::clone(log),
        gateways,
        troubles: HashMap::new(),
        killed: HashMap::new(),
        sessions: 0,
        generations: 0,
        subject: format!("histories.{nonce:x}.{seed}"),
    };
    let seen = history.play();
    for ways in ways {
        heal(ways, Fault::BlackHole);
    }
    seen
}

impl History<'_> {
    fn play(mut self) -> Result<Seen, String> {
        self.take(0);
        let ready = self.log.wait(PATIENCE, |said| {
            let terms = said.iter().filter_map(|(name, event)| {
                matches!(event.what, What::Term { .. }).then_some(name)
            });
            let terms: std::collections::HashSet<_> = terms.collect();
            (taken(said, 1) && terms.len() == GATEWAYS).then_some(())
        });
        ready.ok_or("its gateways do not begin")?;
        let began = Instant::now();
        for (at, step) in steps(self.seed) {
            let due = began + Duration::from_millis(at);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.step(step);
        }
        self.rest()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Claim {
                gateway,
                key,
                manner,
                patience_ms,
            } => self.claim(gateway, key, manner, patience_ms),
            Step::Release { key } => {
                if let Some((name, session)) = live(&self.log.all(), &key_of(self.seed, key)).pop()
                {
                    let gateway = self.gateways.iter_mut().find(|it| it.name == name);
                    let session = session.split('.').next().unwrap_or_default().to_owned();
                    if let Some(gateway) = gateway {
                        gateway.order(&Order::Release { session });
                    }
                }
            }
            Step::Take { gateway } => self.take(gateway),
            Step::Begin { gateway, fault } => {
                let name = self.gateways[gateway].name.clone();
                self.troubles
                    .entry(name)
                    .or_default()
                    .push((now(), Nanos::MAX));
                match fault {
                    Trouble::StandsStill => self.gateways[gateway].stand_still(),
                    Trouble::Network(fault) => disturb(&self.ways[gateway], fault),
                    Trouble::Killed => {
                        self.gateways[gateway].kill();
                        let name = self.gateways[gateway].name.clone();
                        self.killed.insert(name, now());
                    }
                }
            }
            Step::End { gateway, fault } => {
                match fault {
                    Trouble::StandsStill => self.gateways[gateway].go_on(),
                    Trouble::Network(fault) => heal(&self.ways[gateway], fault),
                    Trouble::Killed => {
                        let name = format!("{}x", self.gateways[gateway].name);
                        let ways = &self.ways[gateway];
                        self.gateways[gateway] = Gateway::start(name, ways, &self.log);
                        return;
                    }
                }
                let troubles = self.troubles.get_mut(&self.gateways[gateway].name);
                if let Some((_, end)) = troubles.and_then(|all| all.last_mut()) {
                    *end = now() + AFTER;
                }
            }
        }
    }

    fn claim(&mut self, gateway: usize, key: usize, manner: Manner, patience_ms: u64) {
        self.sessions += 1;
        let order = Order::Claim {
            session: format!("s{}", self.sessions),
            key: key_of(self.seed, key),
            manner,
            patience_ms,
        };
        self.gateways[gateway].order(&order);
    }

    /// Brings the client of the stream to a gateway.
    fn take(&mut self, gateway: usize) {
        self.generations += 1;
        let order = Order::Stream {
            generation: self.generations,
            subject: self.subject.clone(),
        };
        self.gateways[gateway].order(&order);
    }

    /// Lets all come to rest: nothing happens to anybody any more.
    fn rest(mut self) -> Result<Seen, String> {
        let end = Instant::now() + PATIENCE;
        // The client comes back until it has its stream, and ends it.
        loop {
            let gateway = fastrand::usize(..GATEWAYS);
            self.take(gateway);
            let generation = self.generations;
            self.gateways[gateway].order(&Order::Finish { generation });
            let ended = self.log.wait(PATIENCE, |said| {
                said.iter().find_map(|(_, event)| match &event.what {
                    What::Finished { generation: of, .. } if *of == generation => Some(Ok(())),
                    What::Over {
                        generation: of,
                        why,
                    } if *of == generation => Some(Err(why.clone())),
                    _ => None,
                })
            });
            match ended.ok_or("the stream cannot be ended")? {
                Ok(()) => break,
                Err(why) if Instant::now() > end => {
                    return Err(format!("the stream cannot be ended: {why}"));
                }
                Err(_) => {}
            }
        }
        let keys: [String; KEYS] = std::array::from_fn(|key| key_of(self.seed, key));
        let alone = self.log.wait(PATIENCE, |said| {
            let said = self.without_killed(said);
            keys.iter()
                .all(|key| live(&said, key).len() <= 1)
                .then_some(())
        });
        if alone.is_none() {
            let said = self.without_killed(&self.log.all());
            let live = keys.each_ref().map(|key| live(&said, key));
            return Err(format!("keys have several holders in the end: {live:?}"));
        }
        for gateway in &mut self.gateways {
            gateway.kill();
        }
        Ok(Seen {
            said: self.log.all(),
            troubles: self.troubles,
            killed: self.killed,
            place: Place {
                space: SPACE.to_owned(),
                subject: self.subject,
            },
        })
    }

    fn without_killed(&self, said: &[(String, Event)]) -> Vec<(String, Event)> {
        let lives = |name: &String| !self.killed.contains_key(name);
        let said = said.iter().filter(|(name, _)| lives(name));
        said.cloned().collect()
    }
}

fn key_of(seed: u64, key: usize) -> String {
    format!("history {seed} key {key}")
}

fn taken(said: &[(String, Event)], generation: u32) -> bool {
    said.iter().any(
        |(_, event)| matches!(event.what, What::Taken { generation: of, .. } if of == generation),
    )
}
