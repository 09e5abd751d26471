//! The `syncline` binary: arguments in, one exit code out. Everything else is in `cli`.

mod cli;

/// Each event makes some dozens of small allocations on one thread and frees many on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
