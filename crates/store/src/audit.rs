//! The audit log: who did what, in a chain of hashes that shows if a row was changed, moved or cut off.
//!
//! The hash of a row is sha256 over the hash of the row before (32 zero bytes before the first) and the row as canonical
//! JSON: keys in order, no spaces, whole numbers only. The number of rows and the last hash stand apart too, so that a
//! tail that was cut off is missed. Who can write the database can make a whole new chain: an operator who must rule
//! that out keeps [`AuditHead`]s elsewhere, and looks for them again.

use crate::error::{Error, Result, check_range, check_text};
use crate::id::TenantId;
use async_trait::async_trait;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The most rows of one [`Audit::audit`].
pub const AUDIT_ROWS_MAX: usize = 1_000;
/// The longest `details`, in bytes of JSON.
pub const DETAILS_BYTES_MAX: usize = 4_096;
/// The longest actor, action and subject, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// How deep `details` may be nested.
const DEPTH_MAX: usize = 8;

/// One action, as it is handed in. It holds no secret and no prompt: names of fields and ids, old and new settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// The id of the key that was used, or `operator` for the command line.
    pub actor: String,
    /// Whom it concerns; `None` for the platform as a whole.
    pub tenant: Option<TenantId>,
    /// Such as `key.revoke`.
    pub action: String,
    /// The id of what was acted on.
    pub subject: String,
    /// Small, and without fractions, which have no canonical form.
    pub details: Map<String, Value>,
}

/// One row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// From 1, without gaps.
    pub sequence: u64,
    /// What was handed in.
    pub entry: AuditEntry,
    /// The hash of the row before.
    pub previous: [u8; 32],
    /// The hash of this row.
    pub hash: [u8; 32],
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// How many rows there are.
    pub rows: u64,
    /// The hash of the last one; zeros if there is none.
    pub hash: [u8; 32],
}

/// What [`Audit::verify_audit`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row is as it was written.
    Intact(AuditHead),
    /// The first row that is not.
    Broken {
        /// Its number.
        sequence: u64,
        /// What is wrong with it.
        fault: AuditFault,
    },
}

/// What is wrong with a row of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFault {
    /// Its content does not match its hash.
    Edited,
    /// It is gone.
    Missing,
    /// It does not follow from the row before: one of the two was moved, or changed together with its hash.
    OutOfOrder,
    /// It stands behind the end of the log: it was added past the chain, or the end was changed.
    BehindEnd,
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edited => "was edited",
            Self::Missing => "is missing",
            Self::OutOfOrder => "does not follow from the row before",
            Self::BehindEnd => "stands behind the end of the log",
        })
    }
}

/// Which rows of the log are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// About this tenant alone.
    pub tenant: Option<TenantId>,
    /// Rows with a smaller number alone: to go on where the last answer ended.
    pub before: Option<u64>,
    /// At most so many, 1 to [`AUDIT_ROWS_MAX`].
    pub rows_max: usize,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self { tenant: None, before: None, rows_max: AUDIT_ROWS_MAX }
    }
}

/// The audit log. Rows come and stay; nothing changes or removes one, and several processes may append.
///
/// An action and its row are two transactions. Append first, then act: a row about what then failed does less harm than
/// an action without one.
#[async_trait]
pub trait Audit: std::fmt::Debug + Send + Sync {
    /// Appends a row behind the last one, durably.
    ///
    /// # Errors
    /// `BadInput`: a text or `details` is over its bound, or has a fraction. `Full`, `Unavailable`: do not act then.
    async fn append_audit(&self, entry: &AuditEntry) -> Result<AuditRow>;

    /// Rows, newest first.
    ///
    /// # Errors
    /// `BadInput`: `rows_max` is out of bounds.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRow>>;

    /// Where the log ends.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn audit_head(&self) -> Result<AuditHead>;

    /// Walks all rows and names the first that is not as it was written. Rows that are appended meanwhile are not
    /// looked at.
    ///
    /// # Errors
    /// Those of the database alone: a broken chain is an answer.
    async fn verify_audit(&self) -> Result<AuditVerdict>;
}

impl AuditEntry {
    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        check_text("actor", &self.actor, TEXT_BYTES_MAX)?;
        check_text("action", &self.action, TEXT_BYTES_MAX)?;
        check_text("subject", &self.subject, TEXT_BYTES_MAX)?;
        self.details.values().try_for_each(|value| check_value(value, DEPTH_MAX))?;
        let bytes = self.details_text().len();
        check_range("bytes of details", bytes as u64, 0..=DETAILS_BYTES_MAX as u64)
    }

    /// `details` as canonical JSON, which is how they are stored.
    pub(crate) fn details_text(&self) -> String {
        let mut text = String::new();
        write_object(&self.details, &mut text);
        text
    }

    /// The row of this entry behind `head`.
    pub(crate) fn follow(&self, head: &AuditHead) -> AuditRow {
        let sequence = head.rows + 1;
        AuditRow { sequence, entry: self.clone(), previous: head.hash, hash: hash(&head.hash, sequence, self) }
    }
}

impl AuditRow {
    /// What is wrong with this row, if it is what was found for the row behind `head`.
    pub(crate) fn fault(&self, head: &AuditHead) -> Option<AuditFault> {
        if self.sequence != head.rows + 1 {
            Some(AuditFault::Missing)
        } else if self.previous != head.hash {
            Some(AuditFault::OutOfOrder)
        } else if self.hash != hash(&self.previous, self.sequence, &self.entry) {
            Some(AuditFault::Edited)
        } else {
            None
        }
    }

    /// The end of the log while this row is its last.
    pub(crate) fn head(&self) -> AuditHead {
        AuditHead { rows: self.sequence, hash: self.hash }
    }
}

impl AuditQuery {
    /// Both stores call this before they read.
    pub(crate) fn check(&self) -> Result<()> {
        check_range("rows_max", self.rows_max as u64, 1..=AUDIT_ROWS_MAX as u64)
    }
}

fn hash(previous: &[u8; 32], sequence: u64, entry: &AuditEntry) -> [u8; 32] {
    let mut row = Map::new();
    row.insert("action".into(), entry.action.clone().into());
    row.insert("actor".into(), entry.actor.clone().into());
    row.insert("at_ms".into(), entry.at_ms.into());
    row.insert("details".into(), entry.details.clone().into());
    row.insert("sequence".into(), sequence.into());
    row.insert("subject".into(), entry.subject.clone().into());
    row.insert("tenant".into(), entry.tenant.as_ref().map(|tenant| tenant.as_str()).into());
    let mut text = String::new();
    write_object(&row, &mut text);
    Sha256::new().chain_update(previous).chain_update(text).finalize().into()
}

fn check_value(value: &Value, depth: usize) -> Result<()> {
    if depth == 0 {
        return Err(Error::BadInput(format!("`details` are nested over {DEPTH_MAX} deep; make them flatter")));
    }
    match value {
        Value::Number(number) if number.is_f64() => {
            Err(Error::BadInput(format!("`details` have the fraction {number}; give a whole number in smaller units")))
        }
        Value::Array(values) => values.iter().try_for_each(|value| check_value(value, depth - 1)),
        Value::Object(map) => map.values().try_for_each(|value| check_value(value, depth - 1)),
        _ => Ok(()),
    }
}

fn write_object(map: &Map<String, Value>, text: &mut String) {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    text.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        write_value(value, text);
    }
    text.push('}');
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => write_object(map, text),
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(value, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_is_what_another_program_computes() {
        let json = json!({"z": [1, {"b": null, "a": "é\"\n"}], "a": true});
        let Value::Object(details) = json else { unreachable!() };
        let entry = AuditEntry {
            at_ms: 1_700_000_000_000,
            actor: "operator".into(),
            tenant: Some(TenantId::first()),
            action: "key.revoke".into(),
            subject: "key_a".into(),
            details,
        };
        assert_eq!(entry.details_text(), r#"{"a":true,"z":[1,{"a":"é\"\n","b":null}]}"#);
        // From Python: hashlib.sha256(bytes(32) + json.dumps(row, sort_keys=True, separators=(",", ":"),
        // ensure_ascii=False).encode()).hexdigest()
        let hash = entry.follow(&AuditHead::default()).hash;
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "a49ac86ed4dbe9c78ac614c459abef5781780f8052a6c932b0723b757954a5d1");
    }
}
