//! Fuzz targets: the text of `.databrickscfg`, and of the host. `docs/fuzzing.md` says how to fuzz on.

use std::path::Path;

use super::{ATTRIBUTES, Config, Host, Source, profile};

/// A credential that the profile starts with.
const HUSH: &str = "dapi-hush";

#[test]
fn databrickscfg() {
    fuzz::target("databrickscfg").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(HUSH, "");
        let text = format!("[DEFAULT]\ntoken = {HUSH}\n{text}");
        let mut config = Config::default();
        let outcome = profile::apply(&mut config, Path::new("f"), text.as_bytes())
            .and_then(|()| config.validate())
            .and_then(|()| config.normalize_host());
        assert!(!config.describe().contains(HUSH) && !format!("{config:?}").contains(HUSH));
        if let Err(error) = outcome {
            assert!(!error.to_string().contains(HUSH), "a credential in an error: {error}");
            return;
        }
        for attribute in ATTRIBUTES {
            let from_profile = config.sources.get(attribute.name) == Some(&Source::Profile);
            assert!(
                !from_profile || (attribute.is_set)(&config.attributes),
                "{attribute:?} has a source, no value"
            );
        }
    });
}

#[test]
fn host() {
    fuzz::target("host").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(host) = Host::parse(&text) else { return };
        // No user, path or query is left, and reading the normal form again changes nothing.
        let authority = host.url.split_once("://").unwrap().1;
        assert!(!authority.is_empty() && !authority.contains(['@', '/', '?', '#', ' ']), "{:?}", host.url);
        let again = Host::parse(&host.url).unwrap();
        assert_eq!((again.url, again.workspace_id, again.account_id), (host.url, None, None));
    });
}
