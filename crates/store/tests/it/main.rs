//! Integration tests of the store. `conformance` is the suite that every implementation passes.

mod conformance;
mod database;
