//! The registry of architectures: one file and one row each.
