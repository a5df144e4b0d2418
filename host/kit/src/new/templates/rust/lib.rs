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
    use sluice_policy::testing::Mock;

    use super::*;

    // The gateway that the policy asks is made up here; `sluice policy test` tries it in the real one.
    #[test]
    fn only_a_listed_tenant_gets_in() {
        let mock = Mock::new("{{name}}");
        mock.config("tenants", r#"["acme"]"#);
        assert!(Policy::decide(&mock.connection()).is_err());
        mock.attribute("auth.tenant_id", "acme");
        assert_eq!(Policy::decide(&mock.connection()), Ok(()));
        mock.attribute("auth.tenant_id", "other");
        assert_eq!(Policy::decide(&mock.connection()).unwrap_err().code(), "tenant_unknown");
    }

    #[test]
    fn a_configuration_that_lists_nobody_is_a_mistake() {
        let _mock = Mock::new("{{name}}");
        assert!(Policy::validate_config().is_err());
    }
}
