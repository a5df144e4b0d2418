//! `[upstreams.NAME]`

use super::Reader;
use crate::toml::Section;
use upstream::settings::Upstream;
use upstream::space::Watermark;

#[derive(Clone, Copy, PartialEq, Eq)]
enum UpstreamKind {
    Wav,
    WebSocket,
    JetStream,
    Echo,
    Discard,
}

const KINDS: [(&str, UpstreamKind); 5] = [
    ("wav", UpstreamKind::Wav),
    ("websocket", UpstreamKind::WebSocket),
    ("jetstream", UpstreamKind::JetStream),
    ("echo", UpstreamKind::Echo),
    ("discard", UpstreamKind::Discard),
];

impl Reader<'_> {
    pub(super) fn upstream(&mut self, mut section: Section<'_>) -> Option<Upstream> {
        let help = "write `kind = \"wav\"`, \"websocket\", \"jetstream\", \"echo\" or \"discard\"";
        section.demand("kind", help);
        let kind = section.choice("kind", &KINDS)?.value;
        self.misplaced(&mut section, kind);
        let upstream = match kind {
            UpstreamKind::Wav => self.wav(&mut section),
            UpstreamKind::JetStream => Some(Upstream::JetStream(self.jetstream(&mut section))),
            UpstreamKind::Echo => Some(Upstream::Echo),
            UpstreamKind::Discard => Some(Upstream::Discard),
            UpstreamKind::WebSocket => self.websocket(&mut section).map(Upstream::WebSocket),
        };
        section.finish();
        upstream
    }

    /// Takes and reports the options of other kinds.
    fn misplaced(&mut self, section: &mut Section<'_>, kind: UpstreamKind) {
        for (option, of) in OPTIONS {
            if of.contains(&kind) || !section.has(option) {
                continue;
            }
            let Some(place) = section.take_out(option) else {
                continue;
            };
            let named = KINDS.iter().find(|(_, kind)| of.first() == Some(kind));
            let word = named.map_or("", |(word, _)| *word);
            let message = format!("`{option}` is for upstreams of the kind \"{word}\"");
            let help = format!("leave it out, or write `kind = \"{word}\"`");
            self.error(&place, message, help).label("no meaning here");
        }
    }

    fn wav(&mut self, section: &mut Section<'_>) -> Option<Upstream> {
        let recordings = self.recordings(section);
        let min_free = self.min_free(section);
        Some(Upstream::Wav {
            recordings: recordings?,
            min_free,
        })
    }

    /// Reads the free space below which nothing new is written. The default suits a nearly full
    /// disk, and is far below the free space of a usual disk for recordings.
    pub(super) fn min_free(&mut self, section: &mut Section<'_>) -> Watermark {
        Watermark(section.size_or_none("min_free", 32 * 1024 * 1024))
    }
}

/// Options that only some kinds of upstreams have.
const OPTIONS: [(&str, &[UpstreamKind]); 31] = [
    ("folder", &[UpstreamKind::Wav, UpstreamKind::WebSocket]),
    ("path", &[UpstreamKind::Wav, UpstreamKind::WebSocket]),
    ("keep_for", &[UpstreamKind::Wav, UpstreamKind::WebSocket]),
    ("keep_total", &[UpstreamKind::Wav, UpstreamKind::WebSocket]),
    ("min_free", &[UpstreamKind::Wav, UpstreamKind::WebSocket]),
    ("url", &[UpstreamKind::WebSocket]),
    ("addresses", &[UpstreamKind::WebSocket]),
    ("rest_after", &[UpstreamKind::WebSocket]),
    ("rest", &[UpstreamKind::WebSocket]),
    ("warm_connections", &[UpstreamKind::WebSocket]),
    ("user", &[UpstreamKind::WebSocket]),
    ("tenant", &[UpstreamKind::WebSocket]),
    ("attributes", &[UpstreamKind::WebSocket]),
    ("forward_headers", &[UpstreamKind::WebSocket]),
    ("token", &[UpstreamKind::WebSocket]),
    ("replies", &[UpstreamKind::WebSocket]),
    ("receipts", &[UpstreamKind::WebSocket]),
    ("ca_file", &[UpstreamKind::WebSocket]),
    ("max_message", &[UpstreamKind::WebSocket]),
    ("max_buffer", &[UpstreamKind::WebSocket]),
    ("silence_timeout", &[UpstreamKind::WebSocket]),
    ("on_loss", &[UpstreamKind::WebSocket]),
    ("replay", &[UpstreamKind::WebSocket]),
    (
        "hold_timeout",
        &[UpstreamKind::WebSocket, UpstreamKind::JetStream],
    ),
    (
        "hold_memory",
        &[UpstreamKind::WebSocket, UpstreamKind::JetStream],
    ),
    ("hold_file", &[UpstreamKind::WebSocket]),
    ("hold_files", &[UpstreamKind::WebSocket]),
    ("tee", &[UpstreamKind::WebSocket]),
    ("partitions", &[UpstreamKind::JetStream]),
    ("max_bytes", &[UpstreamKind::JetStream]),
    ("max_age", &[UpstreamKind::JetStream]),
];
