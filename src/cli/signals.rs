//! How a running command is asked to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::CliError;

/// Calls `stop` for Ctrl-C, and on Unix when the process is told to end or its terminal closes. A signal that whoever
/// started the process has set to be ignored, as `nohup` does with the one of a closing terminal, stays ignored.
///
/// Ctrl-C in a terminal reaches a process twice if the one that started it hands its own on: the second is an echo, and no second
/// wish.
pub(super) fn on_stop(mut stop: impl FnMut() + Send + 'static) -> Result<(), CliError> {
    const ECHO: Duration = Duration::from_millis(250);
    #[cfg(unix)]
    let ignored = ignored();
    let mut last: Option<Instant> = None;
    ctrlc::set_handler(move || {
        let is_echo = last.is_some_and(|last| last.elapsed() < ECHO);
        last = Some(Instant::now());
        if !is_echo {
            stop();
        }
    })?;
    #[cfg(unix)]
    for signal in ignored {
        // SAFETY: sets the action of a signal to one that runs no code.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    Ok(())
}

/// Whether a launcher has asked for a stop: with a signal of its own, because it answers to Ctrl-C by killing.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Lets [`was_asked`] know of the signal that a launcher hands on to all its processes.
pub(super) fn listen_to_launcher() {
    #[cfg(unix)]
    {
        extern "C" fn ask(_: libc::c_int) {
            ASKED.store(true, Ordering::SeqCst);
        }
        // SAFETY: the handler only stores a flag, which a signal may do at any time.
        unsafe {
            libc::signal(libc::SIGUSR1, ask as *const () as libc::sighandler_t);
        }
    }
}

/// Whether a launcher has asked for a stop since [`listen_to_launcher`].
pub(super) fn was_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Which of the signals that `ctrlc` handles the process ignores so far.
#[cfg(unix)]
fn ignored() -> Vec<libc::c_int> {
    let is_ignored = |signal: &libc::c_int| {
        // SAFETY: zeros are a valid `sigaction`; with no new action the call only reads the old one.
        let (asked, action) = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let asked = libc::sigaction(*signal, std::ptr::null(), &mut action);
            (asked, action)
        };
        asked == 0 && action.sa_sigaction == libc::SIG_IGN
    };
    let handled = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    handled.into_iter().filter(is_ignored).collect()
}
