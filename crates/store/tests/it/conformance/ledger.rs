//! The ledger: each request once, and sums that are exact.

use super::{bad_input, key_id, not_found, on_all, row, tenant_id};
use orrery_store::{
    APPEND_ROWS_MAX, COUNT_MAX, DAY_MS, GroupBy, Outcome, Spent, Store, UsageQuery, UsageRow, UsageSum,
};

#[tokio::test]
async fn a_row_is_read_as_it_was_written() {
    on_all(async |store| {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            let row = UsageRow { outcome: *outcome, version: String::new(), ..row(&format!("r{index}"), "t", "k") };
            assert_eq!(store.append_usage(std::slice::from_ref(&row)).await.expect("appended"), 1);
            assert_eq!(store.usage_row(&row.id).await.expect("read"), row);
        }
        not_found(store.usage_row("none").await);
    })
    .await;
}

#[tokio::test]
async fn the_same_id_is_one_row() {
    on_all(async |store| {
        // Over one chunk of the statement that takes many, and some that go one by one.
        let rows: Vec<UsageRow> = (0..70).map(|index| row(&format!("r{index}"), "t", "k")).collect();
        assert_eq!(store.append_usage(&rows[..40]).await.expect("appended"), 40);
        assert_eq!(store.append_usage(&rows).await.expect("appended"), 30);
        assert_eq!(store.append_usage(&rows).await.expect("appended"), 0);
        // The first one stays; twice in one call is once.
        let changed = UsageRow { output_tokens: 999, ..row("r0", "t", "k") };
        let twice = row("twice", "t", "k");
        assert_eq!(store.append_usage(&[changed, twice.clone(), twice]).await.expect("appended"), 1);
        assert_eq!(store.append_usage(&[]).await.expect("appended"), 0);
        let sum = sum(store, UsageQuery::default()).await;
        assert_eq!((sum.requests, sum.output_tokens), (71, 71 * 20));
    })
    .await;
}

#[tokio::test]
async fn an_append_is_all_or_nothing() {
    on_all(async |store| {
        let good = row("good", "t", "k");
        for (bad, part) in [
            (UsageRow { id: String::new(), ..good.clone() }, "needs the id"),
            (UsageRow { id: "x".repeat(129), ..good.clone() }, "`id`"),
            (UsageRow { cached_tokens: 101, ..good.clone() }, "`cached_tokens` 101"),
            (UsageRow { output_tokens: COUNT_MAX + 1, ..good.clone() }, "`output_tokens`"),
            (UsageRow { cost_nano: u64::MAX, ..good.clone() }, "`cost_nano`"),
            (UsageRow { started_at_ms: -1, ..good.clone() }, "`started_at_ms`"),
        ] {
            bad_input(store.append_usage(&[good.clone(), bad]).await, part);
        }
        let many = vec![good.clone(); APPEND_ROWS_MAX + 1];
        bad_input(store.append_usage(&many).await, "`rows` 1001");
        not_found(store.usage_row("good").await);
        assert_eq!(store.append_usage(&many[1..]).await.expect("appended"), 1);
    })
    .await;
}

/// Rows over two tenants, three keys, two models and three days.
async fn fill(store: &dyn Store) {
    let day = |day: i64, offset: i64| 1_699_920_000_000 + day * DAY_MS + offset;
    let of = |id, tenant, key, model: &str, started_at_ms| UsageRow {
        model: model.into(),
        started_at_ms,
        ..row(id, tenant, key)
    };
    let rows = [
        of("1", "ten_a", "key_1", "m", day(0, 0)),
        of("2", "ten_a", "key_1", "n", day(0, DAY_MS - 1)),
        of("3", "ten_a", "key_2", "m", day(1, 0)),
        of("4", "ten_b", "key_3", "m", day(1, 5)),
        UsageRow { outcome: Outcome::Cancelled, ..of("5", "ten_b", "key_3", "m", day(2, 5)) },
    ];
    assert_eq!(store.append_usage(&rows).await.expect("appended"), 5);
}

async fn sum(store: &dyn Store, query: UsageQuery) -> UsageSum {
    let mut sums = store.usage(&query).await.expect("summed");
    assert_eq!(sums.len(), 1, "{sums:?}");
    sums.remove(0)
}

fn requests(sums: &[UsageSum]) -> Vec<u64> {
    sums.iter().map(|sum| sum.requests).collect()
}

#[tokio::test]
async fn sums_hold_every_column() {
    on_all(async |store| {
        assert_eq!(sum(store, UsageQuery::default()).await, UsageSum::default());
        fill(store).await;
        let expected = UsageSum {
            requests: 5,
            completed: 4,
            input_tokens: 500,
            cached_tokens: 200,
            output_tokens: 100,
            queue_us: 5_000,
            prefill_us: 100_000,
            decode_us: 1_500_000,
            cost_nano: 35_000,
            ..UsageSum::default()
        };
        assert_eq!(sum(store, UsageQuery::default()).await, expected);
    })
    .await;
}

#[tokio::test]
async fn filters_select() {
    on_all(async |store| {
        fill(store).await;
        let start_ms = 1_699_920_000_000;
        let all = UsageQuery::default();
        for (query, expected) in [
            (UsageQuery { tenant: Some(tenant_id("ten_a")), ..all.clone() }, 3),
            (UsageQuery { key: Some(key_id("key_1")), ..all.clone() }, 2),
            (UsageQuery { tenant: Some(tenant_id("ten_b")), key: Some(key_id("key_1")), ..all.clone() }, 0),
            (UsageQuery { model: Some("n".into()), ..all.clone() }, 1),
            (UsageQuery { model: Some("' OR '1' = '1".into()), ..all.clone() }, 0),
            (UsageQuery { since_ms: Some(start_ms + DAY_MS), ..all.clone() }, 3),
            (UsageQuery { until_ms: Some(start_ms + DAY_MS), ..all.clone() }, 2),
            (UsageQuery { since_ms: Some(start_ms), until_ms: Some(start_ms), ..all.clone() }, 0),
        ] {
            assert_eq!(sum(store, query.clone()).await.requests, expected, "{query:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_subset_of_columns_groups() {
    on_all(async |store| {
        fill(store).await;
        use GroupBy::{Day, Key, Model, Tenant};
        for (group_by, expected) in [
            (vec![Tenant], vec![3, 2]),
            (vec![Key], vec![2, 1, 2]),
            (vec![Model], vec![4, 1]),
            (vec![Day], vec![2, 2, 1]),
            (vec![Day, Tenant], vec![2, 1, 1, 1]),
            (vec![Model, Tenant, Model], vec![2, 1, 2]),
            (vec![Tenant, Key, Model, Day], vec![1, 1, 1, 1, 1]),
        ] {
            let sums = store.usage(&UsageQuery { group_by: group_by.clone(), ..UsageQuery::default() }).await;
            assert_eq!(requests(&sums.expect("summed")), expected, "{group_by:?}");
        }
        let query = UsageQuery { group_by: vec![Day, Key], until_ms: Some(1_699_920_000_001), ..UsageQuery::default() };
        let first = sum(store, query).await;
        assert_eq!((first.tenant, first.model), (None, None));
        assert_eq!((first.key, first.day_ms), (Some(key_id("key_1")), Some(1_699_920_000_000)));
        let none = UsageQuery { model: Some("none".into()), group_by: vec![Day], ..UsageQuery::default() };
        assert_eq!(store.usage(&none).await.expect("summed"), []);
    })
    .await;
}

#[tokio::test]
async fn spent_is_the_sum_since() {
    on_all(async |store| {
        fill(store).await;
        let (a, start_ms) = (tenant_id("ten_a"), 1_699_920_000_000);
        let spent = async |key: Option<&str>, since_ms| {
            store.spent(&a, key.map(key_id).as_ref(), since_ms).await.expect("spent")
        };
        assert_eq!(spent(None, 0).await, Spent { tokens: 360, cost_nano: 21_000 });
        assert_eq!(spent(None, start_ms + DAY_MS).await, Spent { tokens: 120, cost_nano: 7_000 });
        assert_eq!(spent(Some("key_1"), start_ms + 1).await, Spent { tokens: 120, cost_nano: 7_000 });
        // A key of another tenant has spent nothing of this one's.
        assert_eq!(spent(Some("key_3"), 0).await, Spent::default());
        assert_eq!(store.spent(&tenant_id("ten_none"), None, 0).await.expect("spent"), Spent::default());
    })
    .await;
}
