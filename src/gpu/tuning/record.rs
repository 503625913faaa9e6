//! The findings of tuning, in a file.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::schedule::{Outcome, Rejected, Subject, Winner};
use crate::Result;
use crate::files::{CacheFolder, slug};
use crate::ops::Op;

/// A longer file is not read.
const LONGEST_FILE: u64 = 16 << 20;

/// What the findings depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The version of wgconv.
    pub wgconv: String,
    /// The adapter's name.
    pub adapter: String,
    /// Name and version of its driver.
    pub driver: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Whether kernels check their indices.
    pub shader_checks: bool,
}

/// The findings about one operation of one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The operation.
    pub op: String,
    /// Its sizes.
    pub sizes: String,
    /// Hash of the kernels that were compared: findings about some kernels need not apply to others.
    pub kernels: String,
    /// The implementation to run, if one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Winner>,
    /// Implementations that must not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
    /// Number of attempts that had enough time and found no winner.
    #[serde(default)]
    pub attempts: u32,
}

/// After this many attempts without a winner, the choice of the rules is final.
const MOST_ATTEMPTS: u32 = 3;

/// An operation's name and sizes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String, String);

impl Key {
    pub fn new(op: &dyn Op) -> Self {
        Key(op.name().into(), format!("{op:?}"))
    }
}

impl Record {
    pub fn new(subject: &Subject, outcome: Outcome) -> Self {
        let Key(op, sizes) = Key::new(subject.op);
        let Outcome { winner, rejected, attempted: _, had_time } = outcome;
        let attempts = subject.attempts + u32::from(had_time && winner.is_none());
        Record { op, sizes, kernels: fingerprint(subject), winner, rejected, attempts }
    }

    /// Whether there is nothing left to measure.
    pub fn is_final(&self) -> bool {
        self.winner.is_some() || self.attempts >= MOST_ATTEMPTS
    }

    pub fn key(&self) -> Key {
        Key(self.op.clone(), self.sizes.clone())
    }

    /// Whether it applies to the operation's present kernels.
    pub fn fits(&self, subject: &Subject) -> bool {
        self.kernels == fingerprint(subject)
    }
}

/// Hash of all the code that runs.
fn fingerprint(subject: &Subject) -> String {
    let mut hasher = DefaultHasher::new();
    for implementation in &subject.implementations {
        (implementation.name, &implementation.workspace).hash(&mut hasher);
        for call in &implementation.calls {
            call.source.hash(&mut hasher);
            // Floats do not implement `Hash`.
            format!("{:?} {:?} {:?}", call.constants, call.bindings, call.workgroups).hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(flatten)]
    identity: Identity,
    operations: Vec<Record>,
}

/// The file that keeps the findings for one adapter.
#[derive(Clone, Debug)]
pub struct Store {
    folder: CacheFolder,
    name: String,
    identity: Identity,
}

impl Store {
    pub fn new(folder: CacheFolder, identity: Identity) -> Self {
        let name = format!("tuning-{}-{}.json", slug(&identity.adapter), slug(&identity.backend));
        Store { folder, name, identity }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path(&self.name)
    }

    /// The file's records for this identity; empty if the file is missing, damaged, or of another identity.
    pub fn load(&self) -> HashMap<Key, Record> {
        let content = self.folder.read(&self.name, LONGEST_FILE);
        let content: Option<Content> = content.and_then(|text| serde_json::from_slice(&text).ok());
        let records = content.filter(|content| content.identity == self.identity);
        let records = records.map_or_else(Vec::new, |content| content.operations);
        records.into_iter().map(|record| (record.key(), record)).collect()
    }

    /// Writes `records`, together with those that another process has added meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the folder cannot be written.
    pub fn save(&self, records: &HashMap<Key, Record>) -> Result<()> {
        let mut all = self.load();
        all.extend(records.iter().map(|(key, record)| (key.clone(), record.clone())));
        let mut operations: Vec<Record> = all.into_values().collect();
        operations.sort_by(|a, b| (&a.op, &a.sizes).cmp(&(&b.op, &b.sizes)));
        let content = Content { identity: self.identity.clone(), operations };
        let text = serde_json::to_vec_pretty(&content).expect("findings are plain JSON");
        self.folder.write(&self.name, &text)
    }
}
