//! Which events are taken. Pure; the order of the checks decides which reason an event with several faults gets.

use wire::limits::EVENT_DEPTH_MAX;

use super::document::{Kind, Value};
use super::event::Event;
use super::names::Name;
use crate::reject::Reject;
use crate::request::{Endpoint, EventType};

/// The event's type, where the event is one that is taken.
///
/// # Errors
/// The first reason found against it.
pub(super) fn validate(event: Event<'_>, endpoint: Endpoint, type_name: Option<&[u8]>) -> Result<EventType, Reject> {
    if event.document.is_deeper_than(event.object, EVENT_DEPTH_MAX) {
        return Err(Reject::TooDeep);
    }
    let event_type = event_type(event, endpoint, type_name)?;
    let has_user = has_id(event, Name::UserId)?;
    let has_anonymous = has_id(event, Name::AnonymousId)?;
    if !has_user && !has_anonymous {
        return Err(Reject::IdentityMissing);
    }
    match event_type {
        EventType::Track => {
            let name = event.filled(Name::Event).ok_or(Reject::EventNameMissing)?;
            if event.kind(name) != Kind::String {
                return Err(Reject::EventNameNotString);
            }
            object(event, Name::Properties, Reject::PropertiesNotObject)?;
        }
        EventType::Page | EventType::Screen => {
            string(event, Name::Title, Reject::NameNotString)?;
            string(event, Name::Category, Reject::CategoryNotString)?;
            object(event, Name::Properties, Reject::PropertiesNotObject)?;
        }
        EventType::Identify => object(event, Name::Traits, Reject::TraitsNotObject)?,
        EventType::Group => {
            if !has_id(event, Name::GroupId)? {
                return Err(Reject::GroupIdMissing);
            }
            object(event, Name::Traits, Reject::TraitsNotObject)?;
        }
        EventType::Alias => {
            if !has_id(event, Name::PreviousId)? {
                return Err(Reject::PreviousIdMissing);
            }
        }
    }
    Ok(event_type)
}

/// The event's own type, or that of the path where it has none.
fn event_type(event: Event<'_>, endpoint: Endpoint, type_name: Option<&[u8]>) -> Result<EventType, Reject> {
    if event.present(Name::Type).is_none() {
        return match endpoint {
            Endpoint::Single(of_path) => Ok(of_path),
            Endpoint::Batch => Err(Reject::TypeMissing),
        };
    }
    match type_name {
        Some(b"track") => Ok(EventType::Track),
        Some(b"identify") => Ok(EventType::Identify),
        Some(b"page") => Ok(EventType::Page),
        Some(b"screen") => Ok(EventType::Screen),
        Some(b"group") => Ok(EventType::Group),
        Some(b"alias") => Ok(EventType::Alias),
        _ => Err(Reject::TypeUnknown),
    }
}

fn has_id(event: Event<'_>, name: Name) -> Result<bool, Reject> {
    match event.filled(name).map(|value| (event.kind(value), value)) {
        None => Ok(false),
        // Blanks are what an empty field of a form becomes.
        Some((Kind::String, value)) => Ok(!event.document.string(value).trim_ascii().is_empty()),
        Some((Kind::Number, _)) => Ok(true),
        Some(_) => Err(Reject::IdNotString),
    }
}

fn string(event: Event<'_>, name: Name, otherwise: Reject) -> Result<(), Reject> {
    check(event, name, otherwise, |value| event.kind(value) == Kind::String)
}

fn object(event: Event<'_>, name: Name, otherwise: Reject) -> Result<(), Reject> {
    check(event, name, otherwise, |value| event.kind(value) == Kind::Object || event.document.is_empty_array(value))
}

fn check(event: Event<'_>, name: Name, otherwise: Reject, fits: impl Fn(Value) -> bool) -> Result<(), Reject> {
    match event.present(name) {
        Some(value) if !fits(value) => Err(otherwise),
        _ => Ok(()),
    }
}
