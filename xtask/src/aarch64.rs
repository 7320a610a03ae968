//! The code paths for aarch64, type-checked on a machine that is none.
//!
//! cargo can check a crate for another architecture as soon as it has that one's `core`. Where the
//! toolchain has it, it is used; otherwise [Debian's](debian_rustc).

use anyhow::Result;

use crate::test::Outcome;
use crate::{debian_rustc, project, shell};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The crates with code of their own for each architecture, and what they stand on.
const PACKAGES: [&str; 4] = ["--package", "fragtrace-format", "--package", "fragtrace-recorder"];

/// Checks the tracer's pure crates for aarch64, or says why not.
pub fn check() -> Result<Outcome> {
    let target = project::target_dir()?;
    let mut check = project::cargo();
    check.args(["check", "--target", TARGET]).args(PACKAGES);
    check.env("CARGO_TARGET_DIR", target.join("aarch64"));
    if !debian_rustc::toolchain_has(TARGET)? {
        match debian_rustc::unpacked()? {
            Ok(compiler) => compiler.used_by(&mut check),
            Err(why) => {
                let hint = format!("rustup target add {TARGET}");
                return Ok(Outcome::Skipped(format!(
                    "{why}; the toolchain lacks it, too ({hint})"
                )));
            }
        };
    }
    shell::run(&mut check)?;
    Ok(Outcome::Passed)
}
