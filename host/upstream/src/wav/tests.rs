use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::track::ATTEMPTS;
use super::*;
use crate::testing::{audio, handshake, send, stream_info};
use crate::{Sealed, StreamEnd};

mod crash;

/// One folder for each meeting.
fn by_meeting(folder: PathBuf) -> Wav {
    Wav::new(folder).laid_out(&Layout::parse("{meeting}").expect("a layout"))
}

/// The files under a folder, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for meeting in std::fs::read_dir(folder).expect("folder") {
        let meeting = meeting.expect("entry").path();
        for file in std::fs::read_dir(&meeting).expect("meeting") {
            let file = file.expect("entry").path();
            found.push(file.strip_prefix(folder).expect("inside").to_owned());
        }
    }
    found
}

#[tokio::test]
async fn a_stream_becomes_a_file_that_a_person_finds() {
    let root = tempfile::tempdir().expect("folder");
    let wav = by_meeting(root.path().join("recordings"));
    wav.create_folder().expect("create");
    wav.create_folder().expect("create what exists");
    let mut link = wav.open(stream_info("../../m1")).await.expect("open");
    let sent = audio(0..672_000);
    for message in sent.chunks(3200) {
        send(&mut *link, message).await.expect("send");
    }
    let sealed = link.seal(StreamEnd::Complete).await.expect("seal");
    assert_eq!(sealed, Sealed { bytes: 672_000 });

    let [file] = &files(&wav.folder)[..] else {
        panic!("one file")
    };
    let name = file.to_str().expect("text");
    assert!(
        name.starts_with("%2E.%2F..%2Fm1/20") && name.ends_with("Z-mic-9f1e6a1b7c5f.wav"),
        "{name}"
    );
    let file = wav.folder.join(file);
    assert_eq!(
        file.metadata().expect("metadata").mode() & 0o027,
        0,
        "not for others, nor for the group to write"
    );
    let samples: Vec<u8> = hound::WavReader::open(&file)
        .expect("a readable file")
        .samples::<i16>()
        .flat_map(|sample| sample.expect("sample").to_le_bytes())
        .collect();
    assert!(samples == sent);
    assert_eq!(std::fs::read_dir(root.path()).expect("root").count(), 1);
}

#[test]
fn a_stream_without_audio_leaves_nothing() {
    let root = tempfile::tempdir().expect("folder");
    let wav = by_meeting(root.path().to_owned());
    // Its own threads wait for the disk, and end with it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let link = wav.open(stream_info("m1")).await.expect("open");
        assert_eq!(files(root.path()).len(), 1);
        assert_eq!(
            link.seal(StreamEnd::Complete).await.expect("seal"),
            Sealed { bytes: 0 }
        );
    });
    // What lets go of the file has come to its end.
    drop(runtime);
    assert_eq!(std::fs::read_dir(root.path()).expect("root").count(), 0);
}

#[test]
fn an_open_that_is_given_up_leaves_nothing() {
    let root = tempfile::tempdir().expect("folder");
    let wav = Wav::new(root.path().to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let mut opening = wav.open(stream_info("m1"));
        assert!(futures_util::poll!(&mut opening).is_pending());
        drop(opening);
        // There is one thread, so that this comes after.
        tokio::task::spawn_blocking(|| {})
            .await
            .expect("the next in turn");
    });
    // What the thread has left is done, or called off and done here.
    drop(runtime);
    assert_eq!(std::fs::read_dir(root.path()).expect("root").count(), 0);
}

#[test]
fn folders_are_made_as_deep_as_they_go_and_removed_where_nothing_is_left_in_them() {
    let root = tempfile::tempdir().expect("folder");
    let layout = Layout::parse("calls/{tenant}/{source}/{meeting}").expect("a layout");
    let wav = Wav::new(root.path().to_owned()).laid_out(&layout);
    let below = |path: &str| root.path().join("calls/%none/mic").join(path);
    // Its own threads wait for the disk, and end with it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let mut kept = wav.open(stream_info("m1")).await.expect("open");
        send(&mut *kept, &[1; 640]).await.expect("send");
        kept.seal(StreamEnd::Complete).await.expect("seal");
        let empty = wav.open(stream_info("m2")).await.expect("open");
        assert_eq!(std::fs::read_dir(below("m2")).expect("m2").count(), 1);
        empty.seal(StreamEnd::Complete).await.expect("seal");
    });
    // What lets go of the files has come to its end.
    drop(runtime);
    assert!(!below("m2").exists());
    assert_eq!(std::fs::read_dir(below("m1")).expect("m1").count(), 1);
}

#[test]
fn a_folder_that_vanishes_while_a_stream_opens_is_made_again() {
    let root = tempfile::tempdir().expect("folder");
    let folder = root.path().join("t1");
    let path = folder.join("m1/a.wav");
    let format = Format::of(&handshake("pcm_s16le", 16_000, 1)).expect("format");
    let given_up = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Fewer times than a file is tried for, so that however the two are
        // scheduled each file is made: one removal of both may fail it twice.
        let remover = scope.spawn(|| {
            for _ in 1..ATTEMPTS / 2 {
                while std::fs::remove_dir(folder.join("m1")).is_err() {
                    if given_up.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::yield_now();
                }
            }
        });
        let created = std::iter::repeat_with(|| Track::create(root.path(), path.clone(), format))
            .take_while(|_| !remover.is_finished())
            .try_for_each(|track| track.map(drop));
        given_up.store(true, Ordering::Relaxed);
        created.expect("created");
    });
}

#[tokio::test]
async fn a_file_is_never_overwritten() {
    let root = tempfile::tempdir().expect("folder");
    let path = root.path().join("m1/a.wav");
    let format = Format::of(&handshake("pcm_s16le", 16_000, 1)).expect("format");
    std::fs::create_dir(root.path().join("m1")).expect("folder");
    std::fs::write(&path, b"precious").expect("file");
    let refused = Track::create(root.path(), path.clone(), format).expect_err("refused");
    assert_eq!(
        refused.open_error().to_string(),
        "recording is not possible"
    );
    assert_eq!(std::fs::read(path).expect("file"), b"precious");
}

#[tokio::test]
async fn a_stream_that_cannot_be_recorded_is_refused_in_words_without_paths() {
    async fn refusal(folder: &Path, stream: StreamInfo) -> (String, String) {
        let error = by_meeting(folder.to_owned())
            .open(stream)
            .await
            .expect_err("refused");
        let OpenError::Unavailable { public, detail } = error else {
            panic!("{error:?}");
        };
        (public, format!("{detail:#}"))
    }
    let root = tempfile::tempdir().expect("folder");
    let file = root.path().join("file");
    std::fs::write(&file, b"").expect("file");
    symlink("/tmp", root.path().join("elsewhere")).expect("symlink");

    let mut folders = vec![
        (
            root.path().join("missing"),
            "m1",
            "recording is not possible: folder is missing",
        ),
        (
            file,
            "m1",
            "recording is not possible: folder is not a folder",
        ),
        (
            root.path().to_owned(),
            "elsewhere",
            "recording is not possible: folder is not a folder",
        ),
    ];
    if cfg!(target_os = "linux") {
        // Refused to root as well.
        folders.push((
            "/sys".into(),
            "m1",
            "recording is not possible: folder is not writable",
        ));
    }
    for (folder, meeting, expected) in folders {
        let (public, detail) = refusal(&folder, stream_info(meeting)).await;
        assert_eq!(public, expected);
        let path = folder.join(meeting);
        assert!(
            detail.starts_with(&format!("cannot write {}/20", path.display())),
            "{detail}"
        );
        assert!(detail.contains(".wav: "), "{detail} does not say why");
    }

    let mut stream = stream_info("m1");
    stream.handshake = Some(handshake("opus", 48_000, 2));
    let (public, _) = refusal(root.path(), stream.clone()).await;
    assert_eq!(public, "codec \"opus\" cannot be recorded as WAV");
    stream.handshake = None;
    let (public, detail) = refusal(root.path(), stream).await;
    assert_eq!(public, "recording is not possible without a handshake");
    assert!(detail.contains("handshake = \"ingest.v1\""), "{detail}");
}
