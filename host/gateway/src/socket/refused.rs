//! What is kept of a connection that ended with an error frame, for operators.

use super::close_message::CloseMessage;
use super::connection_log::ConnectionLog;
use super::linger::Delivery;
use crate::refusals::Refusal;
use base::text;
use session::registry::unix_ms;

/// Maximum length of the client's sentence and of the operator's detail, in bytes.
const MAX_TEXT: usize = 512;
/// Maximum length of the error frame's code, in bytes.
const MAX_CODE: usize = 64;

/// What is kept of this connection. `None` if it ended without an error frame.
pub(super) fn refusal(
    log: &ConnectionLog,
    close_message: &CloseMessage,
    delivery: Delivery,
) -> Option<Refusal> {
    let (code, retryable) = close_message.error_code()?;
    let live = &log.live;
    let facts = &live.session().facts;
    let user = live.user();
    Some(Refusal {
        at_ms: unix_ms(),
        session: live.id(),
        client: facts.remote,
        tenant: live.tenant(),
        claimed: user.is_none().then(|| facts.claimed()).flatten(),
        user,
        meeting: live.meeting(),
        source: live.source(),
        route: facts.route.clone(),
        generation: live.generation(),
        stage: log.last_stage().word(),
        cause: close_message.name,
        close_code: close_message.close_code(),
        code: text::clean(code, MAX_CODE),
        message: text::clean(close_message.sentence(), MAX_TEXT),
        retryable,
        detail: text::clean(&close_message.detail, MAX_TEXT),
        delivery: delivery.word(),
        decisions: live.decisions(),
    })
}
