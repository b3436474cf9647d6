//! The `spanwire` command with a count of allocations, for `spanwire compare pipe`. Naming the crate
//! is what makes its allocator the program's.

fn main() -> std::process::ExitCode {
    spanwire_bench::main_counting(|work| allocation_counter::measure(work).count_total)
}
