//! OCI registry: Docker's own, as a process on loopback. Components are pushed to it over HTTP.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::Done;
use crate::output::Output;
use crate::tls::Authority;
use crate::{DEADLINE, command, token};

/// User of a guarded registry.
pub const USER: &str = "ada";
/// Password of that user, which must never be in an output.
pub const PASSWORD: &str = "open sesame";
/// bcrypt of [`PASSWORD`].
const HTPASSWD: &str = "ada:$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n";

/// Media type of a layer that is a component.
pub const WASM: &str = "application/wasm";

/// Authentication of a registry.
pub enum Guard<'a> {
    /// None.
    Open,
    /// User name and password.
    Password,
    /// A token that this issuer gives for user name and password.
    Token(&'a Issuer),
}

/// Running registry. Dropping it kills the process.
pub struct Registry {
    child: Child,
    address: SocketAddr,
    authorization: Option<String>,
    storage: PathBuf,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry over HTTP.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(guard: &Guard<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = folder.path().join("storage");
        Self::launch(folder, storage, guard, &json!({}))
    }

    /// Starts a second registry with the same content over HTTPS.
    ///
    /// # Panics
    /// If it does not start.
    pub fn over_tls(&self, authority: &Authority) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tls = json!({"certificate": authority.certificate(), "key": authority.key()});
        Self::launch(folder, self.storage.clone(), &Guard::Open, &tls)
    }

    fn launch(folder: TempDir, storage: PathBuf, guard: &Guard<'_>, tls: &Value) -> Self {
        let passwords = folder.path().join("htpasswd");
        std::fs::write(&passwords, HTPASSWD).expect("a file");
        let mut config = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": storage}},
            "http": {"addr": "127.0.0.1:0", "tls": tls},
        });
        let authorization = match guard {
            Guard::Open => None,
            Guard::Password => {
                config["auth"] = json!({"htpasswd": {"realm": "registry", "path": passwords}});
                let login = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
                Some(format!("Basic {login}"))
            }
            Guard::Token(issuer) => {
                config["auth"] = json!({"token": {
                    "realm": format!("http://{}/token", issuer.address),
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": issuer.authority.ca(),
                }});
                Some(format!(
                    "Bearer {}",
                    issuer.token("policies/mine", "pull,push")
                ))
            }
        };
        // JSON is valid YAML.
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config.to_string()).expect("a file");
        let program = command::root().join("tests/.registry/docker-registry");
        let mut serve = Command::new(&program);
        serve.arg("serve").arg(file).stdin(Stdio::null());
        serve.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = serve
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", program.display()));
        let output = Output::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        let mut registry = Self {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            authorization,
            storage,
            _folder: folder,
        };
        let address = output.find("the registry listens", |line| {
            let (_, rest) = line.split_once("listening on ")?;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')));
            rest[..end.unwrap_or(rest.len())].parse().ok()
        });
        registry.address = address.unwrap_or_else(|| panic!("no registry:\n{}", output.text()));
        registry
    }

    /// Address of its listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Pushes a component, and returns the digest of its manifest.
    ///
    /// # Panics
    /// If the registry does not take it.
    pub fn push(&self, component: &[u8]) -> String {
        self.push_as(component, WASM)
    }

    /// Pushes a component whose layer has another media type.
    ///
    /// # Panics
    /// As [`Registry::push`].
    pub fn push_as(&self, layer: &[u8], media_type: &str) -> String {
        let config = br#"{"architecture":"wasm","os":"wasip2","layerDigests":[]}"#;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.blob(config, "application/vnd.wasm.config.v0+json"),
            "layers": [self.blob(layer, media_type)],
        });
        let manifest = manifest.to_string();
        let url = "/v2/policies/mine/manifests/latest";
        let headers = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
        let (status, _) = self.request(&format!("PUT {url}"), headers, manifest.as_bytes());
        assert_eq!(status, 201, "the manifest is not taken");
        hex(manifest.as_bytes())
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = format!("sha256:{}", hex(bytes));
        let (status, head) = self.request("POST /v2/policies/mine/blobs/uploads/", "", b"");
        assert_eq!(status, 202, "{head:?}");
        let location = &head["location"];
        let path = &location[location.find("/v2/").expect("a path")..];
        let url = format!("PUT {path}&digest={digest}");
        let headers = "Content-Type: application/octet-stream\r\n";
        let (status, head) = self.request(&url, headers, bytes);
        assert_eq!(status, 201, "{head:?}");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn request(&self, line: &str, headers: &str, body: &[u8]) -> (u16, BTreeMap<String, String>) {
        let mut stream = TcpStream::connect(self.address).expect("the registry listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let authorization = self.authorization.as_ref();
        let authorization =
            authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\
             {authorization}{headers}\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let mut lines = answer.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines
            .map_while(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        (status.expect("a status"), headers.collect())
    }

    /// File of a blob, for faults that no client can cause.
    pub fn file(&self, bytes: &[u8]) -> PathBuf {
        let digest = hex(bytes);
        let blobs = self.storage.join("docker/registry/v2/blobs/sha256");
        blobs.join(&digest[..2]).join(digest).join("data")
    }

    /// Kills the registry.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file with credentials for a registry, as `docker login` does.
///
/// # Panics
/// If it cannot be written.
pub fn credentials(file: &Path, registry: SocketAddr, password: &str) {
    let auth = BASE64_STANDARD.encode(format!("{USER}:{password}"));
    let json = json!({"auths": {registry.to_string(): {"auth": auth}}});
    std::fs::write(file, json.to_string()).expect("a file");
}

/// Value of the line with which `sluice policy push` pins what it has pushed.
///
/// # Panics
/// If it has failed.
pub fn pinned(done: &Done) -> String {
    assert_eq!(done.status, Some(0), "{done:?}");
    let mut lines = done.stdout.lines();
    let pinned = lines.find_map(|line| line.strip_prefix("component = \"")?.strip_suffix('"'));
    pinned.expect("a line to copy").to_owned()
}

/// SHA-256 in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

const SERVICE: &str = "registry for tests";
const ISSUER: &str = "issuer for tests";

/// Issuer that gives tokens for [`PASSWORD`], as those of public registries do.
pub struct Issuer {
    address: SocketAddr,
    authority: Authority,
}

impl Issuer {
    /// Starts an issuer, which runs as long as the tests.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn start() -> &'static Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let issuer: &'static Self = Box::leak(Box::new(Self {
            address: listener.local_addr().expect("an address"),
            authority: Authority::new(),
        }));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that has hung up does not matter.
                drop(stream.and_then(|stream| issuer.answer(stream)));
            }
        });
        issuer
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        let login = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let known = head.contains(&format!("authorization: Basic {login}\r\n"));
        let asks = |actions: &&str| {
            let scope = format!("scope=repository%3Apolicies%2Fmine%3A{actions}&");
            head.starts_with(&format!("GET /token?{scope}"))
        };
        let asked = ["pull", "pull%2Cpush"].into_iter().find(asks);
        let asked = asked.filter(|_| head.contains("service=registry+for+tests"));
        let (status, body) = match (known, asked) {
            (true, Some(actions)) => {
                let token = self.token("policies/mine", &actions.replace("%2C", ","));
                ("200 OK", json!({"token": token}))
            }
            (false, _) => ("401 Unauthorized", json!({"details": "who are you?"})),
            (true, None) => ("400 Bad Request", json!({"details": head})),
        };
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    fn token(&self, repository: &str, actions: &str) -> String {
        let certificate = CertificateDer::from_pem_file(self.authority.certificate());
        let mut header = Header::new(Algorithm::ES256);
        header.x5c = Some(vec![
            BASE64_STANDARD.encode(certificate.expect("a certificate")),
        ]);
        let key = std::fs::read(self.authority.key()).expect("a key");
        let key = EncodingKey::from_ec_pem(&key).expect("a key");
        let actions: Vec<&str> = actions.split(',').collect();
        let claims = json!({
            "iss": ISSUER, "aud": SERVICE, "sub": USER, "jti": "1",
            "iat": token::now() - 10, "nbf": token::now() - 10, "exp": token::now() + 300,
            "access": [{"type": "repository", "name": repository, "actions": actions}],
        });
        jsonwebtoken::encode(&header, &claims, &key).expect("a token")
    }
}
