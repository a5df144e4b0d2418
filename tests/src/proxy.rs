//! A TCP proxy that breaks connections on demand.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use socket2::SockRef;

/// What happens to the bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They go on.
    None,
    /// They go on after a while.
    Latency(Duration),
    /// They wait until the fault is over.
    Stall,
    /// They are taken, and never go on; nothing else happens.
    BlackHole,
    /// The next ones end both connections with RST.
    Reset,
    /// The next ones end both connections with FIN.
    Cut,
    /// So many more go up; then both connections end with RST.
    CutAfter(usize),
    /// So many go up over each connection that comes; then it ends with FIN.
    CutEach(usize),
}

struct State {
    fault: Fault,
    target: SocketAddr,
    pairs: Vec<(TcpStream, TcpStream)>,
    swallowed: usize,
}

/// A proxy on a port of its own.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// Starts a proxy to an address.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State {
            fault: Fault::None,
            target,
            pairs: Vec::new(),
            swallowed: 0,
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = shared.0.lock().unwrap().target;
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                let clone = |stream: &TcpStream| stream.try_clone().expect("a handle");
                shared
                    .0
                    .lock()
                    .unwrap()
                    .pairs
                    .push((clone(&client), clone(&server)));
                let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
                let (from, to) = (clone(&client), clone(&server));
                std::thread::spawn(move || carry(from, to, &up, Way::Up));
                std::thread::spawn(move || carry(server, client, &down, Way::Down));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    ///
    /// # Panics
    /// When a thread of the proxy did.
    pub fn set(&self, fault: Fault) {
        self.state.0.lock().unwrap().fault = fault;
        self.state.1.notify_all();
    }

    /// How many connections it has led on.
    ///
    /// # Panics
    /// When a thread of the proxy did.
    pub fn connections(&self) -> usize {
        self.state.0.lock().unwrap().pairs.len()
    }

    /// Bytes that went into the black hole.
    ///
    /// # Panics
    /// When a thread of the proxy did.
    pub fn swallowed(&self) -> usize {
        self.state.0.lock().unwrap().swallowed
    }

    /// Leads new connections elsewhere.
    ///
    /// # Panics
    /// When a thread of the proxy did.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.0.lock().unwrap().target = target;
    }

    /// Ends every connection with RST, at once.
    ///
    /// # Panics
    /// When a thread of the proxy did.
    pub fn reset_all(&self) {
        self.state.0.lock().unwrap().end(true);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl State {
    fn end(&mut self, reset: bool) {
        for (client, server) in self.pairs.drain(..) {
            for stream in [client, server] {
                if reset {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &(Mutex<State>, Condvar), way: Way) {
    let mut buffer = vec![0; 16 * 1024];
    let mut carried = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let (state, changed) = shared;
        let mut state = state.lock().unwrap();
        while state.fault == Fault::Stall {
            state = changed.wait(state).unwrap();
        }
        let mut pass = read;
        match state.fault {
            Fault::None | Fault::Stall => {}
            Fault::Latency(latency) => {
                drop(state);
                std::thread::sleep(latency);
            }
            Fault::BlackHole => {
                state.swallowed += read;
                continue;
            }
            Fault::Reset => return state.end(true),
            Fault::Cut => return state.end(false),
            Fault::CutAfter(left) if way == Way::Up => {
                pass = read.min(left);
                state.fault = Fault::CutAfter(left - pass);
                if pass < read || left == pass {
                    let _ = to.write_all(&buffer[..pass]);
                    state.fault = Fault::None;
                    return state.end(true);
                }
            }
            Fault::CutEach(limit) if way == Way::Up => {
                pass = read.min(limit - carried);
                carried += pass;
                if carried == limit {
                    let _ = to.write_all(&buffer[..pass]);
                    return state.end(false);
                }
            }
            Fault::CutAfter(_) | Fault::CutEach(_) => {}
        }
        if to.write_all(&buffer[..pass]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
