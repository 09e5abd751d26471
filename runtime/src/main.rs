//! The `syncline` binary: arguments in, one exit code out. Everything else is in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
