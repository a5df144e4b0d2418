//! What the service manager is told (sd_notify), by way of a real datagram socket.

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::DEADLINE;
use sluice_tests::client::{Client, Library};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use tempfile::TempDir;

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Self { socket, folder }
    }

    fn start(&self, config: &Config, watchdog_us: Option<u32>) -> Gateway {
        let path = self.folder.path().join("notify");
        Gateway::start_as(config, |mut command| {
            command.env("NOTIFY_SOCKET", path);
            if let Some(longest) = watchdog_us {
                command.env("WATCHDOG_USEC", longest.to_string());
            }
            command
        })
    }

    /// Lines of the next notification.
    fn next(&self) -> Vec<String> {
        let mut notification = [0; 4096];
        let read = self.socket.recv(&mut notification).expect("a notification");
        let text = String::from_utf8(notification[..read].to_vec()).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    /// Lines of the next notification with this line in it.
    fn find(&self, line: &str) -> Vec<String> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let lines = self.next();
            if lines.iter().any(|found| found == line) {
                return lines;
            }
        }
        panic!("no {line}");
    }
}

fn value<'a>(lines: &'a [String], name: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
}

#[test]
fn the_manager_is_told_of_the_start_of_each_reload_and_of_the_end() {
    let manager = Manager::new();
    let config = Config::open().set("server", "drain_timeout", json!("7m"));
    let mut gateway = manager.start(&config, None);
    let ready = manager.find("READY=1");
    assert_eq!(
        value(&ready, "STATUS="),
        "serving, sessions: 0, generation: 1"
    );
    // It can be connected to once it says so.
    let mut client = Client::connect(Library::Ws, &gateway, "/echo");
    client.echoes("hello");
    gateway.signal(Signal::HUP);
    let reloading = manager.find("RELOADING=1");
    let since: u64 = value(&reloading, "MONOTONIC_USEC=")
        .parse()
        .expect("a time");
    assert!(since > 0);
    let ready = manager.find("READY=1");
    assert_eq!(
        value(&ready, "STATUS="),
        "serving, sessions: 1, generation: 2"
    );
    // A reload that is refused ends too.
    gateway.replace("sluice.toml", "no = configuration");
    manager.find("RELOADING=1");
    let ready = manager.find("READY=1");
    assert_eq!(
        value(&ready, "STATUS="),
        "serving, sessions: 1, generation: 2"
    );
    gateway.signal(Signal::TERM);
    let stopping = manager.find("STOPPING=1");
    let longest: u64 = value(&stopping, "EXTEND_TIMEOUT_USEC=")
        .parse()
        .expect("a time");
    // As long as the drain, and a little for the end.
    assert!((420_000_000..600_000_000).contains(&longest), "{longest}");
    client.leave();
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_watchdog_hears_that_the_gateway_lives_and_how_it_is() {
    let manager = Manager::new();
    let gateway = manager.start(&Config::open(), Some(200_000));
    manager.find("READY=1");
    let mut client = Client::connect(Library::Ws, &gateway, "/echo");
    client.echoes("hello");
    let busy = "STATUS=serving, sessions: 1, generation: 1".to_owned();
    for _ in 0..3 {
        let mut lines = manager.find("WATCHDOG=1");
        while !lines.contains(&busy) {
            lines = manager.find("WATCHDOG=1");
        }
    }
    client.leave();
}

#[test]
fn a_manager_that_reads_nothing_holds_up_nothing() {
    let manager = Manager::new();
    // So many notifications that its socket is soon full.
    let mut gateway = manager.start(&Config::open(), Some(2_000));
    let mut client = Client::connect(Library::Ws, &gateway, "/echo");
    for number in 0..100 {
        client.echoes(&format!("{number}"));
    }
    gateway.signal(Signal::HUP);
    gateway.reloaded(2);
    client.echoes("still here");
    client.leave();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
}
