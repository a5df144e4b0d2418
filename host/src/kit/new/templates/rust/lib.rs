//! Lets in the tenants that the operator lists.

use sluice_policy::{Config, ConfigError, Connection, Decision, Lifecycle, OnConnect, Rejection};

struct Policy;

impl OnConnect for Policy {
    fn decide(connection: &Connection) -> Decision {
        let tenant = connection.attribute("auth.tenant_id");
        admit(tenant.as_deref(), &tenants(&Config::host())?)
    }
}

// Asked when the policy is loaded: a mistake in the configuration shows there.
impl Lifecycle for Policy {
    fn validate_config() -> Result<(), ConfigError> {
        tenants(&Config::host()).map(drop)
    }
}

sluice_policy::export!(Policy: on_connect, lifecycle);

fn tenants(config: &Config) -> Result<Vec<String>, ConfigError> {
    config.require("tenants", "list the tenants to let in")
}

fn admit(tenant: Option<&str>, tenants: &[String]) -> Decision {
    match tenant {
        Some(tenant) if tenants.iter().any(|listed| listed == tenant) => Ok(()),
        _ => Err(Rejection::new("tenant_unknown", "this tenant has no access").close_code(4100)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listed_tenant_gets_in() {
        let tenants = tenants(&Config::fixed(&[("tenants", r#"["acme"]"#)])).unwrap();
        assert_eq!(admit(Some("acme"), &tenants), Ok(()));
        assert_eq!(admit(Some("other"), &tenants).unwrap_err().code(), "tenant_unknown");
        assert!(admit(None, &tenants).is_err());
    }
}
