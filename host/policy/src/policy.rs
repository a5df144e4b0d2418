//! What a chain asks: a component, or a stand-in for one in tests.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::own_secrets::OwnSecrets;
use crate::question::Question;
use crate::record::notes::Notes;
use crate::verdict::{OnFailure, Verdict};
use session::registry::Session;

/// Something that decides about connections.
pub trait Policy: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &Arc<str>;

    /// What its failure means.
    fn on_failure(&self) -> OnFailure;

    /// Asks it a question about a connection. The future may be dropped at any point.
    fn ask<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: &'a Question,
    ) -> BoxFuture<'a, Verdict>;

    /// [`Policy::ask`], with what it asks the gateway taken down.
    fn ask_noted<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: &'a Question,
        _notes: &'a Notes,
    ) -> BoxFuture<'a, Verdict> {
        self.ask(session, question)
    }

    /// How long a call may take, including its wait in the queue.
    fn longest(&self) -> Duration {
        Duration::ZERO
    }

    /// Who has signed its component, where somebody must.
    fn signer(&self) -> Option<&Arc<str>> {
        None
    }

    /// The digest of its component, where it has one.
    fn digest(&self) -> Option<&Arc<str>> {
        None
    }

    /// Whether it may say something beside its answer.
    fn has_effects(&self) -> bool {
        false
    }

    /// Values of its configuration that are never shown.
    fn secrets(&self) -> OwnSecrets {
        OwnSecrets::default()
    }
}
