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
    match verdict {
        Ok(()) => Ok(Admitted { connection }),
        Err(cause) => Err(connection.refuse(cause)),
    }
}
