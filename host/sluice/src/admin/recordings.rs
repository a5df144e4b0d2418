//! Recordings: a list of them, their audio, and their deletion. Whoever hears them needs the token
//! of those who operate.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::json;
use super::{Admin, Requester, range};
use crate::audit::Change;
use crate::schema::{Recording, RecordingDeleted, Recordings};
use base::blocking::BlockingPool;
use upstream::wav::stored::{self, DeleteError};

/// Maximum number of recordings in one answer.
const MOST: usize = 100;
/// Bytes that are read at once.
const PART: usize = 64 * 1024;

/// Which recordings are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Words that must all be in the path.
    search: Option<String>,
}

/// The newest recordings of the current generation's folders.
pub(super) async fn list(State(admin): State<Admin>, Query(wanted): Query<Wanted>) -> Response {
    let Some(_place) = place(&admin) else {
        return busy();
    };
    let search = wanted.search.unwrap_or_default().to_lowercase();
    let mut all = Recordings::default();
    for folder in folders(&admin) {
        let words: Vec<_> = search.split_whitespace().map(str::to_owned).collect();
        let listing = BlockingPool::of_recordings(&folder).run(move || {
            stored::newest(&folder, MOST, |path| {
                let path = path.to_lowercase();
                words.iter().all(|word| path.contains(word))
            })
        });
        let (matching, newest) = match listing.await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => return failed(&format!("a folder of recordings: {error}")),
            Err(error) => return failed(&error.to_string()),
        };
        all.matching += matching;
        all.recordings.extend(newest.iter().map(|recording| {
            let written = recording.written.duration_since(UNIX_EPOCH);
            let written = written.unwrap_or_default().as_millis();
            Recording::of(recording, u64::try_from(written).unwrap_or(u64::MAX))
        }));
    }
    all.recordings
        .sort_by(|one, two| two.written.cmp(&one.written));
    all.recordings.truncate(MOST);
    json(all)
}

/// The file of a recording as long as it is now, or a part of it.
pub(super) async fn audio(
    State(admin): State<Admin>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(place) = place(&admin) else {
        return busy();
    };
    for folder in folders(&admin) {
        let pool = BlockingPool::of_recordings(&folder);
        let path = path.clone();
        let headers = headers.clone();
        let opening = pool.run(move || {
            let file = stored::open(&folder, &path)?;
            file.map(|file| opened(file, &headers)).transpose()
        });
        match opening.await.map_err(std::io::Error::other).flatten() {
            Ok(Some(opened)) => return sent(opened, pool, place),
            Ok(None) => {}
            Err(error) => return failed(&error.to_string()),
        }
    }
    missing()
}

/// Deletes a recording.
pub(super) async fn delete(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Path(path): Path<String>,
) -> Response {
    let mut deleted = Err(DeleteError::NotFound);
    for folder in folders(&admin) {
        let pool = BlockingPool::of_recordings(&folder);
        let path = path.clone();
        let deleting = pool.run(move || stored::delete(&folder, &path));
        deleted = match deleting.await {
            Ok(deleted) => deleted,
            Err(error) => Err(DeleteError::Disk(std::io::Error::other(error))),
        };
        if !matches!(deleted, Err(DeleteError::NotFound)) {
            break;
        }
    }
    let result = match &deleted {
        Ok(()) => "deleted".to_owned(),
        Err(error) => error.to_string(),
    };
    let change = Change {
        by,
        action: "delete",
        to: &format!("recording {path}"),
        reason: "",
        result: &result,
    };
    change.log();
    match deleted {
        Ok(()) => json(RecordingDeleted { deleted: path }),
        Err(DeleteError::NotFound) => missing(),
        Err(DeleteError::Live) => (StatusCode::CONFLICT, format!("{result}\n")).into_response(),
        Err(DeleteError::Disk(_)) => failed(&result),
    }
}

fn folders(admin: &Admin) -> BTreeSet<PathBuf> {
    admin.gateway.generation.load().folders.clone()
}

fn place(admin: &Admin) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&admin.readers).try_acquire_owned().ok()
}

fn busy() -> Response {
    let sentence = "too many recordings are being read: try again in a moment\n";
    (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response()
}

fn missing() -> Response {
    let sentence = "no recording has this path; GET /recordings lists them\n";
    (StatusCode::NOT_FOUND, sentence).into_response()
}

fn failed(why: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response()
}

/// A file of which something is sent, from where that begins.
struct Opened {
    file: File,
    bytes: u64,
    wanted: range::Wanted,
}

/// Goes to the beginning of what is asked for. Blocks.
fn opened(mut file: File, headers: &HeaderMap) -> std::io::Result<Opened> {
    let bytes = file.metadata()?.len();
    let wanted = range::Wanted::of(headers, bytes);
    if let range::Wanted::Part(range) = &wanted {
        file.seek(SeekFrom::Start(*range.start()))?;
    }
    Ok(Opened {
        file,
        bytes,
        wanted,
    })
}

/// Sends a file or a part of it, bit by bit as the peer takes it.
fn sent(opened: Opened, pool: &'static BlockingPool, place: OwnedSemaphorePermit) -> Response {
    let Opened {
        file,
        bytes: whole,
        wanted,
    } = opened;
    let (status, bytes, range) = match wanted {
        range::Wanted::Whole => (StatusCode::OK, whole, None),
        range::Wanted::Part(range) => {
            let (first, last) = range.into_inner();
            let range = format!("bytes {first}-{last}/{whole}");
            (StatusCode::PARTIAL_CONTENT, last - first + 1, Some(range))
        }
        range::Wanted::Nothing => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{whole}"))];
            let sentence = "the recording has no such bytes\n";
            return (StatusCode::RANGE_NOT_SATISFIABLE, range, sentence).into_response();
        }
    };
    let parts = stream::try_unfold(
        (file, bytes, place),
        move |(file, left, place)| async move {
            if left == 0 {
                return Ok(None);
            }
            let reading = pool.run(move || part(file, left));
            let (file, part) = reading.await.map_err(std::io::Error::other)??;
            let left = left - part.len() as u64;
            Ok::<_, std::io::Error>(Some((Bytes::from(part), (file, left, place))))
        },
    );
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("audio/wav")),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes)),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        ),
    ];
    let range = range.map(|range| [(header::CONTENT_RANGE, range)]);
    let accepts = [(header::ACCEPT_RANGES, "bytes")];
    let body = Body::from_stream(parts);
    match range {
        Some(range) => (status, headers, accepts, range, body).into_response(),
        None => (status, headers, accepts, body).into_response(),
    }
}

/// The next part of a file, at most `left` bytes. Blocks.
fn part(mut file: File, left: u64) -> std::io::Result<(File, Vec<u8>)> {
    let mut part = vec![0; PART.min(usize::try_from(left).unwrap_or(PART))];
    let read = file.read(&mut part)?;
    if read == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    part.truncate(read);
    Ok((file, part))
}
