//! Command-line tools that hand out tokens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::env::Env;
use crate::redact::Redactor;
use crate::settings::Settings;

/// How long a tool may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest output that is read, in bytes; a token is a few thousand.
const LONGEST_OUTPUT: u64 = 1 << 20;
/// Longest part of a complaint that an error quotes, in characters.
const LONGEST_COMPLAINT: usize = 400;

/// Why a tool gave no answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// What it wrote to stderr: on one line, shortened, and without anything that looks like a token.
    pub(super) stderr: String,
    /// How it ended, such as `exit status 1`.
    pub(super) end: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.stderr.is_empty() {
            write!(f, "{}: ", self.stderr)?;
        }
        f.write_str(&self.end)
    }
}

/// The files of this name in the folders of the PATH, in the order of the PATH.
pub(super) fn on_path(env: &Env, name: &str) -> Vec<PathBuf> {
    // Windows calls the variable `Path`.
    let is_path = |name: &str| if cfg!(windows) { name.eq_ignore_ascii_case("PATH") } else { name == "PATH" };
    let folders = env.vars.iter().find(|(name, _)| is_path(name)).map_or("", |(_, value)| value);
    std::env::split_paths(folders)
        // With a relative folder, whoever wrote the folder that the process runs in would choose the tool.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file())
        .collect()
}

/// Runs a tool in the injected environment and returns what it wrote to stdout.
pub(super) async fn run(
    settings: &Settings,
    program: &Path,
    args: &[&str],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failure = |end: String| Failure { stderr: String::new(), end };
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(&settings.env.vars)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let (Some(home), false) = (&settings.env.home, settings.env.vars.contains_key("HOME")) {
        command.env("HOME", home);
    }
    let mut child = command
        .spawn()
        .map_err(|error| failure(format!("{} could not be started: {error}", program.display())))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let finished = async { tokio::join!(read(stdout), read(stderr), child.wait()) };
    let (stdout, stderr, status) = tokio::select! {
        finished = finished => finished,
        () = settings.clock.sleep(COMMAND_TIMEOUT) => {
            let end = format!("{} did not end within {} s", program.display(), COMMAND_TIMEOUT.as_secs());
            return Err(failure(end));
        }
    };
    let end = match status {
        Ok(status) if status.success() => return Ok(stdout),
        Ok(status) => {
            status.code().map_or("ended by a signal".to_owned(), |code| format!("exit status {code}"))
        }
        Err(error) => error.to_string(),
    };
    Err(Failure {
        stderr: complaint(&String::from_utf8_lossy(&stderr), &Redactor::of(&settings.config)),
        end,
    })
}

/// Reads to the end or to the limit. A tool that goes on writing finds the pipe closed.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 << 10));
    if let Some(pipe) = pipe {
        // An output that cannot be read to its end is judged by the part that was read.
        let _ = pipe.take(LONGEST_OUTPUT).read_to_end(&mut bytes).await;
    }
    bytes
}

/// What a tool wrote to stderr, made fit to be quoted.
fn complaint(stderr: &str, redactor: &Redactor) -> String {
    let lines: Vec<_> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Tokens are hidden before the text is shortened, since a part of a token is not recognized as one.
    let text = redactor.hide(&lines.join("; "), &[]);
    match text.char_indices().nth(LONGEST_COMPLAINT) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::strategies::testing::{self, Clock, Tools};

    #[tokio::test]
    async fn a_tool_gets_the_injected_environment_and_no_input() {
        let tools = Tools::new();
        let tool = tools.add("tool", "cat; echo \"$HOME|$MARK|$1\"; env | wc -l", 0);
        let mut env = tools.env();
        env.vars.insert("MARK".into(), "injected".into());
        env.home = Some("/nowhere".into());
        let settings = testing::settings(&[], env, Clock::still()).await;
        let output = run(&settings, &tool, &["argument"]).await.unwrap();
        let output = String::from_utf8_lossy(&output);
        let mut lines = output.lines();
        assert_eq!(lines.next(), Some("/nowhere|injected|argument"));
        // PATH, MARK, HOME and the few that a shell adds.
        assert!(
            lines.next().is_some_and(|count| count.trim().parse::<u32>().is_ok_and(|n| n < 10)),
            "{output}"
        );
    }

    #[tokio::test]
    async fn a_tool_that_hangs_is_given_up() {
        let tools = Tools::new();
        let tool = tools.add("tool", "sleep 600", 0);
        let clock = Clock::still();
        let settings = testing::settings(&[], tools.env(), clock.clone()).await;
        let running = tokio::spawn(async move { run(&settings, &tool, &[]).await });
        clock.until_asleep(1).await;
        clock.advance(COMMAND_TIMEOUT);
        let failure = running.await.unwrap().unwrap_err();
        assert!(failure.to_string().ends_with("did not end within 60 s"), "{failure}");
    }

    #[tokio::test]
    async fn a_tool_that_writes_without_end_is_cut_off() {
        let tools = Tools::new();
        let tool = tools.add("tool", "exec yes", 0);
        let settings = testing::settings(&[], tools.env(), Clock::still()).await;
        let failure = run(&settings, &tool, &[]).await.unwrap_err();
        assert!(["ended by a signal", "exit status 1"].contains(&failure.end.as_str()), "{failure}");
    }

    #[test]
    fn a_complaint_is_short_and_holds_no_token() {
        let mask = Redactor::of(&Config::default());
        let said = complaint("Error: no login\n\n  but eyJhbGciOiJSUzI1NiJ9.e30.c2ln is one\n", &mask);
        assert_eq!(said, "Error: no login; but *** is one");
        let long = complaint(&"word ".repeat(1000), &mask);
        assert_eq!(long.chars().count(), LONGEST_COMPLAINT + 3);
    }
}
