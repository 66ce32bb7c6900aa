//! A model made elsewhere comes into the registry: its files are checked before any of them is kept.

use super::{NewPart, NewVersion, Registry, VersionInfo};
use crate::Error;
use crate::access::Action;
use crate::accounts::{Principal, note};
use crate::predict::refusal;
use orrery_predict::{Artefact, MANIFEST_NAME, Settings};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Registry {
    /// Publishes the files of an artefact, `orrery.json` among them, as a version of the model `name`.
    ///
    /// # Errors
    /// `Forbidden`; `BadInput`: the artefact is broken, or of a kind that is not served; else those of the vault.
    pub async fn import(&self, by: &Principal, name: &str, parts: Vec<NewPart>) -> Result<VersionInfo, Error> {
        by.check(Action::ManageModels)?;
        let checked: BTreeMap<String, Arc<[u8]>> =
            parts.iter().map(|part| (part.name.clone(), Arc::from(&*part.content))).collect();
        let check = move || {
            let artefact = Artefact::from_parts(&checked, &Settings::default()).map_err(refusal)?;
            let description: Value = checked
                .get(MANIFEST_NAME)
                .and_then(|text| serde_json::from_slice(text).ok())
                .ok_or_else(|| Error::internal("a description that was read cannot be read again"))?;
            drop(artefact);
            Ok(description)
        };
        let description: Value = crate::pull::blocking(check).await?;
        let task = description.get("task").and_then(Value::as_str).unwrap_or_default().to_owned();
        let details = Map::from_iter([("files".to_owned(), json!(parts.len()))]);
        note(self.store.as_ref(), by, "model.import", Some(&by.tenant.id), name, details).await?;
        let (tenant, key) = (by.tenant.id.clone(), by.key.id.clone());
        self.publish(NewVersion { tenant, key, name: name.to_owned(), task, description, parts, job: None }).await
    }
}
