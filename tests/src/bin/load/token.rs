//! Tokens like those of the deployed clients.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// The issuer of all tokens.
pub const ISSUER: &str = "our-app";
/// The audience of all tokens.
pub const AUDIENCE: &str = "meetings";

/// A token of a user that is good for an hour.
pub fn good(secret: &str, user: usize) -> anyhow::Result<String> {
    mint(secret, user, |now| now + Duration::from_hours(1))
}

/// One that ran out an hour ago.
pub fn expired(secret: &str, user: usize) -> anyhow::Result<String> {
    mint(secret, user, |now| {
        now.saturating_sub(Duration::from_hours(1))
    })
}

fn mint(
    secret: &str,
    user: usize,
    expiry: impl Fn(Duration) -> Duration,
) -> anyhow::Result<String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let claims = json!({
        "user_id": format!("user-{user}"),
        "tenant_id": "tenant-1",
        "email": format!("user-{user}@example.org"),
        "role": "member",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now.as_secs(),
        "exp": expiry(now).as_secs(),
    });
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).context("a token could not be signed")
}

/// A secret of this run's own.
pub fn fresh_secret() -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("no random bytes for a secret")?;
    Ok(base::text::hex(&bytes))
}
