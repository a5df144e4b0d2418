//! TCP proxy that breaks connections on demand.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use socket2::SockRef;

/// Fault on the way of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None: bytes are forwarded.
    None,
    /// Bytes are forwarded after this time.
    Latency(Duration),
    /// Bytes wait until the fault is over.
    Stall,
    /// Bytes are read and discarded.
    BlackHole,
    /// Bytes from the server are read and discarded.
    Mute,
    /// The next bytes end both connections with RST.
    Reset,
    /// The next bytes end both connections with FIN.
    Cut,
    /// After this many more bytes from the client, both connections end with RST.
    CutAfter(usize),
    /// After this many bytes from the client, each new connection ends with FIN.
    CutEach(usize),
}

struct State {
    fault: Fault,
    target: SocketAddr,
    pairs: Vec<(TcpStream, TcpStream)>,
    swallowed: usize,
}

/// Proxy on its own port.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// Starts a proxy to an address.
    ///
    /// # Panics
    /// If there is no port for it.
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

    /// Address of its listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the fault.
    ///
    /// # Panics
    /// If a thread of the proxy panicked.
    pub fn set(&self, fault: Fault) {
        self.state.0.lock().unwrap().fault = fault;
        self.state.1.notify_all();
    }

    /// Number of connections that were forwarded.
    ///
    /// # Panics
    /// If a thread of the proxy panicked.
    pub fn connections(&self) -> usize {
        self.state.0.lock().unwrap().pairs.len()
    }

    /// Number of bytes in the black hole.
    ///
    /// # Panics
    /// If a thread of the proxy panicked.
    pub fn swallowed(&self) -> usize {
        self.state.0.lock().unwrap().swallowed
    }

    /// Forwards new connections to another address.
    ///
    /// # Panics
    /// If a thread of the proxy panicked.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.0.lock().unwrap().target = target;
    }

    /// Resets every connection at once.
    ///
    /// # Panics
    /// If a thread of the proxy panicked.
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
            Fault::Mute if way == Way::Down => {
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
            Fault::Mute | Fault::CutAfter(_) | Fault::CutEach(_) => {}
        }
        if to.write_all(&buffer[..pass]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
