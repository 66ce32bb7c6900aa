//! Integration tests of the store. `conformance` is the suite that every implementation passes.

mod audit;
mod conformance;
mod database;
#[cfg(target_os = "linux")]
mod faults;
mod vault;
