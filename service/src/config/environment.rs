//! The environment, and what the text of a variable can mean, given the kind of value that its key has by default.

use serde_json::Value;
use toml::de::DeValue;

use super::file;

/// The variables of this process; those that are not Unicode are nobody's settings.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The readings in the order in which they are tried.
pub(super) fn readings(text: &str, template: &Value) -> Vec<Value> {
    let verbatim = Value::String(text.into());
    match template {
        Value::String(_) => vec![verbatim],
        Value::Bool(_) => match text {
            "true" | "1" => vec![Value::Bool(true)],
            "false" | "0" => vec![Value::Bool(false)],
            _ => vec![verbatim],
        },
        Value::Number(_) => vec![number(text).unwrap_or(verbatim)],
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            vec![items.map(|item| Value::String(item.into())).collect()]
        }
        Value::Array(_) | Value::Object(_) => vec![as_in_a_file(text).unwrap_or(verbatim)],
        // The default says nothing of its kind.
        Value::Null => [number(text), Some(verbatim)].into_iter().flatten().collect(),
    }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.trim().replace('_', "");
    let whole = digits.parse::<u64>().map(Value::from).or_else(|_| digits.parse::<i64>().map(Value::from));
    whole.ok().or_else(|| serde_json::Number::from_f64(digits.parse().ok()?).map(Value::Number))
}

fn as_in_a_file(text: &str) -> Option<Value> {
    DeValue::parse(text.trim()).ok().map(|value| file::to_json(value.get_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_read_by_its_keys_kind() {
        for (text, template, expected) in [
            ("64", json!("x"), json!("64")),
            ("64_000", json!(1), json!(64_000)),
            ("-3", json!(1), json!(-3)),
            ("0.5", json!(1.0), json!(0.5)),
            ("abc", json!(1), json!("abc")),
            ("1", json!(false), json!(true)),
            ("maybe", json!(false), json!("maybe")),
            ("a, b,", json!([]), json!(["a", "b"])),
            (r#"[{id="web", write_keys=["k"]}]"#, json!([]), json!([{"id": "web", "write_keys": ["k"]}])),
            (r#"{a = "b"}"#, json!({}), json!({"a": "b"})),
            ("text", json!(null), json!("text")),
            ("7", json!(null), json!(7)),
        ] {
            assert_eq!(readings(text, &template)[0], expected, "{text}");
        }
    }
}
