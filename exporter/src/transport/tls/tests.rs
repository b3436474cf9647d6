use std::fs;

use super::material::{Pem, Place};
use super::*;

const CA: &str = include_str!("material/ec.pem");

#[test]
fn a_change_is_loaded_once_whatever_comes_of_it() {
    let path = std::env::temp_dir().join(format!("spanwire-change-{}.pem", std::process::id()));
    fs::write(&path, CA).unwrap();
    let trust = Some(Pem { place: Place::File(path.clone()), source_name: "TRUST" });
    let material = Material { trust, ..Material::default() };
    let tls = Tls::load(material, None, Diagnostics::new(Arc::new(|_| {}))).unwrap();
    let origin = Arc::clone(tls.origin.as_ref().unwrap());
    let stamps = || tls.current().stamps.clone();
    let first = Arc::clone(&tls.current().secrets);
    assert!(origin.load_if_changed(&stamps()).is_none());
    for (text, is_good) in [("nothing", false), (CA, true)] {
        fs::write(&path, text).unwrap();
        let looking = origin.looking.lock().unwrap();
        assert!(origin.load_if_changed(&stamps()).is_none(), "another thread may hang in it");
        drop(looking);
        let loaded = origin.load_if_changed(&stamps()).expect("a change");
        assert_eq!(loaded.secrets.is_ok(), is_good);
        tls.renew(loaded);
        assert!(origin.load_if_changed(&stamps()).is_none(), "not again");
        assert_eq!(Arc::ptr_eq(&first, &tls.current().secrets), !is_good);
    }
    fs::remove_file(&path).unwrap();
}

#[test]
fn files_are_not_looked_at_for_each_connection() {
    let trust = Some(Pem { place: Place::Text(CA.as_bytes().into()), source_name: "TRUST" });
    let tls = |material| Tls::load(material, None, Diagnostics::new(Arc::new(|_| {})));
    let texts = tls(Material { trust, ..Material::default() }).unwrap();
    texts.current().checked -= CHECK_INTERVAL;
    assert!(texts.due().is_none(), "there is no file");
    let path = std::env::temp_dir().join(format!("spanwire-due-{}.pem", std::process::id()));
    fs::write(&path, CA).unwrap();
    let trust = Some(Pem { place: Place::File(path.clone()), source_name: "TRUST" });
    let files = tls(Material { trust, ..Material::default() }).unwrap();
    assert!(files.due().is_none(), "they were just read");
    files.current().checked -= CHECK_INTERVAL;
    assert!(files.due().is_some());
    assert!(files.due().is_none(), "somebody is at it");
    fs::remove_file(&path).unwrap();
}
