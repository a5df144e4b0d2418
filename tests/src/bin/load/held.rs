//! What a gateway holds, from its metrics.

use std::fmt;
use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a gateway holds at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    claims: f64,
    connections: f64,
    instances: f64,
    tasks: f64,
}

impl Held {
    /// Reads the metrics of its admin listener.
    pub async fn by(admin: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(admin)
            .await
            .context("the gateway's admin listener cannot be reached")?;
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let metric = |name: &str| {
            let mut lines = answer.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            value.with_context(|| format!("the gateway tells no {name}"))
        };
        Ok(Self {
            claims: metric("sluice_claims ")?,
            connections: metric("sluice_connections_live ")?,
            instances: metric("sluice_policy_instances ")?,
            tasks: metric("sluice_tasks ")?,
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            claims,
            connections,
            instances,
            tasks,
        } = self;
        write!(
            f,
            "{claims} claims, {connections} connections, {instances} instances, {tasks} tasks"
        )
    }
}
