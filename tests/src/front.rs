//! HAProxy in front of the gateway.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::command;
use crate::output::Output;

/// Running HAProxy. Dropping it kills the process.
pub struct Front {
    child: Child,
    address: SocketAddr,
    output: Output,
    _folder: TempDir,
}

impl Front {
    /// Starts HAProxy, which forwards everything to `to`. `server` is appended to its server line,
    /// such as `send-proxy`. `defaults` has further lines.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(to: SocketAddr, defaults: &str, server: &str) -> Self {
        // Bound here and passed as its standard input, so that no other process gets the port.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "defaults\n  timeout connect 30s\n  timeout client 1h\n  timeout server 1h\n  \
             timeout tunnel 1h\n  {defaults}\nlisten clients\n  bind fd@0\n  \
             server one {to} {server}\n"
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("a file");
        let home = command::root().join("tests/.proxies");
        let program = home.join("haproxy");
        let mut command = Command::new(&program);
        command
            .args(["-db", "-f"])
            .arg(&file)
            .env("LD_LIBRARY_PATH", home.join("lib"))
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", program.display()));
        let output = Output::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        Self {
            child,
            address,
            output,
            _folder: folder,
        }
    }

    /// Address of its listener. Connections before it is up wait in the kernel.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- HAProxy printed:\n{}", self.output.text());
        }
    }
}
