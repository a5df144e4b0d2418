//! Reachability of a backend, for the readiness of the gateway.

use std::time::Duration;

use anyhow::bail;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::backends::Address;
use super::super::{OnLoss, resolve};
use super::Dialer;

/// Time limit of one connection.
const LIMIT: Duration = Duration::from_secs(1);

impl Dialer {
    /// Whether one of the addresses could get a stream. An address that rests gets none, and is left
    /// alone. After its rest it counts as soon as it accepts a connection, because a gateway that is
    /// not ready gets no clients whose streams would find out.
    pub(in crate::websocket) async fn reach(&self) -> anyhow::Result<()> {
        let is_held = matches!(self.backend.on_loss, OnLoss::Hold(_));
        // Its streams begin without the backend, and are delivered when it is back.
        if is_held && self.backend.tee.is_some() {
            return Ok(());
        }
        for address in self.backends.in_order() {
            if address.has_streams() || !address.rests() && accepts(&address).await {
                return Ok(());
            }
        }
        bail!(
            "no address of the backend {} accepts connections, or it keeps failing",
            self.backend.url.authority()
        )
    }
}

async fn accepts(address: &Address) -> bool {
    let connecting = async {
        let found = resolve::lookup(&address.host, address.port).await.ok()?;
        TcpStream::connect(&*found).await.ok()
    };
    timeout(LIMIT, connecting).await.ok().flatten().is_some()
}
