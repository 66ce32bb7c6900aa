//! Tests of whole models on files.

mod logits;
mod running;
mod refusals;
mod smollm2;
mod support;
