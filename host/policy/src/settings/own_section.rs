//! A policy's own section: values that nobody may see, and values for one tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::diagnostics::Place;
use base::secret::Secret;

/// Place of the value at a JSON pointer, or of what it is in.
pub(super) fn nearest<'a>(places: &'a BTreeMap<String, Place>, pointer: &str) -> Option<&'a Place> {
    let mut pointer = pointer;
    loop {
        if let Some(place) = places.get(pointer) {
            return Some(place);
        }
        pointer = pointer.rsplit_once('/')?.0;
    }
}

/// A value of a policy's section that comes from a file or the environment.
#[derive(Debug, Clone)]
pub struct ConfigSecret {
    /// The value, or why there is none.
    pub value: Result<Secret, String>,
    /// Where it comes from, as reports call it.
    pub source: String,
    /// Where that stands in the file.
    pub place: Place,
}

/// What a policy's section has for some tenants in place of what it has for all.
#[derive(Clone, Default)]
pub struct Tenants {
    /// The values, by tenant.
    pub overlays: BTreeMap<String, Overlay>,
    /// The policies that know which tenant a connection has, by their names.
    pub identified_by: Arc<[String]>,
}

/// `[policies.NAME.tenants.TENANT]`: values for one tenant.
#[derive(Clone)]
pub struct Overlay {
    /// The values, given as JSON.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Where the section stands in the file.
    pub place: Place,
    /// Where its keys stand.
    pub config_places: BTreeMap<String, Place>,
    /// Where its values stand, as in [`Policy::value_places`](super::Policy::value_places).
    pub value_places: BTreeMap<String, Place>,
}
