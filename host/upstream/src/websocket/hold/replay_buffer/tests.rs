use std::future::poll_fn;

use super::*;
use crate::space::Watermark;
use crate::websocket::hold::quota::FileQuota;
use crate::websocket::hold::spill::Done;
use crate::websocket::hold::spill::SpillLimits;

/// A file of so many bytes, beside others that do not matter.
fn bounds(file: u64) -> SpillLimits {
    SpillLimits {
        file,
        all: u64::MAX,
        min_free: Watermark::default(),
    }
}

/// Replay buffer whose file is in a folder that lasts as long as the test.
fn replay_buffer(memory: usize, file: u64) -> (ReplayBuffer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let spill = Spill::new(
        folder.path().join("held").into(),
        bounds(file),
        FileQuota::of("test"),
    );
    (ReplayBuffer::new(memory, Some(spill)), folder)
}

fn audio(byte: u8, length: usize) -> Upward {
    Upward::Binary(vec![byte; length].into())
}

fn text(text: &'static str) -> Upward {
    Upward::Text(Bytes::from_static(text.as_bytes()))
}

async fn next(buffer: &mut ReplayBuffer) -> Option<Upward> {
    poll_fn(|cx| {
        buffer.poll_spill(cx);
        buffer.poll_next(cx)
    })
    .await
    .expect("the file can be read")
}

async fn rest(buffer: &mut ReplayBuffer) -> Vec<Upward> {
    let mut read = Vec::new();
    while let Some(message) = next(buffer).await {
        read.push(message);
    }
    assert!(buffer.is_read());
    read
}

/// Waits until everything is in the file that goes into it.
async fn spill(buffer: &mut ReplayBuffer) {
    poll_fn(|cx| {
        buffer.poll_spill(cx);
        match buffer.spill.as_mut().map(|spill| spill.poll(cx)) {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(Some(Done::Written { number, at }))) => {
                buffer.spilled(number, at);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    })
    .await;
}

#[tokio::test]
async fn messages_come_out_as_they_went_in() {
    let (mut buffer, _folder) = replay_buffer(1 << 20, 0);
    let messages = [
        audio(1, 3200),
        text("{}"),
        Upward::Control(Control::Pause),
        audio(2, 0),
        audio(3, SEGMENT * 2),
        Upward::Control(Control::Resume),
        audio(4, 1),
    ];
    messages.iter().for_each(|message| buffer.push(message));
    assert_eq!(rest(&mut buffer).await, messages);
    assert_eq!(buffer.position(), buffer.taken());
    buffer.rewind(0);
    assert_eq!(rest(&mut buffer).await, messages);
}

#[tokio::test]
async fn it_goes_on_in_the_middle_of_a_message() {
    let (mut buffer, _folder) = replay_buffer(1 << 20, 0);
    for message in [text("before"), audio(1, 100), text("behind"), audio(2, 100)] {
        buffer.push(&message);
    }
    rest(&mut buffer).await;
    buffer.rewind(40);
    let behind = [audio(1, 60), text("behind"), audio(2, 100)];
    assert_eq!(rest(&mut buffer).await, behind);
    // Whether a text at this place arrived is not known: it comes again.
    buffer.rewind(100);
    assert_eq!(rest(&mut buffer).await, behind[1..]);
    assert_eq!(buffer.position(), 200);
}

#[tokio::test]
async fn what_is_forgotten_is_gone_and_what_is_not_read_is_kept() {
    let (mut buffer, _folder) = replay_buffer(1 << 20, 0);
    for byte in 0..4 {
        buffer.push(&audio(byte, SEGMENT));
    }
    buffer.forget(u64::MAX);
    assert_eq!(buffer.segments.len(), 4, "nothing was read");
    rest(&mut buffer).await;
    buffer.forget(2 * SEGMENT as u64);
    assert_eq!(buffer.memory, 2 * (SEGMENT + HEADER));
    buffer.rewind(2 * SEGMENT as u64 + 1);
    assert_eq!(
        rest(&mut buffer).await,
        [audio(2, SEGMENT - 1), audio(3, SEGMENT)]
    );
    buffer.forget(4 * SEGMENT as u64);
    assert_eq!((buffer.memory, buffer.segments.len()), (0, 0));
    buffer.push(&audio(9, 7));
    assert_eq!(rest(&mut buffer).await, [audio(9, 7)]);
    assert_eq!(buffer.position(), 4 * SEGMENT as u64 + 7);
}

#[tokio::test]
async fn a_pause_is_not_forgotten_with_the_message_that_began_it() {
    let (mut buffer, _folder) = replay_buffer(1 << 20, 0);
    buffer.push(&Upward::Control(Control::Pause));
    buffer.push(&audio(1, SEGMENT));
    buffer.push(&audio(2, 100));
    rest(&mut buffer).await;
    assert!(!buffer.begins_paused());
    buffer.forget(SEGMENT as u64);
    assert!(buffer.begins_paused());
    buffer.push(&Upward::Control(Control::Resume));
    rest(&mut buffer).await;
    buffer.forget(u64::MAX);
    assert!(!buffer.begins_paused());
}

#[tokio::test]
async fn what_memory_cannot_hold_goes_into_a_file_without_a_name() {
    const MEMORY: usize = 4 * SEGMENT;
    let (mut buffer, folder) = replay_buffer(MEMORY, 1 << 20);
    let mut pushed = Vec::new();
    for byte in 0..20 {
        while !buffer.has_room() {
            spill(&mut buffer).await;
        }
        let message = audio(byte, SEGMENT / 2);
        buffer.push(&message);
        pushed.push(message);
        assert!(buffer.memory <= MEMORY + SEGMENT);
    }
    spill(&mut buffer).await;
    assert!(buffer.memory < MEMORY);
    let held = folder.path().join("held");
    assert_eq!(std::fs::read_dir(held).unwrap().count(), 0);
    for _ in 0..2 {
        assert!(rest(&mut buffer).await == pushed);
        buffer.rewind(0);
    }
    rest(&mut buffer).await;
    buffer.forget(u64::MAX);
    spill(&mut buffer).await;
    assert_eq!(buffer.spill.as_ref().map(Spill::is_empty), Some(true));
}

#[tokio::test]
async fn a_buffer_that_is_full_has_no_room_until_something_is_forgotten() {
    let (mut buffer, _folder) = replay_buffer(2 * SEGMENT, 2 * SEGMENT as u64);
    while buffer.has_room() {
        buffer.push(&audio(0, SEGMENT));
        spill(&mut buffer).await;
        assert!(
            buffer.taken() < 10 * SEGMENT as u64,
            "it takes more than it may"
        );
    }
    let all = rest(&mut buffer).await;
    assert!(!buffer.has_room());
    buffer.forget(buffer.taken());
    assert!(buffer.has_room());
    assert_eq!(all.len() as u64 * SEGMENT as u64, buffer.taken());
}

#[tokio::test]
async fn files_of_all_buffers_have_one_bound_and_what_is_forgotten_makes_room_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let replay_buffer = || {
        let bounds = SpillLimits {
            all: 8 * SEGMENT as u64,
            ..bounds(u64::MAX)
        };
        let spill = Spill::new(folder.path().into(), bounds, FileQuota::of("all buffers"));
        ReplayBuffer::new(2 * SEGMENT, Some(spill))
    };
    let (mut one, mut other) = (replay_buffer(), replay_buffer());
    async fn fill(buffer: &mut ReplayBuffer) -> u64 {
        let before = buffer.taken();
        while buffer.has_room() {
            buffer.push(&audio(0, SEGMENT));
            spill(buffer).await;
            assert!(buffer.taken() < 20 * SEGMENT as u64, "there is no bound");
        }
        (buffer.taken() - before) / SEGMENT as u64
    }
    // Seven segments and what is in front of each are within the bound, and two are in memory.
    assert_eq!(fill(&mut one).await, 9);
    assert_eq!(fill(&mut other).await, 2, "what is in memory alone");
    rest(&mut one).await;
    one.forget(one.taken());
    spill(&mut one).await;
    // The file is closed in the background.
    while FileQuota::of("all buffers").taken() > 0 {
        tokio::task::yield_now().await;
    }
    spill(&mut other).await;
    assert!(fill(&mut other).await > 0, "there is room again");
    drop(other);
    while FileQuota::of("all buffers").taken() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fill(&mut one).await, 9);
}

#[tokio::test]
async fn a_disk_that_is_to_keep_what_is_free_leaves_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = SpillLimits {
        min_free: Watermark(u64::MAX),
        ..bounds(1 << 20)
    };
    let spill_to = Spill::new(folder.path().into(), bounds, FileQuota::of("kept free"));
    let mut buffer = ReplayBuffer::new(2 * SEGMENT, Some(spill_to));
    while buffer.has_room() {
        buffer.push(&audio(1, SEGMENT));
        spill(&mut buffer).await;
    }
    assert_eq!(rest(&mut buffer).await.len(), 2);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_leaves_the_memory() {
    let folder = tempfile::NamedTempFile::new().unwrap();
    let spill_to = Spill::new(
        folder.path().join("held").into(),
        bounds(1 << 20),
        FileQuota::of("no folder"),
    );
    let mut buffer = ReplayBuffer::new(2 * SEGMENT, Some(spill_to));
    let mut pushed = 0;
    while buffer.has_room() {
        buffer.push(&audio(1, SEGMENT));
        pushed += 1;
        spill(&mut buffer).await;
    }
    assert_eq!(rest(&mut buffer).await.len(), pushed);
    assert_eq!(FileQuota::of("no folder").taken(), 0, "nothing was written");
}

/// Against a list of everything that was pushed.
#[tokio::test]
async fn whatever_happens_in_whatever_order_nothing_is_lost() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut buffer, _folder) = replay_buffer(3 * SEGMENT, 20 * SEGMENT as u64);
        let (mut stream, mut got, mut known) = (Vec::new(), 0_usize, 0_usize);
        for _ in 0..60 {
            match random.u8(0..10) {
                0..5 => {
                    let length = random.usize(0..SEGMENT);
                    let chunk: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
                    if buffer.has_room() {
                        stream.extend_from_slice(&chunk);
                        buffer.push(&Upward::Binary(chunk.into()));
                    }
                }
                5..8 => {
                    for _ in 0..random.usize(0..6) {
                        let Some(Upward::Binary(read)) = next(&mut buffer).await else {
                            break;
                        };
                        assert!(stream[got..got + read.len()] == read[..], "seed {seed}");
                        got += read.len();
                    }
                }
                8 => {
                    known = random.usize(known..=got);
                    buffer.forget(known as u64);
                }
                _ => {
                    buffer.rewind(known as u64);
                    got = known;
                }
            }
        }
        while let Some(Upward::Binary(read)) = next(&mut buffer).await {
            assert!(stream[got..got + read.len()] == read[..], "seed {seed}");
            got += read.len();
        }
        assert_eq!(got, stream.len(), "seed {seed}");
    }
}
