//! The `spanwire` command on mimalloc, for `spanwire compare --allocator mimalloc`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    spanwire_bench::main()
}
