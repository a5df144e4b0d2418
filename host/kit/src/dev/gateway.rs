//! The gateway of a project: this program, in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

/// Time between two looks at whether the process has ended.
const PAUSE: Duration = Duration::from_millis(200);

/// Gateway that serves a project. Dropping it ends the process: streams of whoever tries a policy
/// are not worth waiting for.
pub(super) struct Gateway(Child);

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
