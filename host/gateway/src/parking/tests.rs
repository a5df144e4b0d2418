//! Streams that wait: what they keep, and who gets them.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::poll;

use super::*;
use crate::parking::pace::{Pace, StreamLimit};
use base::limits::Limits;
use base::permits::{Memory, ShareHolder};
use base::shutdown::Shutdown;
use session::handshake::Handshake;
use session::registry::Registry;
use session::registry::SessionGuard;
use session::testing::start;
use upstream::{Downward, Link, Lost, Sealed, StreamEnd, Upward};
use wire::frame::PeerClose;

const GRACE: Duration = Duration::from_secs(30);

/// An upstream that says what it is told to, and then no more.
struct Script {
    events: VecDeque<Result<Downward, Lost>>,
    heard: Arc<AtomicUsize>,
    /// Bytes that wait in it.
    held: usize,
}

impl Link for Script {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, _: Upward) {}

    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        match self.events.pop_front() {
            Some(event) => {
                self.heard.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(event)
            }
            None => Poll::Pending,
        }
    }

    fn held(&self) -> usize {
        self.held
    }

    fn seal(self: Box<Self>, _: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        std::future::ready(Ok(Sealed::default())).boxed()
    }
}

struct Scene {
    parking: Arc<Parking>,
    registry: Registry,
    shutdown: Shutdown,
    heard: Arc<AtomicUsize>,
    memory: Memory,
    /// Bytes that wait in each of its links.
    held: usize,
}

fn handshake() -> Handshake {
    Handshake::parse(r#"{"type":"handshake","sample_rate":16000,"device_id":"d"}"#).unwrap()
}

fn owner(guard: &SessionGuard) -> Owner {
    Owner::of(&guard.session().facts, &[], &handshake())
}

fn text(text: &str) -> Downward {
    Downward::Text(Bytes::copy_from_slice(text.as_bytes()))
}

impl Scene {
    fn with_room(streams: usize) -> Self {
        Self {
            parking: Parking::new(streams, streams),
            registry: Registry::default(),
            shutdown: Shutdown::default(),
            heard: Arc::default(),
            memory: Memory::default(),
            held: 0,
        }
    }

    /// A session that holds a claim, and its stream with a slot.
    fn stream(&self, says: Vec<Result<Downward, Lost>>) -> (Attachment, Stream, SessionGuard) {
        let guard = start(&self.registry, "first");
        self.registry.claim(guard.session(), "k").unwrap();
        let attachment = self.parking.attach(guard.session(), owner(&guard));
        let link = Box::new(Script {
            events: says.into(),
            heard: Arc::clone(&self.heard),
            held: self.held,
        });
        let pace = Pace::begin(&Limits::default(), None);
        let charge = self
            .memory
            .charge(ShareHolder::Address([192, 0, 2, 1].into()));
        (
            attachment,
            Stream::begin(link, Arc::default(), pace, charge),
            guard,
        )
    }

    fn returning(&self, token: &str) -> Returning {
        self.parking.find(token).expect("the token leads somewhere")
    }

    /// The client, as every connection of it is.
    fn client(&self) -> Owner {
        owner(&start(&self.registry, "again"))
    }

    fn out(
        &self,
        parked_stream: ParkedStream,
        max_said: usize,
    ) -> impl Future<Output = ()> + use<> {
        let ending = StreamEnd::Cut(PeerClose {
            code: 1001,
            reason: "eof".to_owned(),
        });
        let park_limits = ParkLimits {
            grace: GRACE,
            max_said,
            ending,
            sealing: GRACE,
        };
        parked_stream.run(park_limits, self.shutdown.clone())
    }

    /// Parks the stream, in a task of its own.
    async fn park(&self, attachment: Attachment, stream: Stream, guard: SessionGuard) {
        let parked_stream = attachment.park(stream, guard).ok().expect("there is room");
        tokio::spawn(self.out(parked_stream, 100));
        tokio::task::yield_now().await;
    }
}

fn stream(taken: Option<Taken>) -> (Stream, Attachment) {
    match taken {
        Some(Taken::Stream(stream, attachment)) => (stream, attachment),
        Some(Taken::Complete(bytes)) => panic!("complete with {bytes} bytes"),
        None => panic!("not to be had"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_says_meanwhile_is_kept_in_order_and_within_a_bound() {
    let scene = Scene::with_room(1);
    let says = (0..50).map(|n| Ok(text(&format!("message {n:02}"))));
    let (attachment, parked, guard) = scene.stream(says.collect());
    let token = attachment.token().to_owned();
    scene.park(attachment, parked, guard).await;
    // Ten bytes each: then the upstream is held back.
    assert_eq!(scene.heard.load(Ordering::Relaxed), 10);
    let (mut taken, _attachment) = stream(scene.returning(&token).take(&scene.client()).await);
    for n in 0..10 {
        assert_eq!(taken.said.pop(), Some(text(&format!("message {n:02}"))));
    }
    assert_eq!(taken.said.pop(), None);
    // It goes on where it was held back.
    let next = std::future::poll_fn(|cx| taken.link.poll_event(cx)).await;
    assert_eq!(next.unwrap(), text("message 10"));
}

#[tokio::test(start_paused = true)]
async fn how_long_and_how_fast_a_stream_may_be_does_not_begin_again() {
    const SECOND: usize = 32_000;
    let scene = Scene::with_room(1);
    let (attachment, mut parked, guard) = scene.stream(vec![]);
    let limits = Limits {
        max_duration: Some(Duration::from_secs(60)),
        max_ahead: Some(Duration::from_secs(10)),
        ..Limits::default()
    };
    parked.pace = Box::new(Pace::begin(&limits, Some(&handshake())));
    let began = tokio::time::Instant::now();
    parked.pace.takes(10 * SECOND).unwrap();
    let token = attachment.token().to_owned();
    scene.park(attachment, parked, guard).await;
    tokio::time::advance(Duration::from_secs(20)).await;
    let (mut taken, _attachment) = stream(scene.returning(&token).take(&scene.client()).await);
    assert_eq!(taken.pace.ends_at(), Some(began + Duration::from_secs(60)));
    // As much as it might have brought, had it never been away.
    taken.pace.takes(20 * SECOND).unwrap();
    let more = taken.pace.takes(SECOND / 10);
    assert_eq!(more, Err(StreamLimit::TooFast));
}

#[tokio::test(start_paused = true)]
async fn of_several_receipts_the_last_is_kept() {
    let scene = Scene::with_room(1);
    let says = [Downward::Kept(1), text("a"), Downward::Kept(2)];
    let (attachment, parked, guard) = scene.stream(says.map(Ok).into());
    let token = attachment.token().to_owned();
    scene.park(attachment, parked, guard).await;
    let (mut taken, _attachment) = stream(scene.returning(&token).take(&scene.client()).await);
    assert_eq!(taken.said.pop(), Some(text("a")));
    assert_eq!(taken.said.pop(), Some(Downward::Kept(2)));
    assert_eq!(taken.said.pop(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_its_upstream_ends_waits_for_nobody() {
    let close = PeerClose {
        code: 1000,
        reason: String::new(),
    };
    let lost = Lost::new("lost", std::io::Error::other("lost"));
    for end in [Ok(Downward::Close(close)), Err(lost)] {
        let scene = Scene::with_room(1);
        let (attachment, parked, guard) = scene.stream(vec![Ok(text("a")), end]);
        let token = attachment.token().to_owned();
        let parked_stream = attachment.park(parked, guard).ok().expect("there is room");
        let returning = scene.returning(&token);
        // At once: the clock does not run.
        assert!(poll!(pin!(scene.out(parked_stream, 100))).is_ready());
        assert!(scene.parking.find(&token).is_none());
        assert!(returning.take(&scene.client()).await.is_none());
        assert!(scene.registry.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_that_a_client_came_with_is_good_until_it_shows_that_it_knows_the_next() {
    let scene = Scene::with_room(1);
    let (attachment, parked, guard) = scene.stream(vec![]);
    let first = attachment.token().to_owned();
    scene.park(attachment, parked, guard).await;
    let (parked, attachment) = stream(scene.returning(&first).take(&scene.client()).await);
    let lost = attachment.token().to_owned();
    // The ack was lost with its connection.
    scene
        .park(attachment, parked, start(&scene.registry, "second"))
        .await;
    let (_stream, attachment) = stream(scene.returning(&first).take(&scene.client()).await);
    // Of the tokens that nobody may have seen, one is enough.
    assert!(scene.parking.find(&lost).is_none());
    assert!(scene.parking.find(&first).is_some());
    attachment.token_is_known();
    assert!(scene.parking.find(&first).is_none());
    assert!(scene.parking.find(attachment.token()).is_some());
}

#[tokio::test(start_paused = true)]
async fn of_two_connections_that_came_back_the_later_one_has_the_stream() {
    let scene = Scene::with_room(1);
    let (attachment, parked, guard) = scene.stream(vec![]);
    let token = attachment.token().to_owned();
    scene.park(attachment, parked, guard).await;
    let (earlier, later) = (scene.returning(&token), scene.returning(&token));
    let client = scene.client();
    let (parked, attachment) = stream(earlier.take(&client).await);
    // It was the first to say who it is.
    let mut taking = pin!(later.take(&client));
    assert!(poll!(taking.as_mut()).is_pending());
    assert!(poll!(pin!(attachment.wanted())).is_ready());
    scene
        .park(attachment, parked, start(&scene.registry, "second"))
        .await;
    let (_stream, attachment) = stream(taking.await);
    // A connection that its client gave up gets nothing out of its hands.
    let taken = tokio::time::timeout(GRACE, earlier.take(&client)).await;
    assert!(taken.expect("it need not wait").is_none());
    assert!(poll!(pin!(attachment.wanted())).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_handed_over_at_once_needs_no_room() {
    let scene = Scene::with_room(0);
    let (attachment, parked, guard) = scene.stream(vec![]);
    let returning = scene.returning(attachment.token());
    let client = scene.client();
    let mut taking = pin!(returning.take(&client));
    assert!(poll!(taking.as_mut()).is_pending());
    scene.park(attachment, parked, guard).await;
    let (parked, attachment) = stream(taking.await);
    // Where nobody waits, it does.
    assert!(
        attachment
            .park(parked, start(&scene.registry, "second"))
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_room_ends_when_the_one_that_came_for_it_goes() {
    let scene = Scene::with_room(0);
    let (attachment, parked, guard) = scene.stream(vec![]);
    let returning = scene.returning(attachment.token());
    let client = scene.client();
    let mut taking = Box::pin(returning.take(&client));
    assert!(poll!(&mut taking).is_pending());
    let parked_stream = attachment.park(parked, guard).ok().expect("it is wanted");
    let mut out = pin!(scene.out(parked_stream, 100));
    assert!(poll!(out.as_mut()).is_pending());
    drop(taking);
    // At once: the clock does not run.
    assert!(poll!(out.as_mut()).is_ready());
    assert!(scene.registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_complete_stream_is_remembered_for_its_owner_and_for_the_grace() {
    let scene = Scene::with_room(1);
    let (attachment, _stream, guard) = scene.stream(vec![]);
    let token = attachment.token().to_owned();
    drop(guard);
    let remembered = attachment.complete(7).expect("there is room");
    // It holds nothing but its place.
    assert!(scene.registry.is_empty());
    let (other, _, _) = scene.stream(vec![]);
    assert!(other.complete(8).is_none());
    let asked = tokio::spawn(remembered.stay(GRACE, scene.shutdown.clone()));
    for _ in 0..2 {
        let taken = scene.returning(&token).take(&scene.client()).await;
        assert!(matches!(taken, Some(Taken::Complete(7))));
    }
    let stranger = Handshake {
        sample_rate: 48_000,
        ..handshake()
    };
    let stranger = Owner::of(&start(&scene.registry, "x").session().facts, &[], &stranger);
    assert!(scene.returning(&token).take(&stranger).await.is_none());
    asked.await.unwrap();
    assert!(scene.parking.find(&token).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_parked_stream_holds_is_charged_until_it_is_over_and_bounded() {
    const KIB: usize = 1024;
    // What others hold leaves room for it, and then does not.
    for (others, fits) in [(0, true), (800 * KIB, false)] {
        let mut scene = Scene::with_room(1);
        scene.memory = Memory::new(KIB * KIB);
        scene.held = 300 * KIB;
        let mut beside = scene
            .memory
            .charge(ShareHolder::Address([192, 0, 2, 2].into()));
        beside.hold(others).expect("there is room");
        let (attachment, stream, guard) = scene.stream(vec![Ok(text(&"x".repeat(100 * KIB)))]);
        let token = attachment.token().to_owned();
        scene.park(attachment, stream, guard).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(scene.parking.find(&token).is_some(), fits);
        let own = if fits { 400 * KIB } else { 0 };
        assert_eq!(scene.memory.held(), others + own);
        tokio::time::sleep(GRACE * 2).await;
        assert_eq!(scene.memory.held(), others);
    }
}

#[test]
fn who_a_client_is_is_known_from_all_that_policies_left_which_can_know() {
    let registry = Registry::default();
    let owner = |left: &[(&str, &str, &str)]| {
        let guard = start(&registry, "s");
        let facts = &guard.session().facts;
        for (policy, name, value) in left {
            facts
                .set_attribute(policy, name, (*value).to_owned())
                .unwrap();
        }
        Owner::of(facts, &["auth".to_owned()], &handshake())
    };
    let one = owner(&[("auth", "user_id", "u"), ("auth", "org", "o")]);
    // What others say proves nothing, and the order is nobody's business.
    let same = [
        ("evil", "user_id", "v"),
        ("auth", "org", "o"),
        ("auth", "user_id", "u"),
        ("authority", "user_id", "w"),
    ];
    assert_eq!(one, owner(&same));
    for other in [
        &[("auth", "user_id", "v"), ("auth", "org", "o")][..],
        &[("auth", "user_id", "u"), ("auth", "org", "p")],
        &[("auth", "user_id", "u")],
        &[("evil", "user_id", "u"), ("evil", "org", "o")],
    ] {
        assert_ne!(one, owner(other));
    }
}
