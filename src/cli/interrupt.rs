//! Ctrl-C: the first asks a command to stop at its next opportunity, the second ends the program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::INTERRUPTED;
use super::options::note;

/// Whether the user has asked to stop.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to listen to Ctrl-C and to the other signals that ask a program to end, except for those that it was
    /// started to ignore, for instance by `nohup`.
    pub fn listen() -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let handler = asked.clone();
        let installed = call_at_signals(move || {
            if handler.swap(true, Ordering::SeqCst) {
                std::process::exit(INTERRUPTED.into());
            }
            note("");
            note("stopping after the steps under way; Ctrl-C again ends at once");
        });
        if let Err(error) = installed {
            note(format_args!("warning: Ctrl-C will end the run without saving: {error}"));
        }
        Interrupt(asked)
    }

    /// Whether Ctrl-C was pressed.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Calls `handler` on a thread of its own at every signal that asks the program to end.
#[cfg(unix)]
fn call_at_signals(handler: impl Fn() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = Signals::new(heeded)?;
    let listen = move || signals.forever().for_each(|_| handler());
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
}

#[cfg(not(unix))]
fn call_at_signals(handler: impl Fn() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(handler).map_err(io::Error::other)
}

/// Whether the program was started with this signal ignored.
#[cfg(unix)]
fn is_ignored(signal: std::ffi::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the current one, to memory of the right type, for which all
    // zero bytes are valid.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}
