//! Clusters that take nobody without a certificate they can check and a password: TLS and SASL, with an authority, a
//! certificate and secrets made for one scenario.
//!
//! Beside its plain listener, for itself and for Kafka's own tools, such a broker has one for `SASL_SSL` alone, and
//! names to each client the listener that it came through: programs that are given only that one speak nothing else.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::turnstile::free_address;
use crate::{Cluster, Kafka, Scene};

/// Who may come in.
pub const USER: &str = "pipeline";
/// Days that the certificates are good for.
const DAYS: &str = "2";

/// An authority, and what it signed.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// A new one, with a certificate for 127.0.0.1.
    ///
    /// # Panics
    /// Where there is no openssl.
    pub fn new(scene: &Scene, name: &str) -> Self {
        let folder = scene.folder().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let authority = Self { folder };
        let subject = format!("/CN={name}");
        let key = ["-newkey", "rsa:2048", "-nodes", "-keyout"];
        authority.openssl(
            &[&["req", "-x509", "-subj", &subject, "-days", DAYS, "-out", "ca.pem"], &key[..], &["ca.key"]].concat(),
        );
        authority.openssl(&[&["req", "-subj", "/CN=broker", "-out", "broker.csr"], &key[..], &["broker.key"]].concat());
        fs::write(authority.folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("written");
        authority.openssl(&[
            "x509",
            "-req",
            "-in",
            "broker.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            DAYS,
            "-extfile",
            "names",
            "-out",
            "broker.crt",
        ]);
        let parts = ["broker.key", "broker.crt"].map(|part| fs::read(authority.folder.join(part)).expect("made"));
        fs::write(authority.folder.join("broker.pem"), parts.concat()).expect("written");
        authority
    }

    /// What a client has to trust.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate that it signed for 127.0.0.1.
    pub fn signed(&self) -> PathBuf {
        self.folder.join("broker.crt")
    }

    /// The private key of [`Authority::signed`].
    pub fn key(&self) -> PathBuf {
        self.folder.join("broker.key")
    }

    fn openssl(&self, words: &[&str]) {
        let output = Command::new("openssl").args(words).current_dir(&self.folder).output().expect("openssl");
        assert!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Two clusters behind TLS and passwords.
#[derive(Debug)]
pub struct SecureKafka {
    /// The clusters, with their plain addresses.
    pub kafka: Kafka,
    /// Where programs find the primary, which takes SCRAM-SHA-512 and PLAIN.
    pub primary: SocketAddr,
    /// The same of the secondary.
    pub secondary: SocketAddr,
}

impl SecureKafka {
    /// Starts both. [`USER`] has the password `scram` for one mechanism and `plain` for the other.
    ///
    /// # Panics
    /// Where they do not answer, or a user cannot be made.
    pub fn start(scene: &Scene, authority: &Authority, scram: &str, plain: &str) -> Self {
        let [primary, secondary] = [0; 2].map(|_| free_address());
        let keys = authority.folder.join("broker.pem");
        let cluster = |name, address| secured(Cluster::new(scene, name), address, &keys, plain);
        let mut kafka = Kafka { primary: cluster("primary", primary), secondary: cluster("secondary", secondary) };
        kafka.both(Cluster::launch);
        kafka.both(Cluster::answered);
        kafka.both(|cluster| {
            let config = format!("SCRAM-SHA-512=[password={scram}]");
            let mut command = cluster.asks("kafka.admin.ConfigCommand");
            command.args(["--alter", "--entity-type", "users", "--entity-name", USER, "--add-config", &config]);
            let output = command.output().expect("the tool can be started");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        });
        Self { kafka, primary, secondary }
    }
}

fn secured(cluster: Cluster, address: SocketAddr, keys: &Path, plain: &str) -> Cluster {
    let (own, controller) = (cluster.address, cluster.brokers[0].controller);
    let listener = |name: &str| format!("listener.name.secure.{name}");
    let module = |kind: &str, users: &str| {
        let class =
            format!("org.apache.kafka.common.security.{kind}.{}LoginModule", kind[..1].to_uppercase() + &kind[1..]);
        format!("{class} required{users};")
    };
    cluster
        .set("listeners", format!("PLAINTEXT://{own},SECURE://{address},CONTROLLER://{controller}"))
        .set("advertised.listeners", format!("PLAINTEXT://{own},SECURE://{address}"))
        .set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT")
        .set(&listener("ssl.keystore.type"), "PEM")
        .set(&listener("ssl.keystore.location"), keys.display())
        .set(&listener("sasl.enabled.mechanisms"), "PLAIN,SCRAM-SHA-512")
        .set(&listener("plain.sasl.jaas.config"), module("plain", &format!(" user_{USER}=\"{plain}\"")))
        .set(&listener("scram-sha-512.sasl.jaas.config"), module("scram", ""))
}
