//! `component` of a policy, and `registry_credentials`.

use super::Reader;
use crate::settings::BUILTINS;
use crate::toml::{Section, Spanned, nearest};
use base::files::text;
use policy::fetch::credentials::Credentials;
use policy::fetch::credentials::Unusable;
use policy::fetch::reference::Reference;
use policy::fetch::reference::is_host_name;
use policy::settings::Component;

/// Maximum number of entries of one file with a warning each.
const MOST_WARNINGS: usize = 10;

impl Reader<'_> {
    pub(super) fn component(&mut self, text: &Spanned<String>) -> Option<Component> {
        if let Some(name) = text.value.strip_prefix("builtin:") {
            return self.builtin(name, text);
        }
        if let Some(reference) = Reference::parse(&text.value) {
            return match reference {
                Ok(reference) => Some(Component::Oci(reference)),
                Err(error) => {
                    self.error(&text.place, error.to_string(), error.help());
                    None
                }
            };
        }
        if text.value.contains("://") {
            let message =
                "a component comes from a file or an OCI registry, and not by this protocol";
            let help = "write oci://HOST/REPOSITORY@sha256:DIGEST, or the path of a .wasm file";
            self.error(&text.place, message, help).label("unknown");
            return None;
        }
        let path = self.file(&text.value);
        if path.is_file() {
            return Some(Component::File(path));
        }
        let message = format!("there is no component at {}", path.display());
        let help = if BUILTINS.contains(&text.value.as_str()) {
            format!("did you mean \"builtin:{}\"?", text.value)
        } else {
            "correct the path of the .wasm file; it is relative to this configuration file"
                .to_owned()
        };
        self.error(&text.place, message, help).label("no such file");
        None
    }

    fn builtin(&mut self, name: &str, text: &Spanned<String>) -> Option<Component> {
        if BUILTINS.contains(&name) {
            return Some(Component::Builtin(name.to_owned()));
        }
        let all = BUILTINS
            .map(|name| format!("\"builtin:{name}\""))
            .join(", ");
        let help = match nearest(name, BUILTINS) {
            Some(near) => format!("did you mean \"builtin:{near}\"?"),
            None => format!("there are {all}; for a component of your own write its path"),
        };
        let message = format!("there is no built-in policy \"{name}\"");
        self.error(&text.place, message, help).label("unknown");
        None
    }

    pub(super) fn credentials(&mut self, file: &Spanned<String>) -> Option<Credentials> {
        let (path, bytes) = self.read_file(&file.value);
        let read = bytes
            .map_err(|error| error.to_string())
            .and_then(|bytes| text::decode(bytes).map_err(|error| error.to_string()))
            .and_then(|json| Credentials::parse(&json).map_err(|error| error.to_string()));
        match read {
            Ok((credentials, unusable)) => {
                for Unusable { host, why } in unusable.into_iter().take(MOST_WARNINGS) {
                    let message = format!("no credentials for {host}: {why}");
                    let help = "write {\"auth\": \"BASE64 OF user:password\"} there, if components \
                                come from that registry";
                    self.warning(&file.place, message, help);
                }
                Some(credentials)
            }
            Err(problem) => {
                let message = format!(
                    "`registry_credentials` cannot be used: {}: {problem}",
                    path.display()
                );
                let help = "name a file as `docker login` writes it, with the credentials themselves: \
                            {\"auths\": {\"HOST\": {\"auth\": \"BASE64 OF user:password\"}}}; programs \
                            that keep them (credsStore, credHelpers) are not asked";
                self.error(&file.place, message, help)
                    .label("no credentials");
                None
            }
        }
    }

    /// Reads `registry_realms`: hosts, as they are written in an address.
    pub(super) fn realms(&mut self, root: &mut Section<'_>) -> Vec<String> {
        let mut realms = Vec::new();
        for realm in root.distinct("registry_realms") {
            if is_host_name(&realm.value) {
                realms.push(realm.value);
            } else {
                let message = format!("\"{}\" is not a host", realm.value);
                let help = "write the name alone, without https:// and without a port: \
                            \"auth.example.com\"";
                self.error(&realm.place, message, help).label("no host");
            }
        }
        realms
    }
}
