//! Checkpoints: what is learnt so far, on the disk so that a job can be killed at any moment.
//!
//! A checkpoint is a safetensors file with its facts as metadata. It is written under a new name and synchronised; then the
//! manifest, which names it with its digest, is put in place by one rename. So the manifest always names a whole file.

use crate::artefact::{digest, file, synchronise, write_synchronised};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "checkpoint.json";
const VERSION: u32 = 1;
/// The table of a file of ours is far below that.
const HEADER_MAX: usize = 16 << 20;

/// A state of training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Numbers that no tensor holds, exact: counts, bits of floats.
    pub facts: Value,
    /// Flat tensors by name.
    pub tensors: Vec<(String, Vec<f32>)>,
}

/// The checkpoints of one job.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    /// Digest of all that the state depends on.
    job: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    job: String,
    file: String,
    sha256: String,
}

impl Checkpoints {
    /// Checkpoints in `folder`, which is made when there is none. `job` is a digest of specification, data and code.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: &Path, job: String) -> Result<Checkpoints> {
        fs::create_dir_all(folder).map_err(file("could not be made", folder))?;
        Ok(Checkpoints { folder: folder.to_owned(), job })
    }

    /// Makes `checkpoint` the one that counts. `step` makes its name new.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::LimitReached`]; the one before still counts then.
    pub fn save(&self, step: u64, checkpoint: &Checkpoint) -> Result<()> {
        let bytes = encode(checkpoint);
        let sha256 = digest(&bytes);
        // The digest in the name: a file that a manifest means is never written again.
        let name = format!("step-{step}-{}.safetensors", &sha256[..8]);
        if self.manifest()?.is_some_and(|manifest| manifest.file == name && manifest.job == self.job) {
            return Ok(());
        }
        let manifest = Manifest { version: VERSION, job: self.job.clone(), file: name.clone(), sha256 };
        let manifest = serde_json::to_vec(&manifest).expect("invariant: plain fields");
        let staged = self.folder.join("checkpoint.json.new");
        let written = write_synchronised(&self.folder.join(&name), &bytes)
            .and_then(|()| write_synchronised(&staged, &manifest))
            .and_then(|()| synchronise(&self.folder));
        if let Err(error) = written {
            self.remove_all_but(self.manifest()?.map(|manifest| manifest.file).as_deref());
            return Err(error);
        }
        let place = self.folder.join(MANIFEST);
        fs::rename(&staged, &place).map_err(file("could not be put in its place", &place))?;
        synchronise(&self.folder)?;
        self.remove_all_but(Some(&name));
        Ok(())
    }

    /// The last checkpoint; `None` when there is none, or only one of another job or version.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Internal`] when the file is not the one that the manifest means.
    pub fn load(&self) -> Result<Option<Checkpoint>> {
        let Some(manifest) = self.manifest()? else { return Ok(None) };
        if manifest.version != VERSION || manifest.job != self.job || !plain(&manifest.file) {
            return Ok(None);
        }
        let path = self.folder.join(&manifest.file);
        let bytes = fs::read(&path).map_err(file("could not be read", &path))?;
        if digest(&bytes) != manifest.sha256 {
            let message = format!("{} is damaged; remove the job's checkpoints and start it again", manifest.file);
            return Err(Error::Internal(message));
        }
        decode(&bytes).map(Some)
    }

    /// Removes all of them: the job is done.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn clear(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(file("could not be removed", &self.folder))
    }

    fn manifest(&self) -> Result<Option<Manifest>> {
        let path = self.folder.join(MANIFEST);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file("could not be read", &path)(error)),
        }
    }

    /// What an elder checkpoint or a broken run left. A file that cannot be removed does no harm.
    fn remove_all_but(&self, kept: Option<&str>) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name != MANIFEST && name.to_str() != kept {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn plain(name: &str) -> bool {
    name.starts_with("step-") && !name.contains(['/', '\\', '\0'])
}

/// Safetensors: the length of the table in eight bytes, the table as JSON, the numbers.
fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut table = Map::new();
    table.insert("__metadata__".to_owned(), json!({ "facts": checkpoint.facts.to_string() }));
    let mut end = 0;
    for (name, values) in &checkpoint.tensors {
        let start = end;
        end += values.len() * 4;
        let entry = json!({ "dtype": "F32", "shape": [values.len()], "data_offsets": [start, end] });
        table.insert(name.clone(), entry);
    }
    let mut table = Value::Object(table).to_string();
    table.push_str(&" ".repeat(table.len().next_multiple_of(8) - table.len()));
    let mut bytes = Vec::with_capacity(8 + table.len() + end);
    bytes.extend((table.len() as u64).to_le_bytes());
    bytes.extend(table.as_bytes());
    bytes.extend(checkpoint.tensors.iter().flat_map(|(_, values)| values).flat_map(|value| value.to_le_bytes()));
    bytes
}

fn decode(bytes: &[u8]) -> Result<Checkpoint> {
    parse(bytes).ok_or_else(|| Error::Internal("a checkpoint is not in its format; start the job again".into()))
}

fn parse(bytes: &[u8]) -> Option<Checkpoint> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|&length| length <= HEADER_MAX)?;
    let (table, numbers) = rest.split_at_checked(length)?;
    let table: Map<String, Value> = serde_json::from_slice(table).ok()?;
    let mut checkpoint = Checkpoint::default();
    for (name, entry) in table {
        if name == "__metadata__" {
            checkpoint.facts = serde_json::from_str(entry["facts"].as_str()?).ok()?;
            continue;
        }
        let offset = |index: usize| usize::try_from(entry["data_offsets"][index].as_u64()?).ok();
        let (values, rest) = numbers.get(offset(0)?..offset(1)?)?.as_chunks::<4>();
        if !rest.is_empty() {
            return None;
        }
        checkpoint.tensors.push((name, values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()));
    }
    Some(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(step: u64) -> Checkpoint {
        let tensors = vec![("a".to_owned(), vec![1.0, f32::MIN_POSITIVE, -0.0]), ("b".to_owned(), vec![step as f32])];
        Checkpoint { facts: json!({ "step": step, "loss": 0.1_f64.to_bits() }), tensors }
    }

    #[test]
    fn the_last_checkpoint_is_found_by_its_own_job_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = Checkpoints::open(folder.path(), "one".into()).expect("opened");
        assert_eq!(checkpoints.load().expect("none"), None);
        for step in [3, 9] {
            checkpoints.save(step, &sample(step)).expect("saved");
            assert_eq!(checkpoints.load().expect("loaded"), Some(sample(step)));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "the elder one is gone");
        let other = Checkpoints::open(folder.path(), "two".into()).expect("opened");
        assert_eq!(other.load().expect("none"), None);
    }

    #[test]
    fn a_damaged_checkpoint_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = Checkpoints::open(folder.path(), "one".into()).expect("opened");
        checkpoints.save(1, &sample(1)).expect("saved");
        let path = folder.path().join(checkpoints.manifest().expect("read").expect("there").file);
        let mut bytes = fs::read(&path).expect("the file");
        *bytes.last_mut().expect("a byte") ^= 1;
        fs::write(&path, bytes).expect("damaged");
        assert!(matches!(checkpoints.load(), Err(Error::Internal(message)) if message.contains("damaged")));
    }

    #[test]
    fn half_a_table_is_no_checkpoint() {
        let bytes = encode(&sample(1));
        for length in 0..bytes.len() {
            assert_ne!(parse(&bytes[..length]), Some(sample(1)), "{length} bytes");
        }
        assert_eq!(parse(&bytes), Some(sample(1)));
    }
}
