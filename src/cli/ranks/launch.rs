//! `--ranks`: starts the program again under `mpirun`, and says what became of it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::progress::{MARK, VARIABLE};
use crate::cli::CliError;
use crate::cli::output::{say, say_error};
use crate::cli::signals::on_stop;

/// Starts so many ranks of this very command, and waits for their end.
pub(super) fn run(count: usize) -> Result<ExitCode, CliError> {
    let program = std::env::current_exe()?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let kind = Mpi::installed()?;
    if kind == Mpi::Open {
        refuse_root()?;
    }
    let mut command = Command::new("mpirun");
    command
        .args(kind.options(count))
        .arg(program)
        .args(arguments);
    for (name, value) in kind.settings() {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let bar = match std::io::stderr().is_terminal() {
        true => {
            command.env(VARIABLE, "1");
            let style = ProgressStyle::with_template("{wide_msg}")?;
            ProgressBar::new_spinner().with_style(style)
        }
        false => ProgressBar::hidden(),
    };
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    apart(&mut command);
    let mut child = command.spawn().map_err(|e| format!("mpirun: {e}"))?;
    forward_stop(&child)?;
    let said = child.stdout.take().map(|stdout| {
        let bar = bar.clone();
        std::thread::spawn(move || hand_on(stdout, &bar))
    });
    let told = follow(&mut child, &bar);
    if let Some(thread) = said {
        // It only hands on lines.
        let _ = thread.join();
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    match told {
        Some(lost) => Err(format!(
            "{lost}, and the run ended with it. Nothing is lost but what was learned since the last checkpoint: go on with \
             gtc train --resume RUN --ranks N, with as many ranks as you like"
        )
        .into()),
        // The rank itself has said why.
        None => Ok(ExitCode::from(2)),
    }
}

/// Which `mpirun` there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mpi {
    Open,
    Other,
}

impl Mpi {
    fn installed() -> Result<Self, CliError> {
        let output = Command::new("mpirun").arg("--version").output();
        let output = output.map_err(|e| {
            format!(
                "--ranks needs mpirun, which could not be started: {e}. On Debian or Ubuntu: apt-get install openmpi-bin"
            )
        })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(match text.contains("Open MPI") {
            true => Self::Open,
            false => Self::Other,
        })
    }

    fn options(self, count: usize) -> Vec<String> {
        let mut options = vec!["-n".to_owned(), count.to_string()];
        if self == Self::Open {
            // A rank has several threads, and a device is not a core.
            options.extend(["--oversubscribe", "--bind-to", "none"].map(str::to_owned));
        }
        options
    }

    /// Settings that the user's own go before.
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // Containers do not let a process read another's memory, and then every message would be preceded by complaints.
            Self::Open => &[("OMPI_MCA_btl_vader_single_copy_mechanism", "none")],
            Self::Other => &[],
        }
    }
}

/// Open MPI runs nothing for root unless it is told twice to.
fn refuse_root() -> Result<(), CliError> {
    const LET: [&str; 2] = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"];
    #[cfg(unix)]
    // SAFETY: a question without arguments.
    let is_root = unsafe { libc::geteuid() } == 0;
    #[cfg(not(unix))]
    let is_root = false;
    let lets = LET.iter().all(|name| std::env::var_os(name).is_some());
    match is_root && !lets {
        false => Ok(()),
        true => Err(format!(
            "mpirun does not run as root, because a mistake can then damage the system. Use another account, or, in a container \
             where nothing can be damaged, set {}=1 and {}=1",
            LET[0], LET[1]
        )
        .into()),
    }
}

/// Keeps Ctrl-C from `mpirun`, which would kill its processes before they have saved; and ends it with this process.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec only a system call without memory is made.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
}

#[cfg(not(unix))]
fn apart(_: &mut Command) {}

/// Asks all ranks to save and stop when this process is asked to; the second time it ends them.
#[cfg(unix)]
fn forward_stop(child: &Child) -> Result<(), CliError> {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let mpirun = child.id() as libc::pid_t;
    on_stop(move || {
        let signal = match ASKED.swap(true, Ordering::SeqCst) {
            // It hands this one on to all processes, and goes on itself.
            false => libc::SIGUSR1,
            true => libc::SIGTERM,
        };
        // SAFETY: a system call on a child that has not been waited for: this process ends with it.
        unsafe {
            libc::kill(mpirun, signal);
        }
    })
}

#[cfg(not(unix))]
fn forward_stop(_: &Child) -> Result<(), CliError> {
    Ok(())
}

/// Hands on what ranks say on standard output.
fn hand_on(stdout: impl Read, bar: &ProgressBar) {
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        bar.suspend(|| say!("{}", String::from_utf8_lossy(&line)));
    }
}

/// Hands on what ranks and `mpirun` say on standard error, but for what the latter says of ranks that ended and of signals that it
/// hands on; draws their progress; returns which one was lost, in words.
fn follow(child: &mut Child, bar: &ProgressBar) -> Option<String> {
    let stderr = child.stderr.take()?;
    let say = |text: &str| bar.suspend(|| say_error!("{text}"));
    let mut lost = None;
    let mut block: Option<Vec<String>> = None;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let is_rule = line.len() > 70 && line.bytes().all(|b| b == b'-');
        if let Some(text) = line.strip_prefix(MARK) {
            bar.set_message(text.to_owned());
            bar.tick();
            continue;
        }
        match (&mut block, is_rule) {
            (None, true) => block = Some(Vec::new()),
            (None, false) if line.starts_with("mpirun: Forwarding signal") => {}
            (None, false) => say(&line),
            (Some(lines), false) => lines.push(line),
            (Some(lines), true) => {
                let text = lines.join(" ");
                lost = lost.or_else(|| lost_rank(&text));
                if !is_about_the_end(&text) {
                    say(&lines.join("\n"));
                }
                block = None;
            }
        }
    }
    bar.finish_and_clear();
    if let Some(lines) = block {
        say(&lines.join("\n"));
    }
    lost
}

/// What `mpirun` says when a rank ends, which this program says in its own words.
fn is_about_the_end(text: &str) -> bool {
    [
        "mpirun noticed that process rank",
        "mpirun detected that one or more processes exited",
        "Primary job  terminated normally",
        "MPI_ABORT was invoked on rank",
    ]
    .iter()
    .any(|known| text.contains(known))
}

/// "rank 1 (on the machine node7) was ended by signal 9 (Killed)"
fn lost_rank(text: &str) -> Option<String> {
    let rest = text.split_once("noticed that process rank ")?.1;
    let rank = rest.split_whitespace().next()?;
    let node = rest
        .split_once("on node ")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    let signal = rest.split_once("exited on ").map(|(_, rest)| rest.trim());
    let on = node.map_or(String::new(), |node| format!(" on {node}"));
    let by = signal.map_or("is gone".to_owned(), |signal| {
        format!("was ended by {}", signal.trim_end_matches('.'))
    });
    Some(format!("rank {rank}{on} {by}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_rank_is_named() {
        let text = "mpirun noticed that process rank 1 with PID 0 on node ada exited on signal 9 (Killed).";
        assert!(is_about_the_end(text));
        let found = lost_rank(text);
        assert_eq!(
            found.as_deref(),
            Some("rank 1 on ada was ended by signal 9 (Killed)")
        );
        assert_eq!(lost_rank("There are not enough slots available"), None);
    }
}
