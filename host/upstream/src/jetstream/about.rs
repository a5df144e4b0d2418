//! What a stream is, for its readers: JSON in ASCII, because it is a header.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use session::handshake::Handshake;

use crate::link::StreamInfo;

/// What readers are told of a stream.
#[derive(Serialize)]
struct About<'a> {
    session_id: &'a str,
    route: &'a str,
    params: BTreeMap<&'a str, &'a str>,
    source: Option<&'a str>,
    codec: &'a str,
    sample_rate: u32,
    channels: u16,
}

/// What the stream is, as JSON in ASCII.
pub(super) fn about(stream: &StreamInfo, handshake: &Handshake) -> String {
    let params = stream.params.iter();
    let about = About {
        session_id: &stream.session_id,
        route: &stream.route,
        params: params
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        source: stream.source.as_deref(),
        codec: &handshake.codec,
        sample_rate: handshake.sample_rate,
        channels: handshake.channels,
    };
    // Texts and numbers always become JSON.
    ascii(&serde_json::to_string(&about).unwrap_or_default())
}

/// JSON with its other characters escaped. They are only within strings.
fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string never fails.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{handshake, stream_info};
    use super::*;

    #[test]
    fn whatever_a_client_calls_its_meeting_is_ascii_on_one_line_and_reads_back() {
        let name = "toplantı\r\n\"🎙\"\u{7f}";
        let stream = stream_info(name);
        let about = about(&stream, &handshake("pcm_s16le", 16_000, 1));
        assert!(
            about.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "{about}"
        );
        let read: serde_json::Value = serde_json::from_str(&about).unwrap();
        let (param, _) = &stream.params[0];
        assert_eq!(read["params"][param], name);
        assert_eq!(read["sample_rate"], 16_000);
    }
}
