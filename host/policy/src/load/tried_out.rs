//! Trying a policy out with the configuration that it has for all, and for each tenant.

use crate::component::ComponentPolicy;
use crate::references::References;
use crate::settings;
use base::diagnostics::{Diagnostics, Place};
use base::text;

/// What the policy declared, if it accepts all of its configurations. Mistakes go to `diagnostics`.
pub(super) async fn accepted(
    built: &ComponentPolicy,
    name: &str,
    policy: &settings::Policy,
    diagnostics: &mut Diagnostics,
) -> Option<References> {
    let mut references: Option<References> = None;
    let mut accepts_all = true;
    let tenants = policy.tenants.overlays.keys().map(Some);
    for tenant in [None].into_iter().chain(tenants) {
        let tried = match tenant {
            None => built.try_out().await,
            Some(tenant) => built.try_out_for(tenant).await,
        };
        let tenant = tenant.map(String::as_str);
        let of = tenant.map_or_else(String::new, |tenant| {
            format!(" for the tenant \"{}\"", text::clean(tenant, 128))
        });
        match tried {
            Ok(Ok(declared)) => match (&mut references, tenant) {
                (Some(references), Some(tenant)) => references.append(tenant, declared),
                (Some(_), None) | (None, _) => references = Some(declared),
            },
            Ok(Err(complaint)) => {
                let section = match tenant {
                    None => "config".to_owned(),
                    Some(tenant) => format!("tenants.{}", text::toml_key(tenant)),
                };
                diagnostics.error(
                    complained_about(policy, tenant, &complaint),
                    format!(
                        "policy \"{name}\" does not accept its configuration{of}: {}",
                        text::clean(&complaint, 1024)
                    ),
                    format!("correct [policies.{name}.{section}]"),
                );
                accepts_all = false;
            }
            Err(failure) => {
                let overlay = tenant.and_then(|tenant| policy.tenants.overlays.get(tenant));
                diagnostics.error(
                    overlay.map_or(&policy.component_place, |overlay| &overlay.place),
                    format!("policy \"{name}\" {failure} when it was tried out{of}"),
                    "its author needs to know; if it ran into a limit, raise that in its section; \
                     if types do not match, build it against the wit/policy.wit of this release",
                );
                accepts_all = false;
            }
        }
        // What does not even start, or dislikes what all tenants have, says the same for each.
        if !accepts_all && tenant.is_none() {
            return None;
        }
    }
    references.filter(|_| accepts_all)
}

/// Where that stands which a policy dislikes: what it says of a key begins with
/// the key in backticks.
fn complained_about<'a>(
    policy: &'a settings::Policy,
    tenant: Option<&str>,
    complaint: &str,
) -> &'a Place {
    let overlay = tenant.and_then(|tenant| policy.tenants.overlays.get(tenant));
    let key = complaint
        .strip_prefix('`')
        .and_then(|rest| rest.split_once('`'))
        .map(|(key, _)| key);
    let own = |key: &str| {
        let places = overlay.map(|overlay| &overlay.config_places);
        let place = places.and_then(|places| places.get(key));
        let secret = policy.secrets.get(key).map(|secret| &secret.place);
        place.or_else(|| policy.config_places.get(key)).or(secret)
    };
    key.and_then(own)
        .or(overlay.map(|overlay| &overlay.place))
        .unwrap_or(&policy.config_place)
}
