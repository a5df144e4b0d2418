//! NATS servers with `JetStream`, as processes on loopback, and readers of what a gateway keeps there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cluster::reader::{Read, Reader};
use cluster::record::Fin;
use cluster::settings::{self, Login};
use cluster::{Cluster, Place};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::Config;
use crate::still::Still;
use crate::{DEADLINE, command, eventually};

/// NATS server. Dropping it kills the process.
pub struct Nats {
    child: Child,
    name: String,
    port: u16,
    /// Port where it tells about itself.
    monitoring: u16,
    config: PathBuf,
    _folder: TempDir,
}

/// What a stream is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its audio.
    pub audio: Vec<u8>,
    /// Number of its writers.
    pub writers: u64,
    /// What its first writer said of it.
    pub about: Value,
    /// How it ended, if it has.
    pub fin: Option<Fin>,
}

impl Nats {
    /// Starts a server.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with more lines in its configuration.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::launch(folder, "n0", more)
    }

    /// Starts three servers, which keep everything three times.
    ///
    /// # Panics
    /// If they do not start.
    #[must_use]
    pub fn start_three() -> [Self; 3] {
        let routes: [u16; 3] = free_ports();
        let urls = routes.map(|port| format!("nats://127.0.0.1:{port}"));
        [0, 1, 2].map(|n| {
            let folder = tempfile::tempdir().expect("a folder");
            let more = format!(
                "cluster {{ name: test, listen: \"127.0.0.1:{}\", routes: {} }}\n",
                routes[n],
                json!(urls)
            );
            Self::launch(folder, &format!("n{n}"), &more)
        })
    }

    fn launch(folder: TempDir, name: &str, more: &str) -> Self {
        let [port, monitoring] = free_ports();
        let config = folder.path().join("nats.conf");
        let store = json!(folder.path().join("store"));
        let text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitoring}\"\njetstream {{ store_dir: {store}, max_file_store: 8GB }}\n{more}"
        );
        std::fs::write(&config, text).expect("a file");
        let nats = Self {
            child: spawn(&config),
            name: name.to_owned(),
            port,
            monitoring,
            config,
            _folder: folder,
        };
        nats.is_up();
        nats
    }

    /// Address of its listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets the process stand still.
    pub fn stand_still(&self) -> Still {
        Still::new(&self.child)
    }

    /// Starts the server again, with what it has stored, after [`Nats::kill`].
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.config);
        self.is_up();
    }

    /// Whether it leads the servers that keep a stream of `JetStream`, as it says itself.
    ///
    /// # Panics
    /// If it cannot be asked.
    #[must_use]
    pub fn leads(&self, space: &str) -> bool {
        let mut socket = TcpStream::connect(("127.0.0.1", self.monitoring)).expect("it listens");
        let request = "GET /jsz?accounts=true&streams=true HTTP/1.0\r\n\r\n";
        socket.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        let streams = &body["account_details"][0]["stream_detail"];
        let mut streams = streams.as_array().into_iter().flatten();
        let found = streams.find(|stream| stream["name"] == space);
        found.is_some_and(|stream| stream["cluster"]["leader"] == self.name.as_str())
    }

    /// Waits until it speaks.
    fn is_up(&self) {
        eventually("the NATS server speaks", || {
            let mut socket = TcpStream::connect(self.address()).ok()?;
            let patience = Some(Duration::from_secs(10));
            socket.set_read_timeout(patience).ok()?;
            let mut said = [0; 5];
            socket.read_exact(&mut said).ok()?;
            (said == *b"INFO ").then_some(())
        });
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(config: &PathBuf) -> Child {
    let program = command::root().join("tests/.nats/nats-server");
    let mut server = Command::new(program);
    server
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    server.spawn().expect("`make setup` installs the server")
}

/// Ports that nothing listens on now. All are taken at once, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// Configuration of the ingest routes with streams that are kept by these servers instead of
/// recordings.
#[must_use]
pub fn keeping(urls: &[String]) -> Config {
    // The upstream of recordings is left without a route.
    Config::ingest()
        .set("cluster", "servers", json!(urls))
        .set("upstreams.audio", "kind", json!("jetstream"))
        .set("routes.ingest", "upstream", json!("audio"))
}

/// Subject of the stream of a meeting's microphone.
#[must_use]
pub fn place(meeting: &str, session_id: &str) -> Place {
    Place {
        space: "SLUICE_AUDIO_0".to_owned(),
        subject: format!("sluice.audio.0.ingest.{meeting}.mic.{session_id}"),
    }
}

/// Client of these servers.
#[must_use]
pub fn client(urls: &[String]) -> Cluster {
    Cluster::new(settings::Cluster {
        servers: urls.to_vec(),
        login: Login::None,
        tls: None,
        replicas: urls.len(),
        prefix: "sluice".to_owned(),
        timeout: Duration::from_secs(2),
    })
}

/// Reads a stream until it ends, or has this many bytes and no end.
///
/// # Panics
/// If it cannot be read, or is not whole in time.
#[must_use]
pub fn read(urls: &[String], place: &Place, bytes: Option<usize>) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let reading = async {
        let mut reader = Reader::new(client(urls), place.clone());
        let mut found = Found {
            audio: Vec::new(),
            writers: 0,
            about: Value::Null,
            fin: None,
        };
        loop {
            match reader.next().await {
                Ok(Some(Read::Bytes(bytes))) => found.audio.extend_from_slice(&bytes),
                Ok(Some(Read::Writer { about, .. })) => {
                    found.writers += 1;
                    if found.writers == 1 {
                        found.about = serde_json::from_str(&about).expect("JSON");
                    }
                }
                Ok(Some(Read::End { fin, bytes })) => {
                    assert_eq!(bytes, found.audio.len() as u64);
                    found.fin = Some(fin);
                    return found;
                }
                Ok(None) if bytes.is_some_and(|bytes| found.audio.len() >= bytes) => return found,
                Ok(None) | Err(cluster::reader::ReadError::Away(_)) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let found = runtime.block_on(async { tokio::time::timeout(DEADLINE, reading).await });
    found.expect("the stream is whole")
}
