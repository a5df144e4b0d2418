//! A stream from its first connection to its last.

use futures_util::{Sink, Stream, StreamExt};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::{self, Message};

use super::conversation;
use super::course::{Course, Next};
use super::patience::Patience;
use super::target::ResumeToken;
use crate::audio::Audio;
use crate::outcome::{Manner, Outcome};
use crate::progress::Progress;

/// Streams over as many connections as it takes. `dial` opens one, with what
/// leads back to the stream.
///
/// Where the first connection cannot be made, there is nobody to come back to.
pub async fn run<D, S>(dial: D, audio: Audio, manner: Manner, progress: &mut Progress) -> Outcome
where
    D: AsyncFn(Option<&ResumeToken>) -> Result<S, Outcome>,
    S: Sink<Message, Error = tungstenite::Error>
        + Stream<Item = tungstenite::Result<Message>>
        + Unpin,
{
    let mut patience = Patience::new(manner.retry_for);
    let mut socket = match dial(None).await {
        Ok(socket) => Ok(socket),
        Err(outcome) => return outcome,
    };
    let mut course = Course::new(audio, manner);
    loop {
        let outcome = match socket {
            Ok(socket) => {
                let before = course.tally.reached();
                let (sink, stream) = socket.split();
                let outcome = conversation::run(sink, stream, &mut course, progress).await;
                if course.tally.reached() > before {
                    patience.renew();
                }
                outcome
            }
            Err(outcome) => outcome,
        };
        let next = course.after(outcome);
        let asked = next.asked();
        let outcome = match next {
            Next::Stop(outcome) => return outcome,
            Next::Again(outcome) => outcome,
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
        socket = dial(course.token()).await;
    }
}
