//! From JSON text to a policy's types.
//!
//! `serde_json` alone would do. But its errors print whatever value they met,
//! fractions included, and the code for that was a third of each policy's size
//! (108 KB against 72), for messages that nobody sees. So it parses, and the
//! values are taken from its tree with an error that says nothing.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

/// It is no JSON, or not of that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Unfit> {
    let value = serde_json::from_str(json).map_err(|_| Unfit)?;
    T::deserialize(Tree(value))
}

struct Tree(Value);

impl Tree {
    fn entries(object: serde_json::Map<String, Value>) -> Entries {
        let pair: fn((String, Value)) -> (String, Tree) = |(key, value)| (key, Tree(value));
        MapDeserializer::new(object.into_iter().map(pair))
    }
}

type Pairs = std::iter::Map<serde_json::map::IntoIter, fn((String, Value)) -> (String, Tree)>;
type Entries = MapDeserializer<'static, Pairs, Unfit>;

impl<'de> Deserializer<'de> for Tree {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, Some(value)) => visitor.visit_f64(value),
                _ => Err(Unfit),
            },
            Value::String(value) => visitor.visit_string(value),
            Value::Array(values) => {
                let mut access = SeqDeserializer::new(values.into_iter().map(Tree));
                let out = visitor.visit_seq(&mut access)?;
                access.end().map(|()| out)
            }
            Value::Object(object) => {
                let mut access = Tree::entries(object);
                let out = visitor.visit_map(&mut access)?;
                access.end().map(|()| out)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Object(object) => {
                visitor.visit_enum(MapAccessDeserializer::new(Tree::entries(object)))
            }
            _ => Err(Unfit),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Unfit> for Tree {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl serde::de::Error for Unfit {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a value of the expected type")
    }
}

impl std::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{Unfit, parse};

    #[test]
    fn every_shape_of_value_arrives() {
        assert_eq!(parse("7"), Ok(7_u8));
        assert_eq!(parse("-7"), Ok(-7_i64));
        assert_eq!(parse("0.5"), Ok(0.5_f64));
        assert_eq!(parse("\"a\\u00e9\""), Ok("aé".to_owned()));
        assert_eq!(parse("true"), Ok(true));
        assert_eq!(parse("null"), Ok(None::<u8>));
        assert_eq!(parse("7"), Ok(Some(7_u8)));
        assert_eq!(parse("[1,[2,\"x\"]]"), Ok((1_u8, (2_u8, "x".to_owned()))));
        let table = BTreeMap::from([("a".to_owned(), vec![1_u8])]);
        assert_eq!(parse("{\"a\":[1]}"), Ok(table));
        assert_eq!(
            parse("\"Ok\"").map(|name: Value| name.is_string()),
            Ok(true)
        );
        assert_eq!(parse("{\"Ok\":1}"), Ok(Ok::<u8, u8>(1)));
    }

    #[test]
    fn a_tree_survives_being_copied() {
        let json = r#"{"a":[1,-2,0.5,null,true,{"b":"c"}],"d":{}}"#;
        assert_eq!(
            parse::<Value>(json).map(|value| value.to_string()),
            Ok(json.to_owned())
        );
    }

    #[test]
    fn another_type_a_list_of_another_length_and_bad_json_are_unfit() {
        assert_eq!(parse::<u8>("256"), Err(Unfit));
        assert_eq!(parse::<u8>("-1"), Err(Unfit));
        assert_eq!(parse::<u8>("1.0"), Err(Unfit));
        assert_eq!(parse::<String>("7"), Err(Unfit));
        assert_eq!(parse::<(u8, u8)>("[1]"), Err(Unfit));
        assert_eq!(parse::<(u8, u8)>("[1,2,3]"), Err(Unfit));
        assert_eq!(parse::<Vec<u8>>("{}"), Err(Unfit));
        assert_eq!(parse::<Value>("{\"a\":"), Err(Unfit));
        assert_eq!(parse::<Value>("1 2"), Err(Unfit));
        assert_eq!(parse::<Value>(&"[".repeat(100_000)), Err(Unfit));
    }
}
