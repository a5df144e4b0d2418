//! `[policies.NAME]`

use std::time::Duration;

use super::Reader;
use crate::toml::{JsonTable, Section, Spanned, Zero};
use policy::OnFailure;
use policy::settings::Quarantine;
use policy::settings::{Grant, Pin, Policy, Wasi};
use policy::signature::Signatures;

const GRANTS: [(&str, Grant); 9] = [
    ("jwt", Grant::Jwt),
    ("sessions", Grant::Sessions),
    ("counters", Grant::Counters),
    ("payload", Grant::Payload),
    ("lists", Grant::Lists),
    ("destinations", Grant::Destinations),
    ("notice", Grant::Notice),
    ("metrics", Grant::Metrics),
    ("credentials", Grant::Credentials),
];

const WASI: [(&str, Wasi); 2] = [("none", Wasi::None), ("stub", Wasi::Stub)];

const ON_FAILURE: [(&str, OnFailure); 2] =
    [("closed", OnFailure::Closed), ("open", OnFailure::Open)];

impl Reader<'_> {
    pub(super) fn policy(&mut self, mut section: Section<'_>) -> Option<Policy> {
        let place = section.place.clone();
        let grants_place = section.place_of("grants");
        let config_place = section.place_of("config");
        let help = "write `component = \"builtin:auth\"`, the path of a .wasm file, or oci://…";
        let component = section.required("component", help);
        let component_place = component.as_ref().map(|text| text.place.clone());
        let component = component.and_then(|text| self.component(&text));
        let sha256 = section.text("sha256");
        let sha256 = sha256.and_then(|pin| self.pin(pin));
        let trial = self.trial(&mut section);
        let grants = section.choices("grants", &GRANTS).into_iter();
        let grants: Vec<Grant> = grants.map(|grant| grant.value).collect();
        let destinations_place = section.place_of("destinations");
        let destinations = section.distinct("destinations");
        let wasi = section.choice("wasi", &WASI);
        let on_failure = section.choice("on_failure", &ON_FAILURE);
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
        let after_place = section.place_of("quarantine_after");
        let quarantine = Quarantine {
            after: section.count("quarantine_after", 10, Zero::Refused),
            lasts: section.duration("quarantine", Duration::from_secs(10), Zero::Allowed),
        };
        self.check_quarantine(&after_place, &quarantine);
        let limits = self.policy_limits(&mut section);
        let JsonTable {
            values: config,
            keys: config_places,
            places: value_places,
        } = Self::policy_config(&mut section);
        let secrets = self.config_secrets(&mut section, &config_places);
        let tenants = self.tenants(&mut section, &secrets);
        section.finish();
        Some(Policy {
            component: component?,
            sha256,
            // Once all of them are read.
            signatures: Signatures::NotAsked,
            trial,
            grants,
            destinations: destinations.into_iter().map(|name| name.value).collect(),
            wasi: wasi.map_or(Wasi::None, |choice| choice.value),
            on_failure: on_failure.map_or(OnFailure::Closed, |choice| choice.value),
            quarantine,
            limits,
            config,
            secrets,
            tenants,
            component_place: component_place.unwrap_or_else(|| place.clone()),
            place,
            grants_place,
            destinations_place,
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
}
