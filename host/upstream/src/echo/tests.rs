use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use bytes::Bytes;

use super::*;
use crate::testing::stream_info;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn binary(length: usize) -> Upward {
    Upward::Binary(vec![5; length].into())
}

fn fill(link: &mut Mirror, cx: &mut Context<'_>, length: usize) -> usize {
    let mut sent = 0;
    while link.poll_ready(cx).is_ready() {
        link.start_send(binary(length));
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn every_message_comes_back_as_it_was_and_in_order() {
    let mut link = Echo.open(stream_info("m1")).await.expect("open");
    let messages = [
        (
            Upward::Text(Bytes::from_static(b"one")),
            Downward::Text(Bytes::from_static(b"one")),
        ),
        (Upward::Binary(Bytes::new()), Downward::Binary(Bytes::new())),
        (
            Upward::Binary(Bytes::from_static(&[0, 255])),
            Downward::Binary(Bytes::from_static(&[0, 255])),
        ),
    ];
    for (message, _) in &messages {
        poll_fn(|cx| link.poll_ready(cx)).await.expect("ready");
        link.start_send(message.clone());
    }
    link.start_send(Upward::Control(crate::Control::Pause));
    for (_, echoed) in messages {
        assert_eq!(
            poll_fn(|cx| link.poll_event(cx)).await.expect("event"),
            echoed
        );
    }
    let mut cx = Context::from_waker(Waker::noop());
    assert!(link.poll_event(&mut cx).is_pending());
    assert_eq!(
        link.seal(StreamEnd::Complete).await.expect("seal"),
        Sealed { bytes: 2 }
    );
}

#[test]
fn what_may_wait_is_bounded_in_bytes_and_in_messages() {
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(fill(&mut Mirror::default(), &mut cx, 640), 103);
    assert_eq!(fill(&mut Mirror::default(), &mut cx, 0), MAX_MESSAGES);
    assert_eq!(fill(&mut Mirror::default(), &mut cx, 10 * MAX_BYTES), 1);
}

#[test]
fn a_full_link_wakes_its_sender_once_there_is_room() {
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut link = Mirror::default();
    fill(&mut link, &mut cx, MAX_BYTES);
    assert_eq!(count.so_far(), 0);
    assert!(link.poll_event(&mut cx).is_ready());
    assert_eq!(count.so_far(), 1);
    assert!(link.poll_ready(&mut cx).is_ready());
}

#[test]
fn a_message_wakes_whoever_waits_for_it_once_and_the_latest_waiter_only() {
    let (early, late) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let mut link = Mirror::default();
    for waiter in [&early, &late] {
        let waker = Waker::from(Arc::clone(waiter));
        assert!(
            link.poll_event(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    link.start_send(binary(1));
    link.start_send(binary(1));
    assert_eq!((early.so_far(), late.so_far()), (0, 1));
}
