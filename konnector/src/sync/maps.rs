//! Hash maps and sets that are iterated over. Their order is random, and the same in every test, so
//! that a simulated run can be repeated exactly.

#[cfg(not(test))]
type Hashing = std::hash::RandomState;
#[cfg(test)]
type Hashing = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// A map.
pub(super) type Map<K, V> = std::collections::HashMap<K, V, Hashing>;
/// A set.
pub(super) type Set<K> = std::collections::HashSet<K, Hashing>;
