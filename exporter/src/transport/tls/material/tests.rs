use std::fs;

use super::*;

/// Keys in each form that there is, made by OpenSSL for these tests only, with their certificates.
const RSA: &str = include_str!("rsa.pem");
const RSA_PKCS1: &str = include_str!("rsa-pkcs1.pem");
const EC: &str = include_str!("ec.pem");
const EC_SEC1: &str = include_str!("ec-sec1.pem");
const EC_PKCS8: &str = include_str!("ec-pkcs8.pem");

fn text(pem: &str, source_name: &'static str) -> Option<Pem> {
    Some(Pem { place: Place::Text(pem.as_bytes().into()), source_name })
}

fn us(certificate: &str, key: &str) -> Material {
    Material {
        trust: text(EC, "TRUST"),
        certificate: text(certificate, "CERTIFICATE"),
        key: text(key, "KEY"),
    }
}

#[test]
fn keys_of_each_form_are_read_also_behind_other_text() {
    let with_parameters = format!("a remark\n{EC}\n{EC_SEC1}");
    for (certificate, key) in
        [(RSA, RSA_PKCS1), (EC, EC_SEC1), (EC, EC_PKCS8), (EC, &*with_parameters)]
    {
        let (secrets, stamps) = us(certificate, key).load(&Base::new()).unwrap();
        assert_eq!(secrets.identity.as_deref(), Some("a PEM text (CERTIFICATE)"));
        assert!(secrets.http1.client_auth_cert_resolver.has_certs());
        assert!(stamps.is_empty(), "there is no file");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_whatever_its_form() {
    for (certificate, key) in [(RSA, EC_PKCS8), (EC, RSA_PKCS1)] {
        let error = us(certificate, key).load(&Base::new()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the value \"a PEM text\" of KEY cannot be used: it is not the key of the \
             certificate in a PEM text (CERTIFICATE)"
        );
    }
}

#[test]
fn a_broken_key_is_refused_and_not_shown() {
    let broken = EC_SEC1.replace("MHcCAQEE", "MHcCAQFF");
    assert_ne!(broken, EC_SEC1);
    let error = us(EC, &broken).load(&Base::new()).unwrap_err().to_string();
    assert!(error.contains("its key is of a kind that cannot be used"), "{error}");
    assert!(!error.contains("MHc"), "{error}");
}

#[test]
fn nothing_is_asked_for_that_is_not_given() {
    let material = Material { trust: text(EC, "TRUST"), ..Material::default() };
    let (secrets, _) = material.load(&Base::new()).unwrap();
    assert_eq!((&secrets.identity, secrets.was_asked()), (&None, false));
    assert_eq!(secrets.trust, "an authority of a PEM text (TRUST)");
    assert_eq!(secrets.http1.alpn_protocols, [b"http/1.1"]);
    assert_eq!(secrets.http2.alpn_protocols, [b"h2"]);
}

#[test]
fn a_file_looks_otherwise_once_it_is_replaced_written_or_gone() {
    let path = std::env::temp_dir().join(format!("spanwire-stamps-{}.pem", std::process::id()));
    let look = || Stamps::of(std::iter::once(&*path));
    fs::write(&path, "one").unwrap();
    let first = look();
    assert_eq!(first, look());
    // As long, and as old.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let other = path.with_extension("new");
    fs::write(&other, "two").unwrap();
    File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
    fs::rename(&other, &path).unwrap();
    let second = look();
    assert_ne!(first, second);
    fs::write(&path, "three").unwrap();
    let third = look();
    assert_ne!(second, third);
    fs::remove_file(&path).unwrap();
    assert_ne!(third, look());
}
