//! What a path and a method mean: the whole list of paths, aliases included.
//!
//! A trailing slash never matters, and no path is ever answered with a redirect.

use hyper::Method;

use crate::reject::Reject;
use crate::request::{Endpoint, EventType};

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Events.
    Ingest {
        /// What the body is.
        endpoint: Endpoint,
        /// Sent by a browser or a mobile app, so the address of the connection is the user's.
        client_side: bool,
    },
    /// Figures that an SDK sends about itself: read and forgotten.
    Telemetry,
    /// A browser asks whether it may post.
    Preflight,
    /// None of ours.
    Refused(Reject),
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
    Telemetry,
    Preflight,
    Other,
}

impl Label {
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Batch, "batch"),
        (Self::Track, "track"),
        (Self::Identify, "identify"),
        (Self::Page, "page"),
        (Self::Screen, "screen"),
        (Self::Group, "group"),
        (Self::Alias, "alias"),
        (Self::Telemetry, "telemetry"),
        (Self::Preflight, "preflight"),
        (Self::Other, "other"),
    ];
}

impl Route {
    pub(crate) fn label(self) -> Label {
        match self {
            Self::Ingest { endpoint: Endpoint::Batch, .. } => Label::Batch,
            Self::Ingest { endpoint: Endpoint::Single(kind), .. } => match kind {
                EventType::Track => Label::Track,
                EventType::Identify => Label::Identify,
                EventType::Page => Label::Page,
                EventType::Screen => Label::Screen,
                EventType::Group => Label::Group,
                EventType::Alias => Label::Alias,
            },
            Self::Telemetry => Label::Telemetry,
            Self::Preflight => Label::Preflight,
            Self::Refused(_) => Label::Other,
        }
    }
}

/// What a request is.
pub(crate) fn route(method: &Method, path: &str) -> Route {
    if *method == Method::OPTIONS {
        return Route::Preflight;
    }
    match by_path(path.strip_suffix('/').unwrap_or(path)) {
        None => Route::Refused(Reject::NotFound),
        Some(_) if *method != Method::POST => Route::Refused(Reject::MethodNotAllowed),
        Some(route) => route,
    }
}

fn by_path(path: &str) -> Option<Route> {
    let server = |endpoint| Some(Route::Ingest { endpoint, client_side: false });
    let client = |endpoint| Some(Route::Ingest { endpoint, client_side: true });
    match path {
        // What a wrong base path in an SDK makes of the batch paths is served too.
        "/v1/batch" | "/v1/import" | "/batch" => server(Endpoint::Batch),
        "/v1/b" | "/b" | "/v1/batch/b" | "/batch/b" | "/beacon/v1/batch" => client(Endpoint::Batch),
        "/v1/track" => server(Endpoint::Single(EventType::Track)),
        "/v1/identify" => server(Endpoint::Single(EventType::Identify)),
        "/v1/page" => server(Endpoint::Single(EventType::Page)),
        "/v1/screen" => server(Endpoint::Single(EventType::Screen)),
        "/v1/group" => server(Endpoint::Single(EventType::Group)),
        "/v1/alias" => server(Endpoint::Single(EventType::Alias)),
        "/v1/t" => client(Endpoint::Single(EventType::Track)),
        "/v1/i" => client(Endpoint::Single(EventType::Identify)),
        "/v1/p" => client(Endpoint::Single(EventType::Page)),
        "/v1/s" => client(Endpoint::Single(EventType::Screen)),
        "/v1/g" => client(Endpoint::Single(EventType::Group)),
        "/v1/a" => client(Endpoint::Single(EventType::Alias)),
        "/v1/m" => Some(Route::Telemetry),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_with_and_without_its_slash() {
        let batch = Endpoint::Batch;
        let single = Endpoint::Single;
        for (path, endpoint, client_side) in [
            ("/v1/batch", batch, false),
            ("/v1/import", batch, false),
            ("/batch", batch, false),
            ("/v1/b", batch, true),
            ("/b", batch, true),
            ("/v1/batch/b", batch, true),
            ("/batch/b", batch, true),
            ("/beacon/v1/batch", batch, true),
            ("/v1/track", single(EventType::Track), false),
            ("/v1/identify", single(EventType::Identify), false),
            ("/v1/page", single(EventType::Page), false),
            ("/v1/screen", single(EventType::Screen), false),
            ("/v1/group", single(EventType::Group), false),
            ("/v1/alias", single(EventType::Alias), false),
            ("/v1/t", single(EventType::Track), true),
            ("/v1/i", single(EventType::Identify), true),
            ("/v1/p", single(EventType::Page), true),
            ("/v1/s", single(EventType::Screen), true),
            ("/v1/g", single(EventType::Group), true),
            ("/v1/a", single(EventType::Alias), true),
        ] {
            let expected = Route::Ingest { endpoint, client_side };
            assert_eq!(route(&Method::POST, path), expected, "{path}");
            assert_eq!(route(&Method::POST, &format!("{path}/")), expected, "{path}/");
            assert_eq!(route(&Method::GET, path), Route::Refused(Reject::MethodNotAllowed), "{path}");
            assert_eq!(route(&Method::OPTIONS, path), Route::Preflight, "{path}");
        }
        assert_eq!(route(&Method::POST, "/v1/m"), Route::Telemetry);
    }

    #[test]
    fn anything_else_is_not_found() {
        for path in ["", "/", "//", "/v1", "/v1/", "/v1/x", "/v1/batch//", "/V1/batch", "/v1/track/x", "/v2/batch"] {
            assert_eq!(route(&Method::POST, path), Route::Refused(Reject::NotFound), "{path}");
        }
    }

    #[test]
    fn labels_stand_at_their_index() {
        for (index, (label, _)) in Label::ALL.into_iter().enumerate() {
            assert_eq!(label as usize, index);
        }
    }
}
