//! JSON Schema of the configuration, made of what the reader asks for and of the example file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::read::{ConfigText, asked};
use crate::toml::{Asked, Shape};

/// File that shows every option, with its default and a comment.
pub(crate) const EXAMPLE: &str = include_str!("../../sluice.example.toml");

/// Options that the example cannot show with their defaults: those that must be there, those that
/// an example is for, and free sections.
pub(crate) const NOT_DEFAULTS: [(&str, &str); 13] = [
    ("cluster", "servers"),
    ("key_sets.NAME", "generate"),
    ("lists.NAME", "file"),
    ("signers.NAME", "public_key_file"),
    ("destinations.NAME", "url"),
    ("policies.NAME", "component"),
    ("policies.NAME", "grants"),
    ("upstreams.NAME", "kind"),
    ("upstreams.NAME", "url"),
    ("routes.NAME", "paths"),
    ("routes.NAME", "on_connect"),
    ("routes.NAME", "on_handshake"),
    ("routes.NAME", "upstream"),
];

/// Durations as the reader takes them, such as `2m 30s`.
const DURATION: &str = r"^\s*([0-9]+(\.[0-9]+)?\s*[a-zA-Zµ]+\s*)+$";
/// Sizes as the reader takes them, such as `16MiB`.
const SIZE: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtTpPeE][iI]?)?[bB]$";

/// JSON Schema (draft 7) of a configuration file. What the schema does not refuse,
/// [`Config::load`](crate::Config::load) may: names must resolve, and options fit each other.
#[must_use]
pub fn json_schema() -> Value {
    let asked = asked(&ConfigText {
        name: "sluice.example.toml",
        text: EXAMPLE,
        folder: Path::new(""),
        environment: &|_| None,
    });
    let mut schema = object("", &asked, &comments());
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("Configuration of Sluice");
    schema
}

/// A table with the options of a kind of section.
fn object(kind: &'static str, asked: &Asked, comments: &Comments<'_>) -> Value {
    let mut properties = Map::new();
    for ((_, key), shape) in asked.shapes.iter().filter(|((of, _), _)| *of == kind) {
        let mut property = value(shape, asked, comments);
        if let Some(comment) = comments.get(&(kind.to_owned(), *key)) {
            property["description"] = json!(comment.text);
            if let Some(default) = &comment.default {
                property["default"] = default.clone();
            }
        }
        properties.insert((*key).to_owned(), property);
    }
    let required: Vec<_> = asked.demanded(kind).collect();
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn value(shape: &Shape, asked: &Asked, comments: &Comments<'_>) -> Value {
    match shape {
        Shape::Anything => json!({}),
        Shape::AnyText => json!({"type": "string"}),
        Shape::Text => json!({"type": "string", "pattern": r"\S"}),
        Shape::Whole { least } => json!({"type": "integer", "minimum": least}),
        Shape::Ratio => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Shape::Truth => json!({"type": "boolean"}),
        Shape::Duration => json!({"type": "string", "pattern": DURATION}),
        Shape::Size => json!({"type": "string", "pattern": SIZE}),
        Shape::Texts => json!({"type": "array", "items": {"type": "string", "pattern": r"\S"}}),
        Shape::OneOrMore => json!({"anyOf": [
            {"type": "string", "pattern": r"\S"},
            {"type": "array", "items": {"type": "string", "pattern": r"\S"}, "minItems": 1},
        ]}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Words(words) => json!({"type": "array", "items": {"enum": words}}),
        Shape::Tables => json!({"type": "array", "items": {"type": "object"}}),
        // A policy's own section, whose options only the policy knows.
        Shape::Section("") => json!({"type": "object"}),
        Shape::Section(kind) => object(kind, asked, comments),
        Shape::Named(kind) => json!({
            "type": "object",
            "additionalProperties": object(kind, asked, comments),
        }),
    }
}

/// Comments of the example, by the kind of section and the option.
type Comments<'a> = BTreeMap<(String, &'a str), Comment>;

/// What the example says about an option.
struct Comment {
    text: String,
    default: Option<Value>,
}

fn comments() -> Comments<'static> {
    let mut comments = Comments::new();
    let (mut kind, mut text) = (String::new(), String::new());
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        let option = bare.split_once(" = ").filter(|(key, _)| is_key(key));
        if let Some((key, written)) = option {
            let is_default = bare == line && !NOT_DEFAULTS.contains(&(kind.as_str(), key));
            // The first one of several is the one that is explained.
            comments.entry((kind.clone(), key)).or_insert(Comment {
                text: text.clone(),
                // TOML writes such values as JSON does.
                default: is_default
                    .then(|| serde_json::from_str(written).ok())
                    .flatten(),
            });
        } else if let Some(prose) = line.strip_prefix("# ") {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(prose);
        } else {
            text.clear();
        }
        // A section that the built-in configuration has not is commented out.
        if let Some(title) = bare.strip_prefix('[') {
            let parts: Vec<_> = title.trim_end_matches(']').split('.').collect();
            kind = match parts[..] {
                [section] => section.to_owned(),
                [section, _] => format!("{section}.NAME"),
                _ => "free".to_owned(),
            };
        }
    }
    comments
}

fn is_key(key: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !key.is_empty() && key.chars().all(is_part)
}
