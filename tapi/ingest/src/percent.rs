//! Percent-decoding, of forms and of paths.

/// Appends what a form means: `%41` is a byte and `+` a space. A `%` without two hex digits stands for itself.
pub(crate) fn decode_form(text: &[u8], out: &mut Vec<u8>) {
    decode(text, b' ', out);
}

/// The same for a segment of a path, where `+` is itself.
pub(crate) fn decode_path(text: &[u8], out: &mut Vec<u8>) {
    decode(text, b'+', out);
}

fn decode(text: &[u8], plus: u8, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| Some((hex(*tail.first()?)?, hex(*tail.get(1)?)?))).flatten();
        if let Some((high, low)) = escaped {
            out.push(high << 4 | low);
            rest = &tail[2..];
        } else {
            out.push(if first == b'+' { plus } else { first });
            rest = tail;
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_paths_differ_in_the_plus() {
        for (text, form, path) in [
            ("a%41+b", "aA b", "aA+b"),
            ("%2B%2b", "++", "++"),
            ("100%", "100%", "100%"),
            ("%4", "%4", "%4"),
            ("%zz%", "%zz%", "%zz%"),
            ("%%41", "%A", "%A"),
            ("", "", ""),
        ] {
            let (mut by_form, mut by_path) = (Vec::new(), Vec::new());
            decode_form(text.as_bytes(), &mut by_form);
            decode_path(text.as_bytes(), &mut by_path);
            assert_eq!((&*by_form, &*by_path), (form.as_bytes(), path.as_bytes()), "{text}");
        }
    }
}
