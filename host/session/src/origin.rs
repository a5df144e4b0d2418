//! Origins of web pages (RFC 6454), and which of them may connect.
//!
//! A browser reports the origin of the page that connects, and the page cannot change it. Any other
//! client can send any origin. So this check only keeps out foreign web pages that use a user's
//! browser.

use url::Url;

/// Origins of web pages that may connect to a route, beside those of its own host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<Listed>);

/// Entry of a route's `origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// `*`: any origin, and values that are no origin.
    Any,
    /// One origin.
    Exactly(Origin),
    /// `https://*.example.com`: every host below this one, without the host itself.
    Below(Origin),
}

/// Whether the client's listener uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// The listener uses TLS.
    Tls,
    /// The listener does not. A proxy in front of it may.
    Plain,
}

/// Origin in its canonical form. `https` and `wss` are the same, hosts are ASCII in lower case, and
/// the port is present if the scheme has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `null`: a page with an opaque origin.
    Null,
    /// Scheme, host and port (section 4).
    Tuple {
        /// Scheme in lower case.
        scheme: String,
        /// Host in lower case; empty for files.
        host: String,
        /// Port; `None` if the scheme has no default.
        port: Option<u16>,
    },
}

/// Reason why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It has no scheme with `://`.
    #[error("it has no scheme, such as https://")]
    Scheme,
    /// It has characters beyond ASCII.
    #[error("it is not ASCII: browsers send the punycode form, xn--…")]
    NotAscii,
    /// Something follows the host and port.
    #[error("an origin ends with its host or port, without a slash or a path")]
    Path,
    /// The host or port is invalid.
    #[error("its host or port is not valid")]
    Host,
    /// The star is in the wrong place.
    #[error("a star stands for whole labels in front of a name: https://*.example.com")]
    Star,
}

impl Origins {
    /// From the entries of a route.
    #[must_use]
    pub fn new(listed: Vec<Listed>) -> Self {
        Self(listed)
    }

    /// Whether a client with these `Origin` headers may connect to this host and port.
    ///
    /// Native clients may send none. Most of those that send one use the URL's own, as a web page
    /// of the same host does.
    pub fn allow<'a>(
        &self,
        mut sent: impl Iterator<Item = &'a [u8]>,
        host: &str,
        security: Security,
    ) -> bool {
        let Some(origin) = sent.next() else {
            return true;
        };
        if self.0.contains(&Listed::Any) {
            return true;
        }
        // Several origins, or an invalid one, count as a foreign origin.
        let parsed = std::str::from_utf8(origin).map(str::parse::<Origin>);
        let (Ok(Ok(origin)), None) = (parsed, sent.next()) else {
            return false;
        };
        origin.is_of(host, security) || self.0.iter().any(|listed| listed.matches(&origin))
    }
}

impl Listed {
    fn matches(&self, origin: &Origin) -> bool {
        match (self, origin) {
            (Self::Any, _) => true,
            (Self::Exactly(listed), _) => listed == origin,
            (
                Self::Below(Origin::Tuple { scheme, host, port }),
                Origin::Tuple {
                    scheme: other_scheme,
                    host: other_host,
                    port: other_port,
                },
            ) => {
                let prefix = other_host.strip_suffix(host.as_str());
                let is_below =
                    prefix.is_some_and(|prefix| prefix.len() > 1 && prefix.ends_with('.'));
                is_below && scheme == other_scheme && port == other_port
            }
            (Self::Below(_), _) => false,
        }
    }
}

impl std::str::FromStr for Listed {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let Some((scheme, parent)) = text.split_once("://*.") else {
            return text.parse().map(Self::Exactly);
        };
        let parent: Origin = format!("{scheme}://{parent}").parse()?;
        match &parent {
            // An address has no hosts below it.
            Origin::Tuple { host, .. } if !host.is_empty() && !is_address(host) => {
                Ok(Self::Below(parent))
            }
            _ => Err(OriginError::Star),
        }
    }
}

impl Origin {
    /// Whether this is the origin of this host and port. With TLS the scheme is known. Without, a
    /// proxy in front of the listener may use TLS, so both schemes match, each with its default
    /// port.
    fn is_of(&self, host: &str, security: Security) -> bool {
        let Self::Tuple { scheme, .. } = self else {
            return false;
        };
        match (security, scheme.as_str()) {
            (Security::Tls | Security::Plain, "https") | (Security::Plain, "http") => {}
            _ => return false,
        }
        format!("{scheme}://{host}").parse::<Self>().as_ref() == Ok(self)
    }
}

impl std::str::FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.eq_ignore_ascii_case("null") {
            return Ok(Self::Null);
        }
        if !text.is_ascii() {
            return Err(OriginError::NotAscii);
        }
        let (scheme, authority) = text.split_once("://").ok_or(OriginError::Scheme)?;
        if !is_scheme(scheme) {
            return Err(OriginError::Scheme);
        }
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(OriginError::Path);
        }
        if authority.contains('*') {
            return Err(OriginError::Star);
        }
        // A URL parser would tolerate these; an origin never has them.
        let forgiven = |c: char| !c.is_ascii_graphic() || matches!(c, '@' | '%');
        if authority.contains(forgiven) {
            return Err(OriginError::Host);
        }
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ws" => "http".to_owned(),
            "wss" => "https".to_owned(),
            other => other.to_owned(),
        };
        if !matches!(scheme.as_str(), "http" | "https") {
            return match authority {
                "" if scheme != "file" => Err(OriginError::Host),
                _ => Ok(Self::Tuple {
                    scheme,
                    host: authority.to_ascii_lowercase(),
                    port: None,
                }),
            };
        }
        let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|_| OriginError::Host)?;
        let port = url.port_or_known_default();
        match url.host_str() {
            Some(host) if port != Some(0) => Ok(Self::Tuple {
                scheme,
                host: host.to_owned(),
                port,
            }),
            _ => Err(OriginError::Host),
        }
    }
}

/// Whether a text is a scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    let is_one_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_one_of_it)
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests;
