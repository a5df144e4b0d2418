//! Lets in the users who may stream, as a service of the operator says.
//!
//! The policy has no network. It says whom the service is to be asked about, the gateway asks, and
//! the decision gets the answer.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use serde::Deserialize;
use sluice_policy::destinations::{self, Request};
use sluice_policy::{
    Config, ConfigError, Connection, Decision, Handshake, Lifecycle, OnConnect, Prepare, Rejection,
    references,
};

const SERVICE: &str = "name the service that knows who may stream: a section [destinations.NAME]";

struct Entitlements;

/// What the service says of a user.
#[derive(Deserialize)]
struct Entitlement {
    stream: bool,
    plan: Option<String>,
}

fn service() -> Result<String, ConfigError> {
    Config::host().require("service", SERVICE)
}

fn user(connection: &Connection) -> String {
    connection.attribute("auth.user_id").unwrap_or_default()
}

impl Prepare for Entitlements {
    fn requests(connection: &Connection, _: Option<&Handshake>) -> Vec<Request> {
        // Without the option the configuration was refused when it was loaded.
        let service = service().unwrap_or_default();
        vec![Request::to(&service).param("user", &user(connection))]
    }
}

impl OnConnect for Entitlements {
    fn decide(connection: &Connection) -> Decision {
        let answer = destinations::answer(0)?;
        if answer.status() == 200 {
            let entitlement: Entitlement = answer.parse()?;
            if entitlement.stream {
                if let Some(plan) = entitlement.plan {
                    connection.set_attribute("plan", &plan);
                }
                return Ok(());
            }
        }
        Err(Rejection::new("not_entitled", "you may not stream").close_code(4140))
    }
}

impl Lifecycle for Entitlements {
    fn validate_config() -> Result<(), ConfigError> {
        references::destination("/service", &service()?);
        references::leaves("plan");
        Ok(())
    }
}

sluice_policy::export!(Entitlements: prepare, on_connect, lifecycle);

#[cfg(test)]
mod tests {
    use sluice_policy::destinations::{AnswerError, Request};
    use sluice_policy::testing::Mock;
    use sluice_policy::{Lifecycle as _, OnConnect as _, Prepare as _};

    use super::Entitlements;

    fn mock() -> Mock {
        let mock = Mock::new("entitlements");
        mock.config("service", "\"entitlements\"")
            .attribute("auth.user_id", "ann");
        mock
    }

    #[test]
    fn the_service_is_asked_about_the_user() {
        let mock = mock();
        assert_eq!(
            Entitlements::requests(&mock.connection(), None),
            [Request::to("entitlements").param("user", "ann")]
        );
    }

    #[test]
    fn only_who_may_stream_gets_in() {
        let mock = mock();
        mock.answer(200, r#"{"stream": true, "plan": "gold"}"#);
        assert_eq!(Entitlements::decide(&mock.connection()), Ok(()));
        let plan = mock.connection().attribute("entitlements.plan");
        assert_eq!(plan.as_deref(), Some("gold"));
    }

    #[test]
    fn who_may_not_and_who_is_unknown_stay_out() {
        for (status, body) in [(200, r#"{"stream": false}"#), (404, ""), (403, "{}")] {
            let mock = mock();
            mock.answer(status, body);
            let refused = Entitlements::decide(&mock.connection()).unwrap_err();
            assert_eq!(refused.code(), "not_entitled", "{status}");
        }
    }

    #[test]
    fn a_service_without_a_sensible_answer_lets_nobody_in() {
        let broken = mock();
        broken.answer(200, "<html>");
        let refused = Entitlements::decide(&broken.connection()).unwrap_err();
        assert_eq!(
            (refused.code(), refused.is_retryable()),
            ("policy_unavailable", true)
        );
        drop(broken);
        let silent = mock();
        silent.no_answer(AnswerError::Timeout);
        let refused = Entitlements::decide(&silent.connection()).unwrap_err();
        assert_eq!(
            (refused.code(), refused.is_retryable()),
            ("policy_unavailable", true)
        );
    }

    #[test]
    fn the_gateway_is_told_of_the_service() {
        let mock = mock();
        assert_eq!(Entitlements::validate_config(), Ok(()));
        assert_eq!(
            mock.references(),
            ["destination /service entitlements", "leaves plan"]
        );
    }
}
