//! The settings in force, as a TOML file that says of each value where it came from.

use std::fmt;

use serde_json::Value;

use super::{Loaded, Origin, Settings, tree};

/// What stands in place of a secret.
const HIDDEN: &str = "(not shown)";

impl<T: Settings> fmt::Display for Loaded<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        // Keys outside every table come first, as TOML wants it.
        let (top, nested): (Vec<_>, Vec<_>) = keys.iter().partition(|key| !key.contains('.'));
        for key in top {
            self.line(out, key, key)?;
        }
        let mut table = "";
        for key in nested {
            let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
            if path != table {
                table = path;
                writeln!(out, "\n[{table}]")?;
            }
            self.line(out, key, name)?;
        }
        Ok(())
    }
}

impl<T> Loaded<T> {
    /// Every key there is, dotted.
    pub fn keys(&self) -> Vec<String> {
        tree::keys(&self.tree)
    }

    /// Where the value of a key came from.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

impl<T: Settings> Loaded<T> {
    fn line(&self, out: &mut fmt::Formatter<'_>, key: &str, name: &str) -> fmt::Result {
        let value = tree::get(&self.tree, key).unwrap_or(&Value::Null);
        let text = if tree::is_secret(key, T::SECRETS) {
            format!("{HIDDEN:?}")
        } else {
            let mut text = String::new();
            write_value(&mut text, value, T::SECRETS);
            text
        };
        let origin = self.origin(key);
        writeln!(out, "{:<56} # {origin}", format!("{name} = {text}"))
    }
}

fn write_value(out: &mut String, value: &Value, secrets: &[&str]) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_value(out, item, secrets);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                out.push_str(if index == 0 { " " } else { ", " });
                out.push_str(name);
                out.push_str(" = ");
                if secrets.contains(&&**name) {
                    out.push_str(&Value::from(HIDDEN).to_string());
                } else {
                    write_value(out, member, secrets);
                }
            }
            out.push_str(if members.is_empty() { "}" } else { " }" });
        }
        Value::Null => out.push_str("\"\""),
        // Text, numbers and booleans look the same in both languages.
        scalar => out.push_str(&scalar.to_string()),
    }
}
