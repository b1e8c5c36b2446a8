//! The architecture as a test: which crate knows which, and which file alone may say what. A rule that only a document
//! states is gone after a year.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file beyond which nobody reads it from top to bottom.
const FILE_LINES_MAX: usize = 500;

/// The crates, each with its folder, from the bottom to the top: each may use those before it and none behind it.
const CRATES: [(&str, &str); 16] = [
    ("wire", "wire"),
    ("local-buffer", "local-buffer"),
    ("service", "service"),
    ("buffer-tools", "local-buffer/tools"),
    ("changelog", "changelog"),
    ("changelog-suite", "changelog/suite"),
    ("ingest", "tapi/ingest"),
    ("dedup", "dedup-worker/dedup"),
    ("kafka", "kafka"),
    ("ownership", "ownership"),
    ("tapi", "tapi"),
    ("dedup-worker", "dedup-worker"),
    ("standalone", "standalone"),
    ("loadtest", "loadtest"),
    ("benches", "benches"),
    ("tests", "tests"),
];

/// Who may depend on what, beside packages that this table does not name. Dependencies of tests count.
const MAY_DEPEND: [(&str, &[&str]); 20] = [
    // The two halves meet in `wire` and in the bytes between them, never in code; the HTTP half and the index know no Kafka.
    ("ingest", &["tapi", "standalone", "benches"]),
    ("dedup", &["dedup-worker", "standalone", "benches"]),
    ("local-buffer", &["buffer-tools", "ingest", "tapi", "standalone", "benches"]),
    ("buffer-tools", &["tapi", "standalone"]),
    ("changelog", &["changelog-suite", "dedup", "ownership", "dedup-worker", "standalone", "benches"]),
    ("changelog-suite", &["dedup [dev]", "dedup-worker [dev]", "standalone [dev]"]),
    ("kafka", &["ownership", "tapi", "dedup-worker", "benches"]),
    ("ownership", &["dedup-worker", "benches"]),
    ("tapi", &[]),
    ("dedup-worker", &["benches"]),
    ("standalone", &["benches"]),
    ("loadtest", &["benches"]),
    ("benches", &[]),
    ("tests", &[]),
    // One crate each knows the store, the JSON parser and Kafka; a judge has its own reader, and tests their own producer.
    ("rocksdb", &["dedup"]),
    ("bloomfilter", &["dedup"]),
    ("simd-json", &["ingest", "benches"]),
    ("rdkafka", &["kafka", "loadtest", "benches", "tests", "ownership [dev]", "dedup-worker [dev]"]),
    ("hyper", &["service", "ingest", "benches", "loadtest [dev]"]),
    // Errors that a caller has to tell apart are enums; `anyhow` is for programs.
    ("anyhow", &["loadtest", "benches", "tests"]),
];

/// Documents with a table whose last column names the test that proves each row.
const TABLES_OF_TESTS: [(&str, &str); 2] = [("dedup-worker", "src/lib.rs"), ("dedup", "STORE.md")];

/// A text that only some files of some crates may contain, outside of comments and tests.
struct Rule {
    why: &'static str,
    crates: &'static [&'static str],
    texts: &'static [&'static str],
    /// File names, or folder names for all that is in them.
    only_in: &'static [&'static str],
}

const RULES: [Rule; 6] = [
    Rule {
        why: "every disk access of the buffer goes through its storage, which a simulation can replace",
        crates: &["local-buffer", "buffer-tools"],
        texts: &["std::fs", "fs::File", "rustix::fs", "rustix::io::p", "libc::"],
        only_in: &["storage.rs", "storage", "thread.rs"],
    },
    Rule {
        why: "wire is values only: no files, sockets, clocks, environment, threads or async",
        crates: &["wire"],
        texts: &["std::fs", "std::net", "std::env", "std::thread", "Instant", "SystemTime", "async fn", "tokio"],
        only_in: &[],
    },
    Rule {
        why: "the environment is read in one place and passed on as a value",
        crates: &[
            "wire",
            "local-buffer",
            "service",
            "buffer-tools",
            "ingest",
            "dedup",
            "kafka",
            "tapi",
            "dedup-worker",
            "standalone",
        ],
        texts: &["env::var(", "env::vars(", "env::var_os(", "env::vars_os("],
        // A crash is armed where the process begins; it is no setting.
        only_in: &["config.rs", "config", "crash.rs"],
    },
    Rule {
        why: "standard output may be closed or full, which is an error and no crash",
        crates: &[
            "wire",
            "local-buffer",
            "service",
            "buffer-tools",
            "changelog",
            "ingest",
            "dedup",
            "kafka",
            "ownership",
            "tapi",
            "dedup-worker",
            "standalone",
            "loadtest",
        ],
        texts: &["print!(", "println!("],
        only_in: &["proof", "examples", "build.rs", "handoff_test.rs"],
    },
    Rule {
        why: "a crate's metrics are read off one file",
        crates: &["ingest", "dedup", "kafka", "tapi", "dedup-worker", "standalone"],
        texts: &["prometheus_client::metrics", ".register(", "_total\""],
        only_in: &["metrics.rs", "metrics"],
    },
    Rule {
        why: "what a topic must be set to is one table",
        crates: &["wire", "ingest", "dedup", "kafka", "tapi", "dedup-worker", "standalone"],
        texts: &["cleanup.policy", "message.timestamp.type", "retention.ms", "retention.bytes", "min.insync.replicas"],
        only_in: &["rules.rs"],
    },
];

#[test]
fn no_source_file_is_too_long_to_read() {
    let long: Vec<String> = all_sources()
        .into_iter()
        .filter_map(|path| {
            let lines = read(&path).lines().count();
            (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "split by noun, {FILE_LINES_MAX} lines are the most: {long:#?}");
}

#[test]
fn each_text_stays_in_the_files_that_may_say_it() {
    let found: Vec<String> = RULES.iter().flat_map(violations).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn crates_depend_only_downwards() {
    let mut found = Vec::new();
    for (place, (user, folder)) in CRATES.iter().enumerate() {
        for (dependency, is_dev) in dependencies(&read(&root().join(folder).join("Cargo.toml"))) {
            let as_dev = format!("{user} [dev]");
            let may = |users: &[&str]| users.contains(user) || is_dev && users.contains(&&*as_dev);
            let rule = MAY_DEPEND.iter().find(|(name, _)| *name == dependency);
            let is_behind = CRATES[place..].iter().any(|(name, _)| *name == dependency);
            if is_behind || rule.is_some_and(|(_, users)| !may(users)) {
                found.push(format!("{user} must not depend on {dependency}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    let wire = dependencies(&read(&root().join("wire/Cargo.toml")));
    assert!(wire.len() <= 4, "everything depends on wire, so it depends on next to nothing: {wire:?}");
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for (name, folder) in CRATES {
        assert!(read(&root().join(folder).join("Cargo.toml")).contains("[lints]\nworkspace = true"), "{name}");
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    for path in all_sources() {
        let text = read(&path);
        let blocks = code(&text).matches("unsafe {").count();
        let reasons = text.matches("// SAFETY:").count();
        assert!(reasons >= blocks, "{}: {blocks} unsafe blocks, {reasons} reasons", path.display());
    }
}

/// Packages whose libraries are there for their own scenarios and benches.
const SHARED_BY_OWN_TARGETS: [&str; 2] = ["benches", "tests"];

/// `pub` is for others: an item that no other package names is on a list, which may only become shorter. What the
/// scenarios and the benches share is public for those alone.
#[test]
fn what_is_public_is_used_by_another_package() {
    let fuzz = fs::read_dir(root().join("fuzz/targets")).expect("the targets of the fuzzer");
    let fuzz: BTreeSet<String> = fuzz.flat_map(|entry| words(&read(&entry.expect("an entry").path()))).collect();
    let words: Vec<BTreeSet<String>> =
        CRATES.iter().map(|(name, _)| sources(&[name]).iter().flat_map(|path| words(&read(path))).collect()).collect();
    let mut unused = BTreeSet::new();
    for (place, (name, folder)) in CRATES.iter().enumerate() {
        let src = root().join(folder).join("src");
        let paths = sources(&[name]).into_iter().filter(|path| path.starts_with(&src) && !path.ends_with("main.rs"));
        let items: BTreeSet<String> = paths.flat_map(|path| public_items(&code(&read(&path)))).collect();
        let own: BTreeSet<String> = sources(&[name])
            .iter()
            .filter(|path| SHARED_BY_OWN_TARGETS.contains(name) && !path.starts_with(&src))
            .flat_map(|path| self::words(&read(path)))
            .collect();
        let is_used = |item: &String| {
            let mut others = words.iter().enumerate().filter(|(other, _)| *other != place);
            fuzz.contains(item) || own.contains(item) || others.any(|(_, words)| words.contains(item))
        };
        unused.extend(items.iter().filter(|item| !is_used(item)).map(|item| format!("{name} {item}")));
    }
    let list = read(&root().join("tests/tidy.pub"));
    let listed: BTreeSet<String> = list.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let new: Vec<_> = unused.difference(&listed).collect();
    assert!(new.is_empty(), "public, and named in no other package: make them pub(crate): {new:#?}");
    let gone: Vec<_> = listed.difference(&unused).collect();
    assert!(gone.is_empty(), "no longer so; take them off tests/tidy.pub: {gone:#?}");
}

#[test]
fn every_test_that_a_table_names_is_there() {
    for (crate_name, document) in TABLES_OF_TESTS {
        let text = read(&root().join(folder(crate_name)).join(document));
        let tests: BTreeSet<String> = sources(&[crate_name]).iter().flat_map(|path| tests_in(&read(path))).collect();
        let named = tests_named(&text);
        assert!(!named.is_empty(), "{crate_name}/{document} names no test");
        let missing: Vec<_> = named.difference(&tests).collect();
        assert!(missing.is_empty(), "{crate_name}/{document} names tests that are not there: {missing:#?}");
    }
}

#[test]
fn the_checks_find_what_they_look_for() {
    let text = "//! std::fs in prose\nuse std::fs; // trailing\n#[cfg(test)]\nmod tests {\n    use std::env;\n}\n";
    assert!(code(text).contains("use std::fs;"));
    assert!(!code(text).contains("prose") && !code(text).contains("trailing") && !code(text).contains("std::env"));
    assert_eq!(test_modules("#[cfg(test)]\nmod golden;\nmod real;\n"), BTreeSet::from(["golden".to_owned()]));
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = { version = \"1\" }\n# c = 1\n\n[dev-dependencies]\nd = \"1\"\n";
    assert_eq!(
        dependencies(manifest),
        BTreeSet::from([("a".to_owned(), false), ("b".to_owned(), false), ("d".to_owned(), true)])
    );
    let items = public_items(
        "pub fn one() {}\n    pub const fn two()\npub(crate) fn no()\npub use no::no;\npub const K: u8 = 1;\n",
    );
    assert_eq!(items, BTreeSet::from(["K", "one", "two"].map(str::to_owned)));
    assert_eq!(tests_in("#[test]\nfn one() {\n#[test]\n#[ignore]\nfn two() {\nfn no() {\n").len(), 2);
    let table = "//! `no`\n//! | `no` | b |\n//! |---|---|\n//! | killed | `one_dies`, `two_die` (`tests/x_y.rs`) |\n";
    assert_eq!(tests_named(table), BTreeSet::from(["one_dies".to_owned(), "two_die".to_owned()]));
    assert!(sources(&["tests"]).iter().any(|path| path.ends_with("tests/tidy.rs")));
}

/// Every word of a text that could be a name.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Names of the items that a source makes public.
fn public_items(code: &str) -> BTreeSet<String> {
    let kinds = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "union"];
    let public = code.lines().filter_map(|line| line.trim_start().strip_prefix("pub "));
    let named = public.filter_map(|rest| {
        let words = rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let mut words = words.filter(|word| !["", "async", "unsafe"].contains(word));
        let kind = words.next().filter(|kind| kinds.contains(kind))?;
        let name = words.next()?;
        if kind == "const" && name == "fn" { words.next() } else { Some(name) }
    });
    named.map(str::to_owned).collect()
}

/// Names of the tests in a source.
fn tests_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            if is_test {
                names.insert(name.to_owned());
            }
            is_test = false;
        }
    }
    names
}

/// Names in backticks in the last columns of a document's tables, those of files left out.
fn tests_named(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix('|')?.strip_suffix('|'));
    let cells = rows.filter_map(|row| row.rsplit('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_name = |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    quoted.filter(is_name).map(str::to_owned).collect()
}

fn violations(rule: &Rule) -> Vec<String> {
    let allowed = |path: &Path| path.components().any(|part| rule.only_in.iter().any(|name| part.as_os_str() == *name));
    let mut found = Vec::new();
    for name in rule.crates {
        let sources = sources(&[name]);
        let test_modules: BTreeSet<String> = sources.iter().flat_map(|path| test_modules(&read(path))).collect();
        for path in sources {
            let inside = path.strip_prefix(root().join(folder(name))).expect("below its crate");
            if allowed(inside) || is_test(inside, &test_modules) {
                continue;
            }
            let code = code(&read(&path));
            for text in rule.texts.iter().filter(|text| code.contains(**text)) {
                found.push(format!("{name}/{} says {text}: {}", inside.display(), rule.why));
            }
        }
    }
    found
}

/// Sources without comments and without the module of unit tests at their end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    text[..end].lines().map(without_comment).collect()
}

/// A file below a folder of tests, or a module that its crate declares for tests only.
fn is_test(path: &Path, test_modules: &BTreeSet<String>) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        ["tests", "benches", "examples", "fuzz"].contains(&&*name)
            || test_modules.contains(name.trim_end_matches(".rs"))
    })
}

/// Names of modules that a file declares under `#[cfg(test)]`.
fn test_modules(text: &str) -> BTreeSet<String> {
    let mut lines = text.lines().peekable();
    let mut names = BTreeSet::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let module =
                lines.peek().and_then(|next| next.strip_suffix(';')).and_then(|next| next.split("mod ").nth(1));
            names.extend(module.map(str::to_owned));
        }
    }
    names
}

/// Names in the dependency tables of a manifest, and whether each is for tests alone.
fn dependencies(manifest: &str) -> BTreeSet<(String, bool)> {
    let (mut inside, mut is_dev) = (false, false);
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            (inside, is_dev) = (line.contains("dependencies"), line.contains("dev-"));
        } else if inside && line.starts_with(|first: char| first.is_ascii_alphabetic()) {
            names.extend(line.split(['.', ' ', '=']).next().map(|name| (name.to_owned(), is_dev)));
        }
    }
    names
}

/// The folder of a crate.
fn folder(name: &str) -> &'static str {
    CRATES.iter().find(|(crate_name, _)| *crate_name == name).expect("a crate of the table").1
}

/// Every `.rs` file of every crate.
fn all_sources() -> Vec<PathBuf> {
    sources(&CRATES.map(|(name, _)| name))
}

/// Every `.rs` file of some crates; those of a crate that lies in another one's folder are its own alone.
fn sources(crates: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = crates.iter().map(|name| root().join(folder(name))).collect();
    let is_crate = |path: &Path| CRATES.iter().any(|(_, folder)| path == root().join(folder));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if !is_crate(&path) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
