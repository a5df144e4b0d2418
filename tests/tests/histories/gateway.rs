//! One gateway of a history: its process, and the way from it to the servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sluice_tests::proxy::{Fault, Proxy};
use sluice_tests::still::Still;

use crate::said::{Event, Order, What};

/// Everything that the gateways of a history said, with their names.
#[derive(Default)]
pub struct Log {
    said: Mutex<Vec<(String, Event)>>,
    more: Condvar,
}

impl Log {
    pub fn all(&self) -> Vec<(String, Event)> {
        self.said.lock().unwrap().clone()
    }

    /// Waits for what `find` looks for.
    pub fn wait<T>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&[(String, Event)]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + limit;
        let mut said = self.said.lock().unwrap();
        loop {
            if let Some(found) = find(&said) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            said = self.more.wait_timeout(said, left).unwrap().0;
        }
    }

    fn add(&self, name: &str, event: Event) {
        self.said.lock().unwrap().push((name.to_owned(), event));
        self.more.notify_all();
    }
}

/// Process of a gateway. Dropping it kills the process.
pub struct Gateway {
    pub name: String,
    child: Child,
    orders: ChildStdin,
    reader: Option<JoinHandle<()>>,
    still: Option<Still>,
}

impl Gateway {
    /// Starts a gateway that has these ways to the servers.
    pub fn start(name: String, ways: &[Proxy; 3], log: &Arc<Log>) -> Self {
        let urls = ways
            .each_ref()
            .map(|way| format!("nats://{}", way.address()));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(crate::GATEWAY)
            .arg(&name)
            .args(urls)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let (of, log) = (name.clone(), Arc::clone(log));
        let reader = std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                match serde_json::from_str::<Event>(&line) {
                    Ok(event) => log.add(&of, event),
                    // It was killed in the middle of a line.
                    Err(error) => assert!(error.is_eof(), "{line}: {error}"),
                }
            }
        });
        Self {
            name,
            child,
            orders,
            reader: Some(reader),
            still: None,
        }
    }

    /// Gives an order. A gateway that has ended hears none.
    pub fn order(&mut self, order: &Order) {
        let _ = writeln!(self.orders, "{}", serde_json::to_string(order).unwrap());
    }

    pub fn stand_still(&mut self) {
        self.still = Some(Still::new(&self.child));
    }

    pub fn go_on(&mut self) {
        self.still = None;
    }

    /// Kills the process, and waits for all that it has said.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Lets a fault begin on all ways of a gateway.
pub fn disturb(ways: &[Proxy; 3], fault: Fault) {
    for way in ways {
        way.set(fault);
    }
}

/// Ends it. Connections that have lost bytes are of no use.
pub fn heal(ways: &[Proxy; 3], fault: Fault) {
    for way in ways {
        way.set(Fault::None);
        if matches!(fault, Fault::BlackHole | Fault::Mute) {
            way.reset_all();
        }
    }
}

/// Sessions that have a key now, as far as they know.
pub fn live(said: &[(String, Event)], key: &str) -> Vec<(String, String)> {
    let mut live = Vec::new();
    for (name, event) in said {
        match &event.what {
            What::Granted {
                session, key: of, ..
            } if of == key => live.push((name.clone(), session.clone())),
            What::Ended { session } => live.retain(|(_, it)| it != session),
            _ => {}
        }
    }
    live
}
