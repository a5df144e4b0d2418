//! A command line that streams to the project's gateway.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use base::diagnostics::Mistakes;
use base::text::shell_word;
use config::{Config, Route};
use keys::settings::KeySource;
use session::handshake::HandshakeMode;

use crate::arguments::DevArgs;
use crate::scene::own_path;
use crate::subject::choose;

/// What to do to speak to the gateway.
pub(super) fn line(
    args: &DevArgs,
    listen: SocketAddr,
    file: &Path,
    component: &Path,
    tone: &Path,
) -> anyhow::Result<String> {
    let (config, diagnostics) = Config::load(Some(file)).map_err(Mistakes)?;
    drop(diagnostics.finish().map_err(Mistakes)?);
    let name = choose(&config, args.policy.as_deref(), Some(component))?;
    let (route, path) = own_path(&name, &config)?;
    let scheme = if config.server.tls.is_some() {
        "wss"
    } else {
        "ws"
    };
    let url = format!("{scheme}://{listen}{path}");
    if route.handshake != HandshakeMode::IngestV1 {
        return Ok(format!(
            "\nspeak to it with a WebSocket client: {url}\n(the route has `handshake = \"none\"`, \
             and `sluice stream` sends a handshake)\n"
        ));
    }
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "sluice".to_owned());
    let program = shell_word(&program).into_owned();
    let word = |path: &Path| shell_word(&path.display().to_string()).into_owned();
    let mut line = format!("{program} stream {} --url {}", word(tone), shell_word(&url));
    if let Some(key_set) = signing(&config, route) {
        // Writing to a text cannot fail.
        let _ = write!(
            line,
            " --token \"$({program} token --config {} --key-set {})\"",
            word(&args.project.join("sluice.toml")),
            shell_word(key_set)
        );
    }
    Ok(format!("\nspeak to it, from another terminal:\n\n{line}\n"))
}

/// A key set with which tokens can be made: one that is named to a policy of the route, if there is
/// any.
fn signing<'a>(config: &'a Config, route: &Route) -> Option<&'a str> {
    let signs = |source: &KeySource| matches!(source, KeySource::Generate | KeySource::Secret(_));
    let sets = config.key_sets.iter();
    let signing = sets.filter(|(_, set)| signs(&set.source));
    let mut signing = signing.map(|(name, _)| name.as_str());
    let asked = || {
        route
            .admission()
            .filter_map(|name| config.policies.get(name))
    };
    let is_named = |set: &str| {
        let mut options = asked().flat_map(|policy| policy.config.values());
        options.any(|option| option == set)
    };
    let first = signing.clone().next();
    signing.find(|set| is_named(set)).or(first)
}
