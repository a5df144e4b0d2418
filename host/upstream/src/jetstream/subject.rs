//! Names in NATS: `<prefix>.<upstream>.<partition>.<route>.<parameters>.<source>.<session>`.
//!
//! Parameters of the path come from the client, so each is one token of safe characters.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::link::StreamInfo;
use base::text;

/// Characters that are encoded. Dots, stars and angle brackets have a meaning in subjects.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Maximum length of a token.
const MAX_TOKEN: usize = 96;
/// Token of a stream without a source, or of an empty parameter.
const NONE: &str = "%none";

/// Name of the stream of `JetStream`.
pub(super) fn space(prefix: &str, upstream: &str, partition: u32) -> String {
    format!("{prefix}_{upstream}_{partition}").to_ascii_uppercase()
}

/// Subjects of all chains in it.
pub(super) fn all(prefix: &str, upstream: &str, partition: u32) -> String {
    format!("{prefix}.{upstream}.{partition}.>")
}

/// Partition of a stream. All streams of one path are in one, whatever their source.
pub(super) fn partition(stream: &StreamInfo, partitions: u32) -> u32 {
    let mut hash = Sha256::new();
    hash.update(stream.route.as_bytes());
    for (_, value) in &stream.params {
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value.as_bytes());
    }
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes([a, b, c, d]) % partitions.max(1)
}

/// Subject of a stream.
pub(super) fn subject(prefix: &str, upstream: &str, partition: u32, stream: &StreamInfo) -> String {
    let mut subject = format!("{prefix}.{upstream}.{partition}");
    let params = stream.params.iter().map(|(_, value)| value.as_str());
    let source = stream.source.as_deref().unwrap_or_default();
    let tokens = std::iter::once(stream.route.as_str())
        .chain(params)
        .chain([source, stream.session_id.as_str()]);
    for part in tokens {
        subject.push('.');
        subject.push_str(&token(part));
    }
    subject
}

/// Token for a text. Different texts have different tokens.
fn token(text: &str) -> String {
    if text.is_empty() {
        return NONE.to_owned();
    }
    let encoded = utf8_percent_encode(text, ENCODED).to_string();
    if encoded.len() <= MAX_TOKEN {
        return encoded;
    }
    let digest = Sha256::digest(text.as_bytes());
    format!("%sha256-{}", text::hex(&digest))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::stream_info;
    use super::*;

    #[test]
    fn a_subject_says_what_the_stream_is_and_no_client_can_write_into_another() {
        let mut stream = stream_info("m.1 > *");
        stream.source = Some("mic".to_owned());
        let found = subject("sluice", "audio", 3, &stream);
        let route = &stream.route;
        let session = &stream.session_id;
        let wanted = format!("sluice.audio.3.{route}.m%2E1%20%3E%20%2A.mic.{session}");
        assert_eq!(found, wanted);
        assert_eq!(token(""), "%none");
        assert_eq!(token("%none"), "%25none");
        assert_eq!(token("toplantı"), "toplant%C4%B1");
        let long = token(&"x".repeat(200));
        assert!(
            long.starts_with("%sha256-") && long.len() <= MAX_TOKEN,
            "{long}"
        );
    }

    #[test]
    fn both_sources_of_a_meeting_are_in_one_partition_and_meetings_are_spread() {
        let of = |meeting: &str, source: &str| {
            let mut stream = stream_info(meeting);
            stream.source = Some(source.to_owned());
            partition(&stream, 8)
        };
        assert_eq!(of("m1", "mic"), of("m1", "sys"));
        let used: std::collections::BTreeSet<_> =
            (0..200).map(|n| of(&format!("m{n}"), "mic")).collect();
        assert_eq!(used.len(), 8);
    }
}
