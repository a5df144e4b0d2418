//! A policy's own section: `[policies.NAME.config]`, its values from files and the environment, and
//! `[policies.NAME.tenants.TENANT]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Reader;
use crate::toml::{JsonTable, Section, Spanned};
use base::diagnostics::Place;
use base::files::text::{self, TextError};
use base::secret::Secret;
use policy::own_secrets::{LONGEST, LONGEST_OF_ALL, SHORTEST};
use policy::settings::{ConfigSecret, Overlay, Policy, Tenants, identifies};

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Source {
    File,
    Variable,
}

impl Source {
    const fn option(self) -> &'static str {
        match self {
            Self::File => "config_files",
            Self::Variable => "config_env",
        }
    }
}

impl Reader<'_> {
    /// Reads `config`.
    pub(super) fn policy_config(section: &mut Section<'_>) -> JsonTable {
        let title = format!("[policies.{}.config]", section.name);
        let config = section.section("config", "", &title);
        config.map_or_else(JsonTable::default, Section::into_json)
    }

    /// Reads `config_files` and `config_env`: values that are never shown. `written` are those of
    /// `config`.
    pub(super) fn config_secrets(
        &mut self,
        section: &mut Section<'_>,
        written: &BTreeMap<String, Place>,
    ) -> BTreeMap<String, ConfigSecret> {
        let mut secrets = BTreeMap::<String, ConfigSecret>::new();
        let mut together = 0;
        for source in [Source::File, Source::Variable] {
            let option = source.option();
            let title = format!("[policies.{}.{option}]", section.name);
            for (key, named) in section.places_by_name(option, &title) {
                let other = secrets.get(&key).map(|secret| &secret.place);
                if let Some(other) = other.or_else(|| written.get(&key)) {
                    let message = format!("`{key}` has two sources");
                    self.error(&named.place, message, "keep one of the two")
                        .label("the second source")
                        .also(other, "the first one");
                    continue;
                }
                let secret = self.config_secret(source, named);
                if let Ok(value) = &secret.value {
                    together += value.expose().len();
                    if together > LONGEST_OF_ALL {
                        let message =
                            "config_files and config_env have values of more than 16 KiB together";
                        let help = "give the policy less of what nobody may see";
                        self.error(&secret.place, message, help)
                            .label("too much with this one");
                    }
                }
                secrets.insert(key, secret);
            }
        }
        secrets
    }

    /// A value that cannot be had is reported when the policy is loaded: whoever tests a policy may
    /// give it another one.
    fn config_secret(&mut self, source: Source, named: Spanned<String>) -> ConfigSecret {
        let Spanned { value: name, place } = named;
        let (source, bytes) = match source {
            Source::File => {
                let (file, bytes) = self.read_file(&name);
                let file = format!("the file {}", file.display());
                (
                    file,
                    bytes.map_err(|error| TextError::from(error).to_string()),
                )
            }
            Source::Variable => {
                let value = (self.origin.environment)(&name);
                let value = value.map(std::ffi::OsString::into_encoded_bytes);
                let source = format!("the environment variable {name}");
                (source, value.ok_or_else(|| "it is not set".to_owned()))
            }
        };
        ConfigSecret {
            value: bytes.and_then(usable),
            source,
            place,
        }
    }

    /// Reads `tenants`: values of `config` for one tenant. None may take the place of one of
    /// `secrets`, because it would be shown.
    pub(super) fn tenants(
        &mut self,
        section: &mut Section<'_>,
        secrets: &BTreeMap<String, ConfigSecret>,
    ) -> Tenants {
        let title = format!("[policies.{}.tenants]", section.name);
        let tenants = section.section("tenants", "", &title);
        let tenants = tenants.map(Section::into_sections).unwrap_or_default();
        let overlay = |(tenant, section): (String, Section<'_>)| {
            let place = section.place.clone();
            let title = section.title.clone();
            let JsonTable {
                values,
                keys,
                places,
            } = section.into_json();
            for (key, place) in &keys {
                if let Some(secret) = secrets.get(key) {
                    let message = format!(
                        "`{key}` is an option that nobody may see, and {title} has it in plain text"
                    );
                    let help = "remove it here, or give the option in plain text for all";
                    self.error(place, message, help)
                        .label("in plain text")
                        .also(&secret.place, "the value that is never shown");
                }
            }
            let overlay = Overlay {
                config: values,
                place,
                config_places: keys,
                value_places: places,
            };
            (tenant, overlay)
        };
        Tenants {
            overlays: tenants.into_iter().map(overlay).collect(),
            // Once all policies are read.
            identified_by: Arc::default(),
        }
    }
}

/// Tells the policies that have values for tenants who knows which tenant a connection has.
pub(super) fn identify_tenants(policies: &mut BTreeMap<String, Policy>) {
    let names = policies.iter().filter(|(name, policy)| {
        let own_name = policy.speaks_as(name) == name.as_str();
        own_name && identifies(policies, name)
    });
    let identified_by: Arc<[String]> = names.map(|(name, _)| name.clone()).collect();
    for policy in policies.values_mut() {
        if !policy.tenants.overlays.is_empty() {
            policy.tenants.identified_by = Arc::clone(&identified_by);
        }
    }
}

/// The value that these bytes are, without white space around it. An error quotes none of it.
fn usable(bytes: Vec<u8>) -> Result<Secret, String> {
    let text = text::decode(bytes).map_err(|error| error.to_string())?;
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() < SHORTEST {
        return Err(format!(
            "it has fewer than {SHORTEST} bytes, so that it could be guessed"
        ));
    }
    if text.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    Ok(Secret::new(text))
}
