//! What an operator gives a policy, and its component does not import.

use super::{Needed, grant_needed};
use crate::settings;
use crate::settings::{Grant, Wasi};
use base::diagnostics::Diagnostics;

/// Reports as warnings what is given to no purpose.
pub(super) fn report(
    name: &str,
    policy: &settings::Policy,
    imports: &[String],
    diagnostics: &mut Diagnostics,
) {
    let needed: Vec<Needed> = imports.iter().map(|import| grant_needed(import)).collect();
    for grant in &policy.grants {
        let word = grant.name();
        // Credentials are part of what every policy may import.
        if *grant == Grant::Credentials || needed.contains(&Needed::Grant(*grant)) {
            continue;
        }
        let message = format!(
            "policy \"{name}\" is granted `{word}`, and its component does not import sluice:policy/{word}"
        );
        let help = match grant {
            Grant::Jwt => {
                "leave it out: what the policy says of a user is believed because of it, and it \
                 verifies no token"
            }
            _ => "leave it out of `grants`",
        };
        diagnostics
            .warning(&policy.grants_place, message, help)
            .label("no effect");
    }
    if policy.wasi == Wasi::Stub && !needed.contains(&Needed::Wasi) {
        let message = format!(
            "`wasi = \"stub\"` of policy \"{name}\" has no effect: its component imports nothing of WASI"
        );
        diagnostics.warning(&policy.place, message, "leave it out");
    }
}
