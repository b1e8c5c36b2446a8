//! The fields of every JSON that `tapi buffer` prints: programs read them, so a change here is a change for them.

use serde_json::Value;

use super::stage::Stage;

/// Each field with its type, one a line, sorted; of an array the fields that any of its elements has.
fn shape(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    note("", value, &mut lines);
    lines.sort();
    lines.dedup();
    lines
}

fn note(path: &str, value: &Value, lines: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(values) => return values.iter().for_each(|value| note(&format!("{path}[]"), value, lines)),
        Value::Object(members) => {
            return members.iter().for_each(|(name, member)| note(&format!("{path}.{name}"), member, lines));
        }
    };
    lines.push(format!("{path} {kind}"));
}

fn check(name: &str, value: &Value, golden: &str) {
    let golden: Vec<_> = golden.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(shape(value), golden, "{name}");
}

#[test]
fn the_fields_stay_what_they_are() {
    let stage = Stage::new(9000, 2500);
    stage.damage("m-2700");
    check("inspect", &stage.json("inspect", &[]).1, include_str!("shapes/inspect.txt"));
    check("verify", &stage.json("verify", &[]).1, include_str!("shapes/verify.txt"));
    check("repair", &stage.json("repair", &[]).1, include_str!("shapes/repair.txt"));
    check("dump", &stage.dump(&["--limit", "1"])[0], include_str!("shapes/dump.txt"));
    let aside = stage.dump(&["--quarantine"]);
    check("damage", &aside[0], include_str!("shapes/dump-damage.txt"));
    check("record", &aside[1], include_str!("shapes/dump-record.txt"));
    check("reinject", &stage.json("reinject", &["--all"]).1, include_str!("shapes/reinject.txt"));
}
