//! Both halves of a stream, of which either may take its time.

use std::future::ready;

use tokio::time::sleep;

use super::*;
use crate::testing::cut;

const SECOND: Duration = Duration::from_secs(1);

/// A link that is sealed after a while.
struct Half {
    sealing: Duration,
    moved: Option<Instant>,
    broken: bool,
}

impl Half {
    fn taking(sealing: Duration) -> Self {
        Self {
            sealing,
            moved: None,
            broken: false,
        }
    }
}

impl Link for Half {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.broken {
            return Poll::Ready(Err(lost()));
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, _: Upward) {}

    fn last_progress(&self) -> Option<Instant> {
        self.moved
    }

    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        Poll::Pending
    }

    fn seal(self: Box<Self>, _: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        if self.broken {
            return ready(Err(lost())).boxed();
        }
        let sealing = sleep(self.sealing);
        sealing.map(|()| Ok(Sealed { bytes: 1 })).boxed()
    }
}

fn lost() -> Lost {
    Lost::new("lost", std::io::Error::other("lost"))
}

fn tee(recording: Half, relay: Half, without_relay: WithoutHalf) -> Box<Tee> {
    Box::new(Tee {
        upstream: "backend".into(),
        recording: Some(Box::new(recording)),
        without_recording: WithoutHalf::GoesOn,
        relay: Some(Box::new(relay)),
        without_relay,
        promise: Promise::Recorded,
        believed: Presence::Here,
        taken: 1,
        destination: Arc::default(),
    })
}

#[tokio::test(start_paused = true)]
async fn both_are_sealed_at_the_same_time() {
    let began = Instant::now();
    let tee = tee(
        Half::taking(SECOND * 3),
        Half::taking(SECOND * 2),
        WithoutHalf::Ends,
    );
    assert_eq!(tee.seal(cut()).await.unwrap().bytes, 1);
    assert_eq!(began.elapsed(), SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn a_recording_is_sealed_whatever_becomes_of_the_relay() {
    for (without_relay, is_well) in [(WithoutHalf::Ends, false), (WithoutHalf::GoesOn, true)] {
        let began = Instant::now();
        let relay = Half {
            broken: true,
            ..Half::taking(Duration::ZERO)
        };
        let tee = tee(Half::taking(SECOND), relay, without_relay);
        assert_eq!(tee.seal(cut()).await.is_ok(), is_well);
        assert_eq!(began.elapsed(), SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_moves_is_progress_as_long_as_it_is_there() {
    let relay = Half {
        moved: Some(Instant::now()),
        broken: true,
        ..Half::taking(Duration::ZERO)
    };
    let mut tee = tee(Half::taking(SECOND), relay, WithoutHalf::GoesOn);
    assert_eq!(tee.last_progress(), Some(Instant::now()));
    std::future::poll_fn(|cx| tee.poll_ready(cx)).await.unwrap();
    assert_eq!(tee.last_progress(), None, "it was given up");
}

#[tokio::test(start_paused = true)]
async fn a_complete_stream_that_lost_one_half_says_what_is_true() {
    let broken = || Half {
        broken: true,
        ..Half::taking(Duration::ZERO)
    };
    let well = || Half::taking(Duration::ZERO);
    for early in [false, true] {
        for (recording, relay, said) in [
            (well(), well(), Ok(1)),
            (broken(), well(), Ok(1)),
            (
                well(),
                broken(),
                Err("the stream was recorded, but not delivered to the upstream"),
            ),
            (broken(), broken(), Err("lost")),
        ] {
            let mut tee = tee(recording, relay, WithoutHalf::GoesOn);
            if early {
                // It shows while the stream runs.
                let _ = std::future::poll_fn(|cx| tee.poll_ready(cx)).await;
            }
            let sealed = tee.seal(StreamEnd::Complete).await;
            let sealed = sealed
                .map(|sealed| sealed.bytes)
                .map_err(|lost| lost.public);
            assert_eq!(sealed, said.map_err(str::to_owned), "early: {early}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_that_was_promised_ends_the_stream_with_it() {
    let recording = Half {
        broken: true,
        ..Half::taking(Duration::ZERO)
    };
    let mut tee = tee(recording, Half::taking(Duration::ZERO), WithoutHalf::GoesOn);
    tee.without_recording = WithoutHalf::Ends;
    let ready = std::future::poll_fn(|cx| tee.poll_ready(cx)).await;
    assert!(ready.is_err());
    assert!(tee.seal(StreamEnd::Complete).await.is_err());
}
