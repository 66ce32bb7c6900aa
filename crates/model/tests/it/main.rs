//! Tests of whole models on files.

mod logits;
mod refusals;
mod running;
mod smollm2;
mod support;
mod text;
