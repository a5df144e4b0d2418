//! Who the gateway is to registries: the file that `docker login` and `oras
//! login` write, as far as it holds the credentials itself.
//!
//! ```json
//! {"auths": {"registry.example.com": {"auth": "BASE64 OF user:password"}}}
//! ```

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Secret;

/// Logins by the registry's host, with its port where it has one.
#[derive(Debug, Clone, Default)]
pub struct Credentials(BTreeMap<String, Login>);

/// A name and a password.
#[derive(Debug, Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password, or whatever token stands in its place.
    pub password: Secret,
}

/// Why a file holds no credentials. Nothing that it holds is quoted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// It is not JSON of that shape.
    #[error("not {{\"auths\": {{…}}}} in JSON: line {line}, column {column}")]
    Shape {
        /// Where it stops to be that.
        line: usize,
        /// The same.
        column: usize,
    },
    /// They are somewhere else, or damaged.
    #[error("no name and password for {host}")]
    NoLogin {
        /// As the file calls it.
        host: String,
    },
}

#[derive(Deserialize)]
struct File {
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads the content of such a file.
    ///
    /// # Errors
    /// [`CredentialsError`]
    pub fn parse(json: &[u8]) -> Result<Self, CredentialsError> {
        // The parser's own words quote what it stumbled over.
        let file: File = serde_json::from_slice(json).map_err(|error| CredentialsError::Shape {
            line: error.line(),
            column: error.column(),
        })?;
        let logins = file.auths.into_iter().map(|(name, entry)| {
            let login = entry.login();
            let login = login.ok_or_else(|| CredentialsError::NoLogin { host: name.clone() })?;
            Ok((host(&name).to_ascii_lowercase(), login))
        });
        logins.collect::<Result<_, _>>().map(Self)
    }

    /// The login for a registry.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<&Login> {
        self.0.get(host)
    }
}

impl Entry {
    fn login(self) -> Option<Login> {
        let (user, password) = match (self.auth, self.username, self.password) {
            (Some(auth), ..) if !auth.is_empty() => {
                let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
                let (user, password) = decoded.split_once(':')?;
                (user.to_owned(), password.to_owned())
            }
            (_, Some(user), Some(password)) => (user, password),
            _ => return None,
        };
        let password = Secret::new(password);
        Some(Login { user, password })
    }
}

/// Old entries are addresses: `https://registry.example.com/v1/`.
fn host(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    name.split('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_found_by_its_host_however_it_is_written() {
        let json = br#"{
            "auths": {
                "registry.example.com": {"auth": "dXNlcjpwYTpzcw=="},
                "https://Old.example.com/v1/": {"username": "u", "password": "p"},
                "127.0.0.1:5000": {"auth": "dXNlcjo="}
            },
            "HttpHeaders": {}
        }"#;
        let credentials = Credentials::parse(json).unwrap();
        for (host, user, password) in [
            ("registry.example.com", "user", "pa:ss"),
            ("old.example.com", "u", "p"),
            ("127.0.0.1:5000", "user", ""),
        ] {
            let login = credentials.of(host).unwrap();
            assert_eq!(login.user, user);
            assert_eq!(login.password.expose(), password.as_bytes());
        }
        assert!(credentials.of("registry.example.com:443").is_none());
        assert!(!format!("{credentials:?}").contains("pa:ss"));
    }

    #[test]
    fn what_is_wrong_is_said_without_a_word_of_the_file() {
        for (json, said) in [
            (r#"{"auths": {"a": {"auth": 123456}}}"#, "line 1, column 31"),
            (r#"{"auths": "hush"}"#, "line 1, column 16"),
            ("hush", "line 1, column 1"),
            (r#"{"auths": {"a": {}}, "credsStore": "x"}"#, "for a"),
            (r#"{"auths": {"a": {"auth": "hush"}}}"#, "for a"),
            (r#"{"auths": {"a": {"username": "hush"}}}"#, "for a"),
        ] {
            let error = Credentials::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(
                !error.contains("hush") && !error.contains("123456"),
                "{error}"
            );
        }
    }
}
