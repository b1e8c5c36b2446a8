//! The origins of web pages that a source takes events from.

use std::str::FromStr;

/// `https://shop.example`, `http://localhost:3000`, or `https://*.example.com` for every name below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `https://` or `http://`.
    scheme: String,
    /// Host and port, behind the star if there is one; lower case.
    host: String,
    any_below: bool,
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim().to_ascii_lowercase();
        let end = text.find("://").ok_or(())? + "://".len();
        let (scheme, host) = text.split_at(end);
        let host = host.strip_suffix('/').unwrap_or(host);
        let (host, any_below) = host.strip_prefix('*').map_or((host, false), |host| (host, true));
        let valid = matches!(scheme, "https://" | "http://")
            && !host.is_empty()
            && any_below == host.starts_with('.')
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
        if valid { Ok(Self { scheme: scheme.into(), host: host.into(), any_below }) } else { Err(()) }
    }
}

impl Origin {
    /// Whether this is the origin that a browser sent.
    pub(crate) fn matches(&self, origin: &[u8]) -> bool {
        let Some((scheme, host)) = origin.split_at_checked(self.scheme.len()) else { return false };
        let host = match host.len().checked_sub(self.host.len()) {
            Some(below) if self.any_below && below > 0 => &host[below..],
            Some(0) if !self.any_below => host,
            _ => return false,
        };
        scheme.eq_ignore_ascii_case(self.scheme.as_bytes()) && host.eq_ignore_ascii_case(self.host.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (origin, sent, expected) in [
            ("https://shop.example", "https://shop.example", true),
            ("https://Shop.example/", "https://shop.example", true),
            ("https://shop.example", "HTTPS://SHOP.EXAMPLE", true),
            ("https://shop.example", "http://shop.example", false),
            ("https://shop.example", "https://shop.example:8443", false),
            ("https://shop.example", "https://a.shop.example", false),
            ("https://shop.example", "https://shop.example.evil.example", false),
            ("https://shop.example", "null", false),
            ("https://shop.example", "", false),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://localhost:3000", "http://localhost:3001", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://aexample.com", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
        ] {
            assert_eq!(origin.parse::<Origin>().unwrap().matches(sent.as_bytes()), expected, "{origin} {sent}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for wrong in
            ["", "*", "shop.example", "https://", "ftp://a.example", "https://a.example/b", "https://*", "https://a.*"]
        {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
