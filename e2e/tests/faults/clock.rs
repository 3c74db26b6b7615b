//! Clocks that jump, of our processes only.
