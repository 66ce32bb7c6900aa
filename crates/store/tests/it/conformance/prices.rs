//! The price list.

use super::{bad_input, not_found, on_all};
use orrery_store::{PRICE_NANO_MAX, Price};

fn price(model: &str, input_nano: u64) -> Price {
    Price { model: model.into(), input_nano, cached_nano: 1, output_nano: PRICE_NANO_MAX }
}

#[tokio::test]
async fn prices_are_set_replaced_and_removed() {
    on_all(async |store| {
        assert_eq!(store.prices().await.expect("listed"), []);
        for price in [price("b", 1), price("a", 2), price("b", 3)] {
            store.set_price(&price).await.expect("set");
        }
        assert_eq!(store.prices().await.expect("listed"), [price("a", 2), price("b", 3)]);
        store.remove_price("a").await.expect("removed");
        not_found(store.remove_price("a").await);
        bad_input(store.set_price(&price("a", PRICE_NANO_MAX + 1)).await, "`input_nano`");
        bad_input(store.set_price(&price(&"x".repeat(257), 1)).await, "`model`");
        assert_eq!(store.prices().await.expect("listed"), [price("b", 3)]);
    })
    .await;
}
