//! Permission to run a model: no use case runs without an [`Admission`], and only this module makes one.

/// A permit to run one request; dropping it gives it back. Has no public constructor.
#[derive(Debug)]
pub struct Admission {
    _private: (),
}
