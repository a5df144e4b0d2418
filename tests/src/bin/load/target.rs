//! What is put under load: a gateway that is started here, or a server that
//! runs already.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::Context as _;

use crate::cli::{Cli, Mode, Pair};
use crate::gateway::{Gateway, Home};
use crate::held::Held;
use crate::process::Usage;
use crate::{machine, token};

/// What stands for the meeting in a path.
const MEETING: &str = "{meeting_id}";
const INGEST_PATH: &str = "/ws/ingest/meetings/{meeting_id}";
const ECHO_PATH: &str = "/echo";
const ANY_PATH: &str = "/{meeting_id}";

/// An address and a path of a WebSocket server, without TLS.
#[derive(Debug, Clone)]
pub struct Url {
    address: SocketAddr,
    path: Option<String>,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("ws://")
            .ok_or("it must begin with ws://")?;
        let (address, path) = match rest.find('/') {
            Some(slash) => (&rest[..slash], Some(rest[slash..].to_owned())),
            None => (rest, None),
        };
        let address = address
            .parse()
            .map_err(|_| format!("\"{address}\" is not an IP address with a port"))?;
        Ok(Self { address, path })
    }
}

/// What is put under load, and how to speak to it.
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its tokens are signed with.
    pub secret: String,
    /// Clients that may be between their connect and their ack at once.
    pub connecting: usize,
    path: Option<String>,
    pids: Vec<u32>,
    /// Stopped with the target, if it was started here.
    gateway: Option<(Gateway, Home)>,
}

impl Target {
    /// Starts a gateway, unless one was named.
    pub async fn prepare(cli: &Cli, mode: &Mode) -> anyhow::Result<Self> {
        let secret = match &cli.secret {
            Some(secret) => secret.clone(),
            None => token::fresh_secret()?,
        };
        let Pair(gateway_core, own_core) = cli.cores;
        let (address, path, pids, gateway) = if let Some(url) = &cli.target {
            (url.address, url.path.clone(), cli.pids.clone(), None)
        } else {
            // It inherits the core; this thread moves to its own afterwards.
            machine::pin(gateway_core);
            let home = Home::new(cli.gateway.as_deref(), &secret, "")?;
            let gateway = home.start().await?;
            let (address, pid) = (gateway.address(), gateway.pid());
            (address, None, vec![pid], Some((gateway, home)))
        };
        machine::pin(own_core);
        let path = match (path, mode) {
            (None, Mode::Echo(_)) => Some(ECHO_PATH.to_owned()),
            (None, Mode::Attack(_)) => Some(ANY_PATH.to_owned()),
            (path, _) => path,
        };
        Ok(Self {
            address,
            secret,
            connecting: cli.connecting.max(1),
            path,
            pids,
            gateway,
        })
    }

    /// A server that runs already, in this process, whose tokens are signed with this secret.
    pub fn running(address: SocketAddr, pid: u32, secret: String, path: &str) -> Self {
        Self {
            address,
            secret,
            connecting: 1,
            path: Some(path.to_owned()),
            pids: vec![pid],
            gateway: None,
        }
    }

    /// The path for a meeting.
    pub fn path(&self, meeting: &str) -> String {
        let template = self.path.as_deref().unwrap_or(INGEST_PATH);
        template.replace(MEETING, meeting)
    }

    /// What it says that it holds now, if it was started here.
    pub async fn held(&self) -> anyhow::Result<Option<Held>> {
        match &self.gateway {
            Some((gateway, _)) => Held::by(gateway.admin()).await.map(Some),
            None => Ok(None),
        }
    }

    /// What it uses now.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(&self.pids).context("is the target still running?")
    }
}
