//! Tests of the real binary, `orrery`.

mod bench;
mod chat;
mod model;
mod product;
mod run;
mod scripted;
mod usage;
