//! Rules about the source itself: which layer may use what, and where credentials may come out of their types.

use std::fs;
use std::path::{Path, PathBuf};

/// Words of code, the only places that may use them, and why.
const RULES: &[(&[&str], &[&str], &str)] = &[
    (
        &["prost", "prost_types", "tonic", "tonic_prost"],
        &["src/server/"],
        "protobuf stays in the server, so that resources and the client never depend on the engine's protocol",
    ),
    (
        &["reqwest", "rustls"],
        &["src/client/"],
        "HTTP stays in the client, so that one place decides what is sent, repeated and logged",
    ),
    (
        &["expose", "expose_secret"],
        &[
            // Where credentials go into requests.
            "src/client/auth/",
            // What is taken out of answers before they are shown.
            "src/client/redact.rs",
            // Secret properties, as the wire has them.
            "src/property/typed.rs",
            "src/property/value.rs",
            "src/server/wire.rs",
        ],
        "a credential leaves its type only to be sent; a new place is looked at before it is listed here",
    ),
    (&["unsafe"], &[], "the compiler proves what it can"),
];

/// Every Rust file below a folder.
fn files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no source below {below}");
    found
}

/// Whether a line of code has the word; comments and longer words don't count.
fn has_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

#[test]
fn libraries_and_credentials_stay_in_their_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for path in files("src") {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&path).unwrap();
        for (words, places, why) in RULES {
            if places.iter().any(|place| name.starts_with(place)) {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                if let Some(word) = words.iter().find(|word| has_word(line, word)) {
                    broken.push(format!("{name}:{}: `{word}`: {why}", number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Targets of all crates and files of inputs belong together: a target without inputs would be a test of nothing, and
/// one name for two would mix theirs.
#[test]
fn every_fuzz_target_has_a_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let of_crates = folders.filter_map(|name| name.into_string().ok()).filter(|name| {
        // What others made, and the tests, which name no target.
        let crates = name == "src" || root.join(name).join("Cargo.toml").exists();
        crates && !["target", "tests"].contains(&name.as_str())
    });
    let sources = of_crates.flat_map(|name| files(&name)).map(|path| fs::read_to_string(path).unwrap());
    let mut targets: Vec<String> = sources
        .flat_map(|text| {
            let names = text.split("fuzz::target(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let inputs = fs::read_dir(root.join("tests/fuzz/inputs")).unwrap();
    let mut inputs: Vec<String> =
        inputs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    targets.sort();
    inputs.sort();
    assert!(!targets.is_empty());
    assert_eq!(targets, inputs, "targets on the left, files of tests/fuzz/inputs on the right");
}

#[test]
fn words_are_told_from_parts_of_words() {
    assert!(has_word("use tonic::Status;", "tonic"));
    assert!(!has_word("use tonic_prost::x; // tonic", "tonic"));
    assert!(!has_word("let supertonic = 1;", "tonic"));
}
