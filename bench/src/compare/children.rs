//! The processes that measure, one at a time.

use std::{
    fmt::Display,
    path::Path,
    process::{Command, Stdio},
};

/// Runs `program` with `arguments` to its end; what it wrote to stdout.
///
/// # Errors
///
/// When it cannot be started or fails; the text is what it wrote to stderr.
pub(super) fn output(program: &Path, arguments: &[String]) -> Result<String, String> {
    output_with(program, arguments, None)
}

/// As [`output`], with a variable in its environment; what a child that succeeds writes to stderr
/// is passed on.
///
/// # Errors
///
/// As [`output`].
pub(super) fn output_with(
    program: &Path,
    arguments: &[String],
    environment: Option<(&str, &str)>,
) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let text = text.trim().trim_start_matches("spanwire: ");
        return Err(if text.is_empty() { output.status.to_string() } else { text.to_owned() });
    }
    eprint!("{text}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The figures on the last line of what a child wrote; `count` of them.
///
/// # Errors
///
/// When there is no such line; the text tells, but not whose.
pub(super) fn figures(output: &str, count: usize) -> Result<Vec<f64>, String> {
    let figures: Vec<f64> = serde_json::from_str(output.lines().last().unwrap_or_default())
        .map_err(|error| format!("no figures ({error}): {output:?}"))?;
    if figures.len() == count {
        Ok(figures)
    } else {
        Err(format!("{} figures instead of {count}: {output:?}", figures.len()))
    }
}

/// Says on stderr what a run has measured.
pub(super) fn report(round: u16, rounds: u16, row: impl Display, peer: impl Display, text: &str) {
    eprintln!("run {} of {rounds}  {row:<24} {peer:<17} {text}", round + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_last_line_and_as_many_as_the_row_has() {
        assert_eq!(figures("a warning\n[1.5, 2]\n", 2), Ok(vec![1.5, 2.0]));
        assert!(figures("[1.5]", 2).unwrap_err().contains("1 figures instead of 2"));
        assert!(figures("", 0).is_err());
    }
}
