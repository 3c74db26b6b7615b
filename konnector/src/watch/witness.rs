//! Does a server's history go on where a watch broke off? Pure: whoever watches asks the server.
//!
//! A server that was restored from a backup goes back in its history and on from there, and may have
//! passed our position before we reach it again. A watch from that position begins as if nothing had
//! happened, and is silent about all that is different before it. So the newest objects that were told are
//! looked up. One that is as it was proves that everything up to it still stands, and the watch goes on
//! from there rather than from a later bookmark, so that nothing after it is missed either.

/// If so many objects changed while nobody listened, a list is made.
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

    /// Remembers it if it is among the newest.
    pub fn tell(&mut self, told: Witness) {
        let full = self.0.len() == MOST;
        if full && self.0.last().is_some_and(|l| l.version > told.version) {
            return;
        }
        let same = |w: &Witness| w.name == told.name && w.namespace == told.namespace;
        if let Some(at) = self.0.iter().position(same) {
            if self.0[at].version > told.version {
                return;
            }
            self.0.remove(at);
        }
        let at = self.0.partition_point(|w| w.version > told.version);
        self.0.insert(at, told);
        self.0.truncate(MOST);
    }

    /// The version from which a watch goes on; `None` if nothing proves that the history does: then only a
    /// list tells what is. `written` is what the server last answered to somebody else.
    pub async fn resume<E, F>(
        &self,
        written: Option<Witness>,
        ask: impl Fn(Witness) -> F,
    ) -> Result<Option<u64>, E>
    where
        F: Future<Output = Result<Found, E>>,
    {
        let Some(newest) = self.0.first().map(|newest| newest.version) else {
            return Ok(None);
        };
        let mut all = self.clone();
        written.into_iter().for_each(|written| all.tell(written));
        for witness in all.0 {
            match witness.judge(ask(witness.clone()).await?) {
                Finding::Stands => return Ok(Some(witness.version.min(newest))),
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

    fn at(name: &str, version: u64) -> Witness {
        Witness {
            namespace: "default".into(),
            name: name.into(),
            version,
            present: true,
        }
    }

    fn gone(name: &str, version: u64) -> Witness {
        Witness {
            present: false,
            ..at(name, version)
        }
    }

    /// Where a watch of whoever was told this goes on, on a server at version 100 that has these objects.
    fn resumed(
        told: &[Witness],
        written: Option<Witness>,
        has: &[(&str, u64)],
    ) -> (Option<u64>, usize) {
        let mut witnesses = Witnesses::default();
        told.iter().cloned().for_each(|w| witnesses.tell(w));
        let asked = std::cell::Cell::new(0);
        let ask = async |witness: Witness| {
            asked.set(asked.get() + 1);
            let object = has.iter().find(|(name, _)| *name == witness.name);
            Ok::<_, ()>(Found {
                server: Some(100),
                object: object.map(|(_, version)| *version),
            })
        };
        let at = witnesses.resume(written, ask).now_or_never();
        let at = at.expect("nothing is waited for").unwrap();
        (at, asked.get())
    }

    #[tokio::test]
    async fn what_is_as_it_was_proves_what_was_told_before() {
        let told = [at("a", 5), at("b", 7)];
        assert_eq!(resumed(&told, None, &[("a", 5), ("b", 7)]), (Some(7), 1));
        // The changes of b will be told again from there.
        assert_eq!(resumed(&told, None, &[("a", 5), ("b", 9)]), (Some(5), 2));
        assert_eq!(resumed(&told, None, &[("a", 8), ("b", 9)]), (None, 2));
    }

    #[test]
    fn what_went_back_or_was_lost_proves_the_contrary() {
        let told = [at("a", 5), at("b", 7)];
        assert_eq!(resumed(&told, None, &[("a", 5), ("b", 6)]), (None, 1));
        assert_eq!(resumed(&told, None, &[("a", 5)]), (None, 1));
        let deleted = [at("a", 5), at("b", 6), gone("b", 7)];
        assert_eq!(resumed(&deleted, None, &[("a", 5), ("b", 6)]), (None, 1));
        // That b is absent proves nothing, but contradicts nothing either.
        assert_eq!(resumed(&deleted, None, &[("a", 5)]), (Some(5), 2));
        assert_eq!(resumed(&[], None, &[("a", 5)]), (None, 0));
        assert_eq!(resumed(&[at("a", 101)], None, &[("a", 101)]), (None, 1));
    }

    #[test]
    fn a_write_that_no_watch_has_told_yet_is_not_lost_unnoticed() {
        let told = [at("a", 5)];
        assert_eq!(resumed(&told, Some(at("b", 8)), &[("a", 5)]), (None, 1));
        // The watch still has to tell what came between.
        let both = [("a", 5), ("b", 8)];
        assert_eq!(resumed(&told, Some(at("b", 8)), &both), (Some(5), 1));
        // Since deleted, as the watch told.
        let deleted = [at("a", 5), gone("b", 9)];
        assert_eq!(
            resumed(&deleted, Some(at("b", 8)), &[("a", 5)]),
            (Some(5), 2)
        );
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut witnesses = Witnesses::default();
        for version in [3, 9, 4, 8, 2, 7, 6] {
            witnesses.tell(at(&format!("w{version}"), version));
        }
        let versions: Vec<_> = witnesses.0.iter().map(|w| w.version).collect();
        assert_eq!(versions, [9, 8, 7, 6]);
    }
}
