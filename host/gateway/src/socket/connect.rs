//! Connect: the route's connect policies decide about an accepted connection.

use super::accept::Accepted;
use super::cause::Cause;
use super::connection::{Connection, Refused};
use super::report::Report;
use base::permits::Holder;
use policy::Question;

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
        Ok(()) => decide(&mut connection).await,
        Err(cause) => Err(cause),
    };
    connection.log.stage_ended("connect");
    match verdict {
        Ok(()) => Ok(Admitted { connection }),
        Err(cause) => Err(connection.refuse(cause)),
    }
}

/// First what its address has of the gateway, which costs nothing to find out;
/// what its user and tenant have is known behind the policies. A client that
/// comes back for its stream has that already.
async fn decide(connection: &mut Connection) -> Result<(), Cause> {
    let returns = connection.resuming.is_some();
    if !returns {
        let address = connection.session.facts.remote.ip();
        let share = connection.gateway.permits.of_address(address);
        connection.shares.push(share.ok_or(Cause::ShareUsedUp)?);
    }
    connection.report = Report::owed(connection.route.as_ref(), &connection.session);
    connection
        .ask(|route| &route.on_connect, Question::Connect)
        .await?;
    for holder in holders(connection) {
        if let Some(wire) = connection.wire() {
            wire.charge.also(holder.clone());
        }
        if returns {
            continue;
        }
        let share = connection.gateway.permits.of(holder);
        connection.shares.push(share.ok_or(Cause::ShareUsedUp)?);
    }
    Ok(())
}

/// The user and the tenant, where policies that know who a client is have said
/// so.
fn holders(connection: &Connection) -> impl Iterator<Item = Holder> + use<> {
    let identified_by = connection.route.as_ref();
    let identified_by = identified_by.map_or(&[][..], |route| &route.identified_by);
    let known = connection.session.facts.attributes_of(identified_by);
    let named = |last: &str| -> Vec<_> {
        let is_named = |(name, _): &&(String, String)| name.split('.').nth(1) == Some(last);
        known.iter().filter(is_named).cloned().collect()
    };
    let (tenant, user) = (named("tenant_id"), named("user_id"));
    // Users of two tenants may have one name.
    let whole = || tenant.iter().cloned().chain(user.iter().cloned()).collect();
    let holders = [
        (!user.is_empty()).then(|| Holder::User(whole())),
        (!tenant.is_empty()).then(|| Holder::Tenant(tenant.clone())),
    ];
    holders.into_iter().flatten()
}
