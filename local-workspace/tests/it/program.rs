//! The program: what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use serde_json::json;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_databricks-local-workspace"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A started program that doesn't outlive the test, and the lines that it printed.
struct Started {
    child: Child,
    lines: Vec<(String, String)>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Started {
    fn new(arguments: &[&str], lines: usize) -> Self {
        let mut child = program(arguments).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut read = || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let (name, value) = line.trim_end().split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let lines = (0..lines).map(|_| read()).collect();
        Self { child, lines, stdout }
    }

    /// Waits for the end and returns what else was printed.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

#[tokio::test]
async fn it_prints_what_a_client_needs_and_ends_with_stdin() {
    let mut started = Started::new(
        &[
            "--exit-on-stdin-eof",
            "--service-principal",
            "--client-secret",
            "s",
            "--workspace-id",
            "77",
            "--quota=1",
        ],
        4,
    );
    let names: Vec<&str> = started.lines.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"]
    );
    let host = started.lines[0].1.clone();
    assert!(host.starts_with("http://127.0.0.1:"), "{host}");
    let token = started.lines[1].1.clone();
    assert!(token.starts_with("dapi") && token.len() == 36);
    assert_eq!(started.lines[3].1, "s");
    let client = crate::client_builder().no_proxy().build().unwrap();
    let create =
        || client.post(format!("{host}/api/2.0/token/create")).bearer_auth(&token).json(&json!({})).send();
    let response = create().await.unwrap();
    assert_eq!(response.headers()["x-databricks-org-id"], "77");
    assert_eq!(create().await.unwrap().status(), 400);
    drop(started.child.stdin.take());
    assert_eq!(started.end(), (Some(0), String::new()));
}

#[test]
fn a_given_token_is_used_and_nothing_about_a_service_principal_is_said() {
    let mut started = Started::new(&["--token", "dapi-mine", "--exit-on-stdin-eof"], 2);
    assert_eq!(started.lines[1], ("DATABRICKS_TOKEN".to_owned(), "dapi-mine".to_owned()));
    drop(started.child.stdin.take());
    assert_eq!(started.end(), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn signals_end_it_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let started = Started::new(&[], 2);
        let killed = Command::new("kill").args([signal, &started.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(started.end(), (Some(0), String::new()), "{signal}");
    }
}

#[test]
fn wrong_arguments_and_a_taken_port_are_explained() {
    let output = run(&["--quota", "many"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("many") && message.contains("--help"), "{message}");

    let output = run(&["--port", "99999"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains(r#"--port "99999": expected a number from 0 to 65535"#), "{message}");

    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["--port", &port]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(
        help.contains("--exit-on-stdin-eof") && help.contains(databricks_local_workspace::DEFAULT_CLIENT_ID)
    );
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(version.trim_end(), format!("databricks-local-workspace {}", env!("CARGO_PKG_VERSION")));
}

/// What the program writes to stdout and to stderr, if its stdin ends at once.
fn told(arguments: &[&str]) -> (String, String) {
    let output = program(arguments).arg("--exit-on-stdin-eof").stdin(Stdio::null()).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn export_lines_are_for_one_way_to_sign_in_and_for_a_shell() {
    let exported = |stdout: &str| -> Vec<String> {
        let name = |line: &str| line.strip_prefix("export ").unwrap().split_once('=').unwrap().0.to_owned();
        stdout.lines().map(name).collect()
    };
    let (stdout, stderr) = told(&["--export"]);
    assert_eq!(exported(&stdout), ["DATABRICKS_HOST", "DATABRICKS_TOKEN"]);
    assert!(!stderr.contains("dapi"), "{stderr}");
    let (stdout, stderr) = told(&["--export", "--client-secret", "it's $HOME"]);
    assert_eq!(exported(&stdout), ["DATABRICKS_HOST", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"]);
    assert!(stdout.contains(r"export DATABRICKS_CLIENT_SECRET='it'\''s $HOME'"), "{stdout}");
    assert!(stderr.contains("DATABRICKS_TOKEN=dapi"), "{stderr}");
}

#[test]
fn export_lines_come_with_the_page_and_a_walk() {
    let (stdout, stderr) = told(&["--export"]);
    let host = stdout.lines().next().unwrap().split_once('=').unwrap().1;
    assert!(stderr.contains(&format!("In a browser: {host}/\n")), "{stderr}");
    assert_eq!(stderr.matches("\npulumi up --yes\n").count(), 2, "{stderr}");
    // For programs, nothing goes to stderr.
    assert_eq!(told(&[]).1, "");
}

#[test]
fn a_certificate_lies_where_it_is_said_and_goes_with_the_program() {
    let mut started = Started::new(&["--tls", "--exit-on-stdin-eof"], 4);
    assert!(started.lines[0].1.starts_with("https://127.0.0.1:"));
    let (name, path) = started.lines[2].clone();
    assert_eq!(
        (name.as_str(), &started.lines[3]),
        ("SSL_CERT_FILE", &("REQUESTS_CA_BUNDLE".to_owned(), path.clone()))
    );
    let pem = std::fs::read_to_string(&path).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n") && !pem.contains("PRIVATE"), "{pem}");
    drop(started.child.stdin.take());
    assert_eq!(started.end(), (Some(0), String::new()));
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn a_certificate_may_lie_elsewhere_and_stay() {
    let folder = std::env::temp_dir().join(format!("certificate-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("own.pem");
    let mut started = Started::new(&["--tls-certificate", path.to_str().unwrap(), "--exit-on-stdin-eof"], 4);
    assert!(started.lines[0].1.starts_with("https://"));
    assert_eq!(started.lines[2].1, path.to_str().unwrap());
    drop(started.child.stdin.take());
    assert_eq!(started.end(), (Some(0), String::new()));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    std::fs::remove_dir_all(&folder).unwrap();
    let message = String::from_utf8(run(&["--tls-certificate", path.to_str().unwrap()]).stderr).unwrap();
    assert!(message.contains("cannot write the certificate") && message.contains("own.pem"), "{message}");
}

#[tokio::test]
async fn options_that_change_who_and_when() {
    let system = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let mut started = Started::new(
        &[
            "--exit-on-stdin-eof",
            "--verbose",
            "--user=boss@example.com",
            "--password=pass",
            "--client-id=cid",
            "--client-secret=s",
            "--account-id=acc",
            "--clock-offset-ms=86400000",
            "--host-name=workspace.test",
            "--max-token-lifetime-days=0",
        ],
        4,
    );
    let host = started.lines[0].1.clone();
    let client = crate::client_builder().no_proxy().build().unwrap();
    let json = async |request: reqwest::RequestBuilder| -> serde_json::Value {
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    };
    let me = client.get(format!("{host}/api/2.0/preview/scim/v2/Me"));
    assert_eq!(json(me.basic_auth("boss@example.com", Some("pass"))).await["userName"], "boss@example.com");
    let form = "grant_type=client_credentials&client_id=cid&client_secret=s";
    assert!(json(client.post(format!("{host}/oidc/v1/token")).body(form)).await["access_token"].is_string());
    let create = client.post(format!("{host}/api/2.0/token/create")).bearer_auth(&started.lines[1].1);
    assert_eq!(json(create).await["token_info"]["expiry_time"], -1);

    let state = || client.get(format!("{host}/local/control/state"));
    let told = json(state().header("Host", "workspace.test")).await;
    assert_eq!(told["account_id"], "acc");
    assert!(u128::from(told["now_ms"].as_u64().unwrap()) >= system + 86_400_000, "{told}");
    assert_eq!(json(state().header("Host", "elsewhere.test")).await["error_code"], "PERMISSION_DENIED");

    let fault = json!({"action": {"drop": "before"}}).to_string();
    json(client.post(format!("{host}/local/control/faults")).body(fault)).await;
    client.get(format!("{host}/api/2.0/token/list")).send().await.unwrap_err();

    let mut lines = BufReader::new(started.child.stderr.take().unwrap());
    let mut stderr = String::new();
    // The client knows that its request was dropped before the line about it is written.
    while !stderr.ends_with("GET /api/2.0/token/list -> no answer\n") {
        assert_ne!(lines.read_line(&mut stderr).unwrap(), 0, "{stderr}");
    }
    drop(started.child.stdin.take());
    lines.read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("GET /api/2.0/preview/scim/v2/Me -> 200\n"), "{stderr}");
    assert!(!stderr.contains("dapi") && !stderr.contains("client_secret"), "{stderr}");
    assert_eq!(started.end().0, Some(0));
}

#[test]
fn a_seed_that_cannot_be_used_is_explained() {
    let path = std::env::temp_dir().join(format!("seed-{}.json", std::process::id()));
    for (text, why) in [(r#"{"userz": []}"#, "unknown field `userz`"), ("{", "is not JSON")] {
        std::fs::write(&path, text).unwrap();
        let output = run(&["--seed", path.to_str().unwrap()]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && message.contains(why), "{message}");
    }
    std::fs::remove_file(&path).unwrap();
    let message = String::from_utf8(run(&["--seed", path.to_str().unwrap()]).stderr).unwrap();
    assert!(message.contains("cannot read") && message.contains(path.to_str().unwrap()), "{message}");
}
