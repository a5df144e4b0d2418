//! Notices to the client, and counters among the gateway's metrics.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::amendment::{Amendment, TextLimit};
use crate::bindings::FactsHandle;
use crate::bindings::sluice::policy as wit;
use crate::effects::{Count, MAX_NOTICES, MAX_WORD};
use crate::state::State;
use base::text;
use session::notices::ClientNotice;

/// What a word may be made of.
struct Charset {
    what: &'static str,
    allowed: &'static str,
    has: fn(char) -> bool,
    /// What an empty word becomes.
    empty: &'static str,
}

const CODE: Charset = Charset {
    what: "the `code` of a notice",
    allowed: "a to z, 0 to 9, `_`, `-` and `.`",
    has: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c),
    empty: "notice",
};

const NAME: Charset = Charset {
    what: "the `name` of a metric",
    allowed: "a to z, 0 to 9 and `_`",
    has: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
    empty: "_",
};

const LABEL: Charset = Charset {
    what: "the `label` of a metric",
    allowed: "letters, digits, `_`, `-`, `.`, `:` and `/`",
    has: |c| c.is_ascii_alphanumeric() || "_-.:/".contains(c),
    empty: "",
};

impl State {
    /// A guest's word, of these characters and within its bound.
    fn word(&self, text: &str, charset: &Charset) -> String {
        let text = self.settings.secrets.told(text, 4 * MAX_WORD);
        if text.is_empty() {
            if !charset.empty.is_empty() {
                self.amends(&[Amendment::Empty {
                    what: charset.what,
                    word: charset.empty,
                }]);
            }
            return charset.empty.to_owned();
        }
        // Each character becomes one byte at the least, so that no more are looked at.
        let kept = text.chars().take(MAX_WORD);
        let word: String = kept
            .clone()
            .map(|c| if (charset.has)(c) { c } else { '_' })
            .collect();
        if !kept.clone().all(charset.has) {
            self.amends(&[Amendment::Word {
                what: charset.what,
                word: word.clone(),
                allowed: charset.allowed,
            }]);
        }
        if text.chars().nth(MAX_WORD).is_some() {
            self.amends(&[Amendment::Cut {
                what: charset.what,
                bytes: text.len(),
                kept: MAX_WORD,
                limit: TextLimit::Contract,
            }]);
        }
        word
    }
}

impl wit::notice::Host for State {
    fn send(
        &mut self,
        _: Resource<FactsHandle>,
        code: String,
        message: String,
    ) -> wasmtime::Result<()> {
        let code = self.word(&code, &CODE);
        let limit = self.settings.limits.max_message;
        let shown = text::clean(&self.settings.secrets.told(&message, limit), limit);
        if message.len() > limit {
            self.amends(&[Amendment::Cut {
                what: "the `message` of a notice",
                bytes: message.len(),
                kept: limit,
                limit: TextLimit::Bytes("max_message", limit),
            }]);
        }
        let before = self.effects.notices_beyond;
        self.effects.notify(ClientNotice {
            policy: Arc::clone(&self.settings.name),
            code,
            message: shown,
        });
        if self.effects.notices_beyond > before {
            self.amends(&[Amendment::NoNotice(MAX_NOTICES)]);
        }
        Ok(())
    }
}

impl wit::metrics::Host for State {
    fn add(&mut self, name: String, label: String, amount: u32) -> wasmtime::Result<()> {
        let count = Count {
            name: self.word(&name, &NAME),
            label: self.word(&label, &LABEL),
            amount: amount.into(),
        };
        self.effects.count(count);
        Ok(())
    }
}
