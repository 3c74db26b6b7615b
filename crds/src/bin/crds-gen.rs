//! Writes the CRD manifests to `deploy/crds`, or, with `--check`, says which of them are stale.
//! Reads and writes files only.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use kube_bind_crds::{manifests, names};

fn main() -> ExitCode {
    match run(env::args().skip(1)) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            for path in stale {
                report(&format!("{} is stale, run `make crds`", path.display()));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the only output of this program")]
fn report(line: &str) {
    eprintln!("crds-gen: {line}");
}

/// Writes or checks; returns what is stale after it.
fn run(arguments: impl Iterator<Item = String>) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut check = false;
    let mut directory = PathBuf::from("deploy/crds");
    for argument in arguments {
        match argument.as_str() {
            "--check" => check = true,
            option if option.starts_with('-') => {
                return Err(
                    format!("unknown option {option}; usage: crds-gen [--check] [DIR]").into(),
                );
            }
            path => directory = PathBuf::from(path),
        }
    }
    let wanted = manifests::all()
        .iter()
        .map(|crd| {
            let content = manifests::to_yaml(crd)?;
            Ok((directory.join(manifests::file_name(crd)), content))
        })
        .collect::<Result<BTreeMap<PathBuf, String>, Box<dyn Error>>>()?;
    if !check {
        fs::create_dir_all(&directory)?;
        for path in present(&directory)? {
            if !wanted.contains_key(&path) {
                fs::remove_file(&path)?;
            }
        }
        for (path, content) in wanted {
            fs::write(&path, content)?;
        }
        return Ok(Vec::new());
    }
    let mut stale: Vec<PathBuf> = wanted
        .iter()
        .filter(|(path, content)| fs::read_to_string(path).ok().as_ref() != Some(*content))
        .map(|(path, _)| path.clone())
        .collect();
    stale.extend(
        present(&directory)?
            .into_iter()
            .filter(|path| !wanted.contains_key(path)),
    );
    Ok(stale)
}

/// The manifests of ours that are in the directory now.
fn present(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let ours = format!("{}_", names::GROUP);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&ours) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
