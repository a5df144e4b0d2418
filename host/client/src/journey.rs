//! Upload of one recording over as many connections as it needs.

use std::sync::Arc;

use futures_util::{Sink, Stream, StreamExt};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::{self, Message};

use super::conversation;
use super::patience::Patience;
use super::target::ResumeToken;
use super::upload::{NextStep, Upload};
use crate::audio::Audio;
use crate::outcome::{Manner, StreamOutcome};
use crate::progress::Progress;
use crate::tokens::Tokens;

/// Uploads a recording over as many connections as it needs. `dial` opens one, and gets the token
/// that resumes the stream.
///
/// If the first connection fails, there is no retry.
pub async fn run<D, S>(
    dial: D,
    audio: Audio,
    manner: Manner,
    tokens: Arc<Tokens>,
    progress: &mut Progress,
) -> StreamOutcome
where
    D: AsyncFn(Option<&ResumeToken>) -> Result<S, StreamOutcome>,
    S: Sink<Message, Error = tungstenite::Error>
        + Stream<Item = tungstenite::Result<Message>>
        + Unpin,
{
    let mut patience = Patience::new(manner.retry_for);
    let mut socket = match dial(None).await {
        Ok(socket) => Ok(socket),
        Err(outcome) => return outcome,
    };
    let mut upload = Upload::new(audio, manner, tokens);
    loop {
        let outcome = match socket {
            Ok(socket) => {
                let before = upload.tally.reached();
                let (sink, stream) = socket.split();
                let outcome = conversation::run(sink, stream, &mut upload, progress).await;
                if upload.tally.reached() > before {
                    patience.renew();
                }
                outcome
            }
            Err(outcome) => outcome,
        };
        let next = upload.after(outcome);
        let asked = next.asked();
        let outcome = match next {
            NextStep::Stop(outcome) => return outcome,
            NextStep::Again(outcome) => outcome,
        };
        let Some(wait) = patience.wait(asked) else {
            return outcome;
        };
        let seconds = wait.as_secs_f64();
        progress.note(&format!(
            "{}; trying again in {seconds:.1} s",
            outcome.headline()
        ));
        sleep(wait).await;
        socket = dial(upload.token()).await;
    }
}
