//! Tests of the real binary, `orrery`.

mod bench;
mod chat;
mod check;
mod cores;
mod interrupts;
mod model;
mod product;
mod run;
mod scripted;
mod timing;
mod tls;
mod usage;
mod vault;
