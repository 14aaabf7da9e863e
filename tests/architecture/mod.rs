//! Rules about the source itself: which layer may use what, and where credentials may come out of their types.

use std::collections::BTreeSet;
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
        &[
            "databricks-auth/src/transport.rs",
            // Reads the PEM of a key with the parser that TLS brings along.
            "databricks-auth/src/strategies/google.rs",
        ],
        "the HTTP library stays in one module, which distinguishes what was sent from what was not",
    ),
    (
        &["expose", "expose_secret"],
        &[
            // Where credentials go into requests.
            "databricks-auth/src/strategies/",
            "databricks-auth/src/token_cache.rs",
            "databricks-auth/src/token_request.rs",
            "databricks-auth/src/transport.rs",
            // Where what a program states becomes an attribute.
            "databricks-auth/src/config/mod.rs",
            // Where credentials are taken out of answers before these are shown.
            "databricks-auth/src/redact.rs",
            // Where the comment of a token goes into a request.
            "src/resource/token.rs",
            // Where secret properties are read from the wire and written to it.
            "src/property/stored.rs",
            "src/property/typed.rs",
            "src/property/value.rs",
            "src/server/wire.rs",
        ],
        "a credential leaves its type only to be sent; a new place is looked at before it is listed here",
    ),
    (
        &["plain()", "Value::plain"],
        &["src/property/", "src/config.rs"],
        "what is under a secret mark is looked at where values are read and compared, and nowhere else",
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

/// Every Rust file of the plugin and of its crates.
fn sources() -> Vec<PathBuf> {
    [files("src"), files("databricks-auth/src")].concat()
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
    for path in sources() {
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

/// The module at the top of its crate that a file belongs to.
fn module(below: &Path, path: &Path) -> String {
    let first = path.strip_prefix(below).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The code of a file, up to its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// The modules of the crate that source code names, as in `crate::client::Error` or `use crate::{client, env}`. Its
/// tests do not count: they may set up whatever they need.
fn used_modules(text: &str) -> Vec<String> {
    let code = without_tests(text);
    let code: Vec<_> = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            // The members of one group, at its own depth.
            Some(group) => {
                let mut depth = 0;
                let mut member = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.push(word(std::mem::take(&mut member).trim())),
                        _ if depth == 0 => member.push(c),
                        _ => {}
                    }
                }
                found.push(word(member.trim()));
            }
            None => found.push(word(rest)),
        }
    }
    found
}

/// Which module uses which, in the crate whose source is in `folder`, as "server --> resource".
fn arrows(folder: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = root.join(folder);
    let modules: BTreeSet<String> = files(folder).iter().map(|path| module(&below, path)).collect();
    let mut arrows = BTreeSet::new();
    for path in files(folder) {
        let from = module(&below, &path);
        let is_test = ["fuzz", "testing", "tests"].contains(&path.file_stem().unwrap().to_str().unwrap());
        if is_test || ["lib", "main"].contains(&from.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // `super` at the top of a crate is the crate itself.
        let is_top = path.parent() == Some(&below) || path == below.join(&from).join("mod.rs");
        let text = if is_top { text.replace("super::", "crate::") } else { text };
        let used = used_modules(&text).into_iter().filter(|to| modules.contains(to) && *to != from);
        arrows.extend(used.map(|to| format!("{from} --> {to}")));
        if without_tests(&text).contains("databricks_auth::") {
            arrows.insert(format!("{from} --> databricks-auth"));
        }
    }
    arrows
}

/// The page of the architecture draws exactly the arrows that the code has.
#[test]
fn the_picture_of_the_modules_is_true() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = fs::read_to_string(page).unwrap();
    let pictures: Vec<BTreeSet<String>> = page
        .split("```mermaid\ngraph TD\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().lines().map(|line| line.trim().to_owned()).collect())
        .collect();
    let [plugin, auth] = &pictures[..] else { panic!("a picture for each crate") };
    for (drawn, folder) in [(plugin, "src"), (auth, "databricks-auth/src")] {
        let found = arrows(folder);
        let missing: Vec<_> = found.difference(drawn).collect();
        let unused: Vec<_> = drawn.difference(&found).collect();
        assert!(
            missing.is_empty() && unused.is_empty(),
            "{folder}: not drawn: {missing:?}; not there: {unused:?}"
        );
    }
}

/// Modules can be put in an order in which each uses only those that follow.
#[test]
fn every_arrow_goes_down() {
    for folder in ["src", "databricks-auth/src"] {
        let mut left = arrows(folder);
        while !left.is_empty() {
            let users: BTreeSet<String> =
                left.iter().map(|arrow| arrow.split(" --> ").next().unwrap().to_owned()).collect();
            let before = left.len();
            // An arrow to a module that uses no others is part of no circle.
            left.retain(|arrow| users.contains(arrow.split(" --> ").nth(1).unwrap()));
            assert!(left.len() < before, "{folder}: a circle among {left:?}");
        }
    }
}

#[test]
fn used_modules_are_found_in_every_form() {
    let text = "use crate::client::{self, Error};\nuse crate::{api, env::{Env, x}};\n// crate::no\nlet x = crate::config::x();\n\
                #[cfg(test)]\nmod tests {\nuse crate::server;";
    assert_eq!(used_modules(text), ["client", "api", "env", "config"]);
}

/// Each target of any crate has a file of inputs of its own: a target without inputs would test nothing, and two
/// targets of one name would mix theirs.
#[test]
fn every_fuzz_target_has_a_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let of_crates = folders.filter_map(|name| name.into_string().ok()).filter(|name| {
        // Neither folders that others made, nor the tests, which name no target.
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
