//! What a path and a method mean.
//!
//! People type base addresses into SDKs, and SDKs append a path to them: with and without `/v1`, with it twice, with a
//! slash too many, with a whole path of an endpoint, behind the prefix of a proxy that does not take it off. An event that
//! is answered with a 404 is lost, so the words of a path decide and not its exact text. No path is ever answered with a
//! redirect.
//!
//! * Empty words do not count, and capitals do not matter.
//! * The last `v1` and what stands before it is base address. Only `beacon` and `pixel` right before it say something.
//! * Behind it, or where there is none from the start, each word has to be one of ours, and the last one decides:
//!   `/v1/batch/t` is what an SDK makes of the base address `…/v1/batch`.

use hyper::Method;

use crate::reject::Reject;
use crate::request::{Endpoint, EventType};

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Events.
    Ingest(Ingest),
    /// One event in the query of a picture's address.
    Pixel(EventType),
    /// Figures that an SDK sends about itself: read and forgotten.
    Telemetry,
    /// What an SDK of a browser or a mobile app asks for before it sends anything.
    Settings,
    /// The same for RudderStack's SDKs; the key stands in the query, or it is the Basic user.
    SourceConfig,
    /// Whether there is a server.
    Health,
    /// A browser asks whether it may post.
    Preflight,
    /// None of ours.
    Refused(Reject, Methods),
}

/// Events, as the path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ingest {
    /// What the body is.
    pub(crate) endpoint: Endpoint,
    /// Sent by a browser or a mobile app, so the address of the connection is the user's.
    pub(crate) client_side: bool,
}

/// The methods of a path, beside `OPTIONS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    Post,
    /// And `HEAD`.
    Get,
}

/// What metrics call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Batch,
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
    Pixel,
    Telemetry,
    Settings,
    Preflight,
    Other,
}

impl Label {
    pub(crate) const ALL: [(Self, &'static str); 12] = [
        (Self::Batch, "batch"),
        (Self::Track, "track"),
        (Self::Identify, "identify"),
        (Self::Page, "page"),
        (Self::Screen, "screen"),
        (Self::Group, "group"),
        (Self::Alias, "alias"),
        (Self::Pixel, "pixel"),
        (Self::Telemetry, "telemetry"),
        (Self::Settings, "settings"),
        (Self::Preflight, "preflight"),
        (Self::Other, "other"),
    ];
}

impl Route {
    pub(crate) fn label(self) -> Label {
        match self {
            Self::Ingest(Ingest { endpoint: Endpoint::Batch, .. }) => Label::Batch,
            Self::Ingest(Ingest { endpoint: Endpoint::Single(kind), .. }) => match kind {
                EventType::Track => Label::Track,
                EventType::Identify => Label::Identify,
                EventType::Page => Label::Page,
                EventType::Screen => Label::Screen,
                EventType::Group => Label::Group,
                EventType::Alias => Label::Alias,
            },
            Self::Pixel(_) => Label::Pixel,
            Self::Telemetry => Label::Telemetry,
            Self::Settings | Self::SourceConfig => Label::Settings,
            Self::Preflight => Label::Preflight,
            Self::Health | Self::Refused(..) => Label::Other,
        }
    }

    /// What it becomes below these words; `None` below any other.
    fn below(self, word: &str) -> Option<Self> {
        match self {
            Self::Ingest(ingest) if word.eq_ignore_ascii_case("beacon") => {
                Some(Self::Ingest(Ingest { client_side: true, ..ingest }))
            }
            Self::Ingest(Ingest { endpoint: Endpoint::Single(kind), .. }) | Self::Pixel(kind)
                if word.eq_ignore_ascii_case("pixel") =>
            {
                Some(Self::Pixel(kind))
            }
            _ => None,
        }
    }

    fn methods(self) -> Methods {
        match self {
            Self::Pixel(_) | Self::Settings | Self::SourceConfig | Self::Health => Methods::Get,
            Self::Ingest(_) | Self::Telemetry | Self::Preflight | Self::Refused(..) => Methods::Post,
        }
    }
}

/// What a request is.
pub(crate) fn route(method: &Method, path: &str) -> Route {
    if *method == Method::OPTIONS {
        return Route::Preflight;
    }
    let Some(route) = settings_key(path).map(|_| Route::Settings).or_else(|| by_words(path)) else {
        return Route::Refused(Reject::NotFound, Methods::Post);
    };
    let allowed = match route.methods() {
        Methods::Post => *method == Method::POST,
        Methods::Get => *method == Method::GET || *method == Method::HEAD,
    };
    if allowed { route } else { Route::Refused(Reject::MethodNotAllowed, route.methods()) }
}

/// The words of a path, the last first. A blank that was typed behind a base address comes as `%20`.
fn words_from_end(path: &str) -> impl Iterator<Item = &str> {
    path.rsplit('/').map(without_blanks).filter(|word| !word.is_empty())
}

fn without_blanks(mut word: &str) -> &str {
    // A search for the text, as `trim_end_matches` makes it, costs more than the rest of a route.
    while let Some(start) = word.strip_suffix("%20") {
        word = start;
    }
    word
}

/// The write key of `projects/KEY/settings`, as it stands there, whatever stands before it.
pub(crate) fn settings_key(path: &str) -> Option<&str> {
    let mut words = words_from_end(path);
    let [last, write_key, projects] = [words.next()?, words.next()?, words.next()?];
    let is_settings = last.eq_ignore_ascii_case("settings") && projects.eq_ignore_ascii_case("projects");
    is_settings.then_some(write_key)
}

fn by_words(path: &str) -> Option<Route> {
    let mut words = words_from_end(path);
    let mut route = by_word(words.next()?)?;
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("v1") {
            let prefix = words.find(|word| !word.eq_ignore_ascii_case("v1"));
            return Some(prefix.and_then(|word| route.below(word)).unwrap_or(route));
        }
        route = route.below(word).or_else(|| by_word(word).map(|_| route))?;
    }
    Some(route)
}

fn by_word(word: &str) -> Option<Route> {
    use EventType::{Alias, Group, Identify, Page, Screen, Track};
    let ingest = |endpoint, client_side| Route::Ingest(Ingest { endpoint, client_side });
    let single = |kind, client_side| ingest(Endpoint::Single(kind), client_side);
    let words = [
        ("batch", ingest(Endpoint::Batch, false)),
        ("import", ingest(Endpoint::Batch, false)),
        ("b", ingest(Endpoint::Batch, true)),
        ("track", single(Track, false)),
        ("identify", single(Identify, false)),
        ("page", single(Page, false)),
        ("screen", single(Screen, false)),
        ("group", single(Group, false)),
        ("alias", single(Alias, false)),
        ("t", single(Track, true)),
        ("i", single(Identify, true)),
        ("p", single(Page, true)),
        ("s", single(Screen, true)),
        ("g", single(Group, true)),
        ("a", single(Alias, true)),
        ("m", Route::Telemetry),
        ("sourceConfig", Route::SourceConfig),
        ("health", Route::Health),
        ("version", Route::Health),
    ];
    words.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, route)| route)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Endpoint = Endpoint::Batch;

    fn ingest(endpoint: Endpoint, client_side: bool) -> Route {
        Route::Ingest(Ingest { endpoint, client_side })
    }

    #[test]
    fn every_path_of_the_protocol() {
        use EventType::{Alias, Group, Identify, Page, Screen, Track};
        let single = Endpoint::Single;
        for (path, endpoint, client_side) in [
            ("/v1/batch", BATCH, false),
            ("/v1/import", BATCH, false),
            ("/v1/b", BATCH, true),
            ("/v1/track", single(Track), false),
            ("/v1/identify", single(Identify), false),
            ("/v1/page", single(Page), false),
            ("/v1/screen", single(Screen), false),
            ("/v1/group", single(Group), false),
            ("/v1/alias", single(Alias), false),
            ("/v1/t", single(Track), true),
            ("/v1/i", single(Identify), true),
            ("/v1/p", single(Page), true),
            ("/v1/s", single(Screen), true),
            ("/v1/g", single(Group), true),
            ("/v1/a", single(Alias), true),
            ("/beacon/v1/batch", BATCH, true),
        ] {
            let expected = ingest(endpoint, client_side);
            let bare = path.replacen("/v1", "", 1);
            let typed = [
                path.to_owned(),
                format!("{path}/"),
                format!("{path}//"),
                format!("/{path}"),
                path.replace('/', "//"),
                path.replacen("/v1", "/v1/v1", 1),
                path.replacen("/v1", "/v1//v1/", 1),
                path.replacen("/v1", "/V1", 1),
                path.replacen("/v1", "/v1%20", 1),
                bare.clone(),
                format!("{bare}/"),
                format!("/{bare}"),
            ];
            for path in typed {
                assert_eq!(route(&Method::POST, &path), expected, "{path}");
                assert_eq!(
                    route(&Method::GET, &path),
                    Route::Refused(Reject::MethodNotAllowed, Methods::Post),
                    "{path}"
                );
                assert_eq!(route(&Method::OPTIONS, &path), Route::Preflight, "{path}");
            }
            if !path.starts_with("/beacon") {
                for base in ["/collect", "/a/b/v2", "/v1/batch", "/v1/t", "/v1/track/"] {
                    assert_eq!(route(&Method::POST, &format!("{base}{path}")), expected, "{base}{path}");
                }
            }
        }
        for path in ["/v1/m", "/m", "/v1/batch/m", "/v1/v1/m/"] {
            assert_eq!(route(&Method::POST, path), Route::Telemetry, "{path}");
        }
    }

    #[test]
    fn an_endpoint_as_base_address_does_not_hide_the_path_behind_it() {
        let track = Endpoint::Single(EventType::Track);
        for (path, endpoint, client_side) in [
            ("/v1/batch/b", BATCH, true),
            ("/batch/b", BATCH, true),
            ("/v1/b/batch", BATCH, false),
            ("/v1/batch/t", track, true),
            ("/v1/track/track", track, false),
            ("/v1/b/t", track, true),
            ("/v1/batch/import", BATCH, false),
        ] {
            assert_eq!(route(&Method::POST, path), ingest(endpoint, client_side), "{path}");
        }
    }

    #[test]
    fn what_is_read_has_its_paths_too() {
        let settings = Route::Settings;
        let pixel = Route::Pixel(EventType::Track);
        for (path, expected) in [
            ("/v1/projects/KEY/settings", settings),
            ("/projects/KEY/settings/", settings),
            ("/v1/v1/projects/KEY/settings", settings),
            ("/v1/projects/projects/KEY/settings", settings),
            ("//v1//projects//KEY//settings", settings),
            ("/cdn/v1/projects/KEY/settings", settings),
            ("/v1/projects/v1/settings", settings),
            ("/v1/projects/a%2Fb/settings", settings),
            ("/v1/pixel/track", pixel),
            ("/pixel/track", pixel),
            ("/v1/v1//pixel/track/", pixel),
            ("/pixel/v1/track", pixel),
            ("/v1/pixel/v1/track", pixel),
            ("/v1/pixel/identify", Route::Pixel(EventType::Identify)),
            ("/v1/pixel/page", Route::Pixel(EventType::Page)),
            ("/v1/pixel/screen", Route::Pixel(EventType::Screen)),
            ("/v1/pixel/group", Route::Pixel(EventType::Group)),
            ("/v1/pixel/alias", Route::Pixel(EventType::Alias)),
            ("/sourceConfig", Route::SourceConfig),
            ("/v1/sourceConfig/", Route::SourceConfig),
            ("/health", Route::Health),
            ("/version", Route::Health),
        ] {
            assert_eq!(route(&Method::GET, path), expected, "{path}");
            assert_eq!(route(&Method::HEAD, path), expected, "{path}");
            assert_eq!(route(&Method::POST, path), Route::Refused(Reject::MethodNotAllowed, Methods::Get), "{path}");
            assert_eq!(route(&Method::OPTIONS, path), Route::Preflight, "{path}");
        }
    }

    #[test]
    fn the_key_of_settings_stands_between_two_words() {
        for (path, key) in [
            ("/v1/projects/KEY/settings", "KEY"),
            ("/v1/projects/projects/KEY/settings/", "KEY"),
            ("/v1/projects/v1/settings", "v1"),
            ("/v1/projects/a%2Fb/settings", "a%2Fb"),
        ] {
            assert_eq!(settings_key(path), Some(key), "{path}");
        }
    }

    #[test]
    fn anything_else_is_not_found() {
        for path in [
            "",
            "/",
            "//",
            "/v1",
            "/v1/",
            "/v1/x",
            "/v1/track/x",
            "/v2/batch",
            "/x/batch",
            "/v1/x/batch",
            "/batch/v1",
            "/v1/pixel",
            "/v1/pixel/batch",
            "/pixel/v1/batch/x",
            "/beacon/v1",
            "/v1/settings",
            "/v1/projects/settings",
            "/v1/projects/KEY",
            "/v1/projects/KEY/settings/x",
            "*",
        ] {
            let expected = Route::Refused(Reject::NotFound, Methods::Post);
            assert_eq!(route(&Method::POST, path), expected, "{path}");
            assert_eq!(route(&Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn labels_stand_at_their_index() {
        for (index, (label, _)) in Label::ALL.into_iter().enumerate() {
            assert_eq!(label as usize, index);
        }
    }
}
