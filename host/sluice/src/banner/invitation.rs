//! Where a token that is made here lets a client in: which route, under which
//! path, and whom the token has to speak for.
//!
//! What is known is what the built-in policies ask for. A policy of somebody
//! else's may still refuse.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::token::Bearer;
use config::{Config, Route};
use policy::settings::{Component, Policy};
use session::handshake::HandshakeMode;
use upstream::settings::Upstream;

/// What parts of a path are called that may be called anything.
const ANYTHING: &str = "demo";

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub struct Invitation<'a> {
    /// What the token is signed with.
    pub key_set: &'a str,
    /// A path of the route, its parameters filled in.
    pub path: String,
    /// Whom the token speaks for.
    pub bearer: Bearer,
    /// The folder of the recordings, where the route makes some.
    pub recordings: Option<String>,
}

impl<'a> Invitation<'a> {
    /// To the first route whose auth policies all take tokens of `key_set`, and
    /// ask for no more of them than can be made up here.
    #[must_use]
    pub fn find(config: &'a Config, key_set: &'a str) -> Option<Self> {
        config
            .routes
            .values()
            .find_map(|route| Self::to(config, key_set, route))
    }

    fn to(config: &'a Config, key_set: &'a str, route: &Route) -> Option<Self> {
        if route.handshake != HandshakeMode::IngestV1 {
            return None;
        }
        let mut guest = Guest::default();
        let mut asked = false;
        for policy in deciding(config, &route.on_connect) {
            if is_builtin(policy, "auth") {
                asked = true;
                if policy.config.get("key_set")?.as_str()? != key_set {
                    return None;
                }
                guest.satisfy(&policy.config)?;
            }
        }
        let takes_the_sample = deciding(config, &route.on_handshake)
            .filter(|policy| is_builtin(policy, "sample-rate"))
            .all(|policy| {
                let takes = |key, value| match policy.config.get(key) {
                    Some(Value::Array(list)) => list.contains(&value),
                    _ => true,
                };
                takes("rates", Value::from(16_000))
                    && takes("channels", Value::from(1))
                    && takes("codecs", Value::from("pcm_s16le"))
            });
        if !asked || !takes_the_sample {
            return None;
        }
        let recordings = match config.upstreams.get(&route.upstream)? {
            Upstream::Wav { recordings, .. } => {
                let folder = config.data_dir.join(&recordings.folder);
                Some(folder.display().to_string())
            }
            Upstream::Echo | Upstream::Discard | Upstream::WebSocket(_) => None,
        };
        Some(Self {
            key_set,
            path: guest.fill(route.paths.first()?),
            bearer: guest.bearer,
            recordings,
        })
    }
}

/// Whether an auth policy takes tokens of `key_set`, whatever else it asks for.
#[must_use]
pub(crate) fn is_asked_for(config: &Config, key_set: &str) -> bool {
    config.policies.values().any(|policy| {
        let named = policy.config.get("key_set").and_then(Value::as_str);
        is_builtin(policy, "auth") && named == Some(key_set)
    })
}

/// Those of a chain that decide, and are not only tried out.
fn deciding<'a>(config: &'a Config, chain: &'a [String]) -> impl Iterator<Item = &'a Policy> {
    chain
        .iter()
        .filter_map(|name| config.policies.get(name))
        .filter(|policy| policy.trial.is_none())
}

fn is_builtin(policy: &Policy, name: &str) -> bool {
    matches!(&policy.component, Component::Builtin(builtin) if builtin == name)
}

/// Somebody who is to be let in, as far as that is settled.
#[derive(Default)]
struct Guest {
    bearer: Bearer,
    /// Parts of the path that must be called like something in the token.
    params: BTreeMap<String, String>,
}

impl Guest {
    /// Becomes what an auth policy asks for; `None` where that cannot be.
    fn satisfy(&mut self, config: &BTreeMap<String, Value>) -> Option<()> {
        if let Some(required) = config.get("required_claims") {
            for claim in required.as_array()? {
                self.claim(claim.as_str()?)?;
            }
        }
        if let Some(claims) = config.get("path_claims") {
            for (claim, param) in claims.as_object()? {
                let value = self.claim(claim)?;
                let named = self.params.entry(param.as_str()?.to_owned());
                if *named.or_insert_with(|| value.clone()) != value {
                    return None;
                }
            }
        }
        Some(())
    }

    /// What the token says in a claim.
    fn claim(&mut self, name: &str) -> Option<String> {
        let bearer = &mut self.bearer;
        Some(match name {
            "user_id" => bearer.user_id.clone(),
            "tenant_id" => bearer.tenant_id.clone(),
            "email" => bearer.email.clone(),
            "role" => bearer.role.clone(),
            "meeting_id" => bearer
                .meeting_id
                .get_or_insert_with(|| ANYTHING.to_owned())
                .clone(),
            _ => return None,
        })
    }

    fn fill(&self, path: &str) -> String {
        let mut parts = path.split('{');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |filled, part| {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            let value = self.params.get(name.trim_start_matches('*'));
            filled + value.map_or(ANYTHING, String::as_str) + rest
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(auth: &str, route: &str) -> Config {
        let text = format!(
            r#"
            [key_sets.alone]
            generate = true
            [key_sets.dev]
            generate = true
            [policies.auth]
            component = "builtin:auth"
            grants = ["jwt"]
            [policies.auth.config]
            key_set = "dev"
            {auth}
            [policies.sample-rate]
            component = "builtin:sample-rate"
            [upstreams.recordings]
            kind = "wav"
            [upstreams.echo]
            kind = "echo"
            [routes.a]
            paths = ["/a/{{meeting_id}}"]
            handshake = "none"
            upstream = "echo"
            [routes.b]
            paths = ["/b/{{tenant}}/m/{{meeting_id}}"]
            on_connect = ["auth"]
            upstream = "recordings"
            {route}
            "#
        );
        let (config, diagnostics) = Config::parse("sluice.toml", &text, Path::new("")).unwrap();
        drop(diagnostics.finish().unwrap());
        config
    }

    #[test]
    fn it_is_to_a_route_whose_auth_policy_takes_the_key() {
        let config = config("", "");
        assert_eq!(Invitation::find(&config, "alone"), None);
        let found = Invitation::find(&config, "dev").unwrap();
        assert_eq!(found.path, "/b/demo/m/demo");
        assert_eq!(found.bearer, Bearer::default());
        assert!(found.recordings.unwrap().ends_with("recordings"));
    }

    #[test]
    fn the_token_and_the_path_say_the_same() {
        let claims = r#"path_claims = { meeting_id = "meeting_id", tenant_id = "tenant" }"#;
        let config = config(claims, "");
        let found = Invitation::find(&config, "dev").unwrap();
        assert_eq!(found.path, "/b/dev/m/demo");
        assert_eq!(found.bearer.meeting_id.as_deref(), Some("demo"));
    }

    #[test]
    fn what_cannot_be_made_up_is_not_promised() {
        for (auth, route) in [
            (r#"required_claims = ["user_id", "licence"]"#, ""),
            (r#"path_claims = { licence = "tenant" }"#, ""),
            (
                r#"path_claims = { role = "tenant", user_id = "tenant" }"#,
                "",
            ),
        ] {
            assert_eq!(
                Invitation::find(&config(auth, route), "dev"),
                None,
                "{auth}"
            );
        }
        let rates =
            "on_handshake = [\"sample-rate\"]\n[policies.sample-rate.config]\nrates = [48000]";
        assert_eq!(Invitation::find(&config("", rates), "dev"), None);
    }
}
