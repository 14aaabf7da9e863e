use crate::env::Env;

/// An environment variable and the value that it must have; `None` is any.
type Variable = (&'static str, Option<&'static str>);

/// Continuous integration systems by the variables that show them; the first match counts.
const CI: &[(&str, &[Variable])] = &[
    ("github", &[("GITHUB_ACTIONS", Some("true"))]),
    ("gitlab", &[("GITLAB_CI", Some("true"))]),
    ("jenkins", &[("JENKINS_URL", None)]),
    ("azure-devops", &[("TF_BUILD", Some("True"))]),
    ("circle", &[("CIRCLECI", Some("true"))]),
    ("travis", &[("TRAVIS", Some("true"))]),
    ("bitbucket", &[("BITBUCKET_BUILD_NUMBER", None)]),
    (
        "google-cloud-build",
        &[("PROJECT_ID", None), ("BUILD_ID", None), ("PROJECT_NUMBER", None), ("LOCATION", None)],
    ),
    ("aws-code-build", &[("CODEBUILD_BUILD_ARN", None)]),
    ("tf-cloud", &[("TFC_RUN_ID", None)]),
];

/// Assistants that run commands, by the variables that they set; the value does not matter.
const AGENTS: &[(&str, &str)] = &[
    ("amp", "AMP_CURRENT_THREAD_ID"),
    ("antigravity", "ANTIGRAVITY_AGENT"),
    ("augment", "AUGMENT_AGENT"),
    ("claude-code", "CLAUDECODE"),
    ("cline", "CLINE_ACTIVE"),
    ("codex", "CODEX_CI"),
    ("copilot-cli", "COPILOT_CLI"),
    ("cursor", "CURSOR_AGENT"),
    ("gemini-cli", "GEMINI_CLI"),
    ("goose", "GOOSE_TERMINAL"),
    ("kiro", "KIRO"),
    ("openclaw", "OPENCLAW_SHELL"),
    ("opencode", "OPENCODE"),
    ("pi", "PI_CODING_AGENT"),
    ("vscode-agent", "VSCODE_AGENT"),
    ("windsurf", "WINDSURF_AGENT"),
];
/// Variables that hold the name of any other assistant; the first one that is set counts.
const OTHER_AGENT: [&str; 2] = ["AGENT", "AI_AGENT"];
/// Longest name of an assistant, in characters.
const LONGEST_AGENT: usize = 64;

/// The User-Agent of a request, in the form that Databricks reads: `key/value` pairs.
pub(super) fn user_agent(env: &Env, resource: &str, auth: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut agent = format!("pulumi-resource-databricks/{version} os/{}", std::env::consts::OS);
    let mut add = |key: &str, value: &str| {
        agent.push_str(&format!(" {key}/{}", sanitized(value)));
    };
    for (key, value) in extra(env) {
        add(&sanitized(key), value);
    }
    add("pulumi", version);
    if let (Some(name), Some(version)) =
        (env.var("DATABRICKS_SDK_UPSTREAM"), env.var("DATABRICKS_SDK_UPSTREAM_VERSION"))
    {
        add("upstream", name);
        add("upstream-version", version);
    }
    if !resource.is_empty() {
        add("resource", &resource.replace(' ', "_"));
    }
    add("auth", auth);
    let seen = |(name, wanted): &Variable| {
        env.var(name).is_some_and(|value| wanted.is_none_or(|wanted| wanted == value))
    };
    if let Some((name, _)) = CI.iter().find(|(_, variables)| variables.iter().all(seen)) {
        add("cicd", name);
    }
    if let Some(version) = env.var("DATABRICKS_RUNTIME_VERSION") {
        add("runtime", version);
    }
    if let Some(name) = assistant(env) {
        add("agent", &name);
    }
    agent
}

/// The pairs that somebody who runs Databricks tools for others adds to whatever they send.
fn extra(env: &Env) -> impl Iterator<Item = (&str, &str)> {
    let pairs = env.var("DATABRICKS_USER_AGENT_EXTRA").unwrap_or_default().split_whitespace();
    pairs.filter_map(|pair| pair.split_once('/')).filter(|(key, value)| !key.is_empty() && !value.is_empty())
}

/// The assistant that runs this program.
fn assistant(env: &Env) -> Option<String> {
    let mut known = AGENTS.iter().filter(|(_, variable)| env.vars.contains_key(*variable));
    match (known.next(), known.next()) {
        (Some(_), Some(_)) => Some("multiple".to_owned()),
        (Some((name, _)), None) => Some((*name).to_owned()),
        _ => OTHER_AGENT
            .iter()
            .find_map(|variable| env.var(variable))
            .map(|name| name.chars().take(LONGEST_AGENT).collect()),
    }
}

/// Replaces the characters that a value may not have.
fn sanitized(value: &str) -> String {
    value.chars().map(|c| if c.is_ascii_alphanumeric() || "_.+-".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(vars: &[(&str, &str)]) -> String {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let agent = user_agent(&Env { vars, home: None }, "token", "pat");
        let base = concat!("pulumi-resource-databricks/", env!("CARGO_PKG_VERSION")).to_owned()
            + " os/"
            + std::env::consts::OS;
        agent.strip_prefix(&base).unwrap().replace(env!("CARGO_PKG_VERSION"), "OURS")
    }

    #[test]
    fn a_request_says_what_it_is_for() {
        assert_eq!(agent(&[]), " pulumi/OURS resource/token auth/pat");
        assert_eq!(sanitized("a b/c"), "a-b-c");
    }

    #[test]
    fn the_environment_says_more() {
        let all = [
            ("DATABRICKS_USER_AGENT_EXTRA", "team/data=1 nonsense /x y/ tool/1.2.3"),
            ("DATABRICKS_SDK_UPSTREAM", "my tool"),
            ("DATABRICKS_SDK_UPSTREAM_VERSION", "1.0"),
            ("DATABRICKS_RUNTIME_VERSION", "15.4"),
            ("GITHUB_ACTIONS", "true"),
            ("AGENT", "b/t"),
        ];
        assert_eq!(
            agent(&all),
            " team/data-1 tool/1.2.3 pulumi/OURS upstream/my-tool upstream-version/1.0 resource/token auth/pat \
             cicd/github runtime/15.4 agent/b-t"
        );
        assert!(!agent(&[("DATABRICKS_SDK_UPSTREAM", "alone")]).contains("upstream"));
    }

    #[test]
    fn every_system_of_continuous_integration_is_known() {
        let google = [("PROJECT_ID", "p"), ("BUILD_ID", "b"), ("PROJECT_NUMBER", "1"), ("LOCATION", "l")];
        for (name, vars) in [
            ("github", &[("GITHUB_ACTIONS", "true")][..]),
            ("gitlab", &[("GITLAB_CI", "true")]),
            ("jenkins", &[("JENKINS_URL", "https://j")]),
            ("azure-devops", &[("TF_BUILD", "True")]),
            ("circle", &[("CIRCLECI", "true")]),
            ("travis", &[("TRAVIS", "true")]),
            ("bitbucket", &[("BITBUCKET_BUILD_NUMBER", "1")]),
            ("google-cloud-build", &google),
            ("aws-code-build", &[("CODEBUILD_BUILD_ARN", "arn")]),
            ("tf-cloud", &[("TFC_RUN_ID", "run")]),
            ("gitlab", &[("TFC_RUN_ID", "run"), ("GITLAB_CI", "true")]),
        ] {
            assert!(agent(vars).ends_with(&format!(" auth/pat cicd/{name}")), "{name}");
        }
        for vars in [&[("GITHUB_ACTIONS", "false")][..], &[("TF_BUILD", "true")], &google[..3]] {
            assert!(agent(vars).ends_with(" auth/pat"), "{vars:?}");
        }
    }

    #[test]
    fn an_assistant_is_named() {
        let long = "x".repeat(70);
        for (name, vars) in [
            ("cursor", &[("CURSOR_AGENT", "")][..]),
            ("cursor", &[("CURSOR_AGENT", "1"), ("AGENT", "other")]),
            ("multiple", &[("CURSOR_AGENT", "1"), ("KIRO", "1")]),
            ("one", &[("AGENT", "one"), ("AI_AGENT", "two")]),
            ("two", &[("AGENT", ""), ("AI_AGENT", "two")]),
            (&long[..64], &[("AI_AGENT", &long)]),
        ] {
            assert!(agent(vars).ends_with(&format!(" auth/pat agent/{name}")), "{vars:?}");
        }
    }
}
