//! Prices in SQL.

use super::sqlite::failed;
use super::{Database, begin, commit_change, count, get, number};
use crate::error::Result;
use crate::prices::{Price, Prices, unknown_price};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

const ALL: &str = "SELECT model, input_nano, cached_nano, output_nano FROM prices ORDER BY model";
const SET: &str = "INSERT INTO prices (model, input_nano, cached_nano, output_nano) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (model) DO UPDATE SET input_nano = $2, cached_nano = $3, output_nano = $4";

#[async_trait]
impl Prices for Database {
    async fn set_price(&self, price: &Price) -> Result<()> {
        const DOING: &str = "setting a price";
        price.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let set = sqlx::query(SET)
            .bind(&price.model)
            .bind(number(price.input_nano))
            .bind(number(price.cached_nano))
            .bind(number(price.output_nano));
        set.execute(&mut *tx).await.map_err(failed(DOING))?;
        commit_change(tx, DOING).await
    }

    async fn remove_price(&self, model: &str) -> Result<()> {
        const DOING: &str = "removing a price";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let delete = sqlx::query("DELETE FROM prices WHERE model = $1").bind(model);
        let done = delete.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(unknown_price(model));
        }
        commit_change(tx, DOING).await
    }

    async fn prices(&self) -> Result<Vec<Price>> {
        self.fetch_all(ALL, "reading the prices").await?.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<Price> {
    Ok(Price {
        model: get(row, "model")?,
        input_nano: count(row, "input_nano")?,
        cached_nano: count(row, "cached_nano")?,
        output_nano: count(row, "output_nano")?,
    })
}
