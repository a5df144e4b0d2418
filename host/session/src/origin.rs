//! Origins of web pages (RFC 6454), and which of them may connect.
//!
//! A browser says on whose behalf it connects, and cannot be made to lie; any other client says
//! what it likes. So this keeps out foreign web pages that ride on a user's browser, and nobody
//! else.

use url::Url;

/// Which web pages may connect to a route, beside those of its own host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<Listed>);

/// An entry of a route's `origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// `*`: any origin, and what is none.
    Any,
    /// This one.
    Exactly(Origin),
    /// `https://*.example.com`: every host below this one, and not itself.
    Below(Origin),
}

/// Whether the listener that a client came to speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// It does.
    Tls,
    /// It does not. A proxy before it may.
    Plain,
}

/// An origin in the form in which it is compared: `https` and `wss` are the same, hosts are in
/// lower case and ASCII, and there is always a port where the scheme has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `null`: a page whose origin nobody may know.
    Null,
    /// A scheme, host and port (section 4).
    Tuple {
        /// In lower case.
        scheme: String,
        /// In lower case; empty for files.
        host: String,
        /// Absent where the scheme has no default.
        port: Option<u16>,
    },
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No `://` behind the name of a scheme.
    #[error("it has no scheme, such as https://")]
    Scheme,
    /// Other characters than ASCII's.
    #[error("it is not ASCII: browsers send the punycode form, xn--…")]
    NotAscii,
    /// Something behind the host and port.
    #[error("an origin ends with its host or port, without a slash or a path")]
    Path,
    /// Something that is no host, or no port.
    #[error("its host or port is not valid")]
    Host,
    /// A star somewhere else.
    #[error("a star stands for whole labels in front of a name: https://*.example.com")]
    Star,
}

impl Origins {
    /// Of the entries of a route.
    #[must_use]
    pub fn new(listed: Vec<Listed>) -> Self {
        Self(listed)
    }

    /// Whether a client may connect that sent these `Origin` headers, to ask for this host and
    /// port.
    ///
    /// Native clients need not send one. Those that do mostly send the URL's own: so does a web
    /// page of the same host, which is the same origin.
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
        // Several of them, or what is none, is nobody's origin.
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
            // An address has nothing below it.
            Origin::Tuple { host, .. } if !host.is_empty() && !is_address(host) => {
                Ok(Self::Below(parent))
            }
            _ => Err(OriginError::Star),
        }
    }
}

impl Origin {
    /// Whether this is the origin of that host and port. A listener with TLS knows the scheme; one
    /// without may have a proxy before it that speaks TLS, so that both schemes are its own there,
    /// each with its default port.
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
        // What a URL would forgive, an origin does not have.
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

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    let is_one_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_one_of_it)
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests;
