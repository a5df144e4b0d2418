//! Real trace collector, Rotel, which prints each span that it gets.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::output::Output;
use crate::{command, eventually};

/// Running collector.
pub struct Collector {
    child: Child,
    address: SocketAddr,
    output: Output,
}

/// Span as the collector has read it.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// Trace, span and parent; the parent may be empty.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Id of its parent; empty if it has none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `SPAN_KIND_SERVER` and others.
    pub kind: String,
    /// `STATUS_CODE_ERROR` and others.
    pub status: String,
    /// Time of its beginning in nanoseconds.
    pub began: u64,
    /// Time of its end in nanoseconds.
    pub ended: u64,
    /// Attributes, as the collector writes them: `Str(text)`, `Int(7)`.
    pub attributes: BTreeMap<String, String>,
    /// Attributes of what it is from.
    pub resource: BTreeMap<String, String>,
}

/// Address whose port is free a moment later too.
///
/// # Panics
/// If there is no port left.
#[must_use]
pub fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is left");
    free.local_addr().expect("it listens")
}

impl Collector {
    /// Starts a collector, and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start() -> Self {
        let (address, grpc) = (free_address(), free_address());
        let mut packages = std::fs::read_dir(command::root().join("tests/.venv/lib"))
            .expect("`make setup` has installed it");
        let python = packages.next().expect("a version").expect("a folder");
        let agent = python.path().join("site-packages/rotel/rotel-agent");
        let mut agent = Command::new(agent);
        agent
            .args(["start", "--exporter", "blackhole"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &address.to_string()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = agent.spawn().expect("the collector starts");
        let output = Output::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        let mut collector = Self {
            child,
            address,
            output,
        };
        eventually("the collector", || {
            let ended = collector.child.try_wait().expect("a process");
            assert!(ended.is_none(), "{}", collector.output.text());
            TcpStream::connect(address).ok()
        });
        collector
    }

    /// URL that it takes traces at.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// All that it printed.
    #[must_use]
    pub fn text(&self) -> String {
        self.output.text()
    }

    /// Spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        parse(&self.output.lines())
    }

    /// Spans of the trace whose whole connection is this session, once they are all there.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn trace_of(&self, session: &str) -> Vec<Span> {
        let is_root = |span: &Span| span.attribute("session.id") == session;
        eventually("a trace", || {
            let spans = self.spans();
            let root = spans.iter().find(|span| is_root(span))?.clone();
            let whole = spans.into_iter().filter(|span| span.trace == root.trace);
            Some(whole.collect())
        })
    }
}

impl Span {
    /// Text of an attribute; empty if there is none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        let value = self.attributes.get(name).map_or("", |value| value);
        let text = value.split_once('(').map_or("", |(_, text)| text);
        text.strip_suffix(')').unwrap_or(text)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(lines: &[String]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut resource = BTreeMap::new();
    let mut of_resource = false;
    for line in lines {
        let line = line.trim();
        if line.starts_with("ResourceSpans #") {
            resource.clear();
            of_resource = true;
        } else if line.starts_with("Span #") {
            of_resource = false;
            spans.push(Span {
                resource: resource.clone(),
                ..Span::default()
            });
        }
        if let Some((name, value)) = line
            .strip_prefix("-> ")
            .and_then(|line| line.split_once(": "))
        {
            let to = match spans.last_mut() {
                Some(span) if !of_resource => &mut span.attributes,
                _ => &mut resource,
            };
            to.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let (Some((name, value)), Some(span), false) =
            (line.split_once(':'), spans.last_mut(), of_resource)
        else {
            continue;
        };
        let value = value.trim().to_owned();
        match name.trim() {
            "Trace ID" => span.trace = value,
            "Parent ID" => span.parent = value,
            "ID" => span.id = value,
            "Name" => span.name = value,
            "Kind" => span.kind = value,
            "Start time" => span.began = value.parse().expect("a time"),
            "End time" => span.ended = value.parse().expect("a time"),
            "Status code" => span.status = value,
            _ => {}
        }
    }
    spans
}
