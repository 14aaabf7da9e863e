//! The process of the official plugin, which must not outlive this one. It does not end when its stdin does, so the
//! operating system or a process of ours has to see to it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

/// The first argument with which this program starts itself to become, or to watch over, the official plugin.
pub const OFFICIAL: &str = "official-plugin";

/// Becomes the official plugin, or watches over it. The arguments follow [`OFFICIAL`]: the id of the process that must
/// not be outlived, the plugin's path, and the plugin's own arguments.
pub fn run_official(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = args.next().and_then(|id| id.to_str()?.parse().ok());
    let (Some(parent), Some(path)) = (parent, args.next()) else {
        let _ = writeln!(io::stderr(), "this way of starting the plugin is for the plugin itself");
        return ExitCode::FAILURE;
    };
    let mut command = Command::new(&path);
    command.args(args);
    match run(command, parent) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot start {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// Linux kills the plugin with its parent.
#[cfg(target_os = "linux")]
fn run(mut command: Command, parent: i32) -> io::Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the line above.
    if getppid() != Pid::from_raw(parent) {
        return Ok(ExitCode::FAILURE);
    }
    Err(command.exec())
}

/// Elsewhere this process stays, and kills the plugin when its own stdin ends.
#[cfg(not(target_os = "linux"))]
fn run(command: Command, _: i32) -> io::Result<ExitCode> {
    let code = watch(command, io::stdin())?.code();
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs a command until it ends, or until `stdin` does.
#[cfg(any(not(target_os = "linux"), test))]
fn watch(
    mut command: Command,
    mut stdin: impl io::Read + Send + 'static,
) -> io::Result<std::process::ExitStatus> {
    use std::process::Stdio;
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    // Its stdin stays open as long as this variable lives.
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let (gone, wait) = channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut stdin, &mut io::sink());
        drop(gone);
    });
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if wait.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Disconnected) {
            child.kill()?;
            return child.wait();
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_is_watched_ends_with_stdin() {
        let mut sleeping = Command::new("sleep");
        sleeping.arg("600");
        assert_eq!(watch(sleeping, io::empty()).unwrap().code(), None, "killed");
        let (stdin, _open) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut ending = Command::new("sh");
        ending.args(["-c", "exit 3"]);
        assert_eq!(watch(ending, stdin).unwrap().code(), Some(3));
    }

    #[test]
    fn nothing_is_started_without_arguments() {
        assert_eq!(run_official(std::iter::empty()), ExitCode::FAILURE);
    }
}
