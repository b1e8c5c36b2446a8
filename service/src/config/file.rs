//! The TOML file as a list of keys, values and places.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{Fault, Origin, tree};

/// One leaf of the file.
pub(super) struct Entry {
    pub(super) origin: Origin,
    pub(super) key: String,
    pub(super) value: Value,
}

/// The leaves of the file in its order, without those whose keys are unknown: they are faults.
pub(super) fn parse(file: &Path, text: &str, known: &Value) -> (Vec<Entry>, Vec<Fault>) {
    let mut walk = Walk { file, text, known, entries: Vec::new(), faults: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => walk.table(table.get_ref(), known, ""),
        Err(error) => walk.fault(error.span().unwrap_or(0..0), "", error.message().into()),
    }
    let Walk { mut entries, faults, .. } = walk;
    let place = |entry: &Entry| match entry.origin {
        Origin::File { line, column, .. } => (line, column),
        _ => (0, 0),
    };
    entries.sort_by_key(place);
    (entries, faults)
}

struct Walk<'a> {
    file: &'a Path,
    text: &'a str,
    known: &'a Value,
    entries: Vec<Entry>,
    faults: Vec<Fault>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, known: &Value, path: &str) {
        for (name, value) in table {
            self.member(name, value, known, path);
        }
    }

    fn member(&mut self, name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>, known: &Value, path: &str) {
        let key = tree::join(path, name.get_ref());
        match (known.get(&**name.get_ref()), value.get_ref()) {
            (None, _) => {
                let hint = self.hint(name.get_ref(), known, path);
                self.fault(name.span(), &key, format!("there is no such key{hint}"));
            }
            (Some(Value::Object(members)), DeValue::Table(table)) if !members.is_empty() => {
                self.table(table, &Value::Object(members.clone()), &key);
            }
            (Some(Value::Object(members)), _) if !members.is_empty() => {
                self.fault(value.span(), &key, "is a table of settings, not a value".into());
            }
            (Some(_), leaf) => {
                let origin = self.place(name.span());
                self.entries.push(Entry { origin, key, value: to_json(leaf) });
            }
        }
    }

    /// A near name at this level, or the same name somewhere else.
    fn hint(&self, name: &str, known: &Value, path: &str) -> String {
        let siblings: Vec<_> = known.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default();
        let near = tree::nearest(name, &siblings).map(|near| tree::join(path, near));
        let suffix = format!(".{name}");
        let elsewhere = || tree::keys(self.known).into_iter().find(|key| key == name || key.ends_with(&suffix));
        near.or_else(elsewhere).map_or(String::new(), |key| format!("; did you mean {key}?"))
    }

    fn fault(&mut self, span: Range<usize>, key: &str, message: String) {
        self.faults.push(Fault { origin: self.place(span), key: key.into(), message });
    }

    fn place(&self, span: Range<usize>) -> Origin {
        let before = &self.text[..span.start.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            file: self.file.into(),
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}

/// A TOML value as the same value in JSON; what JSON cannot say (dates, infinities) as its text.
pub(super) fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix())
            .map_or_else(|_| Value::String(integer.as_str().into()), Value::from),
        DeValue::Float(float) => {
            let number = float.as_str().replace('_', "").parse().ok().and_then(serde_json::Number::from_f64);
            number.map_or_else(|| Value::String(float.as_str().into()), Value::Number)
        }
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let members = table.iter().map(|(name, member)| (name.get_ref().to_string(), to_json(member.get_ref())));
            Value::Object(members.collect())
        }
    }
}
