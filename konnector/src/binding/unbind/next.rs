//! What is next in an unbinding that deletes. No IO.

use kube_bind_crds::switches::DELETION_POLICY;

/// One of the binding's kinds, as the unbinding sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    /// Name of the CRD.
    pub(super) name: String,
    /// The CRD is ours and still there.
    pub(super) crd: bool,
    /// Its deletion has begun.
    pub(super) terminating: bool,
    /// The provider answers and does not export it any more: no engine can run.
    pub(super) withdrawn: bool,
    /// Objects on the consumer and copies without one, once an engine has listed them.
    pub(super) objects: Option<(usize, usize)>,
    /// Why the engine gets nowhere.
    pub(super) failing: Option<String>,
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on by itself: what is waited for.
    Wait(String),
    /// It may never go on by itself: why, and what a person can do.
    Blocked(String),
    /// These CRDs can go now.
    Delete(Vec<String>),
    /// These CRDs are going, and nobody but us can release their objects.
    Drain(Vec<String>),
    /// All CRDs are gone; these many copies of claimed objects are left.
    Copies(usize),
    /// Nothing is left.
    Release,
}

/// How to get out when the provider is gone for good.
pub(super) fn remedy() -> String {
    format!("to let go without the provider, annotate this binding with {DELETION_POLICY}=Orphan")
}

/// `provider` is whether the provider answers; `copies` how many claimed copies are left, `None`
/// while that is not known.
pub(super) fn next(kinds: &[Kind], provider: Result<(), String>, copies: Option<usize>) -> Next {
    let there: Vec<&Kind> = kinds.iter().filter(|kind| kind.crd).collect();
    if there.is_empty() {
        return match (copies, provider) {
            (Some(0), _) => Next::Release,
            (Some(left), _) => Next::Copies(left),
            (None, Ok(())) => Next::Wait("waiting for the list of claimed objects".into()),
            (None, Err(why)) => Next::Blocked(format!(
                "copies of claimed objects are left, and the provider does not answer: {why}; {}",
                remedy()
            )),
        };
    }
    if let Err(why) = provider {
        return Next::Blocked(format!(
            "objects are deleted on the provider first, and it does not answer: {why}; {}",
            remedy()
        ));
    }
    let failing = there
        .iter()
        .find_map(|kind| Some((&kind.name, kind.failing.as_ref()?)));
    if let Some((name, why)) = failing {
        return Next::Blocked(format!("the sync of {name} gets nowhere: {why}"));
    }
    let unknown = |kind: &&&Kind| !kind.withdrawn && kind.objects.is_none();
    if let Some(kind) = there.iter().find(unknown) {
        return Next::Wait(format!("waiting for the sync of {} to start", kind.name));
    }
    // Whoever unbinds means everything; afterwards nobody is left to delete them.
    let orphans: usize = there.iter().filter_map(|k| k.objects).map(|o| o.1).sum();
    if orphans > 0 {
        return Next::Wait(format!(
            "{orphans} copies of objects that vanished are being deleted on the provider"
        ));
    }
    let names = |wanted: &dyn Fn(&Kind) -> bool| -> Vec<String> {
        let wanted = there.iter().filter(|kind| wanted(kind));
        wanted.map(|kind| kind.name.clone()).collect()
    };
    let ready = names(&|kind| !kind.terminating);
    if !ready.is_empty() {
        return Next::Delete(ready);
    }
    let withdrawn = names(&|kind| kind.withdrawn);
    if !withdrawn.is_empty() {
        return Next::Drain(withdrawn);
    }
    let left: usize = there.iter().filter_map(|k| k.objects).map(|o| o.0).sum();
    Next::Wait(match left {
        0 => "waiting for the custom resource definitions to go".into(),
        left => format!("{left} objects are being deleted on both sides"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(crd: bool, terminating: bool, objects: Option<(usize, usize)>) -> Kind {
        Kind {
            name: "widgets.example.org".into(),
            crd,
            terminating,
            objects,
            ..Kind::default()
        }
    }

    fn words(next: Next) -> String {
        match next {
            Next::Wait(why) | Next::Blocked(why) => why,
            other => panic!("expected to wait, got {other:?}"),
        }
    }

    #[test]
    fn crds_are_deleted_only_while_their_objects_are_synced() {
        let up = || Ok(());
        assert!(matches!(
            next(&[kind(true, false, None)], up(), None),
            Next::Wait(_)
        ));
        assert_eq!(
            next(&[kind(true, false, Some((2, 0)))], up(), None),
            Next::Delete(vec!["widgets.example.org".into()])
        );
    }

    #[test]
    fn a_provider_that_is_away_blocks_and_the_way_out_is_said() {
        for (kinds, copies) in [
            (vec![kind(true, false, Some((2, 0)))], None),
            (vec![], None),
        ] {
            let next = next(&kinds, Err("connection refused".into()), copies);
            assert!(matches!(next, Next::Blocked(_)), "{next:?}");
            let why = words(next);
            assert!(why.contains("connection refused"), "{why}");
            assert!(why.contains("deletion-policy=Orphan"), "{why}");
        }
    }

    #[test]
    fn an_engine_that_gets_nowhere_is_said() {
        let stuck = Kind {
            failing: Some("widgets.example.org is forbidden".into()),
            ..kind(true, false, Some((2, 0)))
        };
        let next = next(&[stuck], Ok(()), None);
        assert!(matches!(&next, Next::Blocked(why) if why.contains("forbidden")));
    }

    #[test]
    fn copies_without_an_object_go_before_the_crds() {
        let why = words(next(&[kind(true, false, Some((0, 20)))], Ok(()), None));
        assert!(why.contains("20"), "{why}");
    }

    #[test]
    fn a_kind_that_the_provider_withdrew_is_drained_without_it() {
        let withdrawn = |terminating| Kind {
            withdrawn: true,
            ..kind(true, terminating, None)
        };
        let name = || vec!["widgets.example.org".to_owned()];
        assert_eq!(
            next(&[withdrawn(false)], Ok(()), None),
            Next::Delete(name())
        );
        assert_eq!(next(&[withdrawn(true)], Ok(()), None), Next::Drain(name()));
        let away = next(&[withdrawn(true)], Err("refused".into()), None);
        assert!(matches!(away, Next::Blocked(_)), "{away:?}");
    }

    #[test]
    fn objects_that_drain_are_counted() {
        let why = words(next(&[kind(true, true, Some((2, 0)))], Ok(()), None));
        assert!(why.contains('2'), "{why}");
    }

    #[test]
    fn claimed_copies_go_before_the_finalizer() {
        let gone = [kind(false, false, Some((0, 0)))];
        assert_eq!(next(&gone, Ok(()), Some(3)), Next::Copies(3));
        assert!(matches!(next(&gone, Ok(()), None), Next::Wait(_)));
        assert_eq!(next(&gone, Ok(()), Some(0)), Next::Release);
    }

    #[test]
    fn a_binding_that_installed_nothing_is_released_without_its_provider() {
        assert_eq!(
            next(&[], Err("no connection".into()), Some(0)),
            Next::Release
        );
    }
}
