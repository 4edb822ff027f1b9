//! `everup`.

fn main() -> std::process::ExitCode {
    everup_cli::main()
}
