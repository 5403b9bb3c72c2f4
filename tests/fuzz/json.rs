//! JSON that need not be sound: numbers as text, members that come twice, any depth.

use serde_json::Value;

#[derive(Clone, Debug)]
pub enum Json {
    /// A number, `true`, `null`, or anything else as it is.
    Raw(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    pub fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(members) => Self::Map(
                members.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect(),
            ),
            other => Self::Raw(other.to_string()),
        }
    }

    pub fn write(&self, out: &mut String) {
        let quoted = |text: &str| Value::from(text).to_string();
        match self {
            Self::Raw(text) => out.push_str(text),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Map(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The values right within this one.
    pub fn children(&mut self) -> Vec<&mut Json> {
        match self {
            Self::List(items) => items.iter_mut().collect(),
            Self::Map(members) => members.iter_mut().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        }
    }
}
