//! A component in an OCI registry: `oci://HOST[:PORT]/REPOSITORY[:TAG]@sha256:DIGEST`.
//!
//! The digest is that of the manifest, which names the component by its own.
//! It is not left out, because a tag means today what it did not mean
//! yesterday; beside a digest, a tag is for readers. `oci+http://` speaks
//! plain HTTP, and does so only with this machine.

use std::fmt;
use std::net::IpAddr;

/// The longest name of a repository that registries take.
const LONGEST_REPOSITORY: usize = 255;
/// The longest tag (OCI distribution specification, "Pulling manifests").
const LONGEST_TAG: usize = 128;

/// Reference to a component in an OCI registry: `oci://HOST[:PORT]/REPOSITORY[:TAG]@sha256:DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// How the registry is spoken to.
    pub scheme: Scheme,
    /// The registry: a name or an address, with its port where it has one.
    pub host: String,
    /// The repository in it.
    pub repository: String,
    /// Of the manifest: SHA-256 in hexadecimal, lower case.
    pub digest: String,
}

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTPS.
    Tls,
    /// HTTP, within this machine.
    Plain,
}

/// Why a text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A tag alone may be moved by whoever can push.
    #[error("a component from a registry needs the digest of its manifest")]
    NoDigest,
    /// It is of another kind, or cut.
    #[error("the digest behind the @ is not sha256: and 64 hexadecimal digits")]
    Digest,
    /// Configurations are shown to many.
    #[error("credentials do not belong into a component's address")]
    Credentials,
    /// There is no host, or it is none.
    #[error("there is no registry's host in the component's address")]
    Host,
    /// The name of the repository is missing or misspelt.
    #[error("the repository in the component's address is not one")]
    Repository,
    /// The tag is misspelt.
    #[error("the tag in the component's address is not one")]
    Tag,
    /// What is sent could be read, and changed, on the way.
    #[error("plain HTTP is spoken only with a registry on this machine")]
    Plain,
    /// It is no address.
    #[error("a component is pushed to an address that begins with oci://")]
    NoAddress,
    /// What is pushed has the digest that its content gives it.
    #[error("a component is pushed to a repository, and not to a digest")]
    Pinned,
}

/// Place to which a component is pushed: `oci://HOST[:PORT]/REPOSITORY[:TAG]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// How the registry is spoken to.
    pub scheme: Scheme,
    /// The registry: a name or an address, with its port where it has one.
    pub host: String,
    /// The repository in it.
    pub repository: String,
    /// The tag that the component gets. A registry may remove what has none.
    pub tag: Option<String>,
}

impl Destination {
    /// Reads a destination.
    ///
    /// # Errors
    /// [`ReferenceError`]
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (scheme, rest) = scheme(text).ok_or(ReferenceError::NoAddress)?;
        Self::of(scheme, rest)
    }

    /// The component with this manifest there.
    #[must_use]
    pub fn reference(&self, digest: String) -> Reference {
        Reference {
            scheme: self.scheme,
            host: self.host.clone(),
            repository: self.repository.clone(),
            digest,
        }
    }

    fn of(scheme: Scheme, rest: &str) -> Result<Self, ReferenceError> {
        let (host, name) = rest.split_once('/').ok_or(ReferenceError::Host)?;
        if host.contains('@') {
            return Err(ReferenceError::Credentials);
        }
        if name.contains('@') {
            return Err(ReferenceError::Pinned);
        }
        let (repository, tag) = match name.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (name, None),
        };
        if !is_repository(repository) {
            return Err(ReferenceError::Repository);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag);
        }
        let name = host_name(host).ok_or(ReferenceError::Host)?;
        if scheme == Scheme::Plain && !is_this_machine(name) {
            return Err(ReferenceError::Plain);
        }
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
        })
    }
}

/// As it is written in a configuration, but for the digest.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            host,
            repository,
            tag,
        } = self;
        let scheme = match scheme {
            Scheme::Tls => "oci",
            Scheme::Plain => "oci+http",
        };
        write!(f, "{scheme}://{host}/{repository}")?;
        tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

fn scheme(text: &str) -> Option<(Scheme, &str)> {
    let tls = text.strip_prefix("oci://").map(|rest| (Scheme::Tls, rest));
    let plain = || {
        let rest = text.strip_prefix("oci+http://")?;
        Some((Scheme::Plain, rest))
    };
    tls.or_else(plain)
}

impl Reference {
    /// Reads a reference; `None` for a text that does not look like one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, ReferenceError>> {
        let (scheme, rest) = scheme(text)?;
        Some(Self::of(scheme, rest))
    }

    /// The host without its port; an IPv6 address in its brackets.
    #[must_use]
    pub(crate) fn host_name(&self) -> &str {
        // It was one when the reference was read.
        host_name(&self.host).unwrap_or(&self.host)
    }

    fn of(scheme: Scheme, rest: &str) -> Result<Self, ReferenceError> {
        let (host, path) = rest.split_once('/').ok_or(ReferenceError::Host)?;
        if host.contains('@') {
            return Err(ReferenceError::Credentials);
        }
        let (name, digest) = path.split_once('@').ok_or(ReferenceError::NoDigest)?;
        let digest = digest
            .strip_prefix("sha256:")
            .filter(|digest| {
                let hexadecimal = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                digest.len() == 64 && digest.bytes().all(hexadecimal)
            })
            .ok_or(ReferenceError::Digest)?;
        let place = Destination::of(scheme, &format!("{host}/{name}"))?;
        Ok(place.reference(digest.to_owned()))
    }
}

/// Without the scheme and the tag, which say nothing of what it is.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme: _,
            host,
            repository,
            digest,
        } = self;
        write!(f, "{host}/{repository}@sha256:{digest}")
    }
}

impl ReferenceError {
    /// What to do about it.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::NoDigest | Self::Digest => {
                "write oci://HOST/REPOSITORY@sha256:DIGEST; the digest is what pushing the component \
                 printed, and what `docker buildx imagetools inspect` and `oras resolve` print for a tag"
            }
            Self::Credentials => {
                "write them into a file, as `docker login` does, and name it with `registry_credentials`; \
                 the ones that stood here are to be changed"
            }
            Self::Host => {
                "write oci://HOST/REPOSITORY@sha256:DIGEST, with the registry's name or address"
            }
            Self::Repository => {
                "a repository is lowercase letters and digits, with single dots, underscores or hyphens \
                 between them and slashes between its parts"
            }
            Self::Tag => {
                "a tag is up to 128 letters, digits, dots, underscores and hyphens; beside a digest it \
                 may be left out"
            }
            Self::NoAddress => "write oci://HOST/REPOSITORY:TAG",
            Self::Pinned => "leave out what follows the @: the digest is printed once it is pushed",
            Self::Plain => {
                "write oci:// for HTTPS; oci+http:// is for 127.0.0.1, [::1] and localhost"
            }
        }
    }
}

/// The host without its port, if both are what they should be.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return None;
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let fine = match address_in_brackets(name) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(letter),
    };
    fine.then_some(name)
}

/// Whether a text is a host's name or address alone.
pub fn is_host_name(text: &str) -> bool {
    host_name(text) == Some(text)
}

fn address_in_brackets(name: &str) -> Option<&str> {
    name.strip_prefix('[')?.strip_suffix(']')
}

/// Whether a host, without its port, is this machine.
pub(crate) fn is_this_machine(name: &str) -> bool {
    let address = address_in_brackets(name).unwrap_or(name);
    address.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let letter =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        end(part.chars().next())
            && end(part.chars().next_back())
            && part.chars().all(letter)
            && !part.contains("..")
    };
    name.len() <= LONGEST_REPOSITORY && name.split('/').all(part)
}

fn is_tag(tag: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    tag.len() <= LONGEST_TAG
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn parsed(start: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(&format!("{start}@sha256:{DIGEST}")).expect("it looks like one")
    }

    #[test]
    fn a_reference_says_host_repository_and_digest_and_a_tag_is_for_readers() {
        for (text, scheme, host, repository) in [
            (
                "oci://registry.example.com/a",
                Scheme::Tls,
                "registry.example.com",
                "a",
            ),
            (
                "oci://Reg.io:5000/team/my-policy:1.0",
                Scheme::Tls,
                "reg.io:5000",
                "team/my-policy",
            ),
            (
                "oci+http://127.0.0.1:5000/a_b/c.d",
                Scheme::Plain,
                "127.0.0.1:5000",
                "a_b/c.d",
            ),
            ("oci+http://[::1]:5000/a", Scheme::Plain, "[::1]:5000", "a"),
            ("oci+http://localhost/a:_x", Scheme::Plain, "localhost", "a"),
            ("oci://[2001:db8::1]/a", Scheme::Tls, "[2001:db8::1]", "a"),
        ] {
            let reference = parsed(text).unwrap();
            assert_eq!(
                reference,
                Reference {
                    scheme,
                    host: host.to_owned(),
                    repository: repository.to_owned(),
                    digest: DIGEST.to_owned()
                }
            );
            assert_eq!(
                reference.to_string(),
                format!("{host}/{repository}@sha256:{DIGEST}")
            );
        }
        assert_eq!(Reference::parse("policies/mine.wasm"), None);
        assert_eq!(Reference::parse("builtin:auth"), None);
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        for (text, error) in [
            ("oci://a", ReferenceError::Host),
            ("oci:///a", ReferenceError::Host),
            ("oci://a b/c", ReferenceError::Host),
            ("oci://a:0/c", ReferenceError::Host),
            ("oci://a:70000/c", ReferenceError::Host),
            ("oci://[::1/c", ReferenceError::Host),
            ("oci://user:pass@a/c", ReferenceError::Credentials),
            ("oci://a/", ReferenceError::Repository),
            ("oci://a/B", ReferenceError::Repository),
            ("oci://a/b//c", ReferenceError::Repository),
            ("oci://a/../c", ReferenceError::Repository),
            ("oci://a/b?c", ReferenceError::Repository),
            ("oci://a/b:", ReferenceError::Tag),
            ("oci://a/b:1:2", ReferenceError::Tag),
            ("oci+http://registry.example.com/a", ReferenceError::Plain),
            ("oci+http://10.0.0.1:5000/a", ReferenceError::Plain),
            ("oci+http://localhost.example.com/a", ReferenceError::Plain),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
        for (text, error) in [
            ("oci://a/b", ReferenceError::NoDigest),
            ("oci://a/b:latest", ReferenceError::NoDigest),
            ("oci://a/b@", ReferenceError::Digest),
            ("oci://a/b@sha256:abc", ReferenceError::Digest),
            ("oci://a/b@sha512:abc", ReferenceError::Digest),
            ("oci://user:pass@a/b", ReferenceError::Credentials),
        ] {
            assert_eq!(Reference::parse(text), Some(Err(error)), "{text}");
        }
        let upper = format!("oci://a/b@sha256:{}", DIGEST.to_ascii_uppercase());
        assert_eq!(Reference::parse(&upper), Some(Err(ReferenceError::Digest)));
    }
}
