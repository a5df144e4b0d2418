//! `[upstreams.NAME]`

use super::Reader;
use super::section::Section;
use upstream::settings::Upstream;
use upstream::space::Watermark;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wav,
    WebSocket,
    Echo,
    Discard,
}

const KINDS: [(&str, Kind); 4] = [
    ("wav", Kind::Wav),
    ("websocket", Kind::WebSocket),
    ("echo", Kind::Echo),
    ("discard", Kind::Discard),
];

impl Reader<'_> {
    pub(super) fn upstream(&mut self, mut section: Section<'_>) -> Option<Upstream> {
        let help = "write `kind = \"wav\"`, \"websocket\", \"echo\" or \"discard\"";
        let kind = section.required(self, "kind", help);
        let kind = kind
            .and_then(|text| self.choose("kind", text, &KINDS))?
            .value;
        self.misplaced(&mut section, kind);
        let upstream = match kind {
            Kind::Wav => self.wav(&mut section),
            Kind::Echo => Some(Upstream::Echo),
            Kind::Discard => Some(Upstream::Discard),
            Kind::WebSocket => self.websocket(&mut section).map(Upstream::WebSocket),
        };
        section.finish(self);
        upstream
    }

    /// Takes out what is for other kinds.
    fn misplaced(&mut self, section: &mut Section<'_>, kind: Kind) {
        for (option, of) in OPTIONS {
            if of.contains(&kind) || !section.has(option) {
                continue;
            }
            let Some((place, _)) = section.take(self, option) else {
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

    /// Free space below which nothing new is written. The default is for a disk that is nearly
    /// full, and below what any disk has that recordings are put on.
    pub(super) fn min_free(&mut self, section: &mut Section<'_>) -> Watermark {
        Watermark(section.size_or_none(self, "min_free", 32 * 1024 * 1024))
    }
}

/// The options that mean something for one kind only; and those of recordings, for
/// each kind that can record.
const OPTIONS: [(&str, &[Kind]); 28] = [
    ("folder", &[Kind::Wav, Kind::WebSocket]),
    ("path", &[Kind::Wav, Kind::WebSocket]),
    ("keep_for", &[Kind::Wav, Kind::WebSocket]),
    ("keep_total", &[Kind::Wav, Kind::WebSocket]),
    ("min_free", &[Kind::Wav, Kind::WebSocket]),
    ("url", &[Kind::WebSocket]),
    ("addresses", &[Kind::WebSocket]),
    ("rest_after", &[Kind::WebSocket]),
    ("rest", &[Kind::WebSocket]),
    ("warm_connections", &[Kind::WebSocket]),
    ("user", &[Kind::WebSocket]),
    ("tenant", &[Kind::WebSocket]),
    ("attributes", &[Kind::WebSocket]),
    ("forward_headers", &[Kind::WebSocket]),
    ("token", &[Kind::WebSocket]),
    ("replies", &[Kind::WebSocket]),
    ("receipts", &[Kind::WebSocket]),
    ("ca_file", &[Kind::WebSocket]),
    ("max_message", &[Kind::WebSocket]),
    ("max_buffer", &[Kind::WebSocket]),
    ("silence_timeout", &[Kind::WebSocket]),
    ("on_loss", &[Kind::WebSocket]),
    ("replay", &[Kind::WebSocket]),
    ("hold_timeout", &[Kind::WebSocket]),
    ("hold_memory", &[Kind::WebSocket]),
    ("hold_file", &[Kind::WebSocket]),
    ("hold_files", &[Kind::WebSocket]),
    ("tee", &[Kind::WebSocket]),
];
