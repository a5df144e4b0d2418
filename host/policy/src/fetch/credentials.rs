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
use serde::de::IgnoredAny;
use serde_json::Value;

use base::secret::Secret;
use base::text::clean;

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
    #[error("it has no name and password{}", of(hosts))]
    Nobody {
        /// Those that it names.
        hosts: Vec<Unusable>,
    },
}

/// An entry for a registry that says nothing about who the gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// As the file calls it.
    pub host: String,
    /// What is wrong with it.
    pub why: &'static str,
}

fn of(hosts: &[Unusable]) -> String {
    let hosts = hosts.iter().take(10);
    let said: Vec<String> = hosts
        .map(|Unusable { host, why }| format!(": {host}, {why}"))
        .collect();
    said.concat()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Value>,
    #[serde(default)]
    creds_store: Option<IgnoredAny>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    /// A token of an identity provider, which is exchanged and not sent.
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Credentials {
    /// Reads the content of such a file. An entry that cannot be used is passed over: the file is
    /// `docker`'s, and names registries that are none of the gateway's business.
    ///
    /// # Errors
    /// [`CredentialsError`] where not one can be used.
    pub fn parse(json: &str) -> Result<(Self, Vec<Unusable>), CredentialsError> {
        // The parser's own words quote what it stumbled over.
        let file: File = serde_json::from_str(json).map_err(|error| CredentialsError::Shape {
            line: error.line(),
            column: error.column(),
        })?;
        let elsewhere = file.creds_store.is_some();
        let mut logins = BTreeMap::new();
        let mut unusable = Vec::new();
        for (name, entry) in file.auths {
            let login = serde_json::from_value::<Entry>(entry)
                .map_err(|_| "its entry is not one that `docker login` writes")
                .and_then(|entry| entry.login(elsewhere));
            match login {
                Ok(login) => drop(logins.insert(host(&name).to_ascii_lowercase(), login)),
                Err(why) => unusable.push(Unusable {
                    host: clean(&name, 100),
                    why,
                }),
            }
        }
        for name in file.cred_helpers.into_keys() {
            if !logins.contains_key(&host(&name).to_ascii_lowercase()) {
                unusable.push(Unusable {
                    host: clean(&name, 100),
                    why: "a program keeps its password (credHelpers), which is not asked",
                });
            }
        }
        if logins.is_empty() {
            return Err(CredentialsError::Nobody { hosts: unusable });
        }
        Ok((Self(logins), unusable))
    }

    /// The login for a registry.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<&Login> {
        self.0.get(host)
    }
}

impl Entry {
    /// Who the gateway is, or why it is not known.
    fn login(self, elsewhere: bool) -> Result<Login, &'static str> {
        let given = |token: &Option<String>| token.as_ref().is_some_and(|token| !token.is_empty());
        if given(&self.identitytoken) || given(&self.registrytoken) {
            return Err(
                "it has a token of `docker login` in place of a password, which is not used",
            );
        }
        let (user, password) = match (self.auth, self.username, self.password) {
            (Some(auth), ..) if !auth.is_empty() => {
                let decoded = STANDARD.decode(auth.trim()).ok();
                let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                let decoded = decoded.ok_or("its `auth` is not Base64 of user:password")?;
                let (user, password) = decoded
                    .split_once(':')
                    .ok_or("its `auth` is not Base64 of user:password")?;
                (user.to_owned(), password.to_owned())
            }
            (_, Some(user), Some(password)) => (user, password),
            _ if elsewhere => {
                return Err("a program keeps its password (credsStore), which is not asked");
            }
            _ => return Err("its entry is empty"),
        };
        // Some versions of docker end it so.
        let password = password.trim_end_matches('\0');
        let password = Secret::new(password);
        Ok(Login { user, password })
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
        let json = r#"{
            "auths": {
                "registry.example.com": {"auth": "dXNlcjpwYTpzcw=="},
                "https://Old.example.com/v1/": {"username": "u", "password": "p"},
                "127.0.0.1:5000": {"auth": "dXNlcjo="}
            },
            "HttpHeaders": {}
        }"#;
        let (credentials, unusable) = Credentials::parse(json).unwrap();
        assert_eq!(unusable, []);
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
    fn an_entry_that_cannot_be_used_hides_no_other() {
        let json = r#"{
            "auths": {
                "good.example.com": {"auth": "dXNlcjpwYXNz"},
                "empty.example.com": {},
                "broken.example.com": {"auth": "hush"},
                "wrong.example.com": "hush",
                "number.example.com": {"auth": 123456},
                "token.example.com": {"auth": "dXNlcjo=", "identitytoken": "hush"}
            },
            "credsStore": "desktop",
            "credHelpers": {"good.example.com": "x", "gcr.io": "gcloud"}
        }"#;
        let (credentials, unusable) = Credentials::parse(json).unwrap();
        assert_eq!(credentials.of("good.example.com").unwrap().user, "user");
        let said: Vec<String> = unusable
            .iter()
            .map(|Unusable { host, why }| format!("{host}: {why}"))
            .collect();
        let said = said.join("\n");
        for part in [
            "empty.example.com: a program keeps its password (credsStore)",
            "broken.example.com: its `auth` is not Base64",
            "wrong.example.com: its entry is not one",
            "number.example.com: its entry is not one",
            "token.example.com: it has a token",
            "gcr.io: a program keeps its password (credHelpers)",
        ] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        assert_eq!(unusable.len(), 6, "{said}");
        assert!(!said.contains("hush") && !said.contains("123456"), "{said}");
    }

    #[test]
    fn a_file_without_a_login_is_told_from_one_that_is_damaged() {
        for (json, said) in [
            (r#"{"auths": "hush"}"#, "line 1, column 16"),
            ("hush", "line 1, column 1"),
            ("{}", "it has no name and password"),
            (
                r#"{"auths": {"a": {}}, "credsStore": "x"}"#,
                "a, a program keeps",
            ),
            (r#"{"credHelpers": {"a": "x"}}"#, "a, a program keeps"),
            (
                r#"{"auths": {"a": {"auth": "hush"}}}"#,
                "a, its `auth` is not",
            ),
            (
                r#"{"auths": {"a": {"username": "hush"}}}"#,
                "a, its entry is empty",
            ),
        ] {
            let error = Credentials::parse(json).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
