//! Connect: the route's connect policies decide about an accepted connection.

use super::accept::Accepted;
use super::cause::Cause;
use super::report::Report;
use super::{Connection, Refused};
use crate::policy::Question;

/// A connection that its connect policies let in.
pub struct Admitted {
    pub(super) connection: Box<Connection>,
}

/// Asks the connect policies in their order.
///
/// # Errors
/// The connection to close, and why.
pub async fn admit(accepted: Accepted) -> Result<Admitted, Refused> {
    let Accepted {
        mut connection,
        verdict,
    } = accepted;
    let verdict = match verdict {
        Ok(()) if connection.gateway.shutdown.is_draining() => Err(Cause::Draining),
        Ok(()) => {
            connection.report = Report::owed(connection.route.as_ref(), &connection.session);
            connection
                .ask(|route| &route.on_connect, Question::Connect)
                .await
        }
        Err(cause) => Err(cause),
    };
    connection.story.stage_ended("connect");
    record_user(&connection);
    match verdict {
        Ok(()) => Ok(Admitted { connection }),
        Err(cause) => Err(connection.refuse(cause)),
    }
}

/// From here on every line of this connection names its user.
fn record_user(connection: &Connection) {
    let Some(route) = &connection.route else {
        return;
    };
    let facts = &connection.session.facts;
    let attributes = facts.attributes_of(&route.identified_by);
    let user = attributes
        .iter()
        .find(|(name, _)| name.ends_with(".user_id"));
    if let Some((_, user)) = user {
        tracing::Span::current().record("user", crate::text::clean(user, 128));
    }
}
