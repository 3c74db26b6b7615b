//! Which claims a binding has on record: what a person accepted, and what may have made copies that are
//! still there, which after a restart nothing else tells. No IO.

use std::collections::BTreeMap;

use kube_bind_crds::api::{GroupResource, PermissionClaim};
use kube_bind_crds::claims::is_claimable;

/// So many earlier claims on one kind are remembered at most, the latest ones: the provider decides how
/// often it changes a claim.
const MOST_FORMER: usize = 16;

/// The claims that are in force, and after them those that left the export or were others, except on kinds
/// of which nothing earlier is left.
pub(in super::super) fn claims(
    old: &[PermissionClaim],
    in_force: &[PermissionClaim],
    gone: &[&GroupResource],
) -> Vec<PermissionClaim> {
    let mut counts: BTreeMap<&GroupResource, usize> = BTreeMap::new();
    let former = old.iter().filter(|claim| {
        let resource = &claim.group_resource;
        let may_be_left = is_claimable(resource) && !gone.contains(&resource);
        if !may_be_left || in_force.contains(claim) {
            return false;
        }
        let count = counts.entry(resource).or_default();
        *count += 1;
        *count <= MOST_FORMER
    });
    in_force.iter().chain(former).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn claim(resource: &str, name: &str) -> PermissionClaim {
        let selector = json!({"namedResources": [{"name": name}]});
        from_value(json!({"resource": resource, "selector": selector})).unwrap()
    }

    #[test]
    fn a_claim_that_left_the_export_is_on_record_until_nothing_of_it_is_left() {
        let [secrets, maps] = ["secrets", "configmaps"].map(|resource| claim(resource, "x"));
        let old = [secrets.clone(), maps.clone()];
        let now = std::slice::from_ref(&maps);
        assert_eq!(claims(&old, now, &[]), [maps.clone(), secrets.clone()]);
        assert_eq!(claims(&old, now, &[&secrets.group_resource]), now);
    }

    #[test]
    fn a_claim_that_changed_is_on_record_first_as_it_is_and_as_it_was_until_nothing_of_that_is_left()
     {
        let [first, second, third] = ["1", "2", "3"].map(|name| claim("secrets", name));
        let after = |old: &[PermissionClaim], now: &PermissionClaim, gone: &[&GroupResource]| {
            claims(old, std::slice::from_ref(now), gone)
        };
        let one = std::slice::from_ref(&first);
        assert_eq!(after(&[], &first, &[]), one);
        let two = after(one, &second, &[]);
        assert_eq!(two, [second.clone(), first.clone()]);
        assert_eq!(after(&two, &second, &[]), two);
        let three = after(&two, &third, &[]);
        assert_eq!(three, [third.clone(), second.clone(), first.clone()]);
        let back = after(&three, &first, &[]);
        assert_eq!(back, [first.clone(), third.clone(), second]);
        assert_eq!(after(&back, &first, &[&first.group_resource]), [first]);
    }

    #[test]
    fn what_is_on_record_of_claims_that_change_all_the_time_is_bounded() {
        let mut old = Vec::new();
        for name in 0..100 {
            old = claims(&old, &[claim("secrets", &name.to_string())], &[]);
        }
        assert_eq!(old.len(), 1 + MOST_FORMER);
        assert_eq!(old[0], claim("secrets", "99"));
    }

    #[test]
    fn of_what_cannot_be_claimed_nothing_is_left() {
        let [old, now] = ["1", "2"].map(|name| claim("pods", name));
        assert_eq!(claims(&[old], std::slice::from_ref(&now), &[]), [now]);
    }
}
