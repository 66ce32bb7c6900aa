//! What a process can put up around itself, for good: limits on what it takes, then Landlock (which files), then seccomp
//! (which calls). Each is on its own enough against most of what a captured parser could do.
//!
//! Must not know models. Everything here works on the calling thread and those that it starts later: call [`Walls::raise`] before
//! there are others.

use super::calls;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::path::{Path, PathBuf};

/// Open files of one process: a model can have 512 shards.
const FILES_MAX: u64 = 1_024;

/// What the process may still do.
#[derive(Debug, Clone)]
pub struct Walls {
    /// Files and folders that it may read.
    pub places: Vec<PathBuf>,
    pub memory_bytes: u64,
    pub cpu_s: u64,
}

impl Walls {
    /// Closes what this kernel can close. The sides that stay open, in words.
    ///
    /// # Errors
    /// A side that the kernel can close, and did not.
    pub fn raise(&self) -> anyhow::Result<Vec<String>> {
        self.limits()?;
        let mut open = self.files()?;
        open.extend(calls::filter()?);
        Ok(open)
    }

    /// No more memory, time and files than given, nothing written, and no core.
    fn limits(&self) -> anyhow::Result<()> {
        forbid_cores()?;
        for (resource, most) in [
            (Resource::Data, self.memory_bytes),
            (Resource::Cpu, self.cpu_s),
            (Resource::Fsize, 0),
            (Resource::Nofile, FILES_MAX),
        ] {
            lower(resource, most).map_err(|error| anyhow::anyhow!("cannot limit {resource:?} to {most}: {error}"))?;
        }
        Ok(())
    }

    /// Reading of the places; no other file, no network, and no talk with other processes.
    fn files(&self) -> anyhow::Result<Vec<String>> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V7))?
            .handle_access(AccessNet::from_all(ABI::V7))?
            .scope(Scope::from_all(ABI::V7))?
            .create()?;
        for place in &self.places {
            let reading =
                if place.is_dir() { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
            rules = rules.add_rule(PathBeneath::new(PathFd::new(place)?, reading))?;
        }
        Ok(open_sides(&rules.restrict_self()?))
    }
}

/// For a process that writes in one folder: nothing is written elsewhere, nothing is sent or received, memory has a bound, and
/// no core is left. What the kernel cannot close stays open.
///
/// # Errors
/// A side that the kernel can close, and did not.
pub fn work_in(folder: &Path, memory_bytes: u64) -> anyhow::Result<()> {
    forbid_cores()?;
    lower(Resource::Data, memory_bytes).map_err(|error| anyhow::anyhow!("cannot limit memory: {error}"))?;
    let writing = AccessFs::from_write(ABI::V7);
    let rules = Ruleset::default()
        .handle_access(writing)?
        .handle_access(AccessNet::from_all(ABI::V7))?
        .scope(Scope::from_all(ABI::V7))?
        .create()?;
    rules.add_rule(PathBeneath::new(PathFd::new(folder)?, writing))?.restrict_self()?;
    Ok(())
}

fn open_sides(status: &RestrictionStatus) -> Vec<String> {
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return vec!["files (this kernel has no Landlock)".to_owned()];
    };
    // Older ones lack the cutting of files or calls on devices, which seccomp refuses anyway.
    match effective_abi {
        ABI::Unsupported => vec!["files (this kernel has no Landlock)".to_owned()],
        _ => vec![],
    }
}

/// No core file of this process, by whatever it dies, and no look into its memory by others of its user.
///
/// # Errors
/// The system refuses.
pub fn forbid_cores() -> anyhow::Result<()> {
    lower(Resource::Core, 0).map_err(|error| anyhow::anyhow!("cannot forbid core files: {error}"))?;
    // A collector that the kernel hands cores to (`core_pattern` with a `|`) may look past the limit, but not past this.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| anyhow::anyhow!("cannot make this process undumpable: {error}"))
}

/// Lowers a limit for good; one that is lower already stays.
fn lower(resource: Resource, most: u64) -> rustix::io::Result<()> {
    // At the hard limit of time the kernel kills without a word; a second before it says why.
    let spare = u64::from(resource == Resource::Cpu);
    let hard = rustix::process::getrlimit(resource).maximum.map_or(most + spare, |hard| hard.min(most + spare));
    setrlimit(resource, Rlimit { current: Some(hard.min(most)), maximum: Some(hard) })
}
