//! Why an address did not take a stream, and whose failure that is.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::time::error::Elapsed;

use crate::websocket::request::Answered;

/// Why an address did not take a stream.
#[derive(Debug)]
pub(super) struct Failure {
    /// A short sentence for the client.
    pub(super) public: &'static str,
    pub(super) fault: Fault,
    pub(super) detail: anyhow::Error,
}

/// Whose failure it is. Only an address that failed itself may be left alone for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The address is not there, or does not work.
    Address,
    /// The backend does not work, or not for what this client asked: its answer was an error, or
    /// not valid.
    Answer,
    /// The backend works, and does not want this stream: it answered 4xx.
    Stream,
    /// The gateway or its machine has run out of something, which says nothing about the address.
    Gateway,
}

/// What this machine says when it has run out of descriptors, memory or local ports.
const OWN: [Errno; 5] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::ADDRNOTAVAIL,
];

impl Fault {
    /// Whose an error is that came while an address was asked to upgrade.
    pub(super) fn of_asking(error: &anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(Answered(status)) if status.is_client_error() => return Self::Stream,
            Some(Answered(_)) => return Self::Answer,
            None => {}
        }
        match Self::of_connecting(error) {
            // Silence is no answer. To hang up is one.
            Self::Address if !error.is::<Elapsed>() => Self::Answer,
            fault => fault,
        }
    }

    /// Whose an error is that came while an address was dialled.
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
            assert_eq!(Fault::of_connecting(&connecting), Fault::Gateway, "{own}");
            // A name's lookup has its error for all who wait for it.
            let resolving = anyhow::Error::new(Arc::new(errno(own))).context("its name is unknown");
            assert_eq!(Fault::of_connecting(&resolving), Fault::Gateway, "{own}");
        }
        for its in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::TIMEDOUT,
        ] {
            let connecting = anyhow::Error::new(errno(its)).context("the backend b:1");
            assert_eq!(Fault::of_connecting(&connecting), Fault::Address, "{its}");
        }
        assert_eq!(
            Fault::of_connecting(&anyhow!("it took longer than 3s")),
            Fault::Address
        );
    }

    #[test]
    fn what_a_backend_answers_may_be_due_to_what_its_client_asked_for() {
        for (status, fault) in [
            (StatusCode::NOT_FOUND, Fault::Stream),
            (StatusCode::INTERNAL_SERVER_ERROR, Fault::Answer),
            (StatusCode::BAD_GATEWAY, Fault::Answer),
            (StatusCode::OK, Fault::Answer),
        ] {
            let answered = anyhow::Error::new(Answered(status)).context("the backend b:1");
            assert_eq!(Fault::of_asking(&answered), fault, "{status}");
        }
        for broken in [
            anyhow!("it hung up instead of an answer"),
            errno(Errno::CONNRESET).into(),
        ] {
            assert_eq!(Fault::of_asking(&broken), Fault::Answer, "{broken}");
        }
        let own = errno(Errno::NOBUFS).into();
        assert_eq!(Fault::of_asking(&own), Fault::Gateway);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_says_nothing_is_not_there() {
        let limit = std::time::Duration::from_secs(3);
        let silent = tokio::time::timeout(limit, std::future::pending::<()>()).await;
        let silent = silent
            .context("it took longer than 3s")
            .expect_err("silence");
        assert_eq!(Fault::of_asking(&silent), Fault::Address);
    }
}
