//! What `sluice serve` prints first, for development: how to stream at once, or how to make a token.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::PRINTING;
use crate::assemble::Assembled;
use crate::banner::{self, Banner};
use crate::logs::patience::print_within;
use crate::reload::ConfigSource;
use crate::token::{self, Bearer};
use config::Config;
use keys::settings::KeySource;
use policy::references::ReferenceKind;
use session::handshake::HandshakeMode;

/// How long the token in the banner is valid.
const BANNER_TOKEN: Duration = Duration::from_hours(12);

/// A path of the built-in configuration, which lets in whoever has a token of its key set.
const DEFAULT_PATH: &str = "/ws/ingest/meetings/demo";

/// Prints the banner, where the configuration has a generated key. The line to copy is for the
/// built-in configuration: what another one asks of a client, only its policies know.
pub(super) fn greet(
    config: &Config,
    source: &ConfigSource,
    assembled: &Assembled,
    listen: &[SocketAddr],
) -> anyhow::Result<()> {
    let Some(key_set) = generated(config, assembled) else {
        return Ok(());
    };
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "sluice".to_owned());
    let keys = match source.file {
        None => assembled.key_sets.get(key_set),
        Some(_) => None,
    };
    let scheme = match config.server.tls {
        Some(_) => "wss",
        None => "ws",
    };
    let banner = match keys {
        Some(keys) => Banner {
            listen,
            scheme,
            path: DEFAULT_PATH,
            program: &program,
            token: &token::mint(keys, &Bearer::default(), BANNER_TOKEN)?,
            valid_for: "12 h",
            recordings: &recordings(config),
        }
        .render(),
        None => banner::without_a_token(
            listen,
            scheme,
            path(config).as_deref(),
            &token_command(&program, source, key_set),
        ),
    };
    let printed = print_within(PRINTING, move || {
        let mut out = std::io::stdout();
        out.write_all(banner.as_bytes())?;
        out.flush()
    });
    if let Err(error) = printed {
        // Clients can be served all the same.
        tracing::warn!(%error, "the banner was not printed");
    }
    Ok(())
}

/// A key set with a generated key: one that a policy verifies tokens with, if there is any.
fn generated<'a>(config: &'a Config, assembled: &Assembled) -> Option<&'a str> {
    let generation = assembled.gateway.generation.load();
    let policies = || generation.policies.values().flatten();
    let is_named = |key_set: &str| {
        let mut named = policies().flat_map(|policy| &policy.references().named);
        named.any(|to| to.kind == ReferenceKind::KeySet && to.name == key_set)
    };
    let sets = config.key_sets.iter();
    let generated = sets.filter(|(_, set)| matches!(set.source, KeySource::Generate));
    let mut generated = generated.map(|(name, _)| name.as_str());
    let first = generated.clone().next();
    generated.find(|name| is_named(name)).or(first)
}

/// A path that takes what `sluice stream` sends, with `demo` in the place of each parameter.
fn path(config: &Config) -> Option<String> {
    let mut routes = config.routes.values();
    let route = routes.find(|route| route.handshake == HandshakeMode::IngestV1)?;
    let parts = route.paths.first()?.split('/');
    let parts = parts.map(|part| if part.starts_with('{') { "demo" } else { part });
    Some(parts.collect::<Vec<_>>().join("/"))
}

/// The folder of the built-in configuration's recordings.
fn recordings(config: &Config) -> String {
    let mut upstreams = config.upstreams.values();
    let recordings = upstreams.find_map(|upstream| upstream.recordings());
    let folder = recordings.map(|recordings| config.data_dir.join(&recordings.folder));
    folder.map_or_else(|| "none".to_owned(), |folder| folder.display().to_string())
}

/// The words that make a token with a key set of this configuration.
fn token_command(program: &str, source: &ConfigSource, key_set: &str) -> Vec<String> {
    let mut words = vec![program.to_owned(), "token".to_owned()];
    let mut option = |name: &str, path: &Option<PathBuf>| {
        if let Some(path) = path {
            words.extend([name.to_owned(), path.display().to_string()]);
        }
    };
    option("--config", &source.file);
    option("--data-dir", &source.data_dir);
    words.extend(["--key-set".to_owned(), key_set.to_owned()]);
    words
}
