//! Hostile guests, each in a file of `guests/hostile`.
//!
//! A file says what is wrong with the guest, which hook it has, and what must happen to it. The
//! rest are the fields of its core module, which is wrapped in the component of `guests/hook.wat`.
//! A file without a hook is used as it is, as a component or an invalid one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::Config;

const WRAPPER: &str = include_str!("../guests/hook.wat");

const ANOTHER: &str = r#"
  (func $connect (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "connect") (memory $memory)))
  (instance $asked (export "decide" (func $connect)))
  (export "sluice:policy/on-connect@0.1.0" (instance $asked))"#;

/// Hostile guest, with the expected result.
#[derive(Debug)]
pub struct Hostile {
    /// Name of its file, its policy and its route.
    pub name: String,
    /// Hook of the guest.
    pub hook: Option<Hook>,
    /// Expected result.
    pub expect: Expect,
    /// Options of its policy's section.
    settings: Vec<(String, Value)>,
    directives: BTreeMap<String, String>,
    text: String,
}

/// Hook of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `on-connect`
    Connect,
    /// `on-handshake`
    Handshake,
    /// `on-frames`
    Frames,
    /// `on-close`
    Close,
    /// `lifecycle`
    Lifecycle,
}

/// Expected result of a hostile guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It does no harm, and admits its client.
    Admits,
    /// It fails, and the log says this.
    Fails(String),
    /// Its client is refused with this close code and code.
    Refuses(u16, String),
    /// The gateway does not start with it, and says this.
    DoesNotLoad(String),
}

/// All hostile guests.
///
/// # Panics
/// If a file is not as it should be.
pub fn all() -> Vec<Hostile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/hostile");
    let files = std::fs::read_dir(folder).expect("the folder of hostile guests");
    let mut all: Vec<_> = files
        .map(|file| Hostile::read(&file.expect("a file").path()))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

impl Hostile {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("a file of text");
        let name = file.file_stem().and_then(|name| name.to_str());
        let directives: BTreeMap<_, _> = text
            .lines()
            .filter_map(|line| line.strip_prefix(";; ")?.split_once(": "))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let settings = text
            .lines()
            .filter_map(|line| line.strip_prefix(";; set: ")?.split_once(" = "))
            .map(|(key, value)| {
                let value = value.parse().unwrap_or_else(|_| json!(value));
                (key.to_owned(), value)
            })
            .collect();
        Self {
            name: name.expect("a name").to_owned(),
            hook: directives.get("hook").map(|hook| Hook::of(hook)),
            expect: Expect::of(&directives["expect"]),
            settings,
            directives,
            text,
        }
    }

    /// Writes its component to a folder.
    ///
    /// # Panics
    /// If the component cannot be written.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(&self.name).with_extension("wasm");
        std::fs::write(&path, self.component()).expect("a file");
        if let Some(length) = self.directives.get("length") {
            let file = std::fs::File::options().write(true).open(&path);
            let length = length.parse().expect("a length");
            file.and_then(|file| file.set_len(length)).expect("a file");
        }
        path
    }

    fn component(&self) -> Vec<u8> {
        if let Some(bytes) = self.directives.get("bytes") {
            return bytes.clone().into_bytes();
        }
        let text = match self.hook {
            None => self.text.clone(),
            Some(hook) => self.wrapped(hook),
        };
        wat::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn wrapped(&self, hook: Hook) -> String {
        let (interface, function, signature) = hook.wit();
        let mut fields = self.text.clone();
        if !fields.contains("(export \"realloc\")") {
            fields +=
                "(func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (unreachable))";
        }
        let post_return = if fields.contains("(export \"post-return\")") {
            "(post-return (core func $core \"post-return\"))"
        } else {
            ""
        };
        // A policy with only a validation has no route.
        let another = if hook == Hook::Lifecycle {
            fields += "(func (export \"connect\") (param i32) (result i32) (unreachable))";
            ANOTHER
        } else {
            ""
        };
        let realloc = self.directives.get("host-realloc");
        let instances = self.directives.get("instances");
        let instances = instances.map_or(0, |number| number.parse().expect("a number"));
        WRAPPER
            .replace("GUEST", &fields)
            .replace(
                "HOST_REALLOC",
                realloc.map_or("(unreachable)", String::as_str),
            )
            .replace(
                "INSTANCES",
                &"(core instance (instantiate $empty))".repeat(instances),
            )
            .replace("ANOTHER", another)
            .replace("POST_RETURN", post_return)
            .replace("SIGNATURE", signature)
            .replace("FUNCTION", function)
            .replace("INTERFACE", interface)
    }

    /// Adds its policy, and a route `/NAME` with it.
    #[must_use]
    pub fn serve(&self, config: Config, component: &Path) -> Config {
        let policy = format!("policies.{}", self.name);
        let route = format!("routes.{}", self.name);
        let chain = match self.hook {
            None | Some(Hook::Connect | Hook::Lifecycle) => "on_connect",
            Some(Hook::Handshake) => "on_handshake",
            Some(Hook::Frames) => "on_frames",
            Some(Hook::Close) => "on_close",
        };
        let handshake = match self.hook {
            Some(Hook::Handshake) => "ingest.v1",
            _ => "none",
        };
        let own = self.settings.iter();
        own.fold(config, |config, (key, value)| {
            config.set(&policy, key, value.clone())
        })
        .set(&policy, "component", json!(component))
        .set(&policy, "grants", json!(["counters"]))
        .set(&policy, "max_counters", json!(10))
        .set(&route, "paths", json!([format!("/{}", self.name)]))
        .set(&route, "handshake", json!(handshake))
        .set(&route, chain, json!([self.name]))
        .set(&route, "frames_window", json!("100ms"))
        .set(&route, "upstream", json!("mirror"))
    }
}

impl Hook {
    fn of(name: &str) -> Self {
        match name {
            "on-connect" => Self::Connect,
            "on-handshake" => Self::Handshake,
            "on-frames" => Self::Frames,
            "on-close" => Self::Close,
            "lifecycle" => Self::Lifecycle,
            other => panic!("{other} is no hook"),
        }
    }

    /// Interface and function of the hook, and the function's type.
    fn wit(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Connect => (
                "on-connect",
                "decide",
                r#"(param "c" (borrow $facts)) (result $decision)"#,
            ),
            Self::Handshake => (
                "on-handshake",
                "decide",
                r#"(param "c" (borrow $facts)) (param "handshake" string) (result $decision)"#,
            ),
            Self::Frames => (
                "on-frames",
                "decide",
                r#"(param "c" (borrow $facts)) (param "w" (borrow $window)) (result $decision)"#,
            ),
            Self::Close => (
                "on-close",
                "closed",
                r#"(param "c" (borrow $facts)) (param "e" (borrow $ending))"#,
            ),
            Self::Lifecycle => (
                "lifecycle",
                "validate-config",
                "(result (result (error string)))",
            ),
        }
    }
}

impl Expect {
    fn of(text: &str) -> Self {
        if text == "admits" {
            return Self::Admits;
        }
        if let Some(said) = text.strip_prefix("fails ") {
            return Self::Fails(said.to_owned());
        }
        if let Some(said) = text.strip_prefix("does not load: ") {
            return Self::DoesNotLoad(said.to_owned());
        }
        let refusal = text
            .strip_prefix("refuses ")
            .and_then(|text| text.split_once(' '));
        let (code, word) = refusal.unwrap_or_else(|| panic!("{text} cannot be expected"));
        Self::Refuses(code.parse().expect("a close code"), word.to_owned())
    }
}
