//! Reasons why an address did not take a stream, and who caused each.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::time::error::Elapsed;

use crate::websocket::request::Answered;

/// Reason why an address did not take a stream.
#[derive(Debug)]
pub(super) struct DialError {
    /// Short sentence for the client.
    pub(super) public: &'static str,
    pub(super) fault: Culprit,
    pub(super) detail: anyhow::Error,
}

/// Cause of a failure. Only failures that the address itself caused count towards its rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Culprit {
    /// The address is unreachable or does not work.
    Address,
    /// The answer was an error or invalid. The cause may be the backend, or this client's request.
    Answer,
    /// The backend works, and refused this stream with 4xx.
    Stream,
    /// The gateway or its machine lacks a resource, which says nothing about the address.
    Gateway,
}

/// Errors of a machine that lacks descriptors, memory or local ports.
const OWN: [Errno; 5] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::ADDRNOTAVAIL,
];

impl Culprit {
    /// Cause of an error during an upgrade.
    pub(super) fn of_asking(error: &anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(Answered(status)) if status.is_client_error() => return Self::Stream,
            Some(Answered(_)) => return Self::Answer,
            None => {}
        }
        match Self::of_connecting(error) {
            // A timeout is no answer. Hanging up is one.
            Self::Address if !error.is::<Elapsed>() => Self::Answer,
            fault => fault,
        }
    }

    /// Cause of an error during a connection attempt.
    pub(super) fn of_connecting(error: &anyhow::Error) -> Self {
        let is_own = error.chain().any(|cause| {
            let shared = cause.downcast_ref::<Arc<io::Error>>().map(|error| &**error);
            let error = shared.or_else(|| cause.downcast_ref());
            error
                .and_then(Errno::from_io_error)
                .is_some_and(|errno| OWN.contains(&errno))
        });
        if is_own { Self::Gateway } else { Self::Address }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use axum::http::StatusCode;

    use super::*;

    fn errno(errno: Errno) -> io::Error {
        errno.into()
    }

    #[test]
    fn what_this_machine_has_run_out_of_is_no_failure_of_an_address() {
        for own in OWN {
            let connecting = anyhow::Error::new(errno(own)).context("the backend b:1");
            assert_eq!(
                Culprit::of_connecting(&connecting),
                Culprit::Gateway,
                "{own}"
            );
            // A failed lookup has one error, which all waiting streams share.
            let resolving = anyhow::Error::new(Arc::new(errno(own))).context("its name is unknown");
            assert_eq!(
                Culprit::of_connecting(&resolving),
                Culprit::Gateway,
                "{own}"
            );
        }
        for its in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::TIMEDOUT,
        ] {
            let connecting = anyhow::Error::new(errno(its)).context("the backend b:1");
            assert_eq!(
                Culprit::of_connecting(&connecting),
                Culprit::Address,
                "{its}"
            );
        }
        assert_eq!(
            Culprit::of_connecting(&anyhow!("it took longer than 3s")),
            Culprit::Address
        );
    }

    #[test]
    fn what_a_backend_answers_may_be_due_to_what_its_client_asked_for() {
        for (status, fault) in [
            (StatusCode::NOT_FOUND, Culprit::Stream),
            (StatusCode::INTERNAL_SERVER_ERROR, Culprit::Answer),
            (StatusCode::BAD_GATEWAY, Culprit::Answer),
            (StatusCode::OK, Culprit::Answer),
        ] {
            let answered = anyhow::Error::new(Answered(status)).context("the backend b:1");
            assert_eq!(Culprit::of_asking(&answered), fault, "{status}");
        }
        for broken in [
            anyhow!("it hung up instead of an answer"),
            errno(Errno::CONNRESET).into(),
        ] {
            assert_eq!(Culprit::of_asking(&broken), Culprit::Answer, "{broken}");
        }
        let own = errno(Errno::NOBUFS).into();
        assert_eq!(Culprit::of_asking(&own), Culprit::Gateway);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_says_nothing_is_not_there() {
        let limit = std::time::Duration::from_secs(3);
        let silent = tokio::time::timeout(limit, std::future::pending::<()>()).await;
        let silent = silent
            .context("it took longer than 3s")
            .expect_err("silence");
        assert_eq!(Culprit::of_asking(&silent), Culprit::Address);
    }
}
