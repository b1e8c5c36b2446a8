//! Connections that end before their first request, by reason: one row each.

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// From an address that has to begin with a PROXY header, and it did not.
    ProxyHeader,
    /// The client and this server agree on no TLS, or the client broke it off.
    TlsHandshake,
    /// Plain HTTP where only TLS is spoken.
    PlainHttp,
    /// It did not get so far in time.
    Timeout,
}

impl Refusal {
    /// In the order of their discriminants.
    pub(crate) const ALL: [Self; 4] = [Self::ProxyHeader, Self::TlsHandshake, Self::PlainHttp, Self::Timeout];

    /// The label in metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::PlainHttp => "plain_http",
            Self::Timeout => "timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index, "{}", refusal.label());
        }
    }
}
