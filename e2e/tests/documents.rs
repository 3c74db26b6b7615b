//! Do the documents say what is there? The tests that they cite, the annotations, events, reasons and
//! metrics that the sources name, and the flags of the programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kube_bind_e2e::process::own_binary;
use regex::Regex;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("failed to read {path}"))
}

/// All that the pattern's group finds.
fn found(pattern: &str, text: &str) -> Result<BTreeSet<String>> {
    let pattern = Regex::new(pattern)?;
    let found = pattern.captures_iter(text).map(|found| found[1].to_owned());
    Ok(found.collect())
}

/// The text of a file, or of all Rust sources in a directory.
fn sources(path: &Path) -> Result<String> {
    let context = || format!("failed to read {}", path.display());
    if path.is_file() {
        return std::fs::read_to_string(path).with_context(context);
    }
    let mut text = String::new();
    for entry in std::fs::read_dir(path).with_context(context)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|ending| ending == "rs") {
            text += &sources(&path)?;
        }
    }
    Ok(text)
}

/// What the sources, files or directories, name and none of the documents does.
fn missing(from: &[&str], pattern: &str, documents: &[&str]) -> Result<Vec<String>> {
    let mut named = BTreeSet::new();
    for from in from {
        named.extend(found(pattern, &sources(&root().join(from))?)?);
    }
    ensure!(!named.is_empty(), "{from:?} name nothing");
    for document in documents {
        let document = read(document)?;
        named.retain(|name| !document.contains(&format!("`{name}`")));
    }
    Ok(named.into_iter().collect())
}

#[test]
fn every_test_that_the_list_of_defects_cites_exists() -> Result<()> {
    let cited = found(
        r"`([a-z0-9_/-]+\.rs::[a-z0-9_]+)`",
        &read("docs/DEFECTS.md")?,
    )?;
    ensure!(cited.len() > 100, "only {} are cited", cited.len());
    for cited in cited {
        let (file, test) = cited.split_once("::").context("the pattern has both")?;
        ensure!(read(file)?.contains(&format!("fn {test}(")), "no {cited}");
    }
    Ok(())
}

const PROGRAMS: [&str; 5] = [
    "crds/src",
    "runtime/src",
    "backend/src",
    "konnector/src",
    "kubectl-bind/src",
];

#[test]
fn every_annotation_label_event_reason_and_metric_is_explained() -> Result<()> {
    let key = r#"(?:[a-z-]+\.)?kube-bind\.io/[a-z-]+"#;
    let mark = format!(r#"const (?:ANNOTATION|LABEL)\w*: &str =\s*"({key})""#);
    let annotations = &["docs/ANNOTATIONS.md"];
    let mut left = missing(&PROGRAMS, &mark, annotations)?;
    let switch = format!(r#"const \w+: &str =\s*"({key})""#);
    left.extend(missing(&["crds/src/switches.rs"], &switch, annotations)?);
    let reason = r#"const (?:EVENT|REASON)_\w+: &str =\s*"(\w+)""#;
    let names = &["konnector/src/names.rs"];
    left.extend(missing(names, reason, &["docs/CONSUMER.md"])?);
    // Some are a consumer's to understand, some a provider's.
    let reason = r#"const \w+: &str =\s*"(\w+)""#;
    let shared = &["crds/src/conditions/reasons.rs"];
    let both = &["docs/CONSUMER.md", "docs/PROVIDER.md"];
    left.extend(missing(shared, reason, both)?);
    let operations = "docs/OPERATIONS.md";
    let metric = r#""(kube_bind_[a-z_]+)",\n"#;
    for name in missing(&["konnector/src/metrics"], metric, &[operations])? {
        // Counters get their ending when they are shown.
        if !read(operations)?.contains(&format!("`{name}_total`")) {
            left.push(name);
        }
    }
    ensure!(left.is_empty(), "not explained: {left:?}");
    Ok(())
}

#[test]
fn every_flag_in_the_documents_exists() -> Result<()> {
    let mut known = String::new();
    for (program, command) in [
        ("konnector", None),
        ("kube-bind-backend", None),
        ("kubectl-bind", None),
        ("kubectl-bind", Some("login")),
        ("kubectl-bind", Some("apiservice")),
    ] {
        let help = Command::new(own_binary(program)?)
            .args(command)
            .arg("--help")
            .output()?;
        ensure!(help.status.success(), "{program} has no help");
        known += &String::from_utf8(help.stdout)?;
    }
    let flag = "(--[a-z][a-z-]+)";
    let mut known = found(flag, &known)?;
    // Those of kubectl, and of the demo.
    known.extend(["--server-side", "--as", "--as-group", "--exit"].map(str::to_owned));
    for document in [
        "README.md",
        "docs/CONSUMER.md",
        "docs/PROVIDER.md",
        "docs/OPERATIONS.md",
        "docs/ANNOTATIONS.md",
    ] {
        let named = found(flag, &read(document)?)?;
        let unknown: Vec<_> = named.difference(&known).collect();
        ensure!(unknown.is_empty(), "{document} names {unknown:?}");
    }
    Ok(())
}
