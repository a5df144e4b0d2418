//! Reads a stream that Sluice keeps in NATS, as `host/cluster/readers/read.py` does:
//!
//! ```sh
//! cargo run --package sluice-cluster --example read -- \
//!     nats://127.0.0.1:4222 SLUICE_AUDIO_0 sluice.audio.0.ingest.m1.mic.SESSION > audio.pcm
//! ```

use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use sluice_cluster::reader::{Read, ReadError, Reader};
use sluice_cluster::settings::{self, Login};
use sluice_cluster::{Cluster, Place};
use tokio::time::sleep;

/// Time between two looks at the end of a stream that still runs.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [server, space, subject] = &arguments[..] else {
        bail!("give a server, the name of a stream of JetStream, and a subject");
    };
    let cluster = Cluster::new(settings::Cluster {
        servers: vec![server.clone()],
        login: Login::None,
        tls: None,
        replicas: 1,
        prefix: "sluice".to_owned(),
        timeout: Duration::from_secs(2),
    });
    let place = Place {
        space: space.clone(),
        subject: subject.clone(),
    };
    let mut reader = Reader::new(cluster, place);
    let mut out = std::io::stdout();
    loop {
        match reader.next().await {
            Ok(Some(Read::Bytes(bytes))) => out.write_all(&bytes)?,
            Ok(Some(Read::Writer { epoch, about })) => {
                eprintln!("epoch {epoch}, from byte {}: {about}", reader.bytes());
            }
            Ok(Some(Read::End { fin, bytes })) => {
                eprintln!("{}, {bytes} bytes", fin.word());
                return Ok(out.flush()?);
            }
            // Nothing yet, or no leader. Only a message is the end.
            Ok(None) | Err(ReadError::Away(_)) => sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}
