//! The tree of settings as values: its leaves, their dotted keys and the names of their variables.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Every leaf's dotted key. A map without entries is a leaf: its keys are anybody's.
pub(super) fn keys(tree: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    walk(member, &join(path, name), out);
                }
            }
            _ => out.push(path.into()),
        }
    }
    let mut out = Vec::new();
    walk(tree, "", &mut out);
    out
}

/// Variable to key.
pub(super) fn variables(prefix: &str, tree: &Value) -> BTreeMap<String, String> {
    let keys = keys(tree);
    let count = keys.len();
    let names: BTreeMap<_, _> = keys.into_iter().map(|key| (variable(prefix, &key), key)).collect();
    debug_assert_eq!(names.len(), count, "two keys share a variable");
    names
}

pub(super) fn variable(prefix: &str, key: &str) -> String {
    format!("{prefix}_{}", key.replace('.', "_").to_uppercase())
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

pub(super) fn get<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |value, name| value.get(name))
}

/// Replaces the value of a key of the tree.
pub(super) fn set(tree: &mut Value, key: &str, value: Value) {
    let mut place = tree;
    for name in key.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[name];
    }
    *place = value;
}

/// Whether the values under a key are not to be shown.
pub(super) fn is_secret(key: &str, secrets: &[&str]) -> bool {
    key.split('.').any(|name| secrets.contains(&name))
}

/// The known name that somebody who wrote `name` most likely meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a String>) -> Option<&'a String> {
    let bound = (name.len() / 3).max(1);
    known.into_iter().map(|other| (distance(name, other), other)).filter(|(d, _)| *d <= bound).min().map(|(_, n)| n)
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_have_keys_and_variables() {
        let tree = json!({"listen": "x", "buffer": {"bytes_max": 1}, "properties": {}});
        assert_eq!(keys(&tree), ["buffer.bytes_max", "listen", "properties"]);
        assert_eq!(variable("TAPI", "buffer.bytes_max"), "TAPI_BUFFER_BYTES_MAX");
        assert_eq!(get(&tree, "buffer.bytes_max"), Some(&json!(1)));
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["listen", "data", "bytes_max"].map(String::from);
        assert_eq!(nearest("lisen", &known).unwrap(), "listen");
        assert_eq!(nearest("byte_max", &known).unwrap(), "bytes_max");
        assert_eq!(nearest("kafka", &known), None);
    }

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "abd", 1), ("kitten", "sitting", 3), ("", "ab", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
