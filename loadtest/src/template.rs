//! An event with holes: everything that is the same in all events of one kind, laid out once.
//!
//! What differs between two events has a fixed width, so making an event is one copy and five patches.

use std::ops::Range;

use crate::mix::{About, mix};
use crate::skim::{self, Member};

/// Digits of an event number in a messageId or marker: 10^12 events, 231 days at 50,000 a second.
pub(crate) const NUMBER_DIGITS: usize = 12;
/// Bytes of `lt-<seed, 16 hex digits>-<number, 12 digits>`.
pub(crate) const ID_BYTES: usize = 3 + 16 + 1 + NUMBER_DIGITS;
/// Member of properties, traits or (alias) context that finds an event sent without a messageId.
pub(crate) const MARKER_KEY: &str = "loadtestMarker";

/// The six calls of the Tracking API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Track,
    Page,
    Identify,
    Screen,
    Group,
    Alias,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [Self::Track, Self::Page, Self::Identify, Self::Screen, Self::Group, Self::Alias];

    /// Share of all events in percent, as SDKs' users send them.
    pub(crate) fn percent(self) -> u64 {
        match self {
            Self::Track => 70,
            Self::Page => 15,
            Self::Identify => 8,
            Self::Screen => 4,
            Self::Group => 2,
            Self::Alias => 1,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Page => "page",
            Self::Identify => "identify",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }
}

/// What may stand in properties or traits, by variant and in order of importance. Each is taken only if it fits.
const DETAILS: [&[&str]; Template::VARIANTS] = [
    &[r#""plan":"pro""#, r#""quantity":3"#, r#""currency":"EUR""#, r#""list":"search results""#],
    &[r#""coupon":null"#, r#""total":0.30000000000000004"#, r#""count":9007199254740993"#, r#""rate":1e+21"#],
    &[r#""products":[{"sku":"A-1","price":19.9,"quantity":1},{"sku":"B-2","price":5,"quantity":4}]"#, r#""step":2"#],
    &[r#""title":"Grüße, 世界 🎟""#, r#""quoted":"a \"b\" \\ \/ \u00e9\n\t<&>""#, r#""empty":{}"#, r#""none":[]"#],
];
/// What may stand in context.
const CONTEXT: [&str; 5] = [
    r#""locale":"en-GB""#,
    r#""page":{"path":"/pricing","search":"?utm_source=mail","title":"Pricing"}"#,
    r#""timezone":"Europe/Berlin""#,
    r#""userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Safari/537.36""#,
    r#""screen":{"width":2560,"height":1440,"density":2}"#,
];
const WORDS: [&str; 16] = [
    "ticket", "gate", "arrival", "queue", "stamp", "north", "ledger", "signal", "harbour", "evening", "platform",
    "meter", "window", "letter", "garden", "turn",
];

/// Where the patches go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holes {
    /// The number's digits, in the messageId or in the marker.
    pub(crate) number: usize,
    /// `DDTHH:MM:SS.mmm` of the timestamp.
    pub(crate) time: usize,
    /// The 36 characters of a UUID.
    pub(crate) anonymous_id: usize,
    /// Six digits.
    pub(crate) user: usize,
    /// 16 hexadecimal digits.
    pub(crate) nonce: usize,
}

/// One kind and variant of event, of exactly the asked size.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    pub(crate) holes: Holes,
    /// The event's members; patches do not move them.
    pub(crate) members: Vec<Member>,
    /// The members of its context.
    pub(crate) context: Vec<Member>,
}

/// What a template is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) variant: usize,
    pub(crate) has_message_id: bool,
}

impl Template {
    /// Variants of each kind.
    pub(crate) const VARIANTS: usize = 4;

    /// A template of exactly `event_bytes`, or the fewest bytes it needs.
    pub(crate) fn try_new(recipe: Recipe, event_bytes: usize) -> Result<Self, usize> {
        let extras_max = DETAILS[recipe.variant].len() + CONTEXT.len();
        let fitting = (0..=extras_max).rev().find(|&extras| lay_out(recipe, extras, 0).0.len() <= event_bytes);
        let Some(extras) = fitting else { return Err(lay_out(recipe, 0, 0).0.len()) };
        let padding_bytes = event_bytes - lay_out(recipe, extras, 0).0.len();
        let (text, holes) = lay_out(recipe, extras, padding_bytes);
        let bytes = text.into_bytes();
        let mut members = Vec::new();
        let mut context = Vec::new();
        skim::members(&bytes, &mut members).expect("a template is a JSON object");
        let place = value_of(&bytes, &members, b"context").expect("a template has a context");
        skim::members(&bytes[place.clone()], &mut context).expect("the context is a JSON object");
        for member in &mut context {
            member.key = member.key.start + place.start..member.key.end + place.start;
            member.value = member.value.start + place.start..member.value.end + place.start;
        }
        Ok(Self { kind: recipe.kind, bytes, holes, members, context })
    }
}

/// The value of the member that is called `key`.
pub(crate) fn value_of(text: &[u8], members: &[Member], key: &[u8]) -> Option<Range<usize>> {
    members.iter().find(|member| &text[member.key.clone()] == key).map(|member| member.value.clone())
}

/// The event's text with zeros in its holes.
fn lay_out(recipe: Recipe, extras: usize, padding_bytes: usize) -> (String, Holes) {
    let Recipe { seed, kind, variant, has_message_id } = recipe;
    let id = format!("lt-{seed:016x}-");
    let mut text = String::new();
    let mut holes = Holes::default();
    // Details and context take turns, so that small events have some of each.
    let details = DETAILS[variant];
    let detail_count = extras.div_ceil(2).max(extras.saturating_sub(CONTEXT.len())).min(details.len());
    let (details, context) = (&details[..detail_count], &CONTEXT[..extras - detail_count]);

    push_all(&mut text, &[r#"{"type":""#, kind.name(), "\""]);
    if has_message_id {
        push_all(&mut text, &[r#","messageId":""#, &id]);
        push_hole(&mut text, &mut holes.number, &"0".repeat(NUMBER_DIGITS));
        text.push('"');
    }
    text.push_str(r#","timestamp":"2026-01-"#);
    push_hole(&mut text, &mut holes.time, "00T00:00:00.000");
    text.push_str(if kind == Kind::Alias { r#"Z","previousId":""# } else { r#"Z","anonymousId":""# });
    push_hole(&mut text, &mut holes.anonymous_id, "00000000-0000-4000-8000-000000000000");
    text.push_str(r#"","userId":"user-"#);
    push_hole(&mut text, &mut holes.user, "000000");
    text.push('"');
    match kind {
        Kind::Track => text.push_str(r#","event":"Order Completed""#),
        Kind::Page | Kind::Screen => text.push_str(r#","name":"Pricing""#),
        Kind::Group => text.push_str(r#","groupId":"group-7""#),
        Kind::Identify | Kind::Alias => {}
    }
    match kind {
        Kind::Track | Kind::Page | Kind::Screen => text.push_str(r#","properties":{"#),
        Kind::Identify | Kind::Group => text.push_str(r#","traits":{"#),
        Kind::Alias => text.push_str(r#","context":{"#),
    }
    text.push_str(r#""nonce":""#);
    push_hole(&mut text, &mut holes.nonce, "0000000000000000");
    text.push('"');
    if !has_message_id {
        push_all(&mut text, &[",\"", MARKER_KEY, r#"":""#, &id]);
        push_hole(&mut text, &mut holes.number, &"0".repeat(NUMBER_DIGITS));
        text.push('"');
    }
    for detail in details {
        push_all(&mut text, &[",", detail]);
    }
    text.push_str(r#","padding":""#);
    push_padding(&mut text, recipe, padding_bytes);
    text.push('"');
    if kind == Kind::Alias {
        for member in context {
            push_all(&mut text, &[",", member]);
        }
    } else {
        push_all(&mut text, &[r#"},"context":{"#, &context.join(",")]);
    }
    text.push_str(r#"},"integrations":{"All":true}}"#);
    (text, holes)
}

fn push_all(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
}

fn push_hole(text: &mut String, hole: &mut usize, filling: &str) {
    *hole = text.len();
    text.push_str(filling);
}

fn push_padding(text: &mut String, recipe: Recipe, padding_bytes: usize) {
    let end = text.len() + padding_bytes;
    let mut word = (recipe.kind as u64) << 32 | (recipe.variant as u64) << 24;
    while text.len() < end {
        text.push_str(WORDS[(mix(recipe.seed, About::Padding, word) % WORDS.len() as u64) as usize]);
        text.push(' ');
        word += 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipes() -> impl Iterator<Item = Recipe> {
        Kind::ALL.into_iter().flat_map(|kind| {
            (0..Template::VARIANTS).flat_map(move |variant| {
                [true, false].map(|has_message_id| Recipe { seed: 9, kind, variant, has_message_id })
            })
        })
    }

    #[test]
    fn every_template_is_json_of_the_asked_size() {
        for recipe in recipes() {
            for event_bytes in [500, 920, 2_000, 32 * 1024] {
                let template = Template::try_new(recipe, event_bytes).expect("fits");
                assert_eq!(template.bytes.len(), event_bytes);
                serde_json::from_slice::<serde_json::Value>(&template.bytes).expect("JSON");
            }
        }
    }

    #[test]
    fn too_small_a_size_names_the_smallest_that_works() {
        for recipe in recipes() {
            let needed = Template::try_new(recipe, 10).expect_err("too small");
            assert_eq!(Template::try_new(recipe, needed).expect("fits").bytes.len(), needed);
            Template::try_new(recipe, needed - 1).expect_err("one less is too small");
        }
    }

    #[test]
    fn the_shares_make_a_whole() {
        assert_eq!(Kind::ALL.iter().map(|kind| kind.percent()).sum::<u64>(), 100);
    }
}
