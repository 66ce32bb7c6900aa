//! The scheduling core: a pure object over integers.
