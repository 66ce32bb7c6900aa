//! Sampling: penalties, temperature, truncation, seeded choice, log-probabilities.
