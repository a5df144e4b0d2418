//! Real events, of every way in which files are replaced: three times each, with nothing that polls.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::events::{Coverage, Events};

/// How long an event may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A way to bring the next content to a file.
struct Way {
    name: &'static str,
    /// The file that the configuration names, below the folder.
    file: &'static str,
    put: fn(folder: &Path, version: u32),
}

fn write(path: &Path, content: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content.to_string()).unwrap();
}

/// A link that is replaced in one step.
fn point(link: &Path, target: &Path) {
    let aside = link.with_file_name("a new link");
    symlink(target, &aside).unwrap();
    std::fs::rename(aside, link).unwrap();
}

const WAYS: [Way; 9] = [
    Way {
        name: "edited in place",
        file: "a",
        put: |folder, version| write(&folder.join("a"), version),
    },
    Way {
        name: "written and renamed",
        file: "a",
        put: |folder, version| {
            write(&folder.join("a.new"), version);
            std::fs::rename(folder.join("a.new"), folder.join("a")).unwrap();
        },
    },
    Way {
        name: "removed and written",
        file: "a",
        put: |folder, version| {
            let _ = std::fs::remove_file(folder.join("a"));
            write(&folder.join("a"), version);
        },
    },
    Way {
        name: "a ConfigMap",
        file: "a",
        put: |folder, version| {
            let new = format!("..{version}");
            write(&folder.join(&new).join("a"), version);
            point(&folder.join("..data"), Path::new(&new));
            if version == 0 {
                symlink("..data/a", folder.join("a")).unwrap();
            } else {
                std::fs::remove_dir_all(folder.join(format!("..{}", version - 1))).unwrap();
            }
        },
    },
    Way {
        name: "current -> releases/N",
        file: "current/conf/a",
        put: |folder, version| {
            let release = format!("releases/{version}");
            write(&folder.join(&release).join("conf/a"), version);
            point(&folder.join("current"), &folder.join(&release));
        },
    },
    Way {
        name: "a link that is removed and made again",
        file: "current/a",
        put: |folder, version| {
            let release = folder.join(format!("releases/{version}"));
            write(&release.join("a"), version);
            let _ = std::fs::remove_file(folder.join("current"));
            symlink(&release, folder.join("current")).unwrap();
        },
    },
    Way {
        name: "git-sync",
        file: "root/link/conf/a",
        put: |folder, version| {
            let tree = format!(".worktrees/{version}");
            write(&folder.join("root").join(&tree).join("conf/a"), version);
            point(&folder.join("root/link"), Path::new(&tree));
            if version > 0 {
                let old = format!("root/.worktrees/{}", version - 1);
                std::fs::remove_dir_all(folder.join(old)).unwrap();
            }
        },
    },
    Way {
        name: "a folder that is replaced by one of its name",
        file: "conf/deep/a",
        put: |folder, version| {
            write(&folder.join("conf.new/deep/a"), version);
            let _ = std::fs::remove_dir_all(folder.join("conf.old"));
            let _ = std::fs::rename(folder.join("conf"), folder.join("conf.old"));
            std::fs::rename(folder.join("conf.new"), folder.join("conf")).unwrap();
        },
    },
    Way {
        name: "a folder that goes and comes again",
        file: "conf/deep/a",
        put: |folder, version| {
            let _ = std::fs::remove_dir_all(folder.join("conf"));
            write(&folder.join("conf/deep/a"), version);
        },
    },
];

fn real() -> (Events, Arc<Notify>) {
    let changed = Arc::new(Notify::new());
    let events = Events::new(notify::recommended_watcher, Arc::clone(&changed));
    (events, changed)
}

#[tokio::test]
async fn every_way_to_replace_a_file_has_an_event_each_time() {
    for way in WAYS {
        for starts_with_the_file in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(way.file);
            let files: BTreeSet<PathBuf> = [file.clone()].into();
            let (mut events, changed) = real();
            let first = u32::from(starts_with_the_file);
            if starts_with_the_file {
                (way.put)(folder.path(), 0);
            }
            for version in first..first + 3 {
                assert_eq!(events.arm(&files), Coverage::Events, "{}", way.name);
                let event = changed.notified();
                (way.put)(folder.path(), version);
                let came = timeout(LIMIT, event).await;
                assert!(came.is_ok(), "{}, version {version}", way.name);
                // As the watch does: until there is no more to come.
                loop {
                    events.arm(&files);
                    let more = timeout(Duration::from_millis(50), changed.notified()).await;
                    let content = std::fs::read_to_string(&file).unwrap_or_default();
                    if more.is_err() && content == version.to_string() {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_folder_that_comes_part_by_part_is_followed_to_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("later/keys/a");
    let files: BTreeSet<PathBuf> = [file.clone()].into();
    let (mut events, changed) = real();
    let steps: [fn(&Path); 4] = [
        |folder| std::fs::create_dir(folder.join("later")).unwrap(),
        |folder| std::fs::create_dir(folder.join("later/keys")).unwrap(),
        |folder| write(&folder.join("later/keys/a"), 1),
        |folder| write(&folder.join("later/keys/a"), 2),
    ];
    for (number, step) in steps.into_iter().enumerate() {
        events.arm(&files);
        let event = changed.notified();
        step(folder.path());
        assert!(timeout(LIMIT, event).await.is_ok(), "step {number}");
        while timeout(Duration::from_millis(50), changed.notified())
            .await
            .is_ok()
        {}
    }
}

#[tokio::test]
async fn what_others_do_beside_the_files_and_reading_them_is_no_event() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a"), 1);
    let files: BTreeSet<PathBuf> = [folder.path().join("a")].into();
    let (mut events, changed) = real();
    events.arm(&files);
    while timeout(Duration::from_millis(50), changed.notified())
        .await
        .is_ok()
    {}
    write(&folder.path().join("b"), 1);
    std::fs::read(folder.path().join("a")).unwrap();
    events.arm(&files);
    // What comes last comes after everything before it.
    let event = changed.notified();
    let quiet = timeout(Duration::from_millis(200), event).await;
    assert!(
        quiet.is_err(),
        "somebody else's file was taken for one of ours"
    );
    let event = changed.notified();
    write(&folder.path().join("a"), 2);
    assert!(timeout(LIMIT, event).await.is_ok());
}

#[test]
fn where_there_are_no_events_that_is_said_and_tried_again() {
    let changed = Arc::new(Notify::new());
    let none = |_| Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
    let mut events = Events::new(none, changed);
    for _ in 0..2 {
        let coverage = events.arm(&[PathBuf::from("/etc/hostname")].into());
        assert!(matches!(coverage, Coverage::Gaps { .. }), "{coverage:?}");
    }
}
