//! Address of the gateway, and tokens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, InvalidHeaderValue};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};

use base::credentials::RESUME_HEADER;
use base::tls::client::Authorities;

/// What a token begins with in the header.
const SCHEME: &str = "Bearer ";

/// URL of an ingest endpoint. Its query, which may hold a token, is never shown.
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    security: ConnectionSecurity,
}

/// Security of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionSecurity {
    /// `ws:`
    Plain,
    /// `wss:`
    Tls(Authorities),
}

/// Reason why a URL is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It cannot be parsed.
    #[error("it is not a URL; one looks like ws://127.0.0.1:8080/ws/ingest/meetings/demo")]
    Unreadable,
    /// Its scheme is missing or another one.
    #[error("a WebSocket URL starts with ws:// or wss://")]
    Scheme,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let uri: Uri = text.trim().parse().map_err(|_| TargetError::Unreadable)?;
        let security = match uri.scheme_str() {
            Some("ws") => ConnectionSecurity::Plain,
            Some("wss") => ConnectionSecurity::Tls(Authorities::Platform),
            _ => return Err(TargetError::Scheme),
        };
        Ok(Self { uri, security })
    }
}

impl Target {
    /// The target, with only the authorities in `file` trusted.
    ///
    /// # Errors
    /// If the URL is not `wss:`. A user who names an authority expects a secure connection.
    pub(crate) fn trusting_only(mut self, file: PathBuf) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.security != ConnectionSecurity::Plain,
            "a certificate authority is for wss:// URLs, and this one is ws://"
        );
        self.security = ConnectionSecurity::Tls(Authorities::File(file));
        Ok(self)
    }

    /// The target, with `source` in its query unless the query has one.
    #[must_use]
    pub(crate) fn with_source(&self, source: &str) -> Self {
        let query = self.uri.query().unwrap_or_default();
        if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "source") {
            return self.clone();
        }
        let joint = if query.is_empty() { "" } else { "&" };
        let mut parts = self.uri.clone().into_parts();
        let changed = format!("{}?{query}{joint}source={source}", self.uri.path());
        parts.path_and_query = changed.parse().ok();
        let uri = Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone());
        let security = self.security.clone();
        Self { uri, security }
    }

    /// Security of the connection.
    pub(super) fn security(&self) -> &ConnectionSecurity {
        &self.security
    }

    /// Host name or address, as in a certificate.
    pub(super) fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        // An IPv6 address has brackets only in a URL.
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Port, or the default port of the scheme.
    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(match self.security {
            ConnectionSecurity::Plain => 80,
            ConnectionSecurity::Tls(_) => 443,
        })
    }

    /// Upgrade request, with the resume token if there is one.
    pub(super) fn request(
        &self,
        token: Option<&BearerToken>,
        resume: Option<&ResumeToken>,
    ) -> anyhow::Result<Request> {
        let mut request = self
            .uri
            .clone()
            .into_client_request()
            .with_context(|| format!("the URL {self}"))?;
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.0.clone());
        }
        if let Some(ResumeToken(token)) = resume {
            request.headers_mut().insert(RESUME_HEADER, token.clone());
        }
        Ok(request)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the query nor `user:password@` is shown.
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{scheme}://{host}{port}{}", self.uri.path())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Token, as the value of a header. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(HeaderValue);

impl BearerToken {
    /// The token alone, for a message.
    pub(super) fn text(&self) -> &str {
        let value = self.0.to_str().unwrap_or_default();
        value.strip_prefix(SCHEME).unwrap_or_default()
    }
}

/// Token that resumes a stream. Never shown, and never in a URL.
#[derive(Clone)]
pub struct ResumeToken(HeaderValue);

impl FromStr for ResumeToken {
    type Err = InvalidHeaderValue;

    fn from_str(text: &str) -> Result<Self, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(text)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeToken(..)")
    }
}

/// Reason why a text is no token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// It is empty.
    #[error("it is empty; `sluice token` makes one")]
    Empty,
    /// It has characters that no HTTP header allows.
    #[error("it has characters that no token has; was something else pasted?")]
    Characters,
}

impl FromStr for BearerToken {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenTextError::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenTextError::Characters);
        }
        let mut value = HeaderValue::try_from(format!("{SCHEME}{text}"))
            .map_err(|_| TokenTextError::Characters)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}
