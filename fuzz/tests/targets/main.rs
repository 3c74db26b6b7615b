//! Runs each target over its corpus and over random inputs for a second or two. With the coverage-guided
//! engine of `make fuzz` the same tests run as long as one wants, and extend the corpus.

use bolero::check;

#[test]
fn kubeconfigs() {
    check!()
        .with_max_len(4096)
        .for_each(kube_bind_fuzz::kubeconfigs);
}

#[test]
fn schemas() {
    check!()
        .with_max_len(4096)
        .for_each(kube_bind_fuzz::schemas);
}

#[test]
fn paths() {
    check!().with_max_len(4096).for_each(kube_bind_fuzz::paths);
}

#[test]
fn managed_fields() {
    check!()
        .with_max_len(4096)
        .for_each(kube_bind_fuzz::managed_fields);
}

#[test]
fn digests() {
    check!()
        .with_max_len(4096)
        .for_each(kube_bind_fuzz::digests);
}
