//! Where the official plugin is.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::env::Env;

/// The variable that names the official plugin, or is `off`.
pub(super) const VARIABLE: &str = "PULUMI_DATABRICKS_OFFICIAL_PLUGIN";

/// The version to install where no SDK asks for one.
const KNOWN_VERSION: &str = "1.118.0";

/// The file of a plugin for this package, whoever made it.
const FILE: &str =
    if cfg!(windows) { "pulumi-resource-databricks.exe" } else { "pulumi-resource-databricks" };

/// Whether there is an official plugin to use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Official {
    /// The user wants none.
    Off,
    Found(Plugin),
    Missing(Missing),
}

/// An official plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plugin {
    pub(super) path: PathBuf,
    /// Taken from the name of the folder that it is installed in.
    version: Option<String>,
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "the official databricks plugin {version}"),
            None => write!(f, "the official databricks plugin {}", self.path.display()),
        }
    }
}

/// Why there is none, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The variable names no file.
    NoFile(PathBuf),
    /// None is installed; this version would be the right one.
    NotInstalled(String),
}

impl Missing {
    /// The error for whoever needs it: `what` is a type or a function.
    pub(super) fn message(&self, what: &str) -> String {
        let ours = env!("CARGO_PKG_VERSION");
        let needs = format!(
            "{what} needs the official databricks plugin (1.x), to which this one ({ours}) passes it on"
        );
        match self {
            Missing::NoFile(path) => {
                format!("{needs}, and there is none at {}, which {VARIABLE} names", path.display())
            }
            Missing::NotInstalled(version) => format!(
                "{needs}, and it is not installed. Run `pulumi plugin install resource databricks {version}`, then \
                 run the command again"
            ),
        }
    }
}

/// Finds the plugin that the environment names, or the installed one of the version that an SDK asks for, or else the
/// newest installed one.
pub(super) fn official(env: &Env, asked: Option<&str>) -> Official {
    match env.var(VARIABLE) {
        Some(off) if off.eq_ignore_ascii_case("off") => return Official::Off,
        Some(path) => {
            let path = Path::new(path);
            let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
            return match path.is_file() {
                true => Official::Found(Plugin { path, version: None }),
                false => Official::Missing(Missing::NoFile(path)),
            };
        }
        None => {}
    }
    let asked = asked.filter(|version| version.starts_with("1."));
    let mut installed = installed(env);
    let exact =
        installed.iter().position(|(_, plugin)| asked.is_some() && plugin.version.as_deref() == asked);
    let newest = installed.iter().enumerate().max_by(|(_, one), (_, other)| one.0.cmp(&other.0));
    match exact.or(newest.map(|(index, _)| index)) {
        Some(index) => Official::Found(installed.swap_remove(index).1),
        None => Official::Missing(Missing::NotInstalled(asked.unwrap_or(KNOWN_VERSION).to_owned())),
    }
}

/// What versions are ordered by: their numbers, and whether they are releases, which come after their pre-releases.
type Order = ([u64; 3], bool);

/// Every 1.x plugin that Pulumi has installed completely.
fn installed(env: &Env) -> Vec<(Order, Plugin)> {
    let home = env.var("PULUMI_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(env.home.as_ref()?.join(".pulumi"))) else { return Vec::new() };
    let folders = std::fs::read_dir(home.join("plugins")).into_iter().flatten().flatten();
    folders
        .filter_map(|folder| {
            let name = folder.file_name().into_string().ok()?;
            let version = name.strip_prefix("resource-databricks-v")?.to_owned();
            let order = order(&version)?;
            let path = folder.path().join(FILE);
            // This file is left behind where an installation was cut short.
            let partial = home.join("plugins").join(format!("{name}.partial")).exists();
            let usable = order.0[0] == 1 && path.is_file() && !partial;
            usable.then_some((order, Plugin { path, version: Some(version) }))
        })
        .collect()
}

fn order(version: &str) -> Option<Order> {
    let (numbers, before) = match version.split_once(['-', '+']) {
        Some((numbers, _)) => (numbers, true),
        None => (version, false),
    };
    let numbers: Vec<u64> = numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    Some((numbers.try_into().ok()?, !before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(home: &Path, variable: Option<&str>) -> Env {
        let mut vars = vec![("PULUMI_HOME".to_owned(), home.to_str().unwrap().to_owned())];
        vars.extend(variable.map(|value| (VARIABLE.to_owned(), value.to_owned())));
        Env { vars: vars.into_iter().collect(), home: None }
    }

    fn install(home: &Path, versions: &[&str]) {
        for version in versions {
            let folder = home.join("plugins").join(format!("resource-databricks-v{version}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(FILE), "").unwrap();
        }
    }

    #[track_caller]
    fn found(env: &Env, asked: Option<&str>) -> Option<String> {
        match official(env, asked) {
            Official::Found(plugin) => plugin.version,
            other => panic!("{other:?}"),
        }
    }

    /// A folder that is removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("databricks-find-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_version_that_is_asked_for_comes_first_then_the_newest() {
        let home = Folder::new("versions");
        let missing = |asked: Option<&str>| official(&env(&home.0, None), asked);
        assert_eq!(missing(Some("1.106.0")), Official::Missing(Missing::NotInstalled("1.106.0".into())));
        for asked in [None, Some("2.0.0")] {
            assert_eq!(missing(asked), Official::Missing(Missing::NotInstalled(KNOWN_VERSION.into())));
        }
        install(&home.0, &["1.9.0", "1.106.0", "1.118.0-alpha.1", "2.0.0", "1.200.0", "1.300.0"]);
        std::fs::write(home.0.join("plugins/resource-databricks-v1.300.0.partial"), "").unwrap();
        std::fs::write(home.0.join("plugins/resource-databricks-v1.400.0.lock"), "").unwrap();
        let env = env(&home.0, None);
        assert_eq!(found(&env, Some("1.106.0")).as_deref(), Some("1.106.0"));
        for asked in [None, Some("1.105.0"), Some("2.0.0"), Some("1.300.0")] {
            assert_eq!(found(&env, asked).as_deref(), Some("1.200.0"));
        }
        install(&home.0, &["1.200.1-beta", "1.200.1"]);
        assert_eq!(found(&env, None).as_deref(), Some("1.200.1"));
    }

    #[test]
    fn the_variable_comes_before_everything() {
        let home = Folder::new("variable");
        install(&home.0, &["1.106.0"]);
        let folder = home.0.join("plugins/resource-databricks-v1.106.0");
        for path in [&folder, &folder.join(FILE)] {
            assert_eq!(found(&env(&home.0, path.to_str()), None), None);
        }
        assert_eq!(official(&env(&home.0, Some("Off")), None), Official::Off);
        let Official::Missing(missing) = official(&env(&home.0, Some("/none")), None) else {
            panic!("there is no such file")
        };
        let message = missing.message("databricks:index/cluster:Cluster");
        assert!(
            message.contains("Cluster") && message.contains("/none") && message.contains(VARIABLE),
            "{message}"
        );
    }
}
