//! Connect: the route's connect policies decide about an accepted connection.

use super::accept::{Accepted, Comeback, Entry};
use super::cause::Cause;
use super::connection::{Connection, Refused};
use super::report::Report;
use super::resume;
use crate::connections::Stage;
use base::permits::ShareHolder;
use base::shutdown::Shutdown;
use policy::Question;
use session::registry::Session;

/// A connection that its connect policies let in.
pub struct Admitted {
    pub(super) connection: Connection,
    pub(super) entry: Entry,
}

/// Asks the connect policies in their order.
///
/// # Errors
/// The connection to close, and why.
pub async fn admit(accepted: Box<Accepted>) -> Result<Admitted, Refused> {
    let Accepted {
        mut connection,
        entry,
    } = *accepted;
    let decided = match entry {
        Ok(entry) if is_refused(&connection.socket.gateway.shutdown, &entry) => {
            Err(Cause::Draining)
        }
        Ok(entry) => match seek(&mut connection, entry).await {
            Ok(entry) => decide(&mut connection, &entry).await.map(|()| entry),
            Err(cause) => Err(cause),
        },
        Err(cause) => Err(cause),
    };
    connection.socket.log.stage_ended(Stage::Connect);
    match decided {
        Ok(entry) => Ok(Admitted { connection, entry }),
        Err(cause) => Err(connection.refuse(cause)),
    }
}

/// Seeks the stream that a client comes back for, where it is not here. The policies are asked with
/// the stream known, so that its own claims do not keep its client out.
async fn seek(connection: &mut Connection, entry: Entry) -> Result<Entry, Cause> {
    let Comeback::Sought(sought) = entry.returning else {
        return Ok(entry);
    };
    let found = resume::seek(connection, sought).await?;
    connection.session().resumes(&found.stream);
    Ok(Entry {
        returning: Comeback::Elsewhere(Box::new(found)),
        ..entry
    })
}

/// Whether the gateway drains. Unless it stops, that is for newcomers alone.
fn is_refused(shutdown: &Shutdown, entry: &Entry) -> bool {
    shutdown.is_stopping() || shutdown.is_draining() && entry.returning.is_none()
}

/// Checks the share of the client's address first, which costs nothing. The shares of its user and
/// its tenant are known after the policies. A client that resumes its stream has its shares already.
async fn decide(connection: &mut Connection, entry: &Entry) -> Result<(), Cause> {
    let Entry { route, returning } = entry;
    if returning.is_none() {
        let address = connection.session().facts.remote.ip();
        let share = connection.socket.gateway.permits.of_address(address);
        connection.shares.push(share.ok_or(Cause::ShareUsedUp)?);
    }
    connection.socket.report = Report::owed(route, connection.session());
    connection
        .ask(&route.on_connect, || Question::Connect)
        .await?;
    for holder in holders(connection.session(), &route.identified_by) {
        connection.socket.wire.charge.also(holder.clone());
        if !returning.is_none() {
            continue;
        }
        let share = connection.socket.gateway.permits.of(holder);
        connection.shares.push(share.ok_or(Cause::ShareUsedUp)?);
    }
    Ok(())
}

/// The user and the tenant, as far as the policies that identify clients have named them.
fn holders(
    session: &Session,
    identified_by: &[String],
) -> impl Iterator<Item = ShareHolder> + use<> {
    let known = session.facts.attributes_of(identified_by);
    let named = |last: &str| -> Vec<_> {
        let is_named = |(name, _): &&(String, String)| name.split('.').nth(1) == Some(last);
        known.iter().filter(is_named).cloned().collect()
    };
    let (tenant, user) = (named("tenant_id"), named("user_id"));
    // Users of two tenants may have one name.
    let whole = || tenant.iter().cloned().chain(user.iter().cloned()).collect();
    let holders = [
        (!user.is_empty()).then(|| ShareHolder::User(whole())),
        (!tenant.is_empty()).then(|| ShareHolder::Tenant(tenant.clone().into())),
    ];
    holders.into_iter().flatten()
}
