//! JSON from strangers, built in memory only up to a bound.
//!
//! A few megabytes of `[0,0,…]` become hundreds as [`serde_json::Value`]s. In: a value of any
//! size. Out: [`Bounded`], the value where it has few enough parts; [`Few`], a list where it is
//! short enough. More than that is an error, and never held.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value that consists of at most `N` values, itself included. A member that comes twice is
/// an error: two readers could take different ones.
#[derive(Debug, Default)]
pub(crate) struct Bounded<const N: usize>(pub(crate) Value);

impl<'de, const N: usize> Deserialize<'de> for Bounded<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counter = Counter { left: &Cell::new(N), most: N };
        counter.deserialize(deserializer).map(Self)
    }
}

/// Builds values and counts them.
#[derive(Clone, Copy)]
struct Counter<'a> {
    left: &'a Cell<usize>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Counter<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom(format!("a part has more than {} values", self.most)));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counter<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("{name:?} comes twice")));
            }
            map.insert(name, members.next_value_seed(self)?);
        }
        Ok(map.into())
    }
}

/// A list of at most `N` items.
pub(crate) struct Few<T, const N: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const N: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Items<T, N> {
            type Value = Few<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Few<T, N>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == N {
                        return Err(A::Error::invalid_length(N + 1, &self));
                    }
                    items.push(item);
                }
                Ok(Few(items))
            }
        }
        deserializer.deserialize_seq(Items(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_value_is_built_up_to_its_bound() {
        let json = r#"{"a":[1,-2,0.5,"x",null,true],"b":{}}"#;
        let value = serde_json::from_str::<Bounded<9>>(json).unwrap().0;
        assert_eq!(value, serde_json::from_str::<Value>(json).unwrap());
        let error = serde_json::from_str::<Bounded<8>>(json).unwrap_err().to_string();
        assert!(error.contains("more than 8 values"), "{error}");
        let error = serde_json::from_str::<Bounded<8>>(r#"{"a":1,"a":1}"#).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        assert!(serde_json::from_str::<Bounded<9>>("1e999").is_err());
    }

    #[test]
    fn a_list_is_built_up_to_its_bound() {
        assert_eq!(serde_json::from_str::<Few<u8, 3>>("[1,2,3]").unwrap().0, [1, 2, 3]);
        assert!(serde_json::from_str::<Few<u8, 3>>("[1,2,3,4]").is_err());
        assert!(serde_json::from_str::<Few<u8, 3>>("{}").is_err());
    }
}
