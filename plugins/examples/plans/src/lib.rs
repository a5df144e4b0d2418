//! Lets in the tenants whose plan has streams, and ends the streams of those who are blocked.
//!
//! Plans and blocked tenants are lists of the operator, which change while the gateway runs. So a
//! tenant that is blocked now loses the streams that began before.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use sluice_policy::{
    Config, ConfigError, Connection, Decision, Lifecycle, OnConnect, OnFrames, Rejection, Window,
    lists, references,
};

const PLANS: &str = "name the map with the tenants' plans: a section [lists.NAME]";
const BLOCKED: &str = "name the list of tenants that are blocked: a section [lists.NAME]";
const ALLOWED: &str = "list the plans that have streams";

struct Plans;

/// What the operator has configured.
struct Rule {
    plans: String,
    blocked: String,
    allowed: Vec<String>,
}

impl Rule {
    fn from_config(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            plans: config.require("plans", PLANS)?,
            blocked: config.require("blocked", BLOCKED)?,
            allowed: config.require("allowed", ALLOWED)?,
        })
    }

    fn refuse_blocked(&self, tenant: &str) -> Decision {
        if lists::contains(&self.blocked, tenant)? {
            let blocked = Rejection::new("tenant_blocked", "this tenant is blocked");
            return Err(blocked.close_code(4131));
        }
        Ok(())
    }
}

impl OnConnect for Plans {
    fn decide(connection: &Connection) -> Decision {
        let rule = Rule::from_config(&Config::host())?;
        let tenant = tenant(connection);
        rule.refuse_blocked(&tenant)?;
        let plan = lists::get(&rule.plans, &tenant)?;
        match plan {
            Some(plan) if rule.allowed.contains(&plan) => {
                connection.set_attribute("plan", &plan);
                Ok(())
            }
            _ => Err(Rejection::new("plan_too_small", "this plan has no streams").close_code(4130)),
        }
    }
}

impl OnFrames for Plans {
    fn decide(connection: &Connection, _: &Window) -> Decision {
        Rule::from_config(&Config::host())?.refuse_blocked(&tenant(connection))
    }
}

impl Lifecycle for Plans {
    fn validate_config() -> Result<(), ConfigError> {
        let rule = Rule::from_config(&Config::host())?;
        references::list("/plans", &rule.plans);
        references::list("/blocked", &rule.blocked);
        references::leaves("plan");
        Ok(())
    }
}

sluice_policy::export!(Plans: on_connect, on_frames, lifecycle);

fn tenant(connection: &Connection) -> String {
    connection.attribute("auth.tenant_id").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sluice_policy::testing::{Mock, Sent};
    use sluice_policy::{Decision, Lifecycle as _, OnConnect, OnFrames};

    use super::Plans;

    fn mock() -> Mock {
        let mock = Mock::new("plans");
        mock.config("plans", "\"plans\"")
            .config("blocked", "\"blocked\"")
            .config("allowed", r#"["gold"]"#)
            .map("plans", &[("acme", "gold"), ("globex", "free")])
            .list("blocked", &[])
            .attribute("auth.tenant_id", "acme");
        mock
    }

    fn connect(mock: &Mock) -> Decision {
        <Plans as OnConnect>::decide(&mock.connection())
    }

    #[test]
    fn only_a_plan_with_streams_gets_in() {
        let mock = mock();
        assert_eq!(connect(&mock), Ok(()));
        assert_eq!(
            mock.connection().attribute("plans.plan").as_deref(),
            Some("gold")
        );
        for tenant in ["globex", "initech"] {
            mock.attribute("auth.tenant_id", tenant);
            let refused = connect(&mock).unwrap_err();
            assert_eq!(refused.code(), "plan_too_small", "{tenant}");
        }
    }

    #[test]
    fn who_is_blocked_loses_what_streams_already() {
        let mock = mock();
        let window = Sent::audio(1_000, 32_000);
        let decide = || <Plans as OnFrames>::decide(&mock.connection(), &window.window());
        assert_eq!(decide(), Ok(()));
        mock.list("blocked", &["acme"]);
        assert_eq!(decide().unwrap_err().code(), "tenant_blocked");
    }

    #[test]
    fn the_gateway_is_told_of_the_lists() {
        let mock = mock();
        assert_eq!(Plans::validate_config(), Ok(()));
        assert_eq!(
            mock.references(),
            ["list /plans plans", "list /blocked blocked", "leaves plan"]
        );
    }
}
