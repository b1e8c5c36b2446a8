//! Properties that a program passes on to its Kafka client as they are, and the places where their secrets may be kept
//! instead.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A value that begins with this is the path of a file with the value.
const FILE: &str = "file:";
/// A value that begins with this is the name of a variable with the value.
const VARIABLE: &str = "env:";
/// `false` here accepts whatever certificate a broker shows.
const VERIFICATION: &str = "enable.ssl.certificate.verification";

/// Names and values. Passwords are among the values, so none is ever shown.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, String>);

/// Why a value is not where its property says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct Unresolved {
    /// The property.
    pub name: String,
    /// The place and what is wrong with it; never a value.
    pub reason: String,
}

impl Properties {
    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a property.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Every name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// These, and those of `other` over them.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.0.extend(other.0.clone());
        all
    }

    /// What deserves a second look, as a sentence.
    pub fn warning(&self) -> Option<String> {
        let is_off = self.get(VERIFICATION) == Some("false");
        is_off.then(|| format!("{VERIFICATION} is off: anybody can pass for the cluster"))
    }

    /// Where to look when a Kafka client says this of a cluster that it cannot talk to; nothing where no property helps.
    pub fn advice(said: &str) -> Option<&'static str> {
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if says(&["certificate verify failed", "certificate could not be verified"]) {
            Some("ssl.ca.location must name the file of the authority that signed the broker's certificate")
        } else if says(&["SASL authentication error", "Authentication failed"]) {
            Some("compare sasl.mechanisms, sasl.username and sasl.password with what the cluster knows")
        } else if says(&["SSL handshake failed", "Disconnected while requesting ApiVersion"]) {
            Some("compare security.protocol with what the broker's listener speaks")
        } else {
            None
        }
    }

    /// The same with every `file:PATH` and `env:NAME` replaced by what is there. Line ends at the end of a file are not
    /// part of the value.
    ///
    /// # Errors
    /// [`Unresolved`], where a file cannot be read or there is no such variable.
    pub fn resolved(&self) -> Result<Self, Unresolved> {
        let resolved = self.iter().map(|(name, value)| {
            let fail = |reason| Unresolved { name: name.to_owned(), reason };
            Ok((name.to_owned(), resolve(value).map_err(fail)?))
        });
        resolved.collect::<Result<_, _>>().map(Self)
    }
}

/// What a secret of this name is, where `value` says that it is in a file or a variable, as those of [`Properties`] do.
///
/// # Errors
/// [`Unresolved`], as [`Properties::resolved`].
pub fn secret(name: &str, value: &str) -> Result<String, Unresolved> {
    resolve(value).map_err(|reason| Unresolved { name: name.to_owned(), reason })
}

fn resolve(value: &str) -> Result<String, String> {
    if let Some(path) = value.strip_prefix(FILE) {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    } else if let Some(variable) = value.strip_prefix(VARIABLE) {
        std::env::var(variable).map_err(|_| format!("there is no variable {variable}"))
    } else {
        Ok(value.to_owned())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_variables_and_are_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\r\n").unwrap();
        let at = format!("file:{}", file.path().display());
        let properties: Properties =
            [("sasl.password", &*at), ("sasl.username", "env:PATH"), ("a", "b")].into_iter().collect();
        let resolved = properties.resolved().unwrap();
        assert_eq!(resolved.get("sasl.password"), Some("hush"));
        assert_eq!(resolved.get("sasl.username"), std::env::var("PATH").ok().as_deref());
        assert_eq!(resolved.get("a"), Some("b"));
        assert_eq!(format!("{resolved:?}"), r#"{"a", "sasl.password", "sasl.username"}"#);
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_with_its_place() {
        for (value, place) in
            [("file:/nowhere/at/all", "/nowhere/at/all"), ("env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE")]
        {
            let properties = Properties::from_iter([("sasl.password", value)]);
            let said = properties.resolved().unwrap_err().to_string();
            assert!(said.starts_with("sasl.password: ") && said.contains(place), "{said}");
        }
    }

    #[test]
    fn what_a_client_says_leads_to_the_property_that_is_wrong() {
        for (said, property) in [
            ("SSL handshake failed: ssl/statem/clnt.c:1889: certificate verify failed: ", Some("ssl.ca.location")),
            ("SASL authentication error: Authentication failed during authentication", Some("sasl.password")),
            ("Disconnected while requesting ApiVersion: might be caused by", Some("security.protocol")),
            ("Connect to ipv4#127.0.0.1:1 failed: Connection refused", None),
        ] {
            let advice = Properties::advice(said);
            assert_eq!(advice.is_some(), property.is_some(), "{said}");
            assert!(advice.unwrap_or_default().contains(property.unwrap_or_default()), "{said}");
        }
    }

    #[test]
    fn a_connection_that_believes_anybody_is_warned_of() {
        assert_eq!(Properties::from_iter([(VERIFICATION, "true")]).warning(), None);
        assert!(Properties::from_iter([(VERIFICATION, "false")]).warning().is_some());
    }

    #[test]
    fn the_later_properties_win() {
        let all = Properties::from_iter([("a", "1"), ("b", "1")]).with(&Properties::from_iter([("b", "2")]));
        assert_eq!(all, Properties::from_iter([("a", "1"), ("b", "2")]));
    }
}
