//! Do the documents say what is there? The tests that they cite, the annotations, events, reasons and
//! metrics that the sources name, and the flags of the programs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kube_bind_e2e::process::own_binary;
use regex::Regex;

fn read(path: &str) -> Result<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).with_context(|| format!("failed to read {path}"))
}

/// All that the pattern's group finds.
fn found(pattern: &str, text: &str) -> Result<BTreeSet<String>> {
    let pattern = Regex::new(pattern)?;
    let found = pattern.captures_iter(text).map(|found| found[1].to_owned());
    Ok(found.collect())
}

/// What the source names and the document does not.
fn missing(source: &str, pattern: &str, document: &str) -> Result<Vec<String>> {
    let named = found(pattern, &read(source)?)?;
    ensure!(!named.is_empty(), "{source} names nothing");
    let document = read(document)?;
    let is_missing = |name: &String| !document.contains(&format!("`{name}`"));
    Ok(named.into_iter().filter(is_missing).collect())
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

#[test]
fn every_annotation_event_reason_and_metric_is_explained() -> Result<()> {
    let annotation = r#"const \w+: &str =\s*"(kube-bind\.io/[a-z-]+)""#;
    let is_label = |name: &String| {
        ["exported", "owner", "provider-kubeconfig"]
            .contains(&name.trim_start_matches("kube-bind.io/"))
    };
    let mut left = missing("crds/src/names.rs", annotation, "docs/ANNOTATIONS.md")?;
    left.retain(|name| !is_label(name) && name != "kube-bind.io/v1alpha2");
    left.extend(missing(
        "crds/src/switches.rs",
        annotation,
        "docs/ANNOTATIONS.md",
    )?);
    let reason = r#"const (?:EVENT|REASON)_\w+: &str =\s*"(\w+)""#;
    left.extend(missing(
        "konnector/src/names.rs",
        reason,
        "docs/CONSUMER.md",
    )?);
    for source in [
        "konnector/src/metrics/mod.rs",
        "konnector/src/metrics/kinds.rs",
    ] {
        let metric = r#""(kube_bind_[a-z_]+)",\n"#;
        for name in missing(source, metric, "docs/OPERATIONS.md")? {
            // Counters get their ending when they are shown.
            if !read("docs/OPERATIONS.md")?.contains(&format!("`{name}_total`")) {
                left.push(name);
            }
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
