use std::path::PathBuf;
use std::sync::{Mutex, mpsc};

use tokio::runtime::{Builder, Runtime};
use tokio::time::advance;

use super::super::format::{Format, HEADER};
use super::super::track::Track;
use super::*;
use crate::testing::{audio, cut, handshake, send};

struct Bench {
    recording: Box<RecordingLink>,
    path: PathBuf,
    folder: tempfile::TempDir,
}

fn bench(codec: &str, sample_rate: u32, channels: u16) -> Bench {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("m1/a.wav");
    let format = Format::of(&handshake(codec, sample_rate, channels)).expect("format");
    let track = Track::create(folder.path(), path.clone(), format).expect("track");
    let pool = BlockingPool::of_recordings(folder.path());
    let file = Kept::new(pool, SharedTrack::new(track));
    Bench {
        recording: Box::new(RecordingLink::new(file, 0, pool, Receipts::None)),
        path,
        folder,
    }
}

impl Bench {
    /// Lets the writes that are due now come to their end.
    async fn rest(&mut self) -> Result<(), Lost> {
        poll_fn(
            |cx| match (self.recording.drive(cx), &self.recording.writer) {
                (Ok(()), Writer::Writing { .. }) => Poll::Pending,
                (result, _) => Poll::Ready(result),
            },
        )
        .await
    }

    fn poll_event(&mut self) {
        assert!(
            self.recording
                .poll_event(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }

    fn is_ready(&mut self) -> bool {
        match self
            .recording
            .poll_ready(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(lost)) => panic!("{lost:?}"),
            Poll::Pending => false,
        }
    }

    /// What an independent reader makes of the file: samples, and bytes of audio.
    fn read(&self) -> (hound::WavSpec, Vec<u8>) {
        let mut reader = hound::WavReader::open(&self.path).expect("a readable file");
        let spec = reader.spec();
        let width = usize::from(spec.bits_per_sample / 8);
        let audio = match spec.sample_format {
            hound::SampleFormat::Float => reader
                .samples::<f32>()
                .flat_map(|s| s.expect("sample").to_le_bytes())
                .collect(),
            hound::SampleFormat::Int => reader
                .samples::<i32>()
                .flat_map(|sample| {
                    // Eight bits are unsigned in a file, and signed in hound.
                    let sample = sample.expect("sample") + if width == 1 { 128 } else { 0 };
                    sample.to_le_bytes().into_iter().take(width)
                })
                .collect(),
        };
        (spec, audio)
    }
}

#[tokio::test]
async fn after_every_write_the_file_is_whole_and_a_prefix_of_what_was_sent() {
    for (codec, rate, channels) in [
        ("pcm_u8", 8000, 1),
        ("pcm_s16le", 16_000, 1),
        ("pcm_s16le", 48_000, 2),
        ("pcm_s24le", 16_000, 1),
        ("pcm_s32le", 16_000, 1),
        ("pcm_f32le", 44_100, 2),
    ] {
        let mut bench = bench(codec, rate, channels);
        let frame = usize::from(handshake(codec, rate, channels).sample_width() * channels);
        let sent = audio(0..300_003);
        let (mut done, mut on_disk, mut writes) = (0, 0, 0);
        for message in sent.chunks(997) {
            send(&mut *bench.recording, message).await.expect("send");
            done += message.len();
            bench.rest().await.expect("rest");
            if done - bench.recording.gathered.len() == on_disk {
                continue;
            }
            on_disk = done - bench.recording.gathered.len();
            writes += 1;
            let (spec, read) = bench.read();
            assert_eq!((spec.channels, spec.sample_rate), (channels, rate));
            assert!(
                read == sent[..on_disk / frame * frame],
                "{codec}: not what was sent up to {on_disk}"
            );
        }
        assert!(writes > 2, "{codec}: only {writes} writes were seen");
        let sealed = bench
            .recording
            .seal(StreamEnd::Complete)
            .await
            .expect("seal");
        assert_eq!(sealed.bytes, 300_003);
        let file = std::fs::read(bench.path).expect("file");
        let start = HEADER;
        assert!(file[start..][..sent.len()] == sent, "{codec}");
        assert_eq!(file[start + sent.len()..], [0], "{codec}: one byte of pad");
    }
}

#[tokio::test(start_paused = true)]
async fn audio_that_trickles_is_written_when_it_is_half_a_second_old() {
    let mut bench = bench("pcm_s16le", 16_000, 1);
    send(&mut *bench.recording, &[1; 640]).await.expect("send");
    bench.poll_event();
    advance(Duration::from_millis(300)).await;
    send(&mut *bench.recording, &[1; 640]).await.expect("send");
    advance(Duration::from_millis(199)).await;
    bench.rest().await.expect("rest");
    assert_eq!(bench.read().1.len(), 0);
    advance(Duration::from_millis(1)).await;
    bench.rest().await.expect("rest");
    assert_eq!(bench.read().1.len(), 1280);
}

#[tokio::test(start_paused = true)]
async fn whoever_only_waits_for_events_is_woken_to_write() {
    let mut bench = bench("pcm_s16le", 16_000, 1);
    let recording = Arc::new(Mutex::new(bench.recording));
    let shared = Arc::clone(&recording);
    let watcher = tokio::spawn(poll_fn(move |cx| {
        shared.lock().expect("lock").poll_event(cx)
    }));
    tokio::task::yield_now().await;
    recording
        .lock()
        .expect("lock")
        .start_send(Upward::Binary(vec![1; 640].into()));
    // The clock moves by itself once nothing can run, but not past a write.
    tokio::time::sleep(MAX_AGE + Duration::from_millis(1)).await;
    watcher.abort();
    let _ = watcher.await;
    let recording = Arc::into_inner(recording).expect("the only owner");
    bench.recording = recording.into_inner().expect("lock");
    // Not a poll of the link: that would see by itself that it is time.
    poll_fn(|cx| bench.recording.poll_writer(cx)).await;
    assert_eq!(bench.read().1.len(), 640);
}

#[tokio::test]
async fn a_silent_stream_holds_no_buffer_and_no_timer() {
    let mut bench = bench("pcm_s16le", 16_000, 1);
    assert_eq!(bench.recording.gathered.capacity(), 0);
    send(&mut *bench.recording, &[1; 16_000])
        .await
        .expect("send");
    assert!(bench.recording.due.is_some());
    bench.rest().await.expect("rest");
    assert_eq!(bench.recording.gathered.capacity(), 0);
    assert!(bench.recording.due.is_none());
}

/// Runtime whose disk does not answer until it is released.
struct Stalled {
    runtime: Runtime,
    release: mpsc::Sender<()>,
    stopped: mpsc::Receiver<()>,
}

fn stalled() -> Stalled {
    let (stop, stopped) = mpsc::channel();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .on_thread_stop(move || stop.send(()).unwrap_or_default())
        .build()
        .expect("runtime");
    let (release, stall) = mpsc::channel();
    runtime.spawn_blocking(move || stall.recv());
    Stalled {
        runtime,
        release,
        stopped,
    }
}

fn fill(bench: &mut Bench, sent: &[u8], message: usize) -> usize {
    let mut messages = sent.chunks(message);
    let mut taken = 0;
    while bench.is_ready() {
        let message = messages.next().expect("the link takes no end of audio");
        bench
            .recording
            .start_send(Upward::Binary(message.to_vec().into()));
        taken += message.len();
    }
    taken
}

#[test]
fn a_slow_disk_holds_the_client_back_before_a_second_is_in_memory() {
    let Stalled {
        runtime, release, ..
    } = stalled();
    runtime.block_on(async {
        let mut bench = bench("pcm_s16le", 16_000, 1);
        let sent = audio(0..200_000);
        let taken = fill(&mut bench, &sent, 4096);
        assert!(
            (24_000..32_000).contains(&taken),
            "{taken} bytes are in memory"
        );
        drop(release);
        poll_fn(|cx| bench.recording.poll_ready(cx))
            .await
            .expect("ready");
        bench.recording.seal(cut()).await.expect("seal");
        assert!(std::fs::read(bench.path).expect("file")[HEADER..] == sent[..taken]);
    });
}

/// State of the process when it went down.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Down {
    WriteQueued,
    Written,
    SealQueued,
}

#[test]
fn a_link_that_is_dropped_keeps_its_audio_in_order_however_far_its_writer_got() {
    let sent = audio(0..200_000);
    for down in [Down::WriteQueued, Down::Written, Down::SealQueued] {
        let Stalled {
            runtime,
            release,
            stopped,
        } = stalled();
        let (path, taken, folder) = runtime.block_on(async {
            let mut bench = bench("pcm_s16le", 16_000, 1);
            let taken = fill(&mut bench, &sent, 4096);
            assert!(taken > 16_000 && !bench.recording.gathered.is_empty());
            if down == Down::Written {
                release.send(()).expect("stalled");
                tokio::task::spawn_blocking(|| {})
                    .await
                    .expect("the next in turn");
            }
            if down == Down::SealQueued {
                // As if the write had been done: its seal is what waits now.
                bench.recording.writer = Writer::Idle;
                let mut sealing = bench.recording.seal(cut());
                assert!(futures_util::poll!(&mut sealing).is_pending());
            }
            (bench.path, taken, bench.folder)
        });
        // From here on, what is queued is called off.
        runtime.shutdown_background();
        drop(release);
        stopped.recv().expect("the disk's thread ends");
        let file = std::fs::read(path).expect("file");
        assert!(file[HEADER..] == sent[..taken], "{down:?} in {folder:?}");
    }
}

#[tokio::test]
async fn a_recording_ends_before_it_overflows_its_header() {
    let mut bench = bench("pcm_s16le", 16_000, 1);
    bench.recording.limit = 1000;
    send(&mut *bench.recording, &[1; 640]).await.expect("send");
    send(&mut *bench.recording, &[2; 640])
        .await
        .expect("taken before it is looked at");
    let lost = send(&mut *bench.recording, &[3; 100])
        .await
        .expect_err("lost");
    assert_eq!(lost.public, "recording reached the 4 GiB limit of WAV");
    let lost = bench
        .recording
        .seal(cut())
        .await
        .expect_err("some of it was not kept");
    assert_eq!(lost.public, "recording reached the 4 GiB limit of WAV");
    assert!(std::fs::read(bench.path).expect("file")[HEADER..] == [1; 640]);
}
