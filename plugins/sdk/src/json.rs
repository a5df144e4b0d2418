//! Parser of JSON text into a policy's types.
//!
//! `serde_json` alone would do the job. But its errors print the offending value, even fractions,
//! and the code for that was a third of each policy's size (108 KB against 72 KB), for messages
//! that nobody sees. So each of its visitors is wrapped in one whose error has no text.
//!
//! The text is parsed once, and only what the type asks for is kept. Further members of a client's
//! message need no memory in the policy.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Error: the text is no JSON, or of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Unfit> {
    let mut text = serde_json::Deserializer::from_str(json);
    let value = T::deserialize(Quiet(&mut text))?;
    text.end().map_err(|_| Unfit)?;
    Ok(value)
}

/// Wrapper of each part of the parser.
struct Quiet<T>(T);

fn quiet<E>(_: E) -> Unfit {
    Unfit
}

/// Error for the parser, which returns it without looking at it.
fn loud<E: serde::de::Error>(_: Unfit) -> E {
    E::custom("")
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Quiet<D> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.0.deserialize_any(Quiet(visitor)).map_err(quiet)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.0.deserialize_option(Quiet(visitor)).map_err(quiet)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.0
            .deserialize_ignored_any(Quiet(visitor))
            .map_err(quiet)
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
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let value = self.0.deserialize_enum(name, variants, Quiet(visitor));
        value.map_err(quiet)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Quiet<V> {
    type Value = V::Value;

    fn expecting(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<V::Value, E> {
        self.0.visit_bool(value).map_err(loud)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_i64(value).map_err(loud)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_u64(value).map_err(loud)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<V::Value, E> {
        self.0.visit_f64(value).map_err(loud)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.visit_str(value).map_err(loud)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit().map_err(loud)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none().map_err(loud)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Quiet(inner)).map_err(loud)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Quiet(access)).map_err(loud)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Quiet(access)).map_err(loud)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Quiet(access)).map_err(loud)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Quiet<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Quiet(inner)).map_err(loud)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Quiet<A> {
    type Error = Unfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unfit> {
        self.0.next_element_seed(Quiet(seed)).map_err(quiet)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Quiet<A> {
    type Error = Unfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unfit> {
        self.0.next_key_seed(Quiet(seed)).map_err(quiet)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Unfit> {
        self.0.next_value_seed(Quiet(seed)).map_err(quiet)
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Quiet<A> {
    type Error = Unfit;
    type Variant = Quiet<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Unfit> {
        let (name, variant) = self.0.variant_seed(Quiet(seed)).map_err(quiet)?;
        Ok((name, Quiet(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Quiet<A> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        self.0.unit_variant().map_err(quiet)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Unfit> {
        self.0.newtype_variant_seed(Quiet(seed)).map_err(quiet)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Unfit> {
        self.0.tuple_variant(len, Quiet(visitor)).map_err(quiet)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.0.struct_variant(fields, Quiet(visitor)).map_err(quiet)
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
    fn what_a_type_does_not_ask_for_is_passed_over_however_deep_and_large_it_is() {
        #[derive(Debug, PartialEq)]
        struct One(u8);
        impl<'de> serde::Deserialize<'de> for One {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_struct("One", &["one"], Self(0))
            }
        }
        impl<'de> serde::de::Visitor<'de> for One {
            type Value = Self;
            fn expecting(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                Ok(())
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                mut self,
                mut map: A,
            ) -> Result<Self, A::Error> {
                while let Some(key) = map.next_key::<String>()? {
                    if key == "one" {
                        self.0 = map.next_value()?;
                    } else {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                }
                Ok(self)
            }
        }
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let json = format!(r#"{{"a":{deep},"one":1,"b":[{}0]}}"#, "0,".repeat(50_000));
        assert_eq!(parse(&json), Ok(One(1)));
        assert_eq!(parse::<One>(&json[..json.len() - 2]), Err(Unfit));
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
