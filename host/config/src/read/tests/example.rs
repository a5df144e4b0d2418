//! The example file and the built-in configuration.

use std::collections::BTreeSet;

use super::*;
use crate::schema::{EXAMPLE, NOT_DEFAULTS};
use crate::settings::BUILTINS;
use crate::{Route, Server};
use keys::settings::KeySet;
use policy::settings::{Component, Policy};
use session::handshake::HandshakeMode;

/// A line of the example that sets an option, or would without its `#`.
struct Line<'a> {
    kind: String,
    key: &'a str,
    commented: bool,
    text: &'a str,
}

fn lines() -> Vec<Line<'static>> {
    let mut kind = String::new();
    let mut lines = Vec::new();
    for text in EXAMPLE.lines() {
        let bare = text.strip_prefix('#').unwrap_or(text);
        if let Some(section) = bare
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
        {
            let parts: Vec<&str> = section.split('.').collect();
            kind = match parts[..] {
                [section] => section.to_owned(),
                [section, _] => format!("{section}.NAME"),
                _ => "free".to_owned(),
            };
            let outer = (parts[0], String::new());
            let inner = parts.get(2).map(|key| (*key, format!("{}.NAME", parts[0])));
            for (key, kind) in [Some(outer), inner].into_iter().flatten() {
                lines.push(Line {
                    kind,
                    key,
                    commented: true,
                    text,
                });
            }
        } else if let Some((key, _)) = bare.split_once(" = ")
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            lines.push(Line {
                kind: kind.clone(),
                key,
                commented: bare != text,
                text,
            });
        }
    }
    lines
}

/// Every setting, without the places.
fn settings(config: &Config) -> Vec<String> {
    let Config {
        data_dir,
        credentials,
        realms,
        server,
        decisions,
        traces,
        cluster,
        key_sets,
        lists,
        signatures,
        destinations,
        policies,
        upstreams,
        routes,
        declared: _,
        upstream_attributes: _,
        files: _,
        options: _,
    } = config;
    let Server {
        listen,
        proxy_listen,
        proxies,
        header_timeout,
        drain_timeout,
        max_connections,
        max_refusals,
        max_parked,
        max_memory,
        shares,
        tls,
        admin,
        watch,
    } = server;
    let mut all = vec![
        format!("{decisions:?} {traces:?} {cluster:?} {credentials:?} {realms:?}"),
        format!("{data_dir:?} {listen:?} {header_timeout:?} {drain_timeout:?}"),
        format!("{proxy_listen:?} {proxies:?} {shares:?}"),
        format!(
            "{max_connections} {max_refusals} {max_parked} {max_memory} {tls:?} {admin:?} {watch:?}"
        ),
    ];
    all.push(format!("{lists:?} {signatures:?} {destinations:?}"));
    for (name, set) in key_sets {
        let KeySet {
            source,
            // `source` says which.
            file: _,
            algorithms,
            issuers,
            audiences,
            leeway,
            place: _,
        } = set;
        all.push(format!(
            "{name} {source:?} {algorithms:?} {issuers:?} {audiences:?} {leeway:?}"
        ));
    }
    for (name, policy) in policies {
        let Policy {
            component,
            sha256,
            // Those of all policies.
            signatures: _,
            trial,
            grants,
            destinations,
            wasi,
            on_failure,
            quarantine,
            limits,
            config,
            secrets,
            tenants,
            place: _,
            component_place: _,
            grants_place: _,
            destinations_place: _,
            config_place: _,
            config_places: _,
            value_places: _,
        } = policy;
        all.push(format!(
            "{name} {component:?} {grants:?} {destinations:?} {wasi:?} {on_failure:?} {quarantine:?} {limits:?} {:?} {:?}",
            sha256.as_ref().map(|pin| &pin.digest),
            trial.as_ref().map(|trial| &trial.stands_for)
        ));
        let tenants = tenants.overlays.iter();
        let tenants: Vec<_> = tenants
            .map(|(name, tenant)| (name, &tenant.config))
            .collect();
        all.push(format!("{config:?} {secrets:?} {tenants:?}"));
    }
    for (name, upstream) in upstreams {
        all.push(format!("{name} {upstream:?}"));
    }
    for (name, route) in routes {
        let Route {
            paths,
            handshake,
            on_connect,
            on_handshake,
            on_frames,
            on_close,
            metering,
            upstream,
            limits,
            origins,
            subprotocols,
            rate_limit,
            place: _,
            on_connect_place: _,
            on_handshake_place: _,
            on_frames_place: _,
            on_close_place: _,
        } = route;
        all.push(format!(
            "{name} {paths:?} {handshake:?} {on_connect:?} {on_handshake:?} {upstream} {limits:?}"
        ));
        all.push(format!("{origins:?} {subprotocols:?} {rate_limit:?}"));
        all.push(format!("{on_frames:?} {on_close:?} {metering:?}"));
    }
    all
}

#[test]
fn the_example_shows_every_option_and_no_other() {
    let shown: BTreeSet<(String, String)> = lines()
        .iter()
        .filter(|line| line.kind != "free")
        .map(|line| (line.kind.clone(), line.key.to_owned()))
        .collect();
    let known: BTreeSet<(String, String)> = asked()
        .into_iter()
        .map(|(kind, key)| (kind.to_owned(), key.to_owned()))
        .collect();
    let missing: Vec<_> = known.difference(&shown).collect();
    let unknown: Vec<_> = shown.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "not in sluice.example.toml: {missing:?}"
    );
    assert!(
        unknown.is_empty(),
        "no option, but in sluice.example.toml: {unknown:?}"
    );
}

#[test]
fn the_example_loads_without_mistakes() {
    let config = good(EXAMPLE);
    assert_eq!(config.routes["echo"].handshake, HandshakeMode::None);
}

#[test]
fn every_value_in_the_example_is_the_default() {
    let whole = settings(&good(EXAMPLE));
    let mut tried = 0;
    for line in lines() {
        let not_default = NOT_DEFAULTS.contains(&(line.kind.as_str(), line.key));
        // The second route and the policies' own sections are examples only.
        let elsewhere = line.kind == "free" || EXAMPLE.matches(line.text).count() > 1;
        let alone = line.text.starts_with("handshake = \"none\"");
        if line.commented || not_default || elsewhere || alone {
            continue;
        }
        let without = EXAMPLE.replacen(&format!("\n{}\n", line.text), "\n\n", 1);
        assert_ne!(without, EXAMPLE, "{} was not taken out", line.text);
        assert_eq!(
            settings(&good(&without)),
            whole,
            "`{}` is not the default",
            line.text
        );
        tried += 1;
    }
    assert!(tried >= 24, "only {tried} options were tried");
}

#[test]
fn the_built_in_configuration_loads_without_mistakes() {
    let (config, diagnostics) = Config::load(None).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics}");
    assert_eq!(config.data_dir, Path::new("data"));
    let used: BTreeSet<Component> = config
        .policies
        .values()
        .map(|policy| policy.component.clone())
        .collect();
    assert_eq!(
        used,
        BUILTINS
            .map(|name| Component::Builtin(name.to_owned()))
            .into()
    );
    let route = &config.routes["ingest"];
    assert_eq!(
        route.paths,
        [
            "/ws/ingest/meetings/{meeting_id}",
            "/api/v1/ws/ingest/meetings/{meeting_id}"
        ]
    );
    assert_eq!(route.on_connect, ["auth", "duplicate"]);
    assert_eq!(route.on_handshake, ["sample-rate"]);
    assert_eq!(route.handshake, HandshakeMode::IngestV1);
}

#[test]
fn relative_paths_start_from_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.wasm"), b"").unwrap();
    let text = broken("builtin:sample-rate", "mine.wasm");
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, text).unwrap();
    let (config, diagnostics) = Config::load(Some(&file)).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics}");
    assert_eq!(config.data_dir, folder.path().join("data"));
    assert_eq!(
        config.policies["rate"].component,
        Component::File(folder.path().join("mine.wasm"))
    );
}

#[test]
fn a_policy_gets_its_section_as_json() {
    let config = good(&broken(
        "config = { key_set = \"main\" }",
        "config = { key_set = \"main\", n = 1, x = 1.5, yes = true, list = [1, \"a\"], table = { a = {} } }",
    ));
    let expected = serde_json::json!({
        "key_set": "main", "n": 1, "x": 1.5, "yes": true, "list": [1, "a"], "table": { "a": {} }
    });
    let found: serde_json::Map<_, _> = config.policies["auth"].config.clone().into_iter().collect();
    assert_eq!(serde_json::Value::Object(found), expected);
}
