//! What a process leaves behind that is killed, or that has no more space.
//!
//! Both need a process of their own: this test binary, told to run one test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::task::Poll;

use super::*;
use crate::testing;

const FOLDER: &str = "SLUICE_TEST_RECORDINGS";

async fn open(folder: &Path) -> Box<dyn Link> {
    by_meeting(folder.to_owned())
        .open(stream_info("m1"))
        .await
        .expect("open")
}

#[derive(Clone, Copy)]
enum Space {
    Free,
    Full,
}

fn child(test: &str, space: Space, folder: &Path) -> Command {
    let limit = match space {
        Space::Free => "",
        // 64 KiB a file, and an error instead of a signal past it.
        Space::Full => "trap '' XFSZ; ulimit -f 128; ",
    };
    // A shell sets the limit, because it needs no unsafe code.
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{limit}exec \"$0\" --exact \"$1\" --nocapture"))
        .arg(std::env::current_exe().expect("this binary"))
        .arg(format!("wav::tests::crash::{test}"))
        .env(FOLDER, folder)
        .stdout(Stdio::piped());
    command
}

fn recorded(folder: &Path) -> Vec<u8> {
    let [file] = &files(folder)[..] else {
        panic!("one file")
    };
    let path = folder.join(file);
    let reader = hound::WavReader::open(&path).expect("a readable file");
    let audio: Vec<u8> = reader
        .into_samples::<i16>()
        .flat_map(|sample| sample.expect("sample").to_le_bytes())
        .collect();
    assert!(
        audio == testing::audio(0..audio.len() as u64),
        "not what was sent"
    );
    audio
}

/// Killed at whatever it is doing, right after it took its last message.
#[test]
fn a_killed_process_loses_less_than_a_second_of_what_it_took() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return send_for_ever(Path::new(&folder));
    }
    for stop in [40_000, 500_000, 3_000_000] {
        let folder = tempfile::tempdir().expect("folder");
        let mut child = child(
            "a_killed_process_loses_less_than_a_second_of_what_it_took",
            Space::Free,
            folder.path(),
        )
        .spawn()
        .expect("child");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut taken = 0;
        for line in lines {
            let Some(position) = line
                .expect("line")
                .strip_prefix("taken ")
                .and_then(|text| text.parse().ok())
            else {
                continue;
            };
            taken = position;
            if taken >= stop {
                child.kill().expect("kill");
            }
        }
        assert!(!child.wait().expect("wait").success());
        assert!(taken >= stop, "the child ended by itself after {taken}");
        let kept = recorded(folder.path()).len();
        assert!(
            kept <= taken + 3200 && kept + 32_000 >= taken,
            "{kept} of {taken} bytes were kept"
        );
    }
}

#[tokio::main]
async fn send_for_ever(folder: &Path) {
    let mut link = open(folder).await;
    let mut position = 0;
    // An end all the same, for the day when nobody kills it.
    while position < 64 << 20 {
        let message = testing::audio(position..position + 3200);
        send(&mut *link, &message).await.expect("send");
        position += 3200;
        writeln!(std::io::stdout(), "taken {position}").expect("stdout");
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_written() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return send_until_full(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("folder");
    let output = child(
        "a_full_disk_loses_nothing_that_was_written",
        Space::Full,
        folder.path(),
    )
    .output()
    .expect("child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("lost: recording failed: file size limit reached"),
        "{text}"
    );
    assert_eq!(
        recorded(folder.path()).len(),
        65_536 - 44,
        "what fits is kept"
    );
}

#[tokio::main]
async fn send_until_full(folder: &Path) {
    let mut link = open(folder).await;
    let mut position = 0;
    let lost = loop {
        let message = testing::audio(position..position + 3200);
        if let Err(lost) = send(&mut *link, &message).await {
            break lost;
        }
        position += 3200;
        assert!(position < 1 << 20, "the limit was never reached");
    };
    let again = std::future::poll_fn(|cx| match link.poll_event(cx) {
        Poll::Ready(result) => Poll::Ready(result.expect_err("still lost")),
        Poll::Pending => panic!("a lost link says so at every poll"),
    });
    assert_eq!(again.await.public, lost.public);
    assert!(format!("{:#}", lost.detail).contains("File too large"));
    link.seal(testing::cut())
        .await
        .expect_err("not all was kept");
    writeln!(std::io::stdout(), "lost: {lost}").expect("stdout");
}
