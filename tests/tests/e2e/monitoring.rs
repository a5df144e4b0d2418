//! What operators get for Prometheus and Grafana, with a real Prometheus.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sluice_tests::backend::Backend;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::provider::Provider;
use sluice_tests::tls::Authority;
use sluice_tests::token::KeyOfOurs;
use tempfile::TempDir;

fn tool(name: &str) -> Command {
    let program = command::root().join("tests/.prometheus").join(name);
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn monitoring(file: &str) -> PathBuf {
    command::root().join("host/monitoring").join(file)
}

fn promtool(args: &[&str], file: &str) -> Done {
    command::run(tool("promtool").args(args).arg(monitoring(file)))
}

/// A gateway with as much as the dashboard shows: TLS, a probe listener, a backend, a shadow, an
/// identity provider.
fn gateway(authority: &Authority, backend: &Backend, provider: &Provider) -> Gateway {
    let config = Config::ingest()
        .set("server", "probe_listen", json!("127.0.0.1:0"))
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set(
            "server",
            "admin_tls_certificate",
            json!(authority.certificate()),
        )
        .set("server", "admin_tls_key", json!(authority.key()))
        .set("upstreams.backend", "kind", json!("websocket"))
        .set(
            "upstreams.backend",
            "url",
            json!(format!("ws://{}/plain?do=", backend.address())),
        )
        .set("routes.relay", "paths", json!(["/relay"]))
        .set("routes.relay", "handshake", json!("none"))
        .set("routes.relay", "upstream", json!("backend"))
        .set("policies.next", "component", json!("builtin:auth"))
        .set("policies.next", "grants", json!(["jwt"]))
        .set("policies.next", "shadow_of", json!("auth"))
        .set("policies.next.config", "key_set", json!("main"));
    Gateway::start(&provider.give_keys(config, "login"))
}

/// A gateway whose clients show certificates.
fn with_certificates(authority: &Authority) -> Gateway {
    let config = authority
        .secure(Config::open())
        .set("server", "probe_listen", json!("127.0.0.1:0"))
        .set("server", "tls_client_ca", json!(authority.ca()))
        .set("server", "tls_client_crl", json!("revoked.pem"));
    let revoked = authority.revoked(&[13]);
    Gateway::start_with_files(&config, &[("revoked.pem", revoked.as_bytes())])
}

fn provider() -> Provider {
    Provider::start(&[KeyOfOurs::generate().jwk("a")])
}

/// Body of the answer to a `GET`; `None` if there is none yet.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

/// A real Prometheus, which scrapes gateways five times a second.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    fn start(targets: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let targets = targets.join(", ");
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 1s }}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n  - job_name: sluice\n    static_configs: [{{ targets: [{targets}] }}]\n",
            monitoring("alerts.yml").display()
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        // A port that is free a moment later too.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = tool("prometheus");
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .arg(format!("--web.listen-address={address}"))
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .current_dir(folder.path());
        let process = command.spawn().expect("Prometheus starts");
        Self {
            process,
            address,
            _folder: folder,
        }
    }

    /// Samples that a query finds.
    fn query(&self, query: &str) -> Option<Vec<Value>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = get(self.address, &format!("/api/v1/query?query={encoded}"))?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        assert_ne!(answer["status"], "error", "{query}: {answer}");
        answer["data"]["result"].as_array().cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every query of the dashboard, as Grafana sends it.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(monitoring("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| {
        let query = target["expr"].as_str().unwrap();
        query
            .replace("$instance", ".*")
            .replace("$__rate_interval", "1m")
    });
    queries.collect()
}

#[test]
fn every_alert_fires_where_it_must_and_is_quiet_where_it_must_be() {
    for (args, file) in [
        (&["check", "rules"][..], "alerts.yml"),
        (&["test", "rules"], "alerts.test.yml"),
    ] {
        let done = promtool(args, file);
        assert_eq!(done.status, Some(0), "{done:?}");
    }
    let text = fs::read_to_string(monitoring("alerts.yml")).unwrap();
    let tests = fs::read_to_string(monitoring("alerts.test.yml")).unwrap();
    let alerts = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<_> = alerts.collect();
    assert!(alerts.len() > 15, "{alerts:?}");
    for alert in alerts {
        for case in ["fires", "is quiet"] {
            assert!(
                tests.contains(&format!("name: {alert} {case}\n")),
                "{alert} {case}"
            );
        }
    }
}

#[test]
fn the_metrics_are_named_as_prometheus_wants_it() {
    let (authority, backend, provider) =
        (Authority::new(), Backend::start(Library::Ws), provider());
    let gateway = gateway(&authority, &backend, &provider);
    let metrics = get(gateway.probe_address(), "/metrics").unwrap();
    let mut check = tool("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = check.spawn().expect("promtool starts");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_query_of_the_dashboard_and_of_the_alerts_finds_what_a_real_gateway_says() {
    let (authority, backend, provider) =
        (Authority::new(), Backend::start(Library::Ws), provider());
    let gateway = gateway(&authority, &backend, &provider);
    let secure = with_certificates(&authority);
    let prometheus = Prometheus::start(&[gateway.probe_address(), secure.probe_address()]);
    eventually("a scrape of both", || {
        let up = prometheus.query("sum(up{job=\"sluice\"})")?;
        (up.first()?["value"][1] == "2").then_some(())
    });
    // One of each: a stream, a refusal, a relay.
    let (_stream, _) = Client::stream_of(&gateway, "m1", "u-1");
    let path = meeting("m2", "mic", "nonsense");
    Client::connect(Library::Ws, &gateway, &path).expect_refusal(4001, "auth_failed");
    let mut relay = Client::connect(Library::Ws, &gateway, "/relay");
    relay.text("hello");
    for query in queries() {
        eventually(&query, || {
            let found = prometheus.query(&query)?;
            (!found.is_empty()).then_some(())
        });
    }
    let sessions = "sum(sluice_sessions{route=\"ingest\",stage=\"stream\"})";
    eventually("the stream is counted", || {
        let found = prometheus.query(sessions)?;
        (found.first()?["value"][1] == "1").then_some(())
    });
    // Each side of a comparison that no healthy gateway fulfils.
    let rules = get(prometheus.address, "/api/v1/rules").unwrap();
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let rules = rules["data"]["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .clone();
    assert!(rules.len() > 15, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        let query = rule["query"].as_str().unwrap();
        let side = [" > ", " < ", " == "]
            .into_iter()
            .find_map(|by| query.rsplit_once(by));
        let (left, _) = side.expect("an alert compares");
        eventually(left, || {
            let found = prometheus.query(left)?;
            (!found.is_empty()).then_some(())
        });
    }
}

#[test]
fn the_figures_at_a_scrape_follow_what_there_is() {
    let authority = Authority::new();
    let config = authority
        .secure(Config::ingest())
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "max_connections", json!(50))
        .set("server", "watch", json!(false));
    let gateway = Gateway::start(&config);
    for (sample, value) in [
        ("sluice_ready", 1.0),
        ("sluice_connections_limit", 50.0),
        ("sluice_key_set_available{key_set=\"main\"}", 1.0),
        ("sluice_restart_pending", 0.0),
        ("sluice_last_reload_successful", 1.0),
        ("sluice_sessions{route=\"\",stage=\"connect\"}", 0.0),
        ("sluice_sessions{route=\"echo\",stage=\"stream\"}", 0.0),
    ] {
        assert_eq!(gateway.metric(sample), value, "{sample}");
    }
    for sample in [
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_threads",
    ] {
        assert!(gateway.metric(sample) > 1.0, "{sample}");
    }
    // rcgen's certificates expire in the year 4096.
    let expires =
        gateway.metric("sluice_certificate_expiry_timestamp_seconds{listener=\"clients\"}");
    assert_eq!(expires, 67_090_118_400.0);
    let changed = config
        .clone()
        .set("server", "max_parked", json!(7))
        .without("routes.echo", "paths");
    let changed = ["handshake", "upstream"]
        .into_iter()
        .fold(changed, |config, key| config.without("routes.echo", key));
    gateway.replace(
        "sluice.toml",
        changed.to_string().replace("[routes.echo]\n", ""),
    );
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 200, "{report}");
    assert_eq!(gateway.metric("sluice_restart_pending"), 1.0);
    let (_, metrics) = gateway.admin("GET /metrics");
    assert!(
        !metrics.contains("route=\"echo\""),
        "a route that is gone is counted"
    );
    gateway.replace("sluice.toml", "[routes");
    assert_eq!(gateway.admin("POST /reload").0, 422);
    assert_eq!(gateway.metric("sluice_last_reload_successful"), 0.0);
}
