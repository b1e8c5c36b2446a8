//! What the SDKs of browsers and mobile apps ask for before they send anything.
//!
//! The answer repeats the write key that was asked with, because SDKs go on with the one in the answer; it says where to
//! send events, which is here, and what to try again; it names no destination, for an SDK would load the code of each; and it
//! turns the SDKs' figures about themselves off.

use std::net::IpAddr;

use crate::events::write_string;
use crate::handle::{Head, Tools};
use crate::live::Live;
use crate::percent;
use crate::public_url::PublicUrl;
use crate::reject::Reject;
use crate::respond::Answer;
use crate::route::settings_key;

/// The answer to a request for settings by a path with a key, or else for a source config.
///
/// # Errors
/// Where no write key was given, or it names no source, or not one for this page.
pub(crate) fn answer(live: &Live, tools: &mut Tools, head: &Head, peer: IpAddr) -> Result<Answer, Answer> {
    let Tools { keys, key_text, text, texts, .. } = tools;
    let Head { uri, headers, .. } = head;
    key_text.clear();
    let in_path = settings_key(uri.path());
    let write_key = if let Some(key) = in_path {
        percent::decode_path(key.as_bytes(), key_text);
        key_text.trim_ascii()
    } else {
        let _ = keys.read(headers, uri.query(), &live.sources);
        keys.first().or(keys.last()).ok_or_else(|| Answer::refused(Reject::MissingWriteKey))?
    };
    let source = live.sources.resolve(write_key).ok_or_else(|| Answer::refused(Reject::UnknownWriteKey))?;
    if let Some(policy) = live.policies.of(source.as_bytes()) {
        policy.check_origin(headers)?;
    }
    text.clear();
    if in_path.is_some() {
        let by_request = || PublicUrl::of_request(uri, headers, live.tls.is_some(), live.proxies.trusts(peer));
        let url = if live.public_url.is_empty() { by_request() } else { PublicUrl::parse(&live.public_url) };
        write_settings(text, write_key, url);
    } else {
        write_source_config(text, write_key);
    }
    Ok(Answer::Settings(texts.keep(text)))
}

/// What the SDKs of mobile apps do with an upload that failed. Without it they pay no heed to `Retry-After`, Kotlin's drops
/// what timed out on its way (408), and Swift's keeps for ever what is refused for good. With it they wait longer each
/// time, and give up what a later try may mend only at the bounds that they have themselves: a thousand tries, a week.
const HTTP_CONFIG: &str = concat!(
    r#","httpConfig":{"rateLimitConfig":{"enabled":true,"maxRetryCount":1000,"maxRetryInterval":300,"#,
    r#""maxRateLimitDuration":604800},"backoffConfig":{"enabled":true,"maxRetryCount":1000,"#,
    r#""baseBackoffInterval":0.5,"maxBackoffInterval":300,"maxTotalBackoffDuration":604800,"jitterPercent":10,"#,
    r#""default4xxBehavior":"drop","default5xxBehavior":"retry","unknownCodeBehavior":"retry","#,
    r#""statusCodeOverrides":{"408":"retry","410":"retry","429":"retry","460":"retry","501":"drop","505":"drop"}}}"#
);

/// Appends what `GET /v1/projects/KEY/settings` is answered. Without `url` an SDK sends to where it was told to.
fn write_settings(out: &mut Vec<u8>, write_key: &[u8], url: Option<PublicUrl<'_>>) {
    out.extend_from_slice(br#"{"integrations":{"Segment.io":{"apiKey":"#);
    write_string(out, write_key);
    if let Some(PublicUrl { protocol, host }) = url {
        for part in [r#","apiHost":""#, host, r#"/v1","protocol":""#, protocol, r#"""#] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    // In one place for Kotlin, Swift and C#, and in another one for React Native.
    out.extend_from_slice(HTTP_CONFIG.as_bytes());
    out.extend_from_slice(
        concat!(
            r#","unbundledIntegrations":[],"addBundledMetadata":true,"maybeBundledConfigIds":{}}},"#,
            r#""plan":{"track":{"__default":{"enabled":true,"integrations":{}}},"#,
            r#""identify":{"__default":{"enabled":true}},"group":{"__default":{"enabled":true}}},"#,
            r#""edgeFunction":{},"middlewareSettings":{},"enabledMiddleware":{},"remotePlugins":[],"#,
            r#""metrics":{"sampleRate":0},"analyticsNextEnabled":true,"legacyVideoPluginsEnabled":false"#
        )
        .as_bytes(),
    );
    out.extend_from_slice(HTTP_CONFIG.as_bytes());
    out.push(b'}');
}

/// Appends what RudderStack's SDKs get for `GET /sourceConfig`.
fn write_source_config(out: &mut Vec<u8>, write_key: &[u8]) {
    out.extend_from_slice(br#"{"source":{"id":"#);
    write_string(out, write_key);
    out.extend_from_slice(br#","name":"#);
    write_string(out, write_key);
    out.extend_from_slice(br#","writeKey":"#);
    write_string(out, write_key);
    out.extend_from_slice(
        concat!(
            r#","enabled":true,"workspaceId":"turnstile","destinations":[],"connections":[],"#,
            r#""config":{"statsCollection":{"errors":{"enabled":false},"metrics":{"enabled":false}}}}}"#
        )
        .as_bytes(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(write: impl FnOnce(&mut Vec<u8>)) -> serde_json::Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn settings_send_an_sdk_here_with_its_own_key() {
        let url = PublicUrl { protocol: "http", host: "127.0.0.1:8080" };
        let settings = parsed(|out| write_settings(out, b"K\"EY", Some(url)));
        let segment = &settings["integrations"]["Segment.io"];
        assert_eq!(segment["apiKey"], "K\"EY");
        assert_eq!((&segment["apiHost"], &segment["protocol"]), (&"127.0.0.1:8080/v1".into(), &"http".into()));
        assert_eq!(settings["integrations"].as_object().unwrap().len(), 1, "a browser loads code for each");
        assert_eq!(settings["metrics"]["sampleRate"], 0);
        for name in ["plan", "edgeFunction", "middlewareSettings"] {
            assert!(settings[name].is_object(), "{name}");
        }
        let segment = &parsed(|out| write_settings(out, b"KEY", None))["integrations"]["Segment.io"];
        assert_eq!((segment.get("apiHost"), segment.get("protocol")), (None, None));
    }

    #[test]
    fn a_source_config_has_what_is_looked_for() {
        let source = &parsed(|out| write_source_config(out, b"KEY"))["source"];
        assert_eq!(
            (&source["id"], &source["writeKey"], &source["enabled"]),
            (&"KEY".into(), &"KEY".into(), &true.into())
        );
        assert!(source["config"].is_object());
        assert_eq!(source["destinations"].as_array().unwrap().len(), 0);
    }
}
