//! Finds or builds the real components, so that no test waits for a compiler.

use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "a program for people")]
fn main() -> ExitCode {
    match kube_bind_e2e::toolchain::prepare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
