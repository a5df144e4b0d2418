//! The gateway of a project: this program, in a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Time between two looks at the process.
const PAUSE: Duration = Duration::from_millis(200);
/// Time for an orderly end, after each of two signals.
const ENDING: Duration = Duration::from_secs(2);

/// Gateway that serves a project. Dropping it kills the process.
pub(super) struct Gateway(Child);

/// The address at which a gateway can listen, with a port of the system's choice for 0.
///
/// # Errors
/// If it is not free: whoever has it would be taken for the gateway.
pub(super) fn free(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    let probe = TcpListener::bind(listen).with_context(|| {
        format!("no gateway can listen on {listen}: name another address with --listen")
    })?;
    Ok(probe.local_addr()?)
}

impl Gateway {
    /// Starts the gateway with a configuration. Its log goes where this program's does.
    pub(super) fn start(config: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's file is not known")?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .arg("--listen")
            .arg(listen.to_string())
            .stdin(Stdio::null())
            // What it prints at its start is said by this program.
            .stdout(Stdio::null())
            .spawn()
            .context("the gateway cannot be started")?;
        Ok(Self(child))
    }

    /// Waits until the gateway listens.
    ///
    /// # Errors
    /// If it has ended.
    pub(super) async fn listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let connected = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            biased;
            status = Self::ended(Some(self)) => {
                bail!("the gateway has ended ({status}); it begins again at the next change")
            }
            () = connected => Ok(()),
        }
    }

    /// Ends the gateway as a service manager would, so that its recordings and its record of decisions
    /// are whole. Streams of whoever tries a policy are not worth waiting for, so a second signal
    /// follows soon.
    pub(super) async fn end(mut self) {
        for _ in 0..2 {
            // One that has ended needs no signal.
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            if timeout(ENDING, Self::ended(Some(&mut self))).await.is_ok() {
                return;
            }
        }
    }

    /// Waits until the gateway has ended, and tells how; for ever if there is none.
    pub(super) async fn ended(gateway: Option<&mut Self>) -> String {
        let Some(gateway) = gateway else {
            return std::future::pending().await;
        };
        loop {
            match gateway.0.try_wait() {
                Ok(None) => sleep(PAUSE).await,
                Ok(Some(status)) => return status.to_string(),
                Err(error) => return error.to_string(),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
