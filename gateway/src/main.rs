//! The binary `orthrus`.

use std::process::ExitCode;

/// A sign-in lives for microseconds in a few dozen small boxes: the system's allocator took a fifth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::cli::main()
}
