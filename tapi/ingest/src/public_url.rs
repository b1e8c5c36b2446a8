//! Under which address SDKs reach this server: what the settings endpoint tells them to send their events to.

use hyper::header::{HOST, HeaderName, ORIGIN, REFERER};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Uri};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The longest host, with its port.
const HOST_BYTES_MAX: usize = 261;

/// A scheme, and host and port with a path before `/v1` if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublicUrl<'a> {
    /// `http` or `https`.
    pub(crate) protocol: &'static str,
    pub(crate) host: &'a str,
}

impl<'a> PublicUrl<'a> {
    /// From a setting.
    pub(crate) fn parse(url: &'a str) -> Option<Self> {
        let (protocol, rest) = [("https", "https://"), ("http", "http://")]
            .into_iter()
            .find_map(|(protocol, start)| Some((protocol, url.trim().strip_prefix(start)?)))?;
        let host = rest.trim_end_matches('/');
        let host = host.strip_suffix("/v1").unwrap_or(host).trim_end_matches('/');
        let valid = host.split('/').enumerate().all(|(index, part)| is_host(part) || index > 0 && is_segment(part));
        valid.then_some(Self { protocol, host })
    }

    /// The one by which this request came, as far as it can tell. A proxy is believed where it is `trusted`; without its
    /// word it came by https where this port speaks TLS, and a page that was loaded by https can only have asked by https.
    /// In HTTP/2 the host is a part of the URI.
    pub(crate) fn of_request(uri: &'a Uri, headers: &'a HeaderMap, is_tls: bool, trusted: bool) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let host = uri.authority().map(Authority::as_str).or_else(|| text(HOST)).filter(|host| is_host(host))?;
        let told = text(FORWARDED_PROTO).filter(|_| trusted).and_then(|value| value.split(',').next());
        let by_page = || {
            let pages = [text(ORIGIN), text(REFERER)];
            pages.into_iter().flatten().any(|page| page.starts_with("https://")) && !is_loopback(host)
        };
        let is_https = told.map_or_else(|| is_tls || by_page(), |proto| proto.trim().eq_ignore_ascii_case("https"));
        Some(Self { protocol: if is_https { "https" } else { "http" }, host })
    }
}

fn is_host(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(legal)
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_~".contains(&byte))
}

/// A page may talk by http to the machine it runs on, whatever it was loaded by.
fn is_loopback(host: &str) -> bool {
    let name = host.strip_prefix('[').map_or(host.split(':').next(), |host| host.split(']').next()).unwrap_or(host);
    name.eq_ignore_ascii_case("localhost") || name == "::1" || name.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_url_with_or_without_v1() {
        for (url, expected) in [
            ("https://events.example.com", Some(("https", "events.example.com"))),
            ("http://127.0.0.1:8080/", Some(("http", "127.0.0.1:8080"))),
            ("https://example.com/events/v1/", Some(("https", "example.com/events"))),
            ("http://[::1]:80", Some(("http", "[::1]:80"))),
            ("events.example.com", None),
            ("https://", None),
            ("https://a b", None),
            ("https://a/b?c", None),
            ("https://a\"b", None),
            ("ftp://a", None),
        ] {
            let parsed = PublicUrl::parse(url).map(|url| (url.protocol, url.host));
            assert_eq!(parsed, expected, "{url}");
        }
    }

    #[test]
    fn a_request_tells_how_it_came() {
        for (headers, trusted, expected) in [
            (&[("host", "a.example:8080")][..], false, Some(("http", "a.example:8080"))),
            (&[("host", "a.example"), ("x-forwarded-proto", "https")], true, Some(("https", "a.example"))),
            (&[("host", "a.example"), ("x-forwarded-proto", "HTTPS, http")], true, Some(("https", "a.example"))),
            (&[("host", "a.example"), ("x-forwarded-proto", "https")], false, Some(("http", "a.example"))),
            (&[("host", "a.example"), ("origin", "https://b.example")], false, Some(("https", "a.example"))),
            (&[("host", "a.example"), ("referer", "https://a.example/c")], false, Some(("https", "a.example"))),
            (
                &[("host", "a.example"), ("origin", "https://b.example"), ("x-forwarded-proto", "http")],
                true,
                Some(("http", "a.example")),
            ),
            (&[("host", "localhost:8080"), ("origin", "https://b.example")], false, Some(("http", "localhost:8080"))),
            (&[("host", "[::1]:8080"), ("origin", "https://b.example")], false, Some(("http", "[::1]:8080"))),
            (&[("host", "a.example"), ("origin", "null")], false, Some(("http", "a.example"))),
            (&[("host", "a\"b")], false, None),
            (&[], false, None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(HeaderName::from_static(name), value.parse().unwrap());
            }
            let uri = Uri::from_static("/v1/projects/KEY/settings");
            let url = |is_tls| PublicUrl::of_request(&uri, &map, is_tls, trusted).map(|url| (url.protocol, url.host));
            assert_eq!(url(false), expected, "{headers:?}");
            let told_by_proxy = trusted && map.contains_key(FORWARDED_PROTO);
            let by_tls = expected.map(|(protocol, host)| (if told_by_proxy { protocol } else { "https" }, host));
            assert_eq!(url(true), by_tls, "{headers:?}");
        }
        let uri = Uri::from_static("https://a.example:8443/v1/projects/KEY/settings");
        let headers = HeaderMap::new();
        let url = PublicUrl::of_request(&uri, &headers, true, false).map(|url| (url.protocol, url.host));
        assert_eq!(url, Some(("https", "a.example:8443")), "HTTP/2 has no Host");
    }
}
