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

/// The User-Agent of a request, in the form that Databricks reads: `key/value` pairs.
pub(super) fn user_agent(env: &Env, resource: &str, auth: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut agent = format!("pulumi-resource-databricks/{version} os/{}", std::env::consts::OS);
    let mut add = |key: &str, value: &str| {
        agent.push_str(&format!(" {key}/{}", sanitized(value)));
    };
    add("pulumi", version);
    if let (Some(name), Some(version)) =
        (env.var("DATABRICKS_SDK_UPSTREAM"), env.var("DATABRICKS_SDK_UPSTREAM_VERSION"))
    {
        add("upstream", name);
        add("upstream-version", version);
    }
    if !resource.is_empty() {
        add("resource", resource);
    }
    add("auth", auth);
    let seen = |(name, wanted): &Variable| {
        env.var(name).is_some_and(|value| wanted.is_none_or(|wanted| wanted == value))
    };
    if let Some((name, _)) = CI.iter().find(|(_, variables)| variables.iter().all(seen)) {
        add("cicd", name);
    }
    agent
}

/// The characters that a value may have.
fn sanitized(value: &str) -> String {
    value.chars().map(|c| if c.is_ascii_alphanumeric() || "_.+-".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_is_for() {
        let mut env = Env::default();
        env.vars.insert("GITHUB_ACTIONS".into(), "true".into());
        let agent = user_agent(&env, "token", "pat");
        assert!(
            agent.starts_with(concat!("pulumi-resource-databricks/", env!("CARGO_PKG_VERSION"), " os/")),
            "{agent}"
        );
        assert!(agent.ends_with(" resource/token auth/pat cicd/github"), "{agent}");
        assert_eq!(sanitized("a b/c"), "a-b-c");
    }
}
