//! Scripted faults, as a client sees them.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{CREATE, LIST, Local, answer, assert_error};

/// Sends one request over a connection of its own and reads until the server closes or resets it.
async fn raw(local: &Local, method: &str, path: &str) -> (String, std::io::Result<()>) {
    let mut stream = TcpStream::connect(local.running.address()).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
        local.token()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let end = stream.read_to_end(&mut read).await.map(drop);
    (String::from_utf8(read).unwrap(), end)
}

async fn tokens(local: &Local) -> usize {
    local.state().await["tokens"].as_array().unwrap().len()
}

fn assert_reset(end: std::io::Result<()>) {
    assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_connection_is_reset_before_or_after_the_work() {
    let local = Local::start().await;
    local.control("/faults", json!([{"action": {"drop": "before"}}, {"action": {"drop": "after"}}])).await;
    let (read, end) = raw(&local, "POST", CREATE).await;
    assert_reset(end);
    assert_eq!((read.as_str(), tokens(&local).await), ("", 0));
    let (read, end) = raw(&local, "POST", CREATE).await;
    assert_reset(end);
    assert_eq!((read.as_str(), tokens(&local).await), ("", 1));
    let log = local.requests().await;
    assert_eq!((&log[0]["work_done"], &log[0]["status"]), (&json!(false), &Value::Null));
    assert_eq!((&log[1]["work_done"], &log[1]["status"]), (&json!(true), &Value::Null));
    assert_eq!(log[1]["fault"], json!({"drop": "after"}));
    // The script is used up.
    assert_eq!(local.get(LIST).await.0, 200);
}

#[tokio::test]
async fn a_reset_reaches_http2_clients_too() {
    let local = Local::start().await;
    local.control("/faults", json!({"match": {"path": LIST}, "action": {"drop": "before"}})).await;
    let client = crate::client_builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let list = || client.get(local.url(LIST)).bearer_auth(local.token()).send();
    list().await.unwrap_err();
    let response = list().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    assert_eq!(local.requests().await[1]["http_version"], "2");
}

#[tokio::test]
async fn half_a_body_then_the_end() {
    let local = Local::start().await;
    local.control("/faults", json!({"action": {"truncate_after_bytes": 9}})).await;
    let (read, end) = raw(&local, "POST", CREATE).await;
    end.unwrap();
    let (head, body) = read.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!((body.len(), tokens(&local).await), (9, 1));
    assert!(promised.parse::<usize>().unwrap() > 100, "{head}");
}

#[tokio::test]
async fn an_answer_in_place_of_the_work() {
    let local = Local::start().await;
    local
        .control(
            "/faults",
            json!([
                {"action": {"status": 429, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}},
                {"action": {"status": 503, "error_code": "TEMPORARILY_UNAVAILABLE", "message": "wait"}},
                {"action": {"status": 400, "error_code": 400}},
                {"action": {"status": 502, "html": true, "message": "Bad gateway"}},
                {"action": {"html": true}},
                {"action": {"status": 500, "body": "INTERNAL: oops", "headers": {"x-a": "b"}}},
                {"action": {"status": 400, "body": {"error": "old"}, "content_type": "text/plain"}},
            ]),
        )
        .await;
    let create = async || {
        let response = local.request(Method::POST, CREATE).bearer_auth(local.token()).send().await.unwrap();
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let heads =
            (response.status().as_u16(), header("content-type"), header("retry-after"), header("x-a"));
        (heads, response.text().await.unwrap())
    };
    let ((status, content_type, retry_after, _), body) = create().await;
    assert_eq!((status, content_type.as_str()), (429, "application/json"));
    assert_eq!(retry_after, "Wed, 21 Oct 2026 07:28:00 GMT");
    assert!(body.contains("REQUEST_LIMIT_EXCEEDED"), "{body}");
    assert_eq!(create().await.1, r#"{"error_code":"TEMPORARILY_UNAVAILABLE","message":"wait"}"#);
    assert!(create().await.1.contains(r#""error_code":400"#));
    let ((status, content_type, ..), body) = create().await;
    assert_eq!((status, content_type.as_str()), (502, "text/html; charset=utf-8"));
    assert!(body.contains("<pre>    Bad gateway</pre>"), "{body}");
    let ((status, ..), body) = create().await;
    assert!(status == 200 && body.starts_with('<'), "{body}");
    let ((status, _, _, x_a), body) = create().await;
    assert_eq!((status, x_a.as_str(), body.as_str()), (500, "b", "INTERNAL: oops"));
    let ((_, content_type, ..), body) = create().await;
    assert_eq!((content_type.as_str(), body.as_str()), ("text/plain", r#"{"error":"old"}"#));
    assert_eq!(tokens(&local).await, 0);
}

#[tokio::test]
async fn an_error_although_the_work_was_done() {
    let local = Local::start().await;
    local.control("/faults", json!({"action": {"status": 504, "work": true}})).await;
    assert_error(local.post(CREATE, json!({})).await, 504, "DEADLINE_EXCEEDED");
    assert_eq!(tokens(&local).await, 1);
    assert_eq!(local.requests().await[0]["work_done"], true);
}

/// Sends a create that must not be answered, and leaves it once the log shows it with this `work_done`.
async fn unanswered_create(local: &Local, work_done: bool) {
    local.request(Method::DELETE, "/local/control/requests").send().await.unwrap();
    let create = async {
        let response = local.request(Method::POST, CREATE).bearer_auth(local.token()).send().await?;
        response.text().await
    };
    let logged = async {
        loop {
            let log = local.requests().await;
            let found = log.first().is_some_and(|entry| entry["work_done"] == work_done);
            // Time for an answer that should not come.
            tokio::time::sleep(Duration::from_millis(30)).await;
            if found {
                return;
            }
        }
    };
    tokio::select! {
        answer = create => panic!("answered: {answer:?}"),
        () = logged => {}
    }
}

#[tokio::test]
async fn silence_with_and_without_the_work() {
    let local = Local::start().await;
    let script = json!([
        {"action": {"hang": true}},
        {"action": {"hang": true, "work": true}},
        {"action": {"hang": true, "truncate_after_bytes": 5}},
    ]);
    local.control("/faults", script).await;
    unanswered_create(&local, false).await;
    assert_eq!(tokens(&local).await, 0);
    unanswered_create(&local, true).await;
    assert_eq!(tokens(&local).await, 1);
    unanswered_create(&local, true).await;
    assert_eq!(tokens(&local).await, 2);
}

#[tokio::test]
async fn a_delay_comes_before_the_work_or_after_it() {
    let local = Local::start().await;
    let script = json!([
        {"action": {"delay_ms": 150}},
        {"action": {"delay_ms": 60_000}},
        {"action": {"delay_ms": 60_000, "work": true}},
    ]);
    local.control("/faults", script).await;
    let start = Instant::now();
    assert_eq!(local.post(CREATE, json!({})).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
    unanswered_create(&local, false).await;
    assert_eq!(tokens(&local).await, 1);
    unanswered_create(&local, true).await;
    assert_eq!(tokens(&local).await, 2);
}

/// Sends a create over a connection of its own, and closes that once the request is in the log.
async fn create_and_leave(local: &Local) {
    let before = local.requests().await.len();
    let mut stream = TcpStream::connect(local.running.address()).await.unwrap();
    let request = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
        local.token()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    while local.requests().await.len() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn detached_work_is_done_although_the_client_has_left() {
    let local = Local::start().await;
    let script = json!([{"action": {"delay_ms": 200}}, {"action": {"delay_ms": 200, "detached": true}}]);
    local.control("/faults", script).await;
    create_and_leave(&local).await;
    create_and_leave(&local).await;
    while local.requests().await[1]["work_done"] == false {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The first request was due before the second, and was never carried out.
    let log = local.requests().await;
    assert_eq!((&log[0]["work_done"], &log[0]["status"]), (&json!(false), &Value::Null));
    assert_eq!((&log[1]["status"], tokens(&local).await), (&Value::Null, 1));
}

#[tokio::test]
async fn detached_work_is_answered_to_a_client_that_stays() {
    let local = Local::start().await;
    local.control("/faults", json!({"action": {"delay_ms": 20, "detached": true}})).await;
    assert_eq!(local.post(CREATE, json!({})).await.0, 200);
    assert_eq!((tokens(&local).await, &local.requests().await[0]["status"]), (1, &json!(200)));
}

#[tokio::test]
async fn faults_hit_the_requests_that_they_name() {
    let local = Local::start().await;
    local
        .control(
            "/faults",
            json!([
                {"match": {"method": "post", "path": "token/create", "nth": 2, "times": 2}, "action": {"status": 500}},
                {"match": {"path": "token/list", "times": 0}, "action": {"status": 501}},
            ]),
        )
        .await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        assert_eq!(local.get(LIST).await.0, 501);
        statuses.push(local.post(CREATE, json!({})).await.0);
    }
    assert_eq!(statuses, [200, 500, 500, 200, 200]);
    let (_, faults) = answer(local.request(Method::GET, "/local/control/faults")).await;
    assert_eq!((&faults[0]["matched"], &faults[0]["hit"]), (&json!(5), &json!(2)));
    answer(local.request(Method::DELETE, "/local/control/faults")).await;
    assert_eq!(local.get(LIST).await.0, 200);
}

#[tokio::test]
async fn chance_repeats_with_its_seed() {
    let local = Local::start().await;
    let run = async |seed: u64| {
        answer(local.request(Method::DELETE, "/local/control/faults")).await;
        let fault =
            json!({"match": {"probability": 0.5, "seed": seed, "times": 0}, "action": {"status": 503}});
        local.control("/faults", fault).await;
        let mut hits = Vec::new();
        for _ in 0..32 {
            hits.push(local.get(LIST).await.0 == 503);
        }
        hits
    };
    let first = run(7).await;
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(run(7).await, first);
    assert_ne!(run(8).await, first);
}

#[tokio::test]
async fn a_script_that_cannot_be_carried_out_is_refused_as_a_whole() {
    let local = Local::start().await;
    let good = json!({"action": {"status": 500}});
    for bad in [
        json!({"action": {}}),
        json!({"action": {"stauts": 500}}),
        json!({"action": {"status": 99}}),
        json!({"action": {"status": 200, "retry_after": "a\nb"}}),
        json!({"action": {"drop": "during"}}),
        json!({"action": {"hang": true}, "match": {"probability": 2.0}}),
    ] {
        let request = local.request(Method::POST, "/local/control/faults").json(&json!([good, bad]));
        assert_error(answer(request).await, 400, "INVALID_PARAMETER_VALUE");
    }
    assert_eq!(local.get(LIST).await.0, 200);
}

#[tokio::test]
async fn every_path_can_fail_but_the_control_api() {
    let local = Local::start().await;
    local.control("/faults", json!({"match": {"times": 0}, "action": {"status": 500}})).await;
    for path in ["/.well-known/databricks-config", "/oidc/.well-known/oauth-authorization-server", "/nowhere"]
    {
        assert_eq!(local.get(path).await.0, 500, "{path}");
    }
    assert!(local.state().await["now_ms"].is_i64());
}
