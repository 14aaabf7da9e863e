use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::workload_identity::{self, IdTokens};
use super::{Outcome, Strategy, missing};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_request;
use crate::transport::authorization;

/// A job of an Azure DevOps pipeline.
pub(super) struct AzureDevopsOidc;

/// The variables by which Azure DevOps identifies a job. The access token is there only where a step passes it on.
const VARIABLES: [&str; 6] = [
    "SYSTEM_ACCESSTOKEN",
    "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI",
    "SYSTEM_PLANID",
    "SYSTEM_JOBID",
    "SYSTEM_TEAMPROJECTID",
    "SYSTEM_HOSTTYPE",
];

#[async_trait]
impl Strategy for AzureDevopsOidc {
    fn name(&self) -> &'static str {
        "azure-devops-oidc"
    }

    fn assumes_groups(&self) -> bool {
        true
    }

    /// Azure DevOps sets its variables for every step, and the access token is good for much else. Only with a client id
    /// are they meant for Databricks.
    fn is_ambient(&self, settings: &Settings) -> bool {
        settings.config.attributes.client_id.is_none()
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let values = VARIABLES.map(|name| settings.env.var(name));
        let [Some(token), Some(collection), Some(plan), Some(job), Some(project), Some(host_type)] = values
        else {
            let seen: Vec<_> =
                VARIABLES.iter().zip(values).map(|(name, value)| (*name, value.is_some())).collect();
            return Ok(missing(&seen));
        };
        // Azure DevOps ends this URL with a slash, which must not be doubled.
        let collection = collection.trim_end_matches('/');
        let job = Job {
            url: format!(
                "{collection}/{project}/_apis/distributedtask/hubs/{host_type}/plans/{plan}/jobs/{job}/oidctoken\
                 ?api-version=7.2-preview.1"
            ),
            token: token.into(),
        };
        Ok(workload_identity::sign_in(settings, job))
    }
}

struct Job {
    url: String,
    token: SecretString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    oidc_token: SecretString,
}

#[async_trait]
impl IdTokens for Job {
    /// The audience of these tokens is fixed by Azure DevOps.
    async fn id_token(&self, settings: &Settings, _audience: &str) -> Result<SecretString, AuthError> {
        let headers = authorization("Bearer", self.token.expose_secret())?;
        let what = "request for an identity token to Azure DevOps";
        // Without a length, some servers refuse a POST.
        let request = || settings.http.post(&self.url).headers(headers.clone()).header("content-length", "0");
        let answer: Answer = token_request::send(settings, what, request).await?;
        Ok(answer.oidc_token)
    }
}

#[cfg(test)]
mod tests {
    use crate::strategies::testing::{Clock, env, settings, sign_in, workspace};

    #[tokio::test]
    async fn the_pipeline_is_asked_for_a_token_of_its_job() {
        let server = workspace().await;
        for collection in ["/tfs/", "/tfs"] {
            let collection = format!("{}{collection}", server.url);
            let env = env(&[
                ("SYSTEM_ACCESSTOKEN", "job-token"),
                ("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", &collection),
                ("SYSTEM_PLANID", "plan"),
                ("SYSTEM_JOBID", "job"),
                ("SYSTEM_TEAMPROJECTID", "project"),
                ("SYSTEM_HOSTTYPE", "build"),
            ]);
            let settings = settings(&[("host", &server.url)], env, Clock::hasty()).await;
            sign_in(&settings, "azure-devops-oidc").await.unwrap().headers().await.unwrap();
            let seen = server.seen();
            let [.., asked, exchanged] = &seen[..] else { panic!("{seen:?}") };
            assert_eq!(asked.method, "POST");
            assert_eq!(
                asked.path,
                "/tfs/project/_apis/distributedtask/hubs/build/plans/plan/jobs/job/oidctoken?api-version=7.2-preview.1"
            );
            assert_eq!(asked.header("authorization"), "Bearer job-token");
            assert_eq!((asked.header("content-length"), asked.body.as_str()), ("0", ""));
            assert!(exchanged.body.contains("subject_token=devops-jwt&"), "{exchanged:?}");
        }
    }

    #[tokio::test]
    async fn what_a_job_lacks_is_named() {
        let env = env(&[
            ("SYSTEM_PLANID", "plan"),
            ("SYSTEM_JOBID", "job"),
            ("SYSTEM_TEAMPROJECTID", "project"),
            ("SYSTEM_HOSTTYPE", "build"),
        ]);
        let settings = settings(&[], env, Clock::hasty()).await;
        assert_eq!(
            sign_in(&settings, "azure-devops-oidc").await.err().unwrap().0,
            "SYSTEM_ACCESSTOKEN and SYSTEM_TEAMFOUNDATIONCOLLECTIONURI are not set"
        );
    }
}
