//! Building programs of pinned Go modules.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use super::cache::{announce, ensure};
use super::pins;

/// One program of a component.
pub(super) struct Program {
    /// What it is called in the cache.
    pub name: &'static str,
    /// The package whose `main` it is.
    pub package: &'static str,
}

/// The directory that holds all `programs` of `component`, built if need be.
pub(super) fn build(component: &str, programs: &[Program], ldflags: &str) -> Result<PathBuf> {
    let module = pins(component);
    let read = |file: &str| {
        let path = module.join(file);
        std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
    };
    let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
    let recipe = programs
        .iter()
        .map(|program| format!("{}={}\n", program.name, program.package))
        .collect::<String>()
        + ldflags;
    ensure(
        component,
        &[&go_mod, &go_sum, recipe.as_bytes()],
        |target| {
            for program in programs {
                announce(&format!(
                    "building {} (once; takes minutes when Go has compiled none of it yet)",
                    program.name
                ));
                let mut command = go(&module);
                command.env("CGO_ENABLED", "0").args([
                    "build",
                    "-mod=readonly",
                    "-trimpath",
                    "-ldflags",
                    ldflags,
                    "-o",
                ]);
                command.arg(target.join(program.name)).arg(program.package);
                run(&mut command)?;
            }
            Ok(())
        },
    )
}

/// Where the sources of a dependency of `component` lie.
pub(super) fn module_dir(component: &str, dependency: &str) -> Result<PathBuf> {
    let module = pins(component);
    // Without this, `list` gives no directory for a module that was never downloaded.
    run(go(&module).args(["mod", "download", dependency]))?;
    let output = go(&module)
        .args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", dependency])
        .stderr(Stdio::inherit())
        .output()
        .map_err(missing)?;
    let dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || dir.is_empty() {
        bail!("go does not know where {dependency} is");
    }
    Ok(PathBuf::from(dir))
}

fn go(module: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(module);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(missing)?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

fn missing(error: std::io::Error) -> anyhow::Error {
    if error.kind() == ErrorKind::NotFound {
        return anyhow!(
            "go is not installed: install Go 1.26 or newer from https://go.dev/dl (it builds Kubernetes, unless \
             KUBEBUILDER_ASSETS names a directory with all of it, and cert-manager)"
        );
    }
    anyhow!(error).context("failed to start go")
}
