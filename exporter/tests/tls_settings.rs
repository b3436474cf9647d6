//! https: what is set, in code and in the environment, files that change, and what is told of those
//! that cannot be used.
#![cfg(feature = "tls")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::TLS12;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use spanwire::{BuildError, Builder, Exporter, Io, Signal, TlsConfig};

use support::otel::{LONG, builder, drivers, end_spans, provider};
use support::tls::{
    Authority, Folder, Identity, LATER, NAME, Server, presenting, secure, to, trusting,
};
use support::{Reply, dead_address};

/// The three files of a client.
struct Files {
    folder: Folder,
}

impl Files {
    fn new(authority: &Authority, us: &Identity) -> Self {
        let files = Self { folder: Folder::new() };
        files.folder.put("ca.pem", &authority.pem());
        files.put(us);
        files
    }

    fn put(&self, us: &Identity) {
        self.folder.put("client.pem", &us.certificate);
        self.folder.put("client-key.pem", &us.key);
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name).display().to_string()
    }

    fn tls(&self) -> TlsConfig {
        TlsConfig::new()
            .ca_file(self.path("ca.pem"))
            .client_certificate_file(self.path("client.pem"))
            .client_key_file(self.path("client-key.pem"))
    }
}

#[test]
fn rotated_files_are_used_by_new_connections() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    for io in drivers() {
        let files = Files::new(&old, &old.identity(&["us"]));
        let (collector, seen) =
            Server::new(&old.identity(&[NAME])).clients_of(&old).start(|request| match request {
                1 => LATER,
                _ => Reply::Accept,
            });
        let exporter = secure(&collector, io, files.tls());
        let provider = provider(&exporter, "service");
        end_spans(&provider, 1);
        exporter.flush(LONG).unwrap();
        // Both sides rotate everything; the connection that is open knows nothing of that.
        files.folder.put("ca.pem", &new.pem());
        files.put(&new.identity(&["us"]));
        seen.serve_by(&Server::new(&new.identity(&[NAME])).clients_of(&new));
        end_spans(&provider, 1);
        exporter.flush(LONG).unwrap();
        assert_eq!(collector.ids().len(), 2);
        let handshakes = seen.handshakes();
        let (first, last) = (&handshakes[0], handshakes.last().unwrap());
        assert!(first.client != last.client && last.client.is_some());
        assert_eq!(last.kind, HandshakeKind::Full, "no session outlives its certificates");
    }
}

#[test]
fn a_broken_new_file_leaves_the_old_one_in_use_with_one_diagnostic() {
    let authority = Authority::new("ours");
    for io in drivers() {
        let files = Files::new(&authority, &authority.identity(&["us"]));
        let server = Server::new(&authority.identity(&[NAME])).clients_of(&authority);
        let told = Arc::new(AtomicUsize::new(0));
        let knows = Arc::clone(&told);
        let (collector, seen) = server.start(move |_| match knows.load(Ordering::SeqCst) {
            1.. => Reply::Accept,
            0 => LATER,
        });
        let (builder, diagnostics) = to(&collector, files.tls());
        let exporter = builder.io(io).build().unwrap();
        files.folder.put("client-key.pem", "-----BEGIN NOTHING-----");
        let provider = provider(&exporter, "service");
        end_spans(&provider, 5);
        let text = diagnostics.wait_for("Certificates");
        told.store(1, Ordering::SeqCst);
        exporter.flush(LONG).unwrap();
        assert_eq!(collector.ids().len(), 5);
        let start =
            format!("the value {:?} of TlsConfig::client_key_file", files.path("client-key.pem"));
        assert!(text.contains(&start) && text.contains("it has no private key"), "{text}");
        assert!(text.ends_with("what was loaded before stays in use"), "{text}");
        assert_eq!(diagnostics.of_kind("Certificates").len(), 1);
        let clients: Vec<_> = seen.handshakes().into_iter().map(|seen| seen.client).collect();
        assert!(clients.iter().all(|client| client.is_some() && *client == clients[0]));
    }
}

fn error_of(builder: Builder) -> String {
    match builder.build() {
        Err(error @ BuildError::InvalidValue { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_setting_and_what_is_wrong() {
    let authority = Authority::new("ours");
    let (us, other) = (authority.identity(&["us"]), authority.identity(&["other"]));
    let folder = Folder::new();
    let put = |name: &str, text: &str| folder.put(name, text).display().to_string();
    let ca = put("ca.pem", &authority.pem());
    let (certificate, key) = (put("us.pem", &us.certificate), put("us.key", &us.key));
    let other_key = put("other.key", &other.key);
    let locked = put(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let torn = put("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA");
    let not_x509 =
        put("not-x509.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = folder.path("missing.pem").display().to_string();
    let (cert_var, key_var) =
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY");
    let ca_var = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    for (variables, value, name, why) in [
        (vec![(ca_var, &missing)], &missing, ca_var, "it cannot be read: No such file"),
        (vec![(ca_var, &key)], &key, ca_var, "it has no certificate"),
        (vec![(ca_var, &torn)], &torn, ca_var, "it is not valid PEM"),
        (vec![(ca_var, &not_x509)], &not_x509, ca_var, "they are not valid X.509"),
        (
            vec![(ca_var, &ca), (cert_var, &certificate)],
            &certificate,
            cert_var,
            "without its key; set OTEL_EXPORTER_OTLP_CLIENT_KEY",
        ),
        (
            vec![(ca_var, &ca), (key_var, &key)],
            &key,
            key_var,
            "without its certificate; set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        ),
        (
            vec![(ca_var, &ca), (cert_var, &certificate), (key_var, &other_key)],
            &other_key,
            key_var,
            "it is not the key of the certificate in ",
        ),
        (
            vec![(ca_var, &ca), (cert_var, &certificate), (key_var, &certificate)],
            &certificate,
            key_var,
            "it has no private key in PEM",
        ),
        (
            vec![(ca_var, &ca), (cert_var, &certificate), (key_var, &locked)],
            &locked,
            key_var,
            "its key is encrypted",
        ),
    ] {
        let set: Vec<_> =
            variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let builder = Exporter::builder()
            .env_from(move |name| Some(set.iter().find(|(set, _)| set == name)?.1.clone()))
            .endpoint("https://localhost:1");
        let error = error_of(builder);
        assert!(
            error.starts_with(&format!("the value {value:?} of {name} cannot be used: ")),
            "{error}"
        );
        assert!(error.contains(why), "{error}");
    }
    let endless = TlsConfig::new().ca_file("/dev/zero");
    let error = error_of(builder("https://h").0.tls(endless));
    assert!(error.contains("it is larger than 16777216 bytes"), "{error}");
    for (name, source) in [("a b", "TlsConfig::server_name"), ("", "TlsConfig::server_name")] {
        let error = error_of(builder("https://h").0.tls(trusting(&authority).server_name(name)));
        assert!(error.contains(source), "{error}");
    }
}

#[test]
fn code_beats_the_variable_of_the_signal_which_beats_the_generic_one_for_each_file() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let files = Files::new(&ours, &ours.identity(&["us"]));
    let wrong = files.folder.put("wrong.pem", &theirs.pem()).display().to_string();
    let right = files.path("ca.pem");
    let (key, certificate) = (files.path("client-key.pem"), files.path("client.pem"));
    let server = || Server::new(&ours.identity(&[NAME])).clients_of(&ours).start(|_| Reply::Accept);
    let env = |pairs: Vec<(&'static str, &str)>| {
        let pairs: Vec<_> =
            pairs.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        move |name: &str| {
            let known = match name {
                "OTEL_EXPORTER_OTLP_CLIENT_KEY" => Some(key.clone()),
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE" => Some(certificate.clone()),
                _ => None,
            };
            known.or_else(|| Some(pairs.iter().find(|(set, _)| *set == name)?.1.clone()))
        }
    };
    let generic = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    let own = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE";
    for (pairs, all, traces) in [
        (vec![(generic, &*right)], TlsConfig::new(), TlsConfig::new()),
        (vec![(own, &*right), (generic, &*wrong)], TlsConfig::new(), TlsConfig::new()),
        (vec![(own, &*wrong), (generic, &*wrong)], trusting(&ours), TlsConfig::new()),
        (vec![(own, &*wrong)], trusting(&theirs), trusting(&ours)),
    ] {
        let (collector, seen) = server();
        let exporter = to(&collector, all)
            .0
            .tls_for(Signal::Traces, traces)
            .env_from(env.clone()(pairs))
            // Nobody needs a certificate for them.
            .logs_endpoint("http://localhost:1")
            .metrics_endpoint("http://localhost:1")
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 1);
        exporter.flush(LONG).unwrap();
        assert_eq!(collector.ids().len(), 1);
        assert!(seen.handshakes()[0].client.is_some());
    }
}

#[test]
fn files_for_an_endpoint_in_clear_are_a_warning() {
    let (builder, diagnostics) = builder(&format!("http://{}", dead_address()));
    let variables = |name: &str| (name == "OTEL_EXPORTER_OTLP_CERTIFICATE").then(|| "/x".into());
    drop(builder.env_from(variables).build().unwrap());
    let told = diagnostics.of_kind("Configuration");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("OTEL_EXPORTER_OTLP_CERTIFICATE is ignored: "), "{told:?}");
    assert_eq!(told[0].matches("in clear").count(), 1, "{told:?}");
}

#[test]
fn a_configuration_of_the_callers_own_is_used_but_for_its_protocols() {
    let authority = Authority::new("ours");
    let (collector, seen) = Server::new(&authority.identity(&[NAME])).start(|_| Reply::Accept);
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider_of_ours = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider_of_ours)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"imap".to_vec()];
    let tls = TlsConfig::new().client_config(Arc::new(config)).ca_file("/not/looked/at");
    let exporter = secure(&collector, Io::Auto, tls);
    end_spans(&provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap();
    let seen = &seen.handshakes()[0];
    assert_eq!(seen.version, TLS12.version);
    assert_eq!(seen.protocol.as_deref(), Some("http/1.1"));
}

#[test]
fn nothing_shows_a_key() {
    let us = Authority::new("ours").identity(&["us"]);
    let secret: String = us.key.lines().nth(1).unwrap().chars().take(16).collect();
    let tls = presenting(TlsConfig::new(), &us);
    let shown = format!("{tls:?} {:?}", builder("https://h").0.tls(tls.clone()));
    assert!(!shown.contains(&secret) && !shown.contains("PRIVATE"), "{shown}");
    // A key in the place of a certificate, as a text and as a file.
    let wrong = TlsConfig::new().ca_pem(&us.key);
    let error = error_of(builder("https://h").0.tls(wrong));
    assert!(!error.contains(&secret), "{error}");
    assert!(error.contains("a PEM text"), "{error}");
}
