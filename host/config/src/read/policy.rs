//! `[policies.NAME]`

use std::collections::BTreeMap;
use std::time::Duration;

use toml_span::value::{Key, Value, ValueInner};

use super::names::Sections;
use super::quantity::Zero;
use super::references::References;
use super::section::Section;
use super::{Reader, Spanned};
use base::diagnostics::Place;
use policy::OnFailure;
use policy::settings::Quarantine;
use policy::settings::{Component, Grant, Pin, Policy, Wasi};

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
    /// Reads the policies, and the references in the configurations of built-in ones.
    pub(super) fn policies(
        &mut self,
        sections: Sections<'_>,
    ) -> (BTreeMap<String, Policy>, Vec<References>) {
        let mut policies = BTreeMap::new();
        let mut references = Vec::new();
        for (name, section) in sections {
            if let Some((policy, refers)) = self.policy(section) {
                policies.insert(name, policy);
                references.push(refers);
            }
        }
        (policies, references)
    }

    fn policy(&mut self, mut section: Section<'_>) -> Option<(Policy, References)> {
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
        let (config, config_places, references) =
            self.policy_config(&mut section, component.as_ref());
        section.finish(self);
        let policy = Policy {
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
        };
        Some((policy, references))
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

    fn policy_config(
        &mut self,
        section: &mut Section<'_>,
        component: Option<&Component>,
    ) -> (
        BTreeMap<String, serde_json::Value>,
        BTreeMap<String, Place>,
        References,
    ) {
        let policy = section.name.clone();
        let mut references = References::new(policy);
        let title = format!("[policies.{}.config]", section.name);
        let Some(config) = section.section(self, "config", "", &title) else {
            return (BTreeMap::new(), BTreeMap::new(), references);
        };
        let table = config.into_table();
        if let Some(Component::Builtin(name)) = component {
            references.collect(self, name, &table);
        }
        let places = table
            .keys()
            .map(|Key { name, span }| (name.to_string(), self.place(*span)))
            .collect();
        let json = table
            .into_iter()
            .map(|(Key { name, .. }, value)| (name.into_owned(), self.json(value)))
            .collect();
        (json, places, references)
    }

    fn json(&mut self, mut value: Value<'_>) -> serde_json::Value {
        let place = self.place(value.span);
        match value.take() {
            ValueInner::String(text) => text.into_owned().into(),
            ValueInner::Integer(number) => number.into(),
            ValueInner::Float(number) => self.json_number(&place, number),
            ValueInner::Boolean(truth) => truth.into(),
            ValueInner::Array(entries) => {
                entries.into_iter().map(|entry| self.json(entry)).collect()
            }
            ValueInner::Table(table) => {
                let entries = table
                    .into_iter()
                    .map(|(key, value)| (key.name.into_owned(), self.json(value)));
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
