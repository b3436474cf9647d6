//! Which program runs the rows: this one, or its twin on another allocator.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Allocator;

/// The program for rows on `allocator`.
///
/// # Errors
///
/// When the twin cannot be built; the text tells the command.
pub(super) fn on(allocator: Allocator) -> Result<PathBuf, String> {
    let this = env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    let name = match allocator {
        Allocator::Glibc => "spanwire",
        Allocator::Mimalloc => "spanwire-mimalloc",
    };
    twin(name, this)
}

/// The program whose allocator counts.
///
/// # Errors
///
/// As [`on`].
pub(super) fn counting() -> Result<PathBuf, String> {
    let this = env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    twin("spanwire-counting", this)
}

fn twin(name: &str, this: PathBuf) -> Result<PathBuf, String> {
    if this.file_name().is_some_and(|file| file == name) {
        return Ok(this);
    }
    build(name, &this)?;
    Ok(this.with_file_name(name))
}

/// `cargo run` builds only the program that it runs, so the twin is built here; each time, because
/// an old one would be measured for the new one.
fn build(name: &str, this: &Path) -> Result<(), String> {
    let failed = |why: String| {
        format!("cannot build {name} ({why}); try `cargo build --release --features rivals --bins`")
    };
    // <target>/<profile>/spanwire
    let profile = this.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let target = this.parent().and_then(Path::parent);
    let (Some(profile), Some(target)) = (profile, target) else {
        return Err(failed(format!("{} is not in a target directory", this.display())));
    };
    let profile = if profile == "debug" { "dev" } else { profile };
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--features", "rivals", "--bin", name, "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}
