//! A minder and nothing else, for this crate's own tests; `everup minder` is the same function.

use std::process::ExitCode;

fn main() -> ExitCode {
    everup_host::minder::main(std::env::args_os().skip(1))
}
