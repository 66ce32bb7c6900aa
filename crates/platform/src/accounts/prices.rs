//! Use cases around the price list.

use super::Accounts;
use super::principal::Principal;
use crate::Error;
use crate::access::Action;
use orrery_store::Price;
use serde_json::{Map, json};

/// What a model's tokens cost, in billionths of the operator's currency for one token (thousandths for a million).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceInfo {
    pub model: String,
    pub input_nano: u64,
    /// For input tokens that the prefix cache had.
    pub cached_nano: u64,
    pub output_nano: u64,
}

impl Accounts {
    /// # Errors
    /// `Forbidden`.
    pub async fn prices(&self, by: &Principal) -> Result<Vec<PriceInfo>, Error> {
        by.check(Action::ReadPrices)?;
        let info = |price: Price| PriceInfo {
            model: price.model,
            input_nano: price.input_nano,
            cached_nano: price.cached_nano,
            output_nano: price.output_nano,
        };
        Ok(self.store.prices().await?.into_iter().map(info).collect())
    }

    /// Sets a model's price for requests that begin from now on.
    ///
    /// # Errors
    /// `Forbidden`, `BadInput`.
    pub async fn set_price(&self, by: &Principal, price: PriceInfo) -> Result<(), Error> {
        by.check(Action::ManagePrices)?;
        let PriceInfo { model, input_nano, cached_nano, output_nano } = price;
        let details = Map::from_iter([
            ("input_nano".to_owned(), json!(input_nano)),
            ("cached_nano".to_owned(), json!(cached_nano)),
            ("output_nano".to_owned(), json!(output_nano)),
        ]);
        self.note(by, "price.set", None, &model, details).await?;
        self.store.set_price(&Price { model, input_nano, cached_nano, output_nano }).await?;
        self.changed().await
    }

    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn remove_price(&self, by: &Principal, model: &str) -> Result<(), Error> {
        by.check(Action::ManagePrices)?;
        self.note(by, "price.remove", None, model, Map::new()).await?;
        self.store.remove_price(model).await?;
        self.changed().await
    }
}
