//! Versions of models, and the names that lead to them.

use super::{bad_input, conflict, key_id, not_found, on_all, tenant, tenant_id};
use orrery_store::{Alias, ModelVersion, Route, Store, check_model_name};

pub fn version(tenant: &str, name: &str) -> ModelVersion {
    ModelVersion {
        tenant: tenant_id(tenant),
        name: name.into(),
        version: 77,
        created_at_ms: 5,
        key: key_id("key_a"),
        task: "tabular-classification".into(),
        digest: "ab".repeat(32),
        manifest: "{\"files\":[]}".into(),
        job: None,
        archived_at_ms: None,
    }
}

fn alias(tenant: &str, name: &str, alias: &str, route: Route) -> Alias {
    let (tenant, key) = (tenant_id(tenant), key_id("key_a"));
    Alias { tenant, name: name.into(), alias: alias.into(), sequence: 77, route, at_ms: 6, key }
}

async fn published(store: &dyn Store) {
    for id in ["a", "b"] {
        store.create_tenant(&tenant(id, 1)).await.expect("created");
    }
    for (tenant, name, number) in [("a", "iris", 1), ("a", "iris", 2), ("a", "digits", 1), ("b", "iris", 1)] {
        let new = store.publish_version(&version(tenant, name)).await.expect("published");
        assert_eq!(new, ModelVersion { version: number, ..version(tenant, name) });
    }
}

#[tokio::test]
async fn versions_are_numbered_in_each_model() {
    on_all(async |store| {
        published(store).await;
        let list = async |name: Option<&str>| {
            let versions = store.model_versions(&tenant_id("a"), name).await.expect("listed");
            versions.into_iter().map(|version| (version.name, version.version)).collect::<Vec<_>>()
        };
        let iris = [("iris".to_owned(), 2), ("iris".to_owned(), 1)];
        assert_eq!(list(Some("iris")).await, iris);
        assert_eq!(list(None).await, [vec![("digits".to_owned(), 1)], iris.to_vec()].concat());
        let read = store.model_version(&tenant_id("b"), "iris", 1).await.expect("read");
        assert_eq!(read, ModelVersion { version: 1, ..version("b", "iris") });
        not_found(store.model_version(&tenant_id("b"), "iris", 2).await);
        not_found(store.publish_version(&version("nobody", "iris")).await);
        bad_input(store.publish_version(&version("a", "Iris")).await, "`name`");
        bad_input(
            store.publish_version(&ModelVersion { manifest: "x".repeat(300_000), ..version("a", "x") }).await,
            "300000",
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_publishes_once() {
    on_all(async |store| {
        published(store).await;
        let of_job = ModelVersion { job: Some("job_1".parse().expect("id")), ..version("a", "iris") };
        let first = store.publish_version(&of_job).await.expect("published");
        assert_eq!((first.version, &first.job), (3, &of_job.job));
        assert_eq!(store.publish_version(&of_job).await.expect("again"), first);
        assert_eq!(store.model_versions(&tenant_id("a"), Some("iris")).await.expect("listed").len(), 3);
    })
    .await;
}

#[tokio::test]
async fn an_alias_leads_where_it_was_set_last() {
    on_all(async |store| {
        published(store).await;
        let canary = Route { version: 1, canary: Some((2, 10)), shadow: Some(2) };
        for (name, route) in [("production", Route::to(1)), ("production", canary.clone()), ("beta", Route::to(2))] {
            store.set_alias(&alias("a", "iris", name, route)).await.expect("set");
        }
        let now = store.aliases(&tenant_id("a"), Some("iris")).await.expect("listed");
        let expected = [
            Alias { sequence: 1, ..alias("a", "iris", "beta", Route::to(2)) },
            Alias { sequence: 2, ..alias("a", "iris", "production", canary.clone()) },
        ];
        assert_eq!(now, expected);
        assert_eq!(store.aliases(&tenant_id("a"), None).await.expect("listed"), expected);
        assert_eq!(store.aliases(&tenant_id("b"), None).await.expect("listed"), []);
        let history = store.alias_history(&tenant_id("a"), "iris", "production", 9).await.expect("read");
        let routes: Vec<_> = history.into_iter().map(|alias| (alias.sequence, alias.route)).collect();
        assert_eq!(routes, [(2, canary), (1, Route::to(1))]);
        assert_eq!(store.alias_history(&tenant_id("a"), "iris", "production", 1).await.expect("read").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_alias_leads_to_versions_in_use_alone() {
    on_all(async |store| {
        published(store).await;
        let set = async |name: &str, route| store.set_alias(&alias("a", "iris", name, route)).await;
        not_found(set("production", Route::to(9)).await);
        not_found(set("production", Route { canary: Some((9, 5)), ..Route::to(1) }).await);
        not_found(set("production", Route { shadow: Some(9), ..Route::to(1) }).await);
        bad_input(set("production", Route { canary: Some((2, 0)), ..Route::to(1) }).await, "`canary.percent` 0");
        bad_input(set("production", Route { canary: Some((2, 100)), ..Route::to(1) }).await, "`canary.percent` 100");
        bad_input(set("3", Route::to(1)).await, "digits alone");
        bad_input(set("a b", Route::to(1)).await, "`alias`");
        set("production", Route { shadow: Some(2), ..Route::to(1) }).await.expect("set");
        let tenant = tenant_id("a");
        conflict(store.archive_version(&tenant, "iris", 1, 10).await);
        conflict(store.archive_version(&tenant, "iris", 2, 10).await);
        set("production", Route::to(1)).await.expect("set");
        store.archive_version(&tenant, "iris", 2, 10).await.expect("archived");
        store.archive_version(&tenant, "iris", 2, 11).await.expect("again");
        let archived = store.model_version(&tenant, "iris", 2).await.expect("read");
        assert_eq!(archived.archived_at_ms, Some(10));
        conflict(set("production", Route::to(2)).await);
        not_found(store.archive_version(&tenant, "iris", 9, 10).await);
    })
    .await;
}

#[tokio::test]
async fn erasing_a_tenant_deletes_its_models() {
    on_all(async |store| {
        published(store).await;
        store.set_alias(&alias("a", "iris", "production", Route::to(1))).await.expect("set");
        store.erase_tenant(&tenant_id("a"), 9).await.expect("erased");
        assert_eq!(store.model_versions(&tenant_id("a"), None).await.expect("listed"), []);
        assert_eq!(store.aliases(&tenant_id("a"), None).await.expect("listed"), []);
        assert_eq!(store.alias_history(&tenant_id("a"), "iris", "production", 9).await.expect("read"), []);
        assert_eq!(store.model_versions(&tenant_id("b"), None).await.expect("listed").len(), 1);
        conflict(store.publish_version(&version("a", "iris")).await);
    })
    .await;
}

#[test]
fn names_are_safe_in_paths_and_addresses() {
    for good in ["iris", "3-layers", "a.b_c-d", &"x".repeat(64)] {
        check_model_name("name", good).expect("good");
    }
    for bad in ["", "..", ".a", "-a", "a/b", "a@b", "a:b", "A", "ü", "a\0", &"x".repeat(65)] {
        bad_input(check_model_name("name", bad), "`name`");
    }
}
