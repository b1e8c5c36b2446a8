//! Every answer there is, made of bytes that exist before the request comes.

use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, VARY,
};
use hyper::{Response, StatusCode};
use local_buffer::Durable;

use crate::limit::Allowance;
use crate::reject::Reject;
use crate::route::Methods;
use crate::texts::Texts;

/// The only body of success. SDKs want exactly 200 and a JSON object.
const SUCCESS: Bytes = Bytes::from_static(br#"{"success":true}"#);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Seconds for which a browser may remember a preflight: Chromium's maximum. Without it each request costs two.
const PREFLIGHT_MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");
const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, HEAD, OPTIONS");
const RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// The headers of ours that a script may read: without them the browser SDK cannot wait as it is told to.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset");
/// A transparent picture of one dot.
const GIF: Bytes = Bytes::from_static(
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
);
const IMAGE: HeaderValue = HeaderValue::from_static("image/gif");
/// Each view of a picture is an event, so nobody may keep it.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Settings repeat how they were asked for, so no proxy may keep them for others.
const SETTINGS_CACHE: HeaderValue = HeaderValue::from_static("private, max-age=300");
/// What RudderStack's SDKs and load balancers ask for.
const UP: Bytes = Bytes::from_static(br#"{"success":true,"server":"UP"}"#);
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static("Origin, Access-Control-Request-Headers");

/// The longest wait that is asked for, seconds; the shortest is 1, because some SDKs take 0 for "none given".
pub(crate) const RETRY_AFTER_S_MAX: u64 = 60;

/// What a request is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its events are safe: the proof is part of the answer, and nothing else makes this one.
    Stored(#[expect(dead_code, reason = "having it is all that it is for")] Durable),
    /// It had nothing to store: an SDK's telemetry.
    NothingToStore,
    /// The picture that was asked for, whatever became of its event.
    Picture(Option<Reject>),
    /// The settings of an SDK.
    Settings(Bytes),
    /// There is a server.
    Up,
    /// A browser may post.
    Preflight,
    /// The source has sent too much, and this is when something is left again.
    Limited(Allowance),
    /// No, and why.
    Refused {
        /// Why.
        reject: Reject,
        /// When to come back, seconds, where coming back makes sense.
        retry_after_s: u64,
        /// The methods of the path.
        methods: Methods,
    },
}

impl Answer {
    /// A refusal with the usual wait.
    pub(crate) fn refused(reject: Reject) -> Self {
        let retry_after_s = match reject {
            Reject::BufferFull | Reject::BufferStalled => 5,
            Reject::BufferFailed => 30,
            _ => 1,
        };
        Self::Refused { reject, retry_after_s, methods: Methods::Post }
    }

    /// Why it is none of what the client wanted.
    pub(crate) fn reject(&self) -> Option<Reject> {
        match self {
            Self::Refused { reject, .. } => Some(*reject),
            Self::Limited(_) => Some(Reject::RateLimited),
            Self::Picture(reject) => *reject,
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Stored(_) | Self::NothingToStore | Self::Picture(_) | Self::Settings(_) | Self::Up => StatusCode::OK,
            Self::Preflight => StatusCode::NO_CONTENT,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Refused { reject, .. } => StatusCode::from_u16(reject.status()).unwrap_or(StatusCode::BAD_REQUEST),
        }
    }
}

/// The headers of an answer: the request's own map, emptied, with what depends on the request.
///
/// hyper hands the map back to the next request of the connection, so none is ever made.
pub(crate) struct Headers(HeaderMap);

impl Headers {
    /// Lets go of the request's headers, and with them of the buffer they lie in.
    pub(crate) fn new(mut headers: HeaderMap, preflight: bool) -> Self {
        let origin = headers.remove(ORIGIN);
        let asked = headers.remove(ACCESS_CONTROL_REQUEST_HEADERS).filter(|_| preflight);
        headers.clear();
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, copy(&origin));
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            if preflight {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S);
                headers.insert(VARY, VARY_PREFLIGHT);
                if let Some(asked) = asked {
                    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, copy(&asked));
                }
            } else {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
                headers.insert(VARY, VARY_ORIGIN);
            }
        }
        Self(headers)
    }

    /// Says what a source may still send. A refusal has its own time to come back.
    pub(crate) fn allow(&mut self, allowance: &Allowance, texts: &mut Texts) {
        self.0.insert(RATE_LIMIT_LIMIT, texts.number(allowance.limit));
        self.0.insert(RATE_LIMIT_REMAINING, texts.number(allowance.remaining));
        self.0.insert(RATE_LIMIT_RESET, texts.number(allowance.reset_s));
    }

    /// The answer. `close` ends the connection after it.
    pub(crate) fn respond(self, answer: &Answer, close: bool) -> Response<Full<Bytes>> {
        let Self(mut headers) = self;
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let body = match answer {
            Answer::Stored(_) | Answer::NothingToStore => {
                headers.insert(CONTENT_TYPE, JSON);
                SUCCESS
            }
            Answer::Preflight => {
                headers.insert(ALLOW, METHODS);
                Bytes::new()
            }
            Answer::Picture(_) => {
                headers.insert(CONTENT_TYPE, IMAGE);
                headers.insert(CACHE_CONTROL, NO_STORE);
                GIF
            }
            Answer::Settings(text) => {
                headers.insert(CONTENT_TYPE, JSON);
                headers.insert(CACHE_CONTROL, SETTINGS_CACHE);
                text.clone()
            }
            Answer::Up => {
                headers.insert(CONTENT_TYPE, JSON);
                UP
            }
            Answer::Limited(spent) => {
                headers.insert(CONTENT_TYPE, JSON);
                refuse(&mut headers, Reject::RateLimited, spent.reset_s)
            }
            Answer::Refused { reject, retry_after_s, methods } => {
                headers.insert(CONTENT_TYPE, JSON);
                if *reject == Reject::MethodNotAllowed {
                    headers.insert(ALLOW, allowed(*methods));
                }
                refuse(&mut headers, *reject, *retry_after_s)
            }
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = answer.status();
        *response.headers_mut() = headers;
        response
    }
}

fn allowed(methods: Methods) -> HeaderValue {
    HeaderValue::from_static(match methods {
        Methods::Post => "POST, OPTIONS",
        Methods::Get => "GET, HEAD, OPTIONS",
    })
}

fn refuse(headers: &mut HeaderMap, reject: Reject, retry_after_s: u64) -> Bytes {
    static SECONDS: LazyLock<Vec<HeaderValue>> =
        LazyLock::new(|| (0..=RETRY_AFTER_S_MAX).map(HeaderValue::from).collect());
    static BODIES: LazyLock<Vec<Bytes>> = LazyLock::new(|| Reject::ALL.iter().map(|reject| body(*reject)).collect());
    if matches!(reject.status(), 429 | 503) {
        let seconds = &SECONDS[retry_after_s.clamp(1, RETRY_AFTER_S_MAX) as usize];
        headers.insert(RETRY_AFTER, seconds.clone());
        // Older browser SDKs read only this one.
        if reject.status() == 429 {
            headers.insert(RATE_LIMIT_RESET, seconds.clone());
        }
    }
    BODIES[reject as usize].clone()
}

/// The members that the SDKs read: `code` and `message` (Python), `error` (Ruby). Neither holds a character that JSON
/// escapes.
fn body(reject: Reject) -> Bytes {
    let (code, message) = (reject.code(), reject.message());
    format!(r#"{{"success":false,"code":"{code}","message":"{message}","error":"{message}"}}"#).into()
}

/// A value in memory of its own: the request's lies in the read buffer, which is wanted for the next request.
fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from_static("null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reject: Reject, retry_after_s: u64) -> Response<Full<Bytes>> {
        Headers::new(HeaderMap::new(), false)
            .respond(&Answer::Refused { reject, retry_after_s, methods: Methods::Get }, false)
    }

    #[test]
    fn every_refusal_is_an_object_with_what_sdks_read() {
        for reject in Reject::ALL {
            let parsed: serde_json::Value = serde_json::from_slice(&body(*reject)).unwrap();
            assert_eq!(parsed["success"], false);
            assert_eq!(parsed["code"], reject.code());
            assert_eq!(parsed["message"], reject.message());
            assert_eq!(parsed["error"], reject.message());
        }
    }

    #[test]
    fn waits_are_whole_seconds_of_at_least_one() {
        for reject in Reject::ALL {
            let answer = refused(*reject, 0);
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let comes_back = matches!(reject.status(), 429 | 503);
            assert_eq!(header("retry-after"), comes_back.then(|| "1".into()), "{reject:?}");
            let limited = reject.status() == 429;
            assert_eq!(header("x-ratelimit-reset"), limited.then(|| "1".into()), "{reject:?}");
            assert_eq!(answer.status().as_u16(), reject.status());
        }
        let long = refused(Reject::RateLimited, 3600);
        assert_eq!(long.headers()["retry-after"], "60");
        assert_eq!(long.headers()["x-ratelimit-reset"], "60");
    }

    #[test]
    fn what_may_still_be_sent_is_said_and_a_refusal_has_its_own_time() {
        let allowance = Allowance { limit: 100, remaining: 0, reset_s: 86_400 };
        for (answer, reset) in [(Answer::NothingToStore, "86400"), (Answer::Limited(allowance), "60")] {
            let mut headers = Headers::new(HeaderMap::new(), false);
            headers.allow(&allowance, &mut Texts::new());
            let answer = headers.respond(&answer, false);
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            let said = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(header);
            assert_eq!(said, ["100", "0", reset]);
        }
    }

    #[test]
    fn nothing_of_the_request_is_sent_back_but_its_origin() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", "Basic x"), ("origin", "https://a.example"), ("cookie", "x")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let answer = Headers::new(headers, false).respond(&Answer::NothingToStore, false);
        let mut names: Vec<_> = answer.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "access-control-allow-credentials",
            "access-control-allow-origin",
            "access-control-expose-headers",
            "content-type",
            "vary",
        ];
        assert_eq!(names, expected);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example");
    }
}
