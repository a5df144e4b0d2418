//! The admin listener and the probe listener, attacked.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::json;
use sluice_tests::client::Client;
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{Raw, Response};
use sluice_tests::tls::Authority;

const OPERATOR: &str = "0123456789abcdef0123456789abcdef";
const READER: &str = "fedcba9876543210fedcba9876543210";
const NOBODY: &str = "00000000000000000000000000000000";

/// Every path that reads, and every path that changes something.
const READS: [&str; 12] = [
    "/readyz",
    "/metrics",
    "/status",
    "/sessions",
    "/sessions/x",
    "/refusals",
    "/revocations",
    "/policies",
    "/upstreams",
    "/generations",
    "/config/diff",
    "/console/feed?view=status",
];
/// Requests that need the token of those who operate.
const CHANGES: [&str; 13] = [
    "POST /sessions/x/close",
    "POST /sessions/close?user=u",
    "POST /reload",
    "GET /sessions/x/decisions",
    "POST /revocations/lift?user=u",
    "GET /recordings",
    "GET /recordings/x.wav",
    "DELETE /recordings/x.wav",
    "POST /console/tickets",
    "POST /policies/x/quarantine",
    "POST /policies/x/release",
    "POST /drain",
    "POST /undrain",
];

/// A configuration whose admin listener is for other machines too.
fn remote(authority: &Authority, config: Config) -> Config {
    config
        .set("server", "admin_listen", json!("0.0.0.0:0"))
        .set(
            "server",
            "admin_tls_certificate",
            json!(authority.certificate()),
        )
        .set("server", "admin_tls_key", json!(authority.key()))
        .set("server", "admin_token_file", json!("operator"))
        .set("server", "admin_read_token_file", json!("reader"))
}

fn start(config: &Config) -> Gateway {
    let files = [
        ("operator", OPERATOR.as_bytes()),
        ("reader", READER.as_bytes()),
    ];
    Gateway::start_with_files(config, &files)
}

#[test]
fn connections_of_one_address_keep_nobody_out_of_either_listener() {
    let config = Config::open()
        .set("server", "header_timeout", json!("10min"))
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "probe_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&config);
    for address in [gateway.admin_address(), gateway.probe_address()] {
        // More than all of its connections, none of which says anything.
        let silent = || Raw::connect_from([127, 0, 0, 2].into(), address);
        let mut held: Vec<_> = (0..300).map(|_| silent()).collect();
        let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut other = Raw::connect(address);
        assert_eq!(other.request(request).status, 200);
        // The first one had to make room for the last one, which may go on.
        held[0].wait_for_end();
        assert_eq!(held[299].request(request).status, 200);
        // Whoever has asked for something need not make room.
        let asking = || {
            let mut peer = Raw::connect_from([127, 0, 0, 3].into(), address);
            assert_eq!(peer.request(request).status, 200);
            peer
        };
        let mut held: Vec<_> = (0..64).map(|_| asking()).collect();
        Raw::connect_from([127, 0, 0, 3].into(), address).wait_for_end();
        assert_eq!(held[0].request(request).status, 200);
    }
}

/// The admin listener, by way of loopback.
fn here(gateway: &Gateway) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], gateway.admin_address().port()))
}

/// Sends a request line with a token and further headers.
fn send(mut peer: Raw, line: &str, token: &str, more: &str) -> Response {
    let token = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    peer.request(&format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{token}{more}\r\n"
    ))
}

/// Asks a listener that speaks TLS.
fn ask(gateway: &Gateway, authority: &Authority, line: &str, token: &str) -> Response {
    let peer = Raw::connect(here(gateway)).over_tls(authority);
    send(peer, line, token, "")
}

#[test]
fn each_role_does_its_own_and_nobody_else_does_anything() {
    let authority = Authority::new();
    let gateway = start(&remote(&authority, Config::open()));
    let ask = |line: &str, token: &str| ask(&gateway, &authority, line, token);
    assert_eq!(ask("GET /livez", "").status, 200);
    for path in READS {
        let get = format!("GET {path}");
        let there = if path == "/sessions/x" { 404 } else { 200 };
        for (token, status) in [("", 401), (NOBODY, 401), (READER, there), (OPERATOR, there)] {
            assert_eq!(ask(&get, token).status, status, "{get} with {token:?}");
            let head = format!("HEAD {path}");
            let mut peer = Raw::connect(here(&gateway)).over_tls(&authority);
            let request = format!(
                "{head} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            peer.write(request.as_bytes()).unwrap();
            assert_eq!(peer.response_to_head().status, status, "{head}");
        }
    }
    for change in CHANGES {
        for (token, status) in [("", 401), (NOBODY, 401), (READER, 403)] {
            let refused = ask(change, token);
            assert_eq!(refused.status, status, "{change} with {token:?}");
            let asks = refused.header("www-authenticate");
            assert_eq!(asks, (status == 401).then_some("Bearer"), "{refused:?}");
        }
        let done = ask(change, OPERATOR).status;
        assert!([200, 404].contains(&done), "{change}: {done}");
    }
    // A browser's WebSocket has a ticket, and no token helps.
    for token in ["", READER, OPERATOR] {
        assert!(!(200..400).contains(&ask("GET /console/try/x/echo", token).status));
    }
}

/// Path of a route with the names in it, as this file asks for it.
fn asked(route: &str) -> String {
    let parts = route.split('/').map(|part| match part {
        "{*path}" => "x.wav",
        part if part.starts_with('{') => "x",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_of_the_admin_listener_is_attacked_here() {
    let source = command::root().join("host/sluice/src/admin.rs");
    let source = fs::read_to_string(source).unwrap();
    let (_, operators) = source.split_once("fn operators(").unwrap();
    let (operators, _) = operators.split_once("\n}\n").unwrap();
    let routes = operators.split('"').skip(1).step_by(2);
    let routes: Vec<_> = routes.filter(|text| text.starts_with('/')).collect();
    assert!(routes.len() > 20, "{routes:?}");
    for route in routes {
        let path = asked(route);
        let bare = |known: &str| known.split('?').next() == Some(&path);
        let is_known = READS.iter().any(|known| bare(known))
            || CHANGES
                .iter()
                .any(|known| bare(known.split(' ').nth(1).unwrap()))
            || ["/livez", "/console/try/x/x.wav"].contains(&&*path);
        assert!(is_known, "{route}");
    }
}

#[test]
fn no_spelling_of_a_path_leads_around_the_token() {
    let authority = Authority::new();
    let gateway = start(&remote(&authority, Config::open()));
    for path in [
        "//sessions",
        "/sessions/",
        "/./sessions",
        "/livez/../sessions",
        "/livez/%2e%2e/sessions",
        "/livez%2f..%2fsessions",
        "/livez/..;/sessions",
        "/%73essions",
        "/SESSIONS",
        "/sessions;a",
        "/sessions%00",
        "/sessions?livez",
        "/sessions#/livez",
        "http://localhost/sessions",
        "https://localhost/sessions",
        "*",
    ] {
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND",
        ] {
            let more = "X-HTTP-Method-Override: GET\r\nX-Original-URL: /livez\r\n";
            let mut peer = Raw::connect(here(&gateway)).over_tls(&authority);
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
            peer.write(request.as_bytes()).unwrap();
            let status = peer.response_to_head().status;
            assert!((400..500).contains(&status), "{method} {path}: {status}");
        }
    }
}

#[test]
fn every_answer_tells_browsers_to_do_nothing_with_it() {
    let authority = Authority::new();
    let gateway = start(&remote(&authority, Config::open()));
    for (line, token, status) in [
        ("GET /livez", "", 200),
        ("GET /status", READER, 200),
        ("GET /status", "", 401),
        ("GET /nothing", READER, 404),
        ("OPTIONS /status", "", 401),
        ("OPTIONS /status", READER, 405),
        ("GET http://evil.example/status", READER, 421),
    ] {
        let peer = Raw::connect(here(&gateway)).over_tls(&authority);
        let origin = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
        let answer = send(peer, line, token, origin);
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{line}: {answer:?}");
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none';"), "{answer:?}");
        for name in ["origin", "methods", "headers", "credentials"] {
            let allowed = answer.header(&format!("access-control-allow-{name}"));
            assert_eq!(allowed, None, "{line}: {answer:?}");
        }
    }
}

#[test]
fn a_page_of_another_origin_changes_nothing_even_with_the_token() {
    let authority = Authority::new();
    let gateway = start(&remote(&authority, Config::open()));
    let (line, port) = ("POST /reload", here(&gateway).port());
    let own = format!("https://localhost:{port}");
    for (origin, site, status) in [
        ("https://evil.example", "cross-site", 403),
        ("null", "cross-site", 403),
        (&*own, "cross-site", 403),
        (&*own, "same-site", 403),
        (&*own, "same-origin", 200),
    ] {
        let mut peer = Raw::connect(here(&gateway)).over_tls(&authority);
        let answer = peer.request(&format!(
            "{line} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {OPERATOR}\r\n\
             Origin: {origin}\r\nSec-Fetch-Site: {site}\r\n\r\n"
        ));
        assert_eq!(answer.status, status, "{origin} {site}: {answer:?}");
    }
    assert_eq!(
        ask(
            &gateway,
            &authority,
            "GET http://evil.example/status",
            OPERATOR
        )
        .status,
        421
    );
}

#[test]
fn bodies_however_long_or_slow_and_heads_however_long_cost_nothing() {
    let authority = Authority::new();
    let config = Config::open().set("server", "header_timeout", json!("1s"));
    let gateway = start(&remote(&authority, config));
    // A body that never comes is not waited for.
    for length in ["5", "1000000000000"] {
        let peer = Raw::connect(here(&gateway)).over_tls(&authority);
        let more = format!("Content-Length: {length}\r\n");
        assert_eq!(send(peer, "POST /reload", OPERATOR, &more).status, 200);
    }
    let before = gateway.memory();
    let mut peer = Raw::connect(here(&gateway)).over_tls(&authority);
    let head = format!(
        "POST /sessions/x/close HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPERATOR}\r\n\
         Content-Length: 1000000000000\r\n\r\n"
    );
    peer.write(head.as_bytes()).unwrap();
    // Until it is cut off.
    let sent = (0..4096).take_while(|_| peer.write(&[b'x'; 64 * 1024]).is_ok());
    let sent = sent.count();
    assert!(sent < 4096, "it took all of {sent} writes");
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "it grew by {grown} bytes");
    let mut peer = Raw::connect(here(&gateway)).over_tls(&authority);
    let header = format!("X: {}\r\n", "x".repeat(64 * 1024));
    let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    // It is cut off before all of it is sent.
    drop(peer.write(request.as_bytes()));
    peer.wait_for_end();
    assert_eq!(ask(&gateway, &authority, "GET /livez", "").status, 200);
}

#[test]
fn however_many_stall_the_listener_answers_the_next_one() {
    let authority = Authority::new();
    let config = Config::open().set("server", "header_timeout", json!("1s"));
    let gateway = start(&remote(&authority, config));
    let stalled: Vec<_> = (0..300)
        .map(|number| {
            let mut peer = Raw::connect(here(&gateway));
            if number % 2 == 0 {
                peer.write(&[0x16, 3, 1, 0, 200, 1]).unwrap();
            }
            peer
        })
        .collect();
    assert_eq!(ask(&gateway, &authority, "GET /livez", "").status, 200);
    for mut peer in stalled {
        peer.wait_for_end();
    }
    // A head that stalls, and a connection that asks for nothing more.
    let mut peer = Raw::connect(here(&gateway)).over_tls(&authority);
    peer.write(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
    peer.wait_for_end();
    let mut peer = Raw::connect(here(&gateway)).over_tls(&authority);
    let kept = peer.request("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(kept.status, 200);
    peer.wait_for_end();
}

#[test]
fn plain_http_on_an_admin_listener_with_tls_is_told_what_it_speaks() {
    let authority = Authority::new();
    let gateway = start(&remote(&authority, Config::open()));
    let answer = send(Raw::connect(here(&gateway)), "GET /status", OPERATOR, "");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("https://"), "{answer:?}");
}

#[test]
fn a_reload_takes_up_other_admin_tokens_and_another_admin_certificate() {
    let [files, first, second] = [(); 3].map(|()| Authority::new());
    first.give_to(&files);
    let config = remote(&files, Config::open());
    let gateway = start(&config);
    assert_eq!(ask(&gateway, &first, "GET /status", READER).status, 200);
    gateway.replace("reader", NOBODY);
    gateway.reloaded(2);
    assert_eq!(ask(&gateway, &first, "GET /status", READER).status, 401);
    assert_eq!(ask(&gateway, &first, "GET /status", NOBODY).status, 200);
    second.give_to(&files);
    gateway.reloaded(3);
    assert_eq!(ask(&gateway, &second, "GET /status", NOBODY).status, 200);
    // Without tokens, a listener that others reach answers nobody.
    let here = Config::open().set("server", "admin_listen", json!("127.0.0.1:0"));
    gateway.replace("sluice.toml", here.to_string());
    let reloaded = gateway.reloaded(4);
    assert_eq!(reloaded["generation"], 4);
    for token in ["", NOBODY, OPERATOR] {
        assert_eq!(ask(&gateway, &second, "GET /status", token).status, 401);
        assert_eq!(ask(&gateway, &second, "POST /reload", token).status, 403);
    }
}

#[test]
fn a_console_whose_token_is_replaced_sees_nothing_more() {
    let authority = Authority::new();
    let config = Config::open().set("server", "header_timeout", json!("1s"));
    let gateway = start(&remote(&authority, config));
    let mut console = Raw::connect(here(&gateway)).over_tls(&authority);
    let feed = console.request(&format!(
        "GET /console/feed?view=status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {READER}\r\n\r\n"
    ));
    assert_eq!(feed.status, 200);
    console.wait_for_input();
    gateway.replace("reader", NOBODY);
    gateway.reloaded(2);
    console.wait_for_end();
}

#[test]
fn the_probe_listener_offers_health_and_metrics_and_nothing_else() {
    let config = Config::open()
        .set("server", "probe_listen", json!("0.0.0.0:0"))
        .set("server", "admin_hosts", json!(["sluice.monitoring.svc"]));
    let gateway = Gateway::start(&config);
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.probe_address().port()));
    let ask = |line: &str, host: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Raw::connect(address).request(&request)
    };
    // As a kubelet asks, by the address of its pod, and Prometheus by a name.
    for host in ["10.42.0.7:9181", "sluice.monitoring.svc:9181", "localhost"] {
        assert_eq!(ask("GET /livez", host).body, "live\n");
        assert_eq!(ask("GET /readyz", host).body, "ready\n");
        let metrics = ask("GET /metrics", host).body;
        assert!(metrics.contains("sluice_generation 1\n"), "{metrics}");
    }
    assert_eq!(ask("GET /metrics", "evil.example").status, 421);
    for path in READS
        .into_iter()
        .filter(|path| !["/readyz", "/metrics"].contains(path))
    {
        assert_eq!(
            ask(&format!("GET {path}"), "localhost").status,
            404,
            "{path}"
        );
    }
    for change in CHANGES {
        assert_eq!(ask(change, "localhost").status, 404, "{change}");
    }
    assert_eq!(ask("POST /livez", "localhost").status, 405);
}

#[test]
fn commands_ask_over_tls_with_the_token_of_a_file_a_variable_or_the_configuration() {
    let authority = Authority::new();
    let gateway = start(&remote(&authority, Config::ingest()));
    let (_client, id) = Client::stream_of(&gateway, "m1", "u-1");
    let url = format!("https://127.0.0.1:{}", here(&gateway).port());
    let ca = authority.ca();
    let sessions = |more: &[&str], variable: &str| -> Done {
        let mut command = command::sluice(&["sessions", "--admin", &url, "--ca"]);
        command
            .arg(&ca)
            .args(more)
            .env("SLUICE_ADMIN_TOKEN", variable);
        if variable.is_empty() {
            command.env_remove("SLUICE_ADMIN_TOKEN");
        }
        command::run(&mut command)
    };
    let file = gateway.folder().join("reader");
    let config = gateway.folder().join("sluice.toml");
    for (more, variable) in [
        (&["--token-file", file.to_str().unwrap()][..], NOBODY),
        (&[], READER),
        (&["--config", config.to_str().unwrap()], ""),
    ] {
        let done = sessions(more, variable);
        assert_eq!(done.status, Some(0), "{done:?}");
        assert!(done.stdout.contains(&id), "{done:?}");
    }
    for variable in ["", NOBODY] {
        let done = sessions(&[], variable);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(done.stderr.contains("401"), "{done:?}");
    }
    // A token does not go out in the clear, nor to a listener whose certificate nobody vouches for.
    let mut clear = command::sluice(&["status", "--admin", "http://192.0.2.1:9180"]);
    let done = command::run(clear.env("SLUICE_ADMIN_TOKEN", READER));
    assert!(done.stderr.contains("use https://"), "{done:?}");
    let other = Authority::new();
    let mut fooled = command::sluice(&["status", "--admin", &url, "--ca"]);
    let done = command::run(fooled.arg(other.ca()).env("SLUICE_ADMIN_TOKEN", READER));
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(!done.stderr.contains(READER), "{done:?}");
}

#[test]
fn tokens_come_from_the_environment_too() {
    let config = Config::open()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "admin_token_env", json!("TEST_OPERATOR"))
        .set("server", "admin_read_token_env", json!("TEST_READER"));
    let gateway = Gateway::start_as(&config, |mut command| {
        command
            .env("TEST_OPERATOR", OPERATOR)
            .env("TEST_READER", READER);
        command
    });
    for (line, token, status) in [
        ("GET /status", "", 401),
        ("GET /status", READER, 200),
        ("POST /reload", READER, 403),
        ("POST /reload", OPERATOR, 200),
    ] {
        let peer = Raw::connect(gateway.admin_address());
        assert_eq!(send(peer, line, token, "").status, status, "{line}");
    }
}

#[test]
fn an_admin_listener_that_others_reach_without_tls_or_a_token_is_a_mistake() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    for (name, token) in [("operator", OPERATOR), ("reader", READER)] {
        let mut file = fs::File::create(folder.path().join(name)).unwrap();
        file.write_all(token.as_bytes()).unwrap();
    }
    let whole = remote(&authority, Config::open());
    let without = |keys: &[&str]| {
        let keys = keys.iter();
        keys.fold(whole.clone(), |config, key| config.without("server", key))
    };
    let tls = ["admin_tls_certificate", "admin_tls_key"];
    let tokens = ["admin_token_file", "admin_read_token_file"];
    let same = whole
        .clone()
        .set("server", "admin_read_token_file", json!("operator"));
    for (config, said) in [
        (without(&tls), "has not TLS:"),
        (without(&tokens), "has not a token:"),
        (without(&[tls, tokens].concat()), "has not TLS and a token:"),
        (without(&tls[1..]), "there is no `admin_tls_key`"),
        (same, "the tokens of both roles are the same"),
        (
            whole
                .clone()
                .set("server", "admin_token_env", json!("NONE")),
            "two sources of one token",
        ),
        (
            without(&tokens).set("server", "admin_token_env", json!("TEST_NOT_SET")),
            "TEST_NOT_SET is not set",
        ),
    ] {
        let file = folder.path().join("sluice.toml");
        fs::write(&file, config.to_string()).unwrap();
        let done = command::check(&file);
        assert_eq!(done.status, Some(1), "{done:?}");
        let report: Vec<&str> = done.stderr.split_whitespace().collect();
        let report = report.join(" ").replace("│ ", "").replace("| ", "");
        assert!(report.contains(said), "{said} in {report}");
        assert!(!report.contains(OPERATOR), "{report}");
    }
    let file = folder.path().join("sluice.toml");
    fs::write(&file, without(&tokens[1..]).to_string()).unwrap();
    let done = command::check(&file);
    assert_eq!(done.status, Some(0), "{done:?}");
}
