//! Untrusted text, made safe to repeat in a message.

/// Cuts a text to `limit` characters, with an ellipsis at the cut. Control characters are replaced,
/// so the result is one line.
pub fn shortened(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        out.push(if character.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        });
    }
    out
}

/// Text in quotation marks, cut to 40 characters: `"opus"`.
pub fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in shortened(text, 40).chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::{quoted, shortened};

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(shortened("ğüş", 2), "ğü…");
        assert_eq!(shortened("ğüş", 3), "ğüş");
    }

    #[test]
    fn control_characters_do_not_survive() {
        assert_eq!(
            shortened("a\r\nb\u{1b}[0m", 10),
            "a\u{fffd}\u{fffd}b\u{fffd}[0m"
        );
    }

    #[test]
    fn a_quotation_cannot_end_itself() {
        assert_eq!(quoted(r#"a"b\"#), r#""a\"b\\""#);
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 43);
    }
}
