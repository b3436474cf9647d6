//! Counting system calls, where there is strace.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

/// The calls of a program with all its threads: (name, calls), as `strace -c` has them.
pub(super) type Calls = Vec<(String, u64)>;

/// Runs `program` under strace to its end.
///
/// # Errors
///
/// When there is no strace, it may not trace, or the program fails; the text tells.
pub(super) fn count(program: &Path, arguments: &[String]) -> Result<Calls, String> {
    let summary = Summary::new();
    let output = Command::new("strace")
        .args(["--follow-forks", "--summary-only", "--output"])
        .arg(&summary.0)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "there is no strace here".to_owned(),
            _ => format!("cannot start strace: {error}"),
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("strace: {}", text.trim()));
    }
    let text = fs::read_to_string(&summary.0)
        .map_err(|error| format!("cannot read {}: {error}", summary.0.display()))?;
    Ok(parse(&text))
}

/// How many calls of that name; of all, when it is `total`.
pub(super) fn of(calls: &Calls, name: &str) -> u64 {
    let named = calls.iter().filter(|(call, _)| call == name || name == "total");
    named.map(|(_, count)| count).sum()
}

/// Lines such as ` 50.00    0.000010           5         2         1 futex`: a share of the time in
/// percent, seconds, microseconds a call, calls, errors if there were any, the name.
fn parse(summary: &str) -> Calls {
    let call = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, count) = (words.last()?, words.get(3)?.parse().ok()?);
        (*name != "total").then(|| ((*name).to_owned(), count))
    };
    summary.lines().filter_map(call).collect()
}

/// A file of this process, removed when dropped.
struct Summary(PathBuf);

impl Summary {
    fn new() -> Self {
        Self(env::temp_dir().join(format!("spanwire-strace-{}", process::id())))
    }
}

impl Drop for Summary {
    fn drop(&mut self) {
        // Only a file in the temporary directory is left behind.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.000090           9        10           io_uring_enter
 10.00    0.000010           5         2         1 futex
------ ----------- ----------- --------- --------- ----------------
100.00    0.000100           8        12         1 total
";

    #[test]
    fn calls_are_read_with_and_without_errors() {
        let calls = parse(SUMMARY);
        assert_eq!(calls, [("io_uring_enter".to_owned(), 10), ("futex".to_owned(), 2)]);
        assert_eq!((of(&calls, "futex"), of(&calls, "total"), of(&calls, "read")), (2, 12, 0));
    }
}
