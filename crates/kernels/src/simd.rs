//! Sixteen float32 lanes, written once for every instruction set.
