//! Proxy between a client and a backend: none, this gateway, or another proxy.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::gateway::{Gateway, Home};
use crate::process::Usage;

/// Time limit for a proxy to listen.
const START: Duration = Duration::from_secs(10);

/// Command line of Envoy, with one worker thread.
const ENVOY: &[&str] = &[
    "envoy",
    "--concurrency",
    "1",
    "--use-dynamic-base-id",
    "--log-level",
    "off",
    "--config-path",
];

/// Kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// None: the client connects to the backend.
    Direct,
    /// This gateway, with three policies at admission.
    Sluice,
    /// nginx, a plain proxy.
    Nginx,
    /// HAProxy, a plain proxy.
    Haproxy,
    /// Envoy, a plain proxy.
    Envoy,
}

impl Kind {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Direct,
        Self::Sluice,
        Self::Nginx,
        Self::Haproxy,
        Self::Envoy,
    ];

    /// As in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "no proxy",
            Self::Sluice => "Sluice",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
        }
    }
}

/// Running proxy.
pub struct Proxy {
    /// Address of its listener.
    pub address: SocketAddr,
    held: Held,
}

enum Held {
    Nothing,
    Gateway(Gateway, #[allow(dead_code, reason = "it is held")] Home),
    Foreign { child: Child, _folder: TempDir },
}

impl Proxy {
    /// Starts one before a backend. `None` where its program is not installed.
    pub async fn start(
        kind: Kind,
        program: Option<&Path>,
        secret: &str,
        backend: SocketAddr,
    ) -> anyhow::Result<Option<Self>> {
        let (words, file): (&[&str], _) = match kind {
            Kind::Direct => {
                return Ok(Some(Self {
                    address: backend,
                    held: Held::Nothing,
                }));
            }
            Kind::Sluice => {
                let home = Home::relaying(program, secret, backend)?;
                let gateway = home.start().await?;
                return Ok(Some(Self {
                    address: gateway.address(),
                    held: Held::Gateway(gateway, home),
                }));
            }
            Kind::Nginx => (&["nginx", "-c"], nginx as fn(_, _, &Path) -> String),
            Kind::Haproxy => (&["haproxy", "-f"], haproxy as fn(_, _, &Path) -> String),
            Kind::Envoy => (ENVOY, envoy as fn(_, _, &Path) -> String),
        };
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = TempDir::new().context("there is no temporary folder")?;
        // Envoy tells the format of a file by the end of its name.
        let config = folder.path().join("config.yaml");
        fs::write(&config, file(address, backend, folder.path()))?;
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(words[0]),
        };
        let end = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}", words[0]);
            }
            if Instant::now() > end {
                let _ = child.kill();
                bail!("{} does not listen after {START:?}", words[0]);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let held = Held::Foreign {
            child,
            _folder: folder,
        };
        Ok(Some(Self { address, held }))
    }

    /// What it uses, with the processes that it has started.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let pid = match &self.held {
            Held::Nothing => return Ok(Usage::default()),
            Held::Gateway(gateway, _) => gateway.pid(),
            Held::Foreign { child, .. } => child.id(),
        };
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        Usage::of(&std::iter::once(pid).chain(children).collect::<Vec<_>>())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Held::Foreign { child, .. } = &mut self.held {
            // A master that is killed leaves its workers behind.
            if let Some(pid) = i32::try_from(child.id())
                .ok()
                .and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = child.wait();
        }
    }
}

fn nginx(listen: SocketAddr, backend: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/log crit;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {listen} backlog=4096;
    location / {{
      proxy_pass http://{backend};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }}
  }}
}}
"#
    )
}

fn haproxy(listen: SocketAddr, backend: SocketAddr, _: &Path) -> String {
    format!(
        r#"global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend clients
  bind {listen}
  default_backend servers
backend servers
  server one {backend}
"#
    )
}

fn envoy(listen: SocketAddr, backend: SocketAddr, _: &Path) -> String {
    let socket = |address: SocketAddr| {
        let (ip, port) = (address.ip(), address.port());
        format!("{{socket_address: {{address: {ip}, port_value: {port}}}}}")
    };
    let (listen, backend) = (socket(listen), socket(backend));
    format!(
        r#"static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: relay
          stream_idle_timeout: 3600s
          upgrade_configs: [{{upgrade_type: websocket}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: backend, timeout: 0s}}
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{max_connections: 20000, max_pending_requests: 20000, max_requests: 20000}}
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {backend}}}
"#
    )
}
