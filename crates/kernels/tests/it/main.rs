//! Tests of the kernels: each one against an independent definition, on every instruction set of the machine.

mod attention;
mod elementwise;
mod matmul;
mod quant;
mod support;
