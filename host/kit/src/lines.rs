//! Decision records, read one line at a time: a record is as long as its disk lets it be.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom, Take};
use std::iter::Enumerate;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use policy::record::{Line, VERSION};

/// Decisions of one file, in order.
pub struct Lines {
    file: PathBuf,
    /// Text that a line must have to be parsed.
    with: String,
    lines: Enumerate<std::io::Lines<BufReader<Take<File>>>>,
    /// Place of the first line in the file, in bytes.
    from: u64,
    /// Whether the file could not be read any further.
    is_over: bool,
}

/// All that lines of every version have.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("it has the form {0}, and this sluice reads {VERSION}: use the one that wrote it")]
    Version(u32),
    #[error("it is not a decision: {0}")]
    Form(serde_json::Error),
    #[error("it cannot be read: {0}")]
    Disk(std::io::Error),
}

impl Lines {
    /// Decisions in this file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(file: &Path) -> anyhow::Result<Self> {
        Self::within(file, 0..u64::MAX)
    }

    /// Decisions whose lines begin in this part of the file, where a line begins.
    ///
    /// # Errors
    /// As [`Lines::of`].
    pub fn within(file: &Path, part: Range<u64>) -> anyhow::Result<Self> {
        let opened = File::open(file).and_then(|mut opened| {
            opened.seek(SeekFrom::Start(part.start))?;
            Ok(opened.take(part.end.saturating_sub(part.start)))
        });
        let opened = opened.with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(Self {
            file: file.to_owned(),
            with: String::new(),
            lines: BufReader::new(opened).lines().enumerate(),
            from: part.start,
            is_over: false,
        })
    }

    /// Only decisions whose line has this text. The others are not parsed, which takes longer than
    /// to read them.
    #[must_use]
    pub fn with(self, text: String) -> Self {
        Self { with: text, ..self }
    }
}

impl Iterator for Lines {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let with = &self.with;
        let lines = self.lines.by_ref();
        let (before, text) = lines.find(|(_, text)| {
            let text = text.as_ref();
            text.map_or(true, |text| text.contains(with))
        })?;
        let failed = text.as_ref().map_err(std::io::Error::kind).err();
        // Behind a line that is no text there may be others; a disk says the same each time.
        self.is_over = failed.is_some_and(|kind| kind != ErrorKind::InvalidData);
        let line = text.map_err(LineError::Disk).and_then(|text| read(&text));
        let number = before + 1;
        Some(line.with_context(|| match self.from {
            0 => format!("{}:{number}", self.file.display()),
            from => format!("{}, line {number} from byte {from} on", self.file.display()),
        }))
    }
}

fn read(text: &str) -> Result<Line, LineError> {
    let Versioned { v } = serde_json::from_str(text).map_err(LineError::Form)?;
    if v != VERSION {
        return Err(LineError::Version(v));
    }
    serde_json::from_str(text).map_err(LineError::Form)
}
