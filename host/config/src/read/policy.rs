//! `[policies.NAME]`

use std::collections::BTreeMap;
use std::time::Duration;

use toml_span::value::{Key, Value, ValueInner};

use super::quantity::Zero;
use super::section::Section;
use super::{Reader, Spanned};
use base::diagnostics::Place;
use policy::OnFailure;
use policy::settings::Quarantine;
use policy::settings::{Grant, Pin, Policy, Wasi};

const GRANTS: [(&str, Grant); 5] = [
    ("jwt", Grant::Jwt),
    ("sessions", Grant::Sessions),
    ("counters", Grant::Counters),
    ("payload", Grant::Payload),
    ("credentials", Grant::Credentials),
];

const WASI: [(&str, Wasi); 2] = [("none", Wasi::None), ("stub", Wasi::Stub)];

const ON_FAILURE: [(&str, OnFailure); 2] =
    [("closed", OnFailure::Closed), ("open", OnFailure::Open)];

impl Reader<'_> {
    pub(super) fn policy(&mut self, mut section: Section<'_>) -> Option<Policy> {
        let place = section.place.clone();
        let grants_place = section.place_of(self, "grants");
        let config_place = section.place_of(self, "config");
        let help = "write `component = \"builtin:auth\"`, the path of a .wasm file, or oci://…";
        let component = section.required(self, "component", help);
        let component_place = component.as_ref().map(|text| text.place.clone());
        let component = component.and_then(|text| self.component(&text));
        let sha256 = section.text(self, "sha256");
        let sha256 = sha256.and_then(|pin| self.pin(pin));
        let trial = self.trial(&mut section);
        let grants: Vec<Grant> = section
            .distinct(self, "grants")
            .into_iter()
            .filter_map(|name| self.choose("grants", name, &GRANTS))
            .map(|grant| grant.value)
            .collect();
        let wasi = section.choice(self, "wasi", &WASI);
        let on_failure = section.choice(self, "on_failure", &ON_FAILURE);
        if let Some(Spanned {
            value: OnFailure::Open,
            place,
        }) = &on_failure
            && grants.contains(&Grant::Jwt)
        {
            let message = format!("{} verifies tokens, so it cannot fail open", section.title);
            let help = "write \"closed\", or leave `on_failure` out: \
                        if it failed, nobody would need a token";
            self.error(place, message, help)
                .label("lets everybody in")
                .also(&grants_place, "`jwt` is granted here");
        }
        let after_place = section.place_of(self, "quarantine_after");
        let quarantine = Quarantine {
            after: section.count(self, "quarantine_after", 10, Zero::Refused),
            lasts: section.duration(self, "quarantine", Duration::from_secs(10), Zero::Allowed),
        };
        self.check_quarantine(&after_place, &quarantine);
        let limits = self.policy_limits(&mut section);
        let PolicyConfig {
            json: config,
            keys: config_places,
            values: value_places,
        } = self.policy_config(&mut section);
        section.finish(self);
        Some(Policy {
            component: component?,
            sha256,
            trial,
            grants,
            wasi: wasi.map_or(Wasi::None, |choice| choice.value),
            on_failure: on_failure.map_or(OnFailure::Closed, |choice| choice.value),
            quarantine,
            limits,
            config,
            component_place: component_place.unwrap_or_else(|| place.clone()),
            place,
            grants_place,
            config_place,
            config_places,
            value_places,
        })
    }

    fn pin(&mut self, text: Spanned<String>) -> Option<Pin> {
        let Spanned { value, place } = text;
        let digest = value.trim_start_matches("sha256:").to_ascii_lowercase();
        if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(Pin { digest, place });
        }
        let message = format!("`sha256` is not a SHA-256 digest: \"{value}\"");
        let help = "write the 64 hexadecimal digits that `sha256sum FILE.wasm` prints";
        self.error(&place, message, help).label("not 64 digits");
        None
    }

    fn policy_config(&mut self, section: &mut Section<'_>) -> PolicyConfig {
        let mut read = PolicyConfig::default();
        let title = format!("[policies.{}.config]", section.name);
        let Some(config) = section.section(self, "config", "", &title) else {
            return read;
        };
        for (Key { name, span }, value) in config.into_table() {
            let place = self.place(span);
            let pointer = step("", &name);
            let json = self.json(value, &place, &pointer, &mut read.values);
            read.json.insert(name.to_string(), json);
            read.keys.insert(name.into_owned(), place);
        }
        read
    }

    /// A value as JSON. Its place, and those of what is in it, go to `places`.
    fn json(
        &mut self,
        mut value: Value<'_>,
        key: &Place,
        pointer: &str,
        places: &mut BTreeMap<String, Place>,
    ) -> serde_json::Value {
        let place = self.place(value.span);
        let value = value.take();
        // A table reaches over many lines.
        let shown = match value {
            ValueInner::Table(_) => key,
            _ => &place,
        };
        places.insert(pointer.to_owned(), shown.clone());
        match value {
            ValueInner::String(text) => text.into_owned().into(),
            ValueInner::Integer(number) => number.into(),
            ValueInner::Float(number) => self.json_number(&place, number),
            ValueInner::Boolean(truth) => truth.into(),
            ValueInner::Array(entries) => {
                let entries = entries.into_iter().enumerate();
                let entries = entries.map(|(index, entry)| {
                    let (place, pointer) =
                        (self.place(entry.span), step(pointer, &index.to_string()));
                    self.json(entry, &place, &pointer, places)
                });
                entries.collect()
            }
            ValueInner::Table(table) => {
                let entries = table.into_iter().map(|(key, value)| {
                    let (place, pointer) = (self.place(key.span), step(pointer, &key.name));
                    let value = self.json(value, &place, &pointer, places);
                    (key.name.into_owned(), value)
                });
                serde_json::Value::Object(entries.collect())
            }
        }
    }

    fn json_number(&mut self, place: &Place, number: f64) -> serde_json::Value {
        serde_json::Number::from_f64(number).map_or_else(
            || {
                let message = format!("{number} cannot be given to a policy");
                let help =
                    "policies get their configuration as JSON, which has finite numbers only";
                self.error(place, message, help);
                serde_json::Value::Null
            },
            serde_json::Value::Number,
        )
    }
}

/// `[policies.NAME.config]`
#[derive(Default)]
struct PolicyConfig {
    json: BTreeMap<String, serde_json::Value>,
    /// Where the keys stand.
    keys: BTreeMap<String, Place>,
    /// Where the values stand, by JSON pointer.
    values: BTreeMap<String, Place>,
}

/// A JSON pointer (RFC 6901), one step further.
fn step(pointer: &str, to: &str) -> String {
    let to = to.replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{to}")
}
