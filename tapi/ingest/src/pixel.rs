//! One event in the query of a picture's address, to the body that a POST would have had.
//!
//! It is JSON in Base64 as `data`, or plain parameters whose names say with dots where they belong:
//! `userId=u&event=Opened&properties.campaign=spring`. Then every value is a text.

use std::ops::Range;

use base64::Engine as _;

use crate::auth::BASE64;
use crate::events::write_string;
use crate::percent;
use crate::reject::Reject;

/// Parameters that are looked at.
const PARAMETERS_MAX: usize = 1_000;
/// Parts of a name with dots between; a parameter with more is left out.
const PARTS_MAX: usize = 16;

/// The reader of one thread, with its reused buffers.
#[derive(Debug, Default)]
pub(crate) struct Pixel {
    text: Vec<u8>,
    parameters: Vec<Parameter>,
    out: Vec<u8>,
}

/// A name and a value, decoded, in the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Parameter {
    name: (usize, usize),
    value: (usize, usize),
}

impl Parameter {
    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.name.0..self.name.1]
    }

    fn value<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.value.0..self.value.1]
    }
}

impl Pixel {
    /// The body; it lies here until the next call.
    ///
    /// # Errors
    /// [`Reject::BodyEmpty`] without anything, [`Reject::InvalidJson`] where `data` is not Base64.
    pub(crate) fn body(&mut self, query: &str) -> Result<&[u8], Reject> {
        self.text.clear();
        self.out.clear();
        let data = query.split('&').find_map(|pair| pair.strip_prefix("data=")).filter(|data| !data.is_empty());
        if let Some(data) = data {
            self.decode(data)?;
        } else {
            self.read(query);
            self.write();
        }
        if self.out.len() > 2 { Ok(&self.out) } else { Err(Reject::BodyEmpty) }
    }

    /// Base64 in either alphabet. A `+` that was not escaped has become a space.
    fn decode(&mut self, data: &str) -> Result<(), Reject> {
        percent::decode_form(data.as_bytes(), &mut self.text);
        if self.text.trim_ascii_start().starts_with(b"{") {
            self.out.extend_from_slice(&self.text);
            return Ok(());
        }
        for byte in &mut self.text {
            *byte = match *byte {
                b' ' | b'-' => b'+',
                b'_' => b'/',
                other => other,
            };
        }
        self.out.resize(self.text.len().div_ceil(4) * 3, 0);
        let length = BASE64.decode_slice(&self.text, &mut self.out).map_err(|_| Reject::InvalidJson)?;
        self.out.truncate(length);
        Ok(())
    }

    fn read(&mut self, query: &str) {
        let Self { text, parameters, .. } = self;
        parameters.clear();
        let mut decode = |part: &str| {
            let start = text.len();
            percent::decode_form(part.as_bytes(), text);
            (start, text.len())
        };
        for pair in query.split('&').take(PARAMETERS_MAX) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push(Parameter { name: decode(name), value: decode(value) });
        }
        let text = &*text;
        parameters.retain(|parameter| {
            let name = parameter.name(text);
            let parts = || name.split(|byte| *byte == b'.');
            parts().all(|part| !part.is_empty()) && parts().count() <= PARTS_MAX
        });
        // What belongs into one object stands together then; of the same name the last one counts.
        parameters.sort_unstable_by(|a, b| {
            let parts = |parameter: &Parameter| parameter.name(text).split(|byte| *byte == b'.');
            parts(a).cmp(parts(b)).then(a.name.cmp(&b.name))
        });
    }

    fn write(&mut self) {
        let Self { text, parameters, out } = self;
        out.push(b'{');
        let mut open: Range<usize> = 0..0;
        for (index, parameter) in parameters.iter().enumerate() {
            let name = parameter.name(text);
            let next = parameters.get(index + 1).map_or(&b""[..], |next| next.name(text));
            if next == name || next.strip_prefix(name).is_some_and(|rest| rest.starts_with(b".")) {
                continue;
            }
            let parent = name.iter().rposition(|byte| *byte == b'.').unwrap_or(0);
            let common = common(&text[open.clone()], &name[..parent]);
            let closed = parts(&text[open.clone()]).count() - common;
            out.extend(std::iter::repeat_n(b'}', closed));
            if !out.ends_with(b"{") {
                out.push(b',');
            }
            for part in parts(&name[..parent]).skip(common) {
                write_text(out, part);
                out.extend_from_slice(b":{");
            }
            write_text(out, if parent == 0 { name } else { &name[parent + 1..] });
            out.push(b':');
            write_text(out, parameter.value(text));
            open = parameter.name.0..parameter.name.0 + parent;
        }
        out.extend(std::iter::repeat_n(b'}', parts(&text[open]).count() + 1));
    }
}

/// The parts of a path with dots; an empty path has none.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'.').filter(|part| !part.is_empty())
}

/// How many parts two paths have in common at their start.
fn common(a: &[u8], b: &[u8]) -> usize {
    parts(a).zip(parts(b)).take_while(|(a, b)| a == b).count()
}

/// As a JSON string; what is not UTF-8 is replaced, as pictures are asked for by old mail programs.
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    match std::str::from_utf8(text) {
        Ok(_) => write_string(out, text),
        Err(_) => write_string(out, String::from_utf8_lossy(text).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;
    use proptest::prelude::*;

    use super::*;

    fn body(query: &str) -> Result<serde_json::Value, Reject> {
        let mut pixel = Pixel { text: b"left over".to_vec(), ..Pixel::default() };
        pixel.body(query).map(|body| serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {query}")))
    }

    #[test]
    fn data_is_base64_in_every_spelling() {
        // Text whose Base64 has both of the characters that the alphabets write differently.
        let json = r#"{"userId":"~~~>>>???","event":"e"}"#;
        let expected = serde_json::from_str::<serde_json::Value>(json).unwrap();
        let standard = general_purpose::STANDARD.encode(json);
        assert!(standard.contains('+') && standard.contains('/') && standard.ends_with('='), "{standard}");
        let url_safe = general_purpose::URL_SAFE_NO_PAD.encode(json);
        for data in [
            standard.clone(),
            url_safe.clone(),
            general_purpose::STANDARD_NO_PAD.encode(json),
            standard.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D"),
            "%7B%22userId%22:%22~~~%3E%3E%3E???%22,%22event%22:%22e%22%7D".into(),
        ] {
            assert_eq!(body(&format!("data={data}")), Ok(expected.clone()), "{data}");
            assert_eq!(body(&format!("writeKey=KEY&data={data}&x=y")), Ok(expected.clone()), "{data}");
        }
        assert_eq!(body("data=!"), Err(Reject::InvalidJson));
    }

    #[test]
    fn dots_in_names_are_objects() {
        for (query, expected) in [
            ("userId=u&event=Opened", r#"{"event":"Opened","userId":"u"}"#),
            ("userId=u%20v&event=A+B", r#"{"event":"A B","userId":"u v"}"#),
            ("properties.a=1&event=e&properties.b=2", r#"{"event":"e","properties":{"a":"1","b":"2"}}"#),
            ("a.b.c=1&a.b.d=2&a.e=3&f=4", r#"{"a":{"b":{"c":"1","d":"2"},"e":"3"},"f":"4"}"#),
            ("a.b.c.d=1&a.x=2&b.c.d=3", r#"{"a":{"b":{"c":{"d":"1"}},"x":"2"},"b":{"c":{"d":"3"}}}"#),
            ("a.bc=1&ab.c=2&a.b=3", r#"{"a":{"b":"3","bc":"1"},"ab":{"c":"2"}}"#),
            ("a=1&a=2", r#"{"a":"2"}"#),
            ("a=1&a.b=2", r#"{"a":{"b":"2"}}"#),
            ("a.b=2&a=1&a-b=3", r#"{"a":{"b":"2"},"a-b":"3"}"#),
            ("a", r#"{"a":""}"#),
            ("a=%22%5C%0a", r#"{"a":"\"\\\n"}"#),
            ("a=%e9", "{\"a\":\"\u{fffd}\"}"),
            ("=x&.=y&a.=z&.b=1&c..d=2&e=3&&", r#"{"e":"3"}"#),
            ("data=&e=3", r#"{"data":"","e":"3"}"#),
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(expected).unwrap();
            assert_eq!(body(query), Ok(expected), "{query}");
        }
        for nothing in ["", "&", ".=1", "=1"] {
            assert_eq!(body(nothing), Err(Reject::BodyEmpty), "{nothing}");
        }
    }

    #[test]
    fn what_is_hostile_has_bounds() {
        let deep = format!("{}=1&e=2", vec!["a"; PARTS_MAX + 1].join("."));
        assert_eq!(body(&deep), Ok(serde_json::json!({"e": "2"})));
        let deepest = format!("{}=1", vec!["a"; PARTS_MAX].join("."));
        assert!(body(&deepest).unwrap()["a"]["a"]["a"].is_object());
        let many: Vec<_> = (0..2 * PARAMETERS_MAX).map(|index| format!("p{index}=1")).collect();
        assert_eq!(body(&many.join("&")).unwrap().as_object().unwrap().len(), PARAMETERS_MAX);
    }

    proptest! {
        #[test]
        fn any_parameters_are_one_object(query in "([a-c.=&%+]|%2e|%22|%c3){0,60}") {
            match Pixel::default().body(&query) {
                Ok(body) => {
                    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(body);
                    prop_assert!(parsed.is_ok_and(|object| !object.is_empty()), "{}", String::from_utf8_lossy(body));
                }
                Err(reject) => prop_assert_eq!(reject, Reject::BodyEmpty),
            }
        }
    }
}
