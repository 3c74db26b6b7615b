//! Does a server's history go on where a watch broke off? Pure: whoever watches asks the server.
//!
//! A server that was restored from a backup goes back in its history and on from there, and may have
//! passed our position before we reach it again. A watch from that position begins as if nothing had
//! happened, and is silent about all that is different before it. So the newest objects that were told are
//! looked up. One that is as it was says that everything up to it still stands (unless the server gave the
//! same version to another state of it), and the watch goes on from there rather than from a later
//! bookmark, so that nothing after it is missed either. Where nothing has changed since the server began
//! to remember events, that costs a list.

/// If so many objects changed or went while nobody listened, a list is made.
const MOST: usize = 4;

/// What a server told last of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.resourceVersion`, which can be compared (KEP-5504).
    pub version: u64,
    /// It was there, not deleted.
    pub present: bool,
}

/// What the server says of a witness now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where in its history the server is.
    pub server: Option<u64>,
    /// The version of the object, if there is one.
    pub object: Option<u64>,
}

/// The newest ones of one watch, one for each object.
#[derive(Clone, Debug, Default)]
pub struct Witnesses(Vec<Witness>);

#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// As it was told: so is all that was told before.
    Stands,
    /// It may have changed since: the watch will tell.
    Open,
    /// This cannot have come after what was told.
    Contradicts,
}

impl Witnesses {
    /// A list tells everything anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Remembers it if it is among the newest; `false` if something newer was told of this object: a watch
    /// that goes on from an older witness tells some things again.
    pub fn tell(&mut self, namespace: &str, name: &str, version: u64, present: bool) -> bool {
        let same = |w: &Witness| w.name == name && w.namespace == namespace;
        if let Some(at) = self.0.iter().position(same) {
            let known = &self.0[at];
            // Not every server gives a deletion a version of its own.
            let ended = known.present && !present;
            if known.version > version || (known.version == version && !ended) {
                return false;
            }
            self.0.remove(at);
        }
        let at = self.0.partition_point(|w| w.version > version);
        if at < MOST {
            let told = Witness {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                version,
                present,
            };
            self.0.insert(at, told);
            self.0.truncate(MOST);
        }
        true
    }

    /// The version from which a watch goes on; `None` if nothing proves that the history does: then only a
    /// list tells what is. A server that refuses to say (`None`) proves nothing.
    pub async fn resume<E, F>(&self, ask: impl Fn(Witness) -> F) -> Result<Option<u64>, E>
    where
        F: Future<Output = Result<Option<Found>, E>>,
    {
        for witness in &self.0 {
            let Some(found) = ask(witness.clone()).await? else {
                break;
            };
            match witness.judge(found) {
                Finding::Stands => return Ok(Some(witness.version)),
                Finding::Open => {}
                Finding::Contradicts => break,
            }
        }
        Ok(None)
    }
}

impl Witness {
    fn judge(&self, found: Found) -> Finding {
        if found.server.is_some_and(|server| server < self.version) {
            return Finding::Contradicts;
        }
        match (self.present, found.object) {
            (true, Some(version)) if version == self.version => Finding::Stands,
            (true, Some(version)) if version > self.version => Finding::Open,
            // It may never have been there as well.
            (false, None) => Finding::Open,
            _ => Finding::Contradicts,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Name, version, and whether it is there.
    type Told = (&'static str, u64, bool);

    fn told(all: &[Told]) -> Witnesses {
        let mut witnesses = Witnesses::default();
        for (name, version, present) in all {
            witnesses.tell("default", name, *version, *present);
        }
        witnesses
    }

    /// Where a watch of whoever was told this goes on, on a server at version 100 that has these objects,
    /// and how many it is asked for.
    fn resumed(all: &[Told], has: &[(&str, u64)]) -> (Option<u64>, usize) {
        let asked = std::cell::Cell::new(0);
        let ask = async |witness: Witness| {
            asked.set(asked.get() + 1);
            let object = has.iter().find(|(name, _)| *name == witness.name);
            Ok::<_, ()>(Some(Found {
                server: Some(100),
                object: object.map(|(_, version)| *version),
            }))
        };
        let at = told(all).resume(ask).now_or_never();
        let at = at.expect("nothing is waited for").unwrap();
        (at, asked.get())
    }

    #[test]
    fn what_is_as_it_was_proves_what_was_told_before() {
        let told = [("a", 5, true), ("b", 7, true)];
        assert_eq!(resumed(&told, &[("a", 5), ("b", 7)]), (Some(7), 1));
        // The changes of b will be told again from there.
        assert_eq!(resumed(&told, &[("a", 5), ("b", 9)]), (Some(5), 2));
        assert_eq!(resumed(&told, &[("a", 8), ("b", 9)]), (None, 2));
    }

    #[test]
    fn what_went_back_or_was_lost_proves_the_contrary() {
        let told = [("a", 5, true), ("b", 7, true)];
        assert_eq!(resumed(&told, &[("a", 5), ("b", 6)]), (None, 1));
        assert_eq!(resumed(&told, &[("a", 5)]), (None, 1));
        let deleted = [("a", 5, true), ("b", 6, true), ("b", 7, false)];
        assert_eq!(resumed(&deleted, &[("a", 5), ("b", 6)]), (None, 1));
        // That b is absent proves nothing, but contradicts nothing either.
        assert_eq!(resumed(&deleted, &[("a", 5)]), (Some(5), 2));
        assert_eq!(resumed(&[], &[("a", 5)]), (None, 0));
        assert_eq!(resumed(&[("a", 101, true)], &[("a", 101)]), (None, 1));
    }

    #[test]
    fn a_refusal_proves_nothing() {
        let ask = async |_| Ok::<_, ()>(None);
        let witnesses = told(&[("a", 5, true), ("b", 7, false)]);
        assert_eq!(witnesses.resume(ask).now_or_never(), Some(Ok(None)));
    }

    #[test]
    fn only_the_newest_are_kept() {
        let versions = [3, 9, 4, 8, 2, 7, 6];
        let mut witnesses = Witnesses::default();
        for version in versions {
            assert!(witnesses.tell("", &format!("w{version}"), version, true));
        }
        let versions: Vec<_> = witnesses.0.iter().map(|w| w.version).collect();
        assert_eq!(versions, [9, 8, 7, 6]);
    }

    #[test]
    fn what_an_object_was_before_is_no_news() {
        let mut witnesses = told(&[("a", 5, true), ("c", 7, true), ("c", 8, false)]);
        assert!(!witnesses.tell("default", "c", 7, true));
        assert!(!witnesses.tell("default", "c", 8, false));
        assert!(!witnesses.tell("default", "a", 5, true));
        assert!(witnesses.tell("default", "a", 5, false), "it was deleted");
        assert!(!witnesses.tell("default", "a", 5, true));
        assert!(witnesses.tell("other", "c", 7, true), "another object");
        assert!(witnesses.tell("default", "c", 9, true), "made again");
        assert!(witnesses.tell("default", "z", 1, true), "too old to keep");
    }
}
