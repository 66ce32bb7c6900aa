//! Tests of whole models on files.

mod text;
