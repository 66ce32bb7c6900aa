//! The price list.

use crate::error::{Error, Result, check_range, check_text};
use crate::tenants::COUNT_MAX;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The longest id of a model, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;
/// The highest price of one token, in nano-units: a thousand of the currency's units.
pub const PRICE_NANO_MAX: u64 = 1_000_000_000_000;

/// What a model's tokens cost, in nano-units of the operator's currency for one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The id by which requests name it.
    pub model: String,
    /// An input token that was computed.
    pub input_nano: u64,
    /// An input token that was found in the prefix cache.
    pub cached_nano: u64,
    /// An output token.
    pub output_nano: u64,
}

impl Price {
    /// The exact cost of a request in nano-units. `input_tokens` counts the cached ones too.
    ///
    /// # Errors
    /// `BadInput`: more cached than input tokens, or the cost is over [`COUNT_MAX`].
    pub fn cost_nano(&self, input_tokens: u64, cached_tokens: u64, output_tokens: u64) -> Result<u64> {
        let computed = input_tokens.checked_sub(cached_tokens).ok_or_else(|| {
            Error::BadInput(format!("{cached_tokens} cached tokens are more than the {input_tokens} of the input"))
        })?;
        // Below 2^128: three products of two numbers below 2^64 each.
        let product = |tokens: u64, nano: u64| u128::from(tokens) * u128::from(nano);
        let parts = [
            product(computed, self.input_nano),
            product(cached_tokens, self.cached_nano),
            product(output_tokens, self.output_nano),
        ];
        let sum = parts.iter().try_fold(0_u128, |sum, part| sum.checked_add(*part));
        let cost = sum.and_then(|sum| u64::try_from(sum).ok()).filter(|cost| *cost <= COUNT_MAX);
        cost.ok_or_else(|| Error::BadInput(format!("the cost of the request is over {COUNT_MAX} nano-units")))
    }

    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        check_text("model", &self.model, MODEL_BYTES_MAX)?;
        check_range("input_nano", self.input_nano, 0..=PRICE_NANO_MAX)?;
        check_range("cached_nano", self.cached_nano, 0..=PRICE_NANO_MAX)?;
        check_range("output_nano", self.output_nano, 0..=PRICE_NANO_MAX)
    }
}

/// The price list, one row for a model; a model without one is free. Contract as for [`Tenants`](crate::Tenants).
#[async_trait]
pub trait Prices: std::fmt::Debug + Send + Sync {
    /// Adds or replaces a model's price. What is in the ledger keeps its cost.
    ///
    /// # Errors
    /// `BadInput`.
    async fn set_price(&self, price: &Price) -> Result<()>;

    /// # Errors
    /// `NotFound`.
    async fn remove_price(&self, model: &str) -> Result<()>;

    /// All prices, by model.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn prices(&self) -> Result<Vec<Price>>;
}

pub(crate) fn unknown_price(model: &str) -> Error {
    Error::NotFound(format!("there is no price for the model {model:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_exact() {
        let price = Price { model: "m".into(), input_nano: 150, cached_nano: 15, output_nano: 600 };
        assert_eq!(price.cost_nano(1_000, 400, 7).expect("cost"), 600 * 150 + 400 * 15 + 7 * 600);
        assert_eq!(price.cost_nano(0, 0, 0).expect("cost"), 0);
        assert!(matches!(price.cost_nano(1, 2, 0), Err(Error::BadInput(_))));
        let dear = Price { input_nano: u64::MAX, cached_nano: u64::MAX, output_nano: u64::MAX, ..price };
        assert!(matches!(dear.cost_nano(u64::MAX, 1, u64::MAX), Err(Error::BadInput(_))));
    }
}
