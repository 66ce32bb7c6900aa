//! Integration tests of the engine. `fake` is an executor that reads everything back through the block tables it is given.

mod engine;
mod fairness;
mod fake;
mod limits;
mod model;
mod sampling;
mod scheduler;
mod smollm2;
mod speculation;
mod streams;
