//! Ctrl-C: the first asks a command to stop at its next opportunity, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::INTERRUPTED;
use super::options::note;

/// Whether the user has asked to stop.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let handler = asked.clone();
        let installed = ctrlc::set_handler(move || {
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
