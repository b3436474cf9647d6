//! The `spanwire` command.

fn main() -> std::process::ExitCode {
    spanwire_bench::main()
}
