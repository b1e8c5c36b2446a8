//! Repair and reinjection of a buffer that nobody uses.

use serde_json::json;

use super::stage::Stage;

#[test]
fn a_repair_sets_damage_aside_and_then_all_is_clean() {
    let stage = Stage::new(3000, 2500);
    stage.damage("m-2700");
    stage.damage("m-2999");
    std::fs::remove_file(stage.dir.join("meta")).unwrap();
    let (code, planned) = stage.json("repair", &["--dry-run"]);
    assert_eq!((code, &planned["dry_run"]), (0, &json!(true)));
    let actions = |shown: &serde_json::Value| -> Vec<String> {
        let actions = shown["actions"].as_array().unwrap().iter();
        actions.map(|action| action["action"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(actions(&planned), ["write_name", "set_aside", "set_aside", "seal"], "{planned}");
    assert_eq!(stage.json("verify", &[]).1["damage_open"], 3, "nothing was done yet");

    let (code, done) = stage.json("repair", &[]);
    assert_eq!((code, &done["actions"]), (0, &planned["actions"]));
    assert_eq!((&done["readable_records"], &done["set_aside_pieces"]), (&json!(498), &json!(2)));
    assert_eq!((&done["verified"]["clean"], &done["floor"]), (&json!(true), &json!(2500)));
    assert_eq!(stage.run("verify", &[]).0, 0);
    let aside = stage.dump(&["--quarantine"]);
    let damage: Vec<_> = aside.iter().filter(|line| line["kind"] == "damage").collect();
    assert_eq!(damage.len(), 2);
    assert!(damage.iter().all(|line| line["bytes"].as_str().unwrap().len() > 600), "{damage:?}");
    let expected: Vec<_> = (2500..2999).filter(|number| *number != 2700).map(|number| format!("m-{number}")).collect();
    assert_eq!(stage.delivered(), expected);

    let (code, text, _) = stage.run("repair", &[]);
    assert!(code == 0 && text.contains("clean"), "{text}");
}

#[test]
fn what_a_repair_cannot_do_it_does_not_claim() {
    let stage = Stage::new(6000, 100);
    std::fs::remove_file(stage.place_of("m-3000").0).unwrap();
    let (code, text, stderr) = stage.run("repair", &[]);
    assert!(code == 1 && stderr.contains("cannot be brought back"), "{text} {stderr}");
    assert!(text.contains("a segment with undrained records is missing"), "{text}");
}

#[test]
fn the_floor_is_raised_on_demand_and_nothing_else() {
    let stage = Stage::new(300, 100);
    let (code, _, stderr) = stage.run("repair", &["--floor", "99"]);
    assert!(code == 2 && stderr.contains("only ever rises"), "{stderr}");
    let (code, done) = stage.json("repair", &["--floor", "200"]);
    assert_eq!((code, &done["floor"], &done["readable_records"]), (0, &json!(200), &json!(100)));
    assert_eq!(stage.delivered().first().map(String::as_str), Some("m-200"));
}

#[test]
fn a_reinjected_record_is_drained_again_and_its_file_is_kept() {
    let stage = Stage::new(30, 30);
    assert_eq!(stage.delivered(), [""; 0]);
    let (code, done) = stage.json("reinject", &["--all"]);
    assert_eq!((code, &done["records"], &done["files"]), (0, &json!(1), &json!(1)));
    let outcome = &done["outcomes"][0];
    assert!(outcome["first_id"].as_u64().unwrap() >= 30);
    assert!(stage.dir.join(outcome["moved_to"].as_str().unwrap()).is_file(), "{outcome}");
    assert_eq!(stage.delivered(), ["m-1"]);
    assert_eq!(stage.dump(&["--quarantine"]), [json!(null); 0]);
    let (code, text, _) = stage.run("reinject", &["--all"]);
    assert!(code == 0 && text.contains("0 records"), "{text}");
    assert_eq!(stage.delivered(), ["m-1"], "it was put back once");
}

#[test]
fn a_file_may_be_named_by_its_path_and_one_without_a_record_is_refused() {
    let stage = Stage::new(300, 100);
    stage.damage("m-200");
    assert_eq!(stage.run("repair", &[]).0, 0);
    let quarantine = stage.dir.join("quarantine");
    let named = |start: &str| {
        let files = std::fs::read_dir(&quarantine).unwrap().map(|entry| entry.unwrap().path());
        let mut files = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start));
        files.next().unwrap().to_str().unwrap().to_owned()
    };
    let damage = named("damage-");
    let (code, text, _) = stage.run("reinject", &["--record", &damage]);
    assert!(code == 1 && text.contains("holds no record by itself"), "{text}");
    let (code, text, _) = stage.run("reinject", &["--salvage", "--record", &damage]);
    assert!(code == 1 && text.contains("no whole record"), "{text}");
    let (code, text, _) = stage.run("reinject", &["--record", "nothing.q"]);
    assert!(code == 1 && text.contains("no such file"), "{text}");
    let (code, text, stderr) = stage.run("reinject", &["--record", &named("record-")]);
    assert_eq!(code, 0, "{text} {stderr}");
    assert_eq!(stage.delivered().last().map(String::as_str), Some("m-1"));
}

#[test]
fn a_quarantined_record_that_is_no_envelope_stays() {
    let stage = Stage::new(1, 0);
    {
        let (mut queue, _) = local_buffer::Queue::open(&stage.dir, super::stage::options()).unwrap();
        let mut reader = queue.take_reader().unwrap();
        reader.quarantine(local_buffer::RecordId::from_u64(0), b"\x07junk", "no envelope").unwrap();
    }
    let (code, text, stderr) = stage.run("reinject", &["--all"]);
    assert!(code == 1 && text.contains("no envelope") && stderr.contains("1 file refused"), "{text} {stderr}");
}
