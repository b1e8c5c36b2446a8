use std::io::Write as _;

use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Example {
    listen: String,
    threads: usize,
    #[serde(flatten)]
    part: Part,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Part {
    buffer: Buffer,
    sources: Vec<Source>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Buffer {
    bytes_max: u64,
    direct: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    id: String,
    write_keys: Vec<String>,
}

impl Default for Example {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".into(), threads: 0, part: Part::default() }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes_max: 1000, direct: true }
    }
}

impl Settings for Example {
    const PREFIX: &'static str = "EXAMPLE";
    const OTHER_VARIABLES: &'static [&'static str] = &["EXAMPLE_CONFIG"];
    const SECRETS: &'static [&'static str] = &["write_keys"];

    fn problems(&self) -> Vec<Problem> {
        let small = self.part.buffer.bytes_max < 10;
        small.then(|| Problem::new("buffer.bytes_max", "must be at least 10")).into_iter().collect()
    }
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded<Example>, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let name = file.path().display().to_string();
    load(Some(file.path()), environment).map_err(|error| error.to_string().replace(&name, "FILE"))
}

fn fault(text: &str, variables: &[(&str, &str)]) -> String {
    let error = load_text(text, variables).unwrap_err();
    error.strip_prefix("the configuration cannot be used\n  ").unwrap().to_owned()
}

#[test]
fn nothing_said_is_the_default() {
    let loaded = load::<Example>(None, []).unwrap();
    assert_eq!(loaded.value, Example::default());
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "threads = 2\n[buffer]\nbytes_max = 0x40\n[[sources]]\nid = \"web\"\nwrite_keys = [\"k\"]\n";
    let loaded = load_text(text, &[("EXAMPLE_THREADS", "3"), ("EXAMPLE_BUFFER_DIRECT", "false")]).unwrap();
    assert_eq!(loaded.value.threads, 3);
    assert_eq!(loaded.value.part.buffer, Buffer { bytes_max: 64, direct: false });
    assert_eq!(loaded.value.part.sources, [Source { id: "web".into(), write_keys: vec!["k".into()] }]);
    let sources = r#"[{id = "app", write_keys = ["a", "b"]}]"#;
    let loaded = load_text(text, &[("EXAMPLE_SOURCES", sources)]).unwrap();
    assert_eq!(loaded.value.part.sources[0].write_keys, ["a", "b"]);
}

#[test]
fn faults_name_line_column_and_key() {
    assert_eq!(
        fault("threads = 1\nlisen = \"x\"\n", &[]),
        "FILE:2:1: lisen: there is no such key; did you mean listen?"
    );
    assert_eq!(
        fault("bytes_max = 1\n", &[]),
        "FILE:1:1: bytes_max: there is no such key; did you mean buffer.bytes_max?"
    );
    let wrong = fault("\n[buffer]\n  bytes_max = \"much\"\n", &[]);
    assert!(wrong.starts_with("FILE:3:3: buffer.bytes_max: invalid type: string \"much\", expected u64"), "{wrong}");
    assert!(fault("threads = \n", &[]).starts_with("FILE:1:"), "syntax");
    assert!(fault("buffer = 3\n", &[]).contains("is a table of settings"));
    assert!(fault("[[sources]]\nid = \"web\"\nwrite_key = \"k\"\n", &[]).starts_with("FILE:1:"));
}

#[test]
fn faults_name_the_variable() {
    let wrong = fault("", &[("EXAMPLE_THREADS", "many")]);
    assert!(wrong.starts_with("EXAMPLE_THREADS: threads: invalid type"), "{wrong}");
}

#[test]
fn every_fault_is_reported() {
    let error = load_text("a = 1\nb = 2\n", &[("EXAMPLE_THREADS", "x")]).unwrap_err();
    assert_eq!(error.lines().count(), 4, "{error}");
}

#[test]
fn a_bound_is_reported_where_the_value_came_from() {
    assert_eq!(fault("[buffer]\nbytes_max = 1", &[]), "FILE:2:1: buffer.bytes_max: must be at least 10");
    let variable = fault("", &[("EXAMPLE_BUFFER_BYTES_MAX", "2")]);
    assert_eq!(variable, "EXAMPLE_BUFFER_BYTES_MAX: buffer.bytes_max: must be at least 10");
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let variables = [("EXAMPLE_LISEN", "x"), ("EXAMPLE_CONFIG", "x"), ("OTHER", "x")];
    let loaded = load_text("", &variables).unwrap();
    assert_eq!(
        loaded.warnings,
        ["the variable EXAMPLE_LISEN is no setting of this program; did you mean EXAMPLE_LISTEN?"]
    );
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let error = load::<Example>(Some(Path::new("/nonexistent/x.toml")), []).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/x.toml:1:1: cannot be read"), "{error}");
}

#[test]
fn the_description_says_where_from_and_hides_secrets() {
    let text = "threads = 2\n[[sources]]\nid = \"web\"\nwrite_keys = [\"hush\"]\n";
    let described = load_text(text, &[("EXAMPLE_LISTEN", "0.0.0.0:80")]).unwrap().to_string();
    let line = |start: &str| described.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("listen = \"0.0.0.0:80\"").ends_with("# EXAMPLE_LISTEN"), "{described}");
    assert!(line("threads = 2").ends_with(":1:1"), "{described}");
    assert!(line("bytes_max = 1000").ends_with("# default"), "{described}");
    assert!(line("sources = ").contains("id = \"web\""), "{described}");
    assert!(!described.contains("hush"), "{described}");
    // What it prints can be read again.
    assert!(described.parse::<toml::Table>().is_ok(), "{described}");
}

#[test]
fn a_fault_never_shows_a_secret() {
    let source = "[[sources]]\nid = \"web\"\n";
    for text in [
        "[[sources]]\nid = 3\nwrite_keys = [\"hush\"]\n".to_owned(),
        format!("{source}write_keys = \"hush\"\n"),
        format!("{source}write_keys = [[\"hush\"]]\n"),
        format!("{source}write_keys = {{ a = \"hush\" }}\n"),
        format!("{source}write_keys = [\"a\", {{ hush = 1 }}]\n"),
        format!("{source}write_keys = [\", expected hush\", 1]\n"),
        format!("{source}write_key = \"hush\"\n"),
        format!("{source}write_keys = [\"hush\"\n"),
        format!("{source}write_keys = [hush]\n"),
        format!("{source}write_keys = \"hush\n"),
        "[[sources]]\nid = { a = \"hush\" }\n".to_owned(),
        "sources = \"hush\"\n".to_owned(),
        "sources = [\"hush\"]\n".to_owned(),
        "[sources]\nweb = \"hush\"\n".to_owned(),
        "write_keys = [\"hush\"]\n".to_owned(),
        "[buffer]\nwrite_keys = [\"hush\"]\n".to_owned(),
    ] {
        let error = fault(&text, &[]);
        assert!(!error.contains("hush"), "{text}: {error}");
    }
    for variable in [
        "[{id = \"web\", write_keys = [\"hush\"]",
        "[{id = \"web\", write_keys = \"hush\"}]",
        "[{id = \"web\", write_keys = [\"a\"], hush = 1}]",
        "hush",
        "web:hush,app:hush",
        "{hush}",
    ] {
        let error = fault("", &[("EXAMPLE_SOURCES", variable)]);
        assert!(error.starts_with("EXAMPLE_SOURCES: sources: ") && !error.contains("hush"), "{variable}: {error}");
    }
    let error = fault(&format!("{source}write_keys = \"hush\"\n"), &[]);
    assert_eq!(error, "FILE:1:3: sources: not a value for this key: expected a sequence");
    assert!(fault(source, &[]).contains("missing field `write_keys`"));
}
