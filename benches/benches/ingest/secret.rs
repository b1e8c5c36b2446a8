//! A certificate for `localhost`, made for one run.

use std::path::{Path, PathBuf};

use benches::socket::{self, Trust};
use tempfile::TempDir;

/// The certificate and its key, in a folder.
pub(crate) struct Secret {
    folder: TempDir,
}

impl Secret {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(certificate(folder.path()), made.cert.pem()).expect("a file");
        std::fs::write(key(folder.path()), made.signing_key.serialize_pem()).expect("a file");
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn trust(&self) -> Trust {
        socket::trust(&certificate(self.folder.path()))
    }
}

/// The file of the certificate in such a folder.
pub(crate) fn certificate(folder: &Path) -> PathBuf {
    folder.join("certificate.pem")
}

/// The file of its key.
pub(crate) fn key(folder: &Path) -> PathBuf {
    folder.join("key.pem")
}
