use sluice_policy::{Config, ConfigError, Decision, Holder, Rejection, quoted};

use crate::fact::Fact;

pub const KEY: &str = "list what makes two connections the same: `route`, `path`, `param.<name>`, `query.<name>`, \
                   `header.<name>`, or an attribute of an earlier policy by its full name, such as `auth.tenant_id`";
const MODE: &str =
    "write \"reject\" to refuse the newcomer or \"takeover\" to send the holder away";
pub const SAME_USER: &str = "write \"reject\" to refuse a user's second connection or \"takeover\" to let it replace the first";
pub const USER: &str = "name the attribute that tells users apart, such as \"auth.user_id\"";

/// The attribute that tells users apart.
pub const DEFAULT_USER: &str = "auth.user_id";

/// How often a newcomer that is overtaken by another tries again. Each round
/// somebody got in, so more rounds would only prolong a fight between clients.
const ROUNDS: usize = 3;

/// Bytes of a key that a gateway takes.
const MAX_KEY: usize = 1024;

/// Exclusive lease on a key, for which connections with that key compete.
pub trait Lease {
    fn claim(&mut self) -> Result<(), Holder>;
    fn evict(&mut self, holder: &Holder, notice: Rejection) -> Result<(), Holder>;
}

/// What makes two connections the same, and which of them stays.
#[derive(Debug)]
pub struct Rule {
    key: Vec<Fact>,
    pub mode: Mode,
    pub same_user: Mode,
    pub user: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Reject,
    Takeover,
}

impl Rule {
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let default = ["auth.tenant_id", "param.meeting_id", "query.source"].map(String::from);
        let names = config.list("key", default.into(), KEY)?;
        let fact = |name: &String| {
            Fact::parse(name).ok_or_else(|| ConfigError::new("key", &quoted(name), KEY))
        };
        let user = config
            .get("user", USER)?
            .unwrap_or_else(|| DEFAULT_USER.to_owned());
        if !matches!(Fact::parse(&user), Some(Fact::Attribute(_))) {
            return Err(ConfigError::new("user", &quoted(&user), USER));
        }
        Ok(Self {
            key: names.iter().map(fact).collect::<Result<_, _>>()?,
            mode: mode(config, "mode", MODE)?.unwrap_or(Mode::Reject),
            // The second connection of a user is most often the first one's
            // client, which was cut off and whose old socket is not known to be
            // dead yet.
            same_user: mode(config, "same_user", SAME_USER)?.unwrap_or(Mode::Takeover),
            user,
        })
    }

    /// The key as a JSON array, so that no two different lists of values make
    /// the same one. What is absent is null there, and differs from "".
    pub fn key(&self, read: impl Fn(&Fact) -> Option<String>) -> String {
        let values = self.key.iter().map(|fact| match read(fact) {
            Some(value) => json_string(&value),
            None => "null".to_owned(),
        });
        format!("[{}]", values.collect::<Vec<_>>().join(","))
    }

    /// Takes the lease for a connection of `user`, or says why not.
    pub fn admit(&self, lease: &mut impl Lease, user: Option<&str>) -> Decision {
        let Err(mut holder) = lease.claim() else {
            return Ok(());
        };
        for _ in 0..ROUNDS {
            if !self.may_replace(&holder, user) {
                break;
            }
            match lease.evict(&holder, superseded()) {
                Ok(()) => return Ok(()),
                Err(faster) => holder = faster,
            }
        }
        Err(Rejection::ingest_exists("Ingest already active"))
    }

    fn may_replace(&self, holder: &Holder, user: Option<&str>) -> bool {
        // A user who is not known is nobody's equal, nor is one without a name.
        let same =
            user.is_some_and(|user| !user.is_empty() && holder.attribute(&self.user) == Some(user));
        self.mode == Mode::Takeover || (same && self.same_user == Mode::Takeover)
    }
}

/// Refuses a client whose own words make a key that no gateway takes.
pub fn check_length(key: &str) -> Decision {
    if key.len() <= MAX_KEY {
        return Ok(());
    }
    let message = "the request is too long where it says which stream this is";
    Err(Rejection::new("policy_denied", message).close_code(4005))
}

fn mode(config: &Config, key: &str, advice: &str) -> Result<Option<Mode>, ConfigError> {
    match config.get::<String>(key, advice)?.as_deref() {
        None => Ok(None),
        Some("reject") => Ok(Some(Mode::Reject)),
        Some("takeover") => Ok(Some(Mode::Takeover)),
        Some(other) => Err(ConfigError::new(key, &quoted(other), advice)),
    }
}

fn json_string(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

fn superseded() -> Rejection {
    Rejection::new("superseded", "superseded by a newer connection").close_code(4003)
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
