//! The catalogue of known models (`catalogue.toml`) and the references that a user can write.
