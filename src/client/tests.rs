//! How requests are sent, repeated and given up, against a server on this machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use databricks_auth::transport::LONGEST_BODY;
use futures_util::future::join_all;
use http::Method;
use serde_json::Value as Json;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::config;
use crate::context::{Clock as _, Context};

use super::testing::{Answer, Clock, Seen, Server, context};
use super::workspaces::WorkspaceReply;
use super::*;

const DESCRIPTION: &str = "/.well-known/databricks-config";

/// A client with a token, and with these properties.
fn client(url: &str, more: &[(&str, &str)], clock: &Clock) -> Client {
    client_with(&[&[("host", url), ("token", "pat")], more].concat(), clock)
}

fn client_with(stated: &[(&str, &str)], clock: &Clock) -> Client {
    let stated = stated.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let mut config = config::resolve(&stated, &Env::default()).unwrap();
    config.attributes.skip_verify = true;
    Client::new(config, Env::default(), Arc::new(clock.clone()))
}

fn request(repeat: Repeat) -> Request {
    Request::new(Method::POST, "/api/2.0/x", Some(json!({})), repeat)
}

/// A server with these answers, the last one again and again.
async fn server(answers: Vec<Answer>) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |seen, _| match seen.path.as_str() {
        DESCRIPTION => Answer::status(404),
        _ => answers[next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone(),
    })
    .await
}

/// What comes of a request to such a server, and what the server saw.
async fn ask(
    repeat: Repeat,
    more: &[(&str, &str)],
    answers: Vec<Answer>,
) -> (Result<Json, Error>, Vec<Seen>, Clock) {
    let server = server(answers).await;
    let clock = Clock::hasty();
    let client = client(&server.url, more, &clock);
    let sent = client.send(&context(Arc::new(clock.clone())), &request(repeat)).await;
    (sent.map(|reply| reply.body), server.seen(), clock)
}

fn coded(status: u16, code: &str) -> Answer {
    Answer {
        body: json!({ "error_code": code, "message": "m" }).to_string().into(),
        ..Answer::status(status)
    }
}

#[tokio::test]
async fn what_may_pass_is_sent_again_and_nothing_else() {
    let html = |status| Answer { body: "<html>busy</html>".into(), ..Answer::status(status) };
    for (first, always, if_it_did_not_run) in [
        (Answer::status(429), true, true),
        (html(429), true, true),
        (coded(429, "X"), true, true),
        (coded(503, "TEMPORARILY_UNAVAILABLE"), true, true),
        // A proxy may answer this after the workspace has done the work.
        (html(503), true, false),
        (Answer::status(503), true, false),
        (coded(500, "RESOURCE_EXHAUSTED"), true, true),
        (coded(429, "QUOTA_EXCEEDED"), false, false),
        (coded(429, "INVALID_STATE"), false, false),
        (Answer::status(500), false, false),
        (Answer::status(502), false, false),
        (Answer::status(504), false, false),
        (Answer::status(401), false, false),
        (Answer::status(403), false, false),
        (Answer::status(302), false, false),
    ] {
        for (repeat, again) in [(Repeat::Always, always), (Repeat::IfItDidNotRun, if_it_did_not_run)] {
            let (outcome, seen, _) = ask(repeat, &[], vec![first.clone(), Answer::json("{}")]).await;
            assert_eq!(
                (outcome.is_ok(), seen.len()),
                (again, 1 + usize::from(again)),
                "{repeat:?} {first:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_workspace_says_how_long_to_wait() {
    let date = httpdate::fmt_http_date(Clock::hasty().now() + Duration::from_secs(40));
    for (header, seconds) in [("30", 30), (date.as_str(), 40)] {
        for status in [429, 503] {
            let busy = Answer { headers: vec![("Retry-After", header.to_owned())], ..coded(status, "X") };
            let (outcome, _, clock) = ask(Repeat::IfItDidNotRun, &[], vec![busy, Answer::json("{}")]).await;
            assert!(outcome.is_ok());
            assert_eq!(clock.slept(), [Duration::from_secs(seconds)], "{status}");
        }
    }
}

#[tokio::test]
async fn a_date_to_wait_for_is_one_of_the_workspaces_clock() {
    let date = |seconds| httpdate::fmt_http_date(Clock::hasty().now() + Duration::from_secs(seconds));
    let busy = coded(429, "X").with_header("Date", date(3600)).with_header("Retry-After", date(3640));
    let (outcome, _, clock) = ask(Repeat::IfItDidNotRun, &[], vec![busy, Answer::json("{}")]).await;
    assert!(outcome.is_ok());
    assert_eq!(clock.slept(), [Duration::from_secs(40)]);
}

#[tokio::test]
async fn repeating_ends_with_the_stated_time() {
    let (outcome, seen, clock) =
        ask(Repeat::Always, &[("retryTimeoutSeconds", "30")], vec![Answer::status(429)]).await;
    let waited: Duration = clock.slept().iter().sum();
    assert!(waited <= Duration::from_secs(30) && waited >= Duration::from_secs(15), "{waited:?}");
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.starts_with("gave up after ") && text.contains(&format!("{} attempts", seen.len())),
        "{text}"
    );
    // Waits grow up to ten seconds, and jitter may add as much again.
    assert!(clock.slept().iter().all(|wait| *wait <= Duration::from_secs(20)), "{:?}", clock.slept());
}

/// A workspace that hands out `token-1`, `token-2` and so on, and refuses those before the `first` that it accepts.
async fn revoking(first: usize) -> Server {
    let issued = AtomicUsize::new(0);
    Server::start(move |seen, url| match seen.path.as_str() {
        "/oidc/.well-known/oauth-authorization-server" => {
            Answer::json(json!({ "token_endpoint": format!("{url}/token") }))
        }
        "/token" => {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            Answer::json(json!({ "access_token": format!("token-{number}"), "expires_in": 3600 }))
        }
        DESCRIPTION => Answer::status(404),
        _ => match seen.header("authorization").strip_prefix("Bearer token-") {
            Some(number) if number.parse::<usize>().unwrap() >= first => Answer::json("{}"),
            _ => coded(401, "UNAUTHENTICATED"),
        },
    })
    .await
}

/// A client that signs in as a service principal.
fn service_principal(server: &Server, clock: &Clock) -> (Client, Context) {
    let stated = [("host", server.url.as_str()), ("clientId", "app"), ("clientSecret", "s3cret")];
    (client_with(&stated, clock), context(Arc::new(clock.clone())))
}

#[tokio::test]
async fn an_access_token_that_is_refused_is_replaced_once() {
    const PATH: &str = "/api/2.0/x";
    for repeat in [Repeat::Always, Repeat::IfItDidNotRun, Repeat::Never] {
        // The second token works, or none ever does.
        for (first, succeeds) in [(2, true), (9, false)] {
            let server = revoking(first).await;
            let clock = Clock::still();
            let (client, ctx) = service_principal(&server, &clock);
            let outcome = client.send::<Json>(&ctx, &request(repeat)).await;
            assert_eq!(outcome.is_ok(), succeeds);
            let tokens = |seen: Vec<Seen>| {
                let asked = seen.into_iter().filter(|seen| seen.path == PATH);
                asked.map(|seen| seen.header("authorization").to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(tokens(server.seen()), ["Bearer token-1", "Bearer token-2"], "{repeat:?}");
            assert_eq!(clock.slept(), []);
            if succeeds {
                // The new token is kept like any other.
                client.send::<Json>(&ctx, &request(repeat)).await.unwrap();
                assert_eq!(tokens(server.seen()).last().unwrap(), "Bearer token-2");
            } else {
                let Err(Error::Api(error)) = outcome else { panic!("another error") };
                assert_eq!(error.status, 401);
            }
        }
    }
}

/// An access token from a cache may have been revoked: that is no reason to fail a preview.
#[tokio::test]
async fn who_signs_in_is_asked_with_another_access_token_too() {
    for (first, succeeds) in [(2, true), (9, false)] {
        let server = revoking(first).await;
        let (client, ctx) = service_principal(&server, &Clock::still());
        assert_eq!(client.try_sign_in(&ctx).await.is_ok(), succeeds);
        let asked = server.seen().into_iter().filter(|seen| seen.path.contains("/Me")).count();
        assert_eq!(asked, 2);
    }
}

#[tokio::test]
async fn a_token_that_never_changes_is_refused_for_good() {
    let (outcome, seen, _) = ask(Repeat::Always, &[], vec![coded(401, "X"), Answer::json("{}")]).await;
    assert!(outcome.is_err());
    assert_eq!(seen.len(), 1);
}

/// A host that is unified, but fails to say so the first few times.
struct Shy {
    server: Server,
    failures: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Shy {
    async fn start(failures: usize) -> Self {
        let failures = Arc::new(AtomicUsize::new(failures));
        let asked = Arc::new(AtomicUsize::new(0));
        let (fail, count) = (Arc::clone(&failures), Arc::clone(&asked));
        let server = Server::start(move |seen, _| match seen.path.as_str() {
            DESCRIPTION if count.fetch_add(1, Ordering::SeqCst) < fail.load(Ordering::SeqCst) => {
                Answer::status(503)
            }
            DESCRIPTION => Answer::json(json!({ "host_type": "unified", "workspace_id": "7" })),
            _ => Answer::json("{}"),
        })
        .await;
        Shy { server, failures, asked }
    }

    /// How often it was asked who it is.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_host_that_fails_to_describe_itself_is_asked_again() {
    let clock = Clock::hasty();
    let ctx = context(Arc::new(clock.clone()));
    let host = Shy::start(1).await;
    let client = client(&host.server.url, &[], &clock);
    assert_eq!(client.level(&ctx).await.unwrap(), Level::Both);
    // What it said is kept for good.
    clock.advance(Duration::from_secs(1000));
    assert_eq!(client.level(&ctx).await.unwrap(), Level::Both);
    assert_eq!(host.asked(), 2);
}

#[tokio::test]
async fn what_a_host_seems_to_be_is_not_kept_for_long() {
    let clock = Clock::hasty();
    let ctx = context(Arc::new(clock.clone()));
    let host = Shy::start(usize::MAX).await;
    let client = client(&host.server.url, &[], &clock);
    let send = async || client.send::<Json>(&ctx, &request(Repeat::Always)).await.unwrap();
    // Meanwhile it is taken for a plain workspace.
    send().await;
    let first = host.asked();
    clock.advance(Duration::from_secs(59));
    assert_eq!(client.level(&ctx).await.unwrap(), Level::Workspace);
    assert_eq!(host.asked(), first);

    clock.advance(Duration::from_secs(2));
    for _ in 0..10 {
        send().await;
    }
    let again = host.asked() - first;
    assert!((1..=2).contains(&again), "asked {again} times for ten requests");
    let routed = |seen: &Seen| seen.header("x-databricks-workspace-id") == "7";
    assert!(!host.server.seen().iter().any(routed));

    host.failures.store(0, Ordering::SeqCst);
    clock.advance(Duration::from_secs(61));
    send().await;
    assert_eq!(client.level(&ctx).await.unwrap(), Level::Both);
    assert!(routed(host.server.seen().last().unwrap()));
}

/// The address of a host that takes connections and never answers.
async fn black_hole() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn a_cancel_ends_every_wait() {
    let (_listener, silent) = black_hole().await;
    let busy = server(vec![Answer::status(429)]).await;
    let slow = server(vec![Answer::json("{}")]).await;
    for (url, more) in [
        (&silent, [("rateLimit", "1")]),
        (&busy.url, [("rateLimit", "9")]),
        (&slow.url, [("rateLimit", "1")]),
    ] {
        let clock = Clock::still();
        let client = client(url, &more, &clock);
        let ctx = context(Arc::new(clock.clone()));
        let work = async {
            let found = async { client.for_workspace(&ctx, Some("1")).await.map(drop) };
            let known = async { client.workspace_id(&ctx).await.map(drop) };
            let send = |repeat| {
                let (client, ctx, request) = (&client, &ctx, request(repeat));
                Box::pin(async move { client.send::<Json>(ctx, &request).await.map(drop) })
            };
            let sent = join_all([Repeat::Always, Repeat::IfItDidNotRun, Repeat::Always].map(send));
            let (found, known, sent) = tokio::join!(found, known, sent);
            [vec![found, known], sent].concat()
        };
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            ctx.cancel.cancel();
        };
        let (outcomes, ()) =
            tokio::time::timeout(Duration::from_secs(4), async { tokio::join!(work, cancel) }).await.unwrap();
        assert!(outcomes.iter().any(Result::is_err), "{outcomes:?}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert!(error.did_not_run(), "{error}");
        }
    }
}

#[tokio::test]
async fn the_limit_of_the_resource_ends_what_comes_before_a_request() {
    let (_listener, silent) = black_hole().await;
    let clock = Clock::hasty();
    let client = client(&silent, &[], &clock);
    let ctx = Context { deadline: Some(clock.now() + Duration::from_secs(3)), ..context(Arc::new(clock)) };
    for repeat in [Repeat::Always, Repeat::IfItDidNotRun] {
        let error = client.send::<Json>(&ctx, &request(repeat)).await.err().unwrap();
        assert!(matches!(error, Error::TooLate { .. }) && error.did_not_run(), "{error}");
        assert!(error.to_string().ends_with("ran out before POST /api/2.0/x was sent"), "{error}");
    }
    let error = client.for_workspace(&ctx, Some("1")).await.err().unwrap();
    assert!(error.to_string().ends_with("ran out before any request was sent"), "{error}");
}

#[tokio::test]
async fn all_calls_to_a_workspace_share_its_limit() {
    let workspace = server(vec![Answer::json("{}")]).await;
    let other = server(vec![Answer::json("{}")]).await;
    let clock = Clock::hasty();
    let ctx = context(Arc::new(clock.clone()));
    let ask = async |url: &str| {
        let client = client(url, &[("rateLimit", "1")], &clock);
        client.send::<Json>(&ctx, &request(Repeat::Always)).await.unwrap();
        client
    };
    // Each of these is the client of another provider in this process.
    let _first = ask(&workspace.url).await;
    ask(&other.url).await;
    assert_eq!(clock.slept(), []);
    ask(&workspace.url).await;
    assert!(!clock.slept().is_empty());
}

/// A host without a description, which answers the next request with a body in so many pieces, with a pause before
/// each.
async fn drip(pieces: usize, pause: Duration) -> (String, tokio::task::JoinHandle<()>) {
    let (listener, url) = black_hole().await;
    let task = tokio::spawn(async move {
        // The first request asks for the description.
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let none = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(none).await.unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 8);
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in "[1,2,33]".as_bytes().chunks(8 / pieces) {
            tokio::time::sleep(pause).await;
            // The client may have given up.
            if stream.write_all(piece).await.is_err() {
                return;
            }
        }
    });
    (url, task)
}

#[tokio::test]
async fn only_silence_ends_a_request() {
    let ask = async |pieces, pause: u64| {
        let (url, task) = drip(pieces, Duration::from_millis(pause)).await;
        let clock = Clock::hasty();
        let client = client(&url, &[("httpTimeoutSeconds", "1")], &clock);
        let ctx = context(Arc::new(clock));
        let outcome =
            client.send::<Json>(&ctx, &request(Repeat::IfItDidNotRun)).await.map(|reply| reply.body);
        task.abort();
        outcome
    };
    // The slow answer takes longer than a second in all, but is never silent for one.
    let (slow, silent) = tokio::join!(ask(4, 400), ask(1, 30_000));
    assert_eq!(slow.unwrap(), json!([1, 2, 33]));
    let error = silent.unwrap_err();
    assert!(error.to_string().contains("got no complete answer: timed out"), "{error}");
    assert!(!error.did_not_run());
}

#[tokio::test]
async fn private_networks_and_login_pages_are_explained() {
    let refused = "/login.html?error=private-link-validation-error:123";
    let elsewhere = format!("https://adb-1.2.azuredatabricks.net{refused}");
    for (location, cloud, says) in [
        (refused, "AWS", "has AWS PrivateLink enabled and is not accessible from the current network"),
        (refused, "Azure", "has access to the Azure Private Link endpoint. See https://learn.microsoft.com/"),
        (refused, "GCP", "Private Service Connect is properly configured"),
        (elsewhere.as_str(), "Azure", "has Azure Private Link enabled"),
        ("/login.html?next_url=/x", "AWS", "redirected to a login page"),
        ("/login?next_url=%2Fapi", "AWS", "set databricks:host to the workspace's own URL"),
        (
            "https://b.example/x?token=1",
            "AWS",
            "redirected to \"https://b.example/x\", which is not followed",
        ),
    ] {
        let answer = Answer::status(302).with_header("Location", location);
        let (outcome, seen, _) = ask(Repeat::Always, &[("cloud", cloud)], vec![answer]).await;
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(says) && error.did_not_run(), "{error}");
        assert_eq!(seen.len(), 1, "nothing is followed");
    }
}

#[tokio::test]
async fn every_attempt_can_be_found_in_logs() {
    let (_, seen, _) = ask(Repeat::Always, &[], vec![Answer::status(429), Answer::json("{}")]).await;
    let ids: Vec<_> = seen.iter().map(|seen| seen.header("traceparent")).collect();
    for id in &ids {
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert!(parts == [2, 32, 16, 2] && id.starts_with("00-") && id.ends_with("-01"), "{id}");
    }
    assert!(ids.len() == 2 && ids[0] != ids[1]);
    assert!(seen[0].header("user-agent").ends_with(" resource/token auth/pat"));
}

#[test]
fn a_workspace_on_azure_has_a_resource_id() {
    let workspace = |json: Json| serde_json::from_value::<WorkspaceReply>(json).unwrap().resource_id();
    let azure = json!({ "subscription_id": "s", "resource_group": "g" });
    assert_eq!(
        workspace(json!({ "deployment_name": "d", "workspace_name": "w", "azure_workspace_info": azure }))
            .unwrap(),
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w"
    );
    assert_eq!(workspace(json!({ "deployment_name": "d" })), None);
}

/// No answer can fill the memory.
#[tokio::test]
async fn an_answer_is_read_up_to_a_bound() {
    let text = |length: usize| Answer::json(format!("\"{}\"", "x".repeat(length - 2)));
    let (outcome, ..) = ask(Repeat::IfItDidNotRun, &[], vec![text(LONGEST_BODY)]).await;
    assert!(outcome.is_ok());
    let (outcome, seen, _) = ask(Repeat::IfItDidNotRun, &[], vec![text(LONGEST_BODY + 1)]).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("POST /api/2.0/x to http://127.0.0.1:"), "{text}");
    assert!(text.ends_with("the answer is longer than 16 MiB"), "{text}");
    assert_eq!(seen.len(), 1);
}

/// A server may echo the credentials of the request in any part of its error.
#[tokio::test]
async fn an_error_repeats_no_credential() {
    let token = "pat-of-somebody";
    let details = json!([{ "@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": token }]);
    let body = json!({ "error_code": token, "message": token, "details": details });
    let answer = Answer { body: body.to_string().into(), ..Answer::status(400) };
    let (outcome, ..) = ask(Repeat::Always, &[("token", token)], vec![answer]).await;
    let error = outcome.unwrap_err().to_string();
    assert_eq!(error, "*** (400 *** from POST /api/2.0/x, request id ***)");
}

/// An error says each of its causes once, from the outermost on.
#[tokio::test]
async fn a_failed_connection_is_explained_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let clock = Clock::hasty();
    let client = client(&format!("http://{gone}"), &[("retryTimeoutSeconds", "1")], &clock);
    let sent = client.send::<Json>(&context(Arc::new(clock.clone())), &request(Repeat::IfItDidNotRun)).await;
    let error = sent.map(|reply| reply.body).unwrap_err();
    let Error::Unreachable { reason, .. } = &error else { panic!("{error:?}") };
    let causes: Vec<_> = reason.split(": ").collect();
    assert!(causes.len() > 1 && causes.iter().all(|cause| !cause.is_empty()), "{reason}");
    assert!(causes.iter().enumerate().all(|(at, cause)| !causes[..at].contains(cause)), "{reason}");
}
