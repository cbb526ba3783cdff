//! The names of a set's objects, and what a folder is, judged by the names in it.
//!
//! | names in the folder | the folder is |
//! |---|---|
//! | `manifest.json` | a set; whole if `data.rdb.zst` is what the manifest says, also beside `manifest.json.deleting`: its deletion had only begun. Without data it is damage, or its put outlived its process and the data was discarded: [`Staging::never_whole`] tells which |
//! | data, with a signature or without, no manifest | a set being staged by a running job; else the remains of a crash: damage |
//! | `manifest.json.deleting`, no manifest | a set being deleted, or the remains of a crash: no set any more |
//! | none, or only temporary files | no set |
//!
//! A signature alone makes nothing of a folder: it is put before its manifest.
//!
//! [`Staging::never_whole`]: crate::vault::staging::Staging::never_whole

/// Name of a set's data object, which is written first.
pub const DATA: &str = "data.rdb.zst";
/// Name of a set's manifest, which is put last: with a manifest the set exists, without one there is none.
pub const MANIFEST: &str = "manifest.json";
/// Name of the manifest's signature, which is put right before it. Manifests of earlier versions have none.
pub const SIGNATURE: &str = "manifest.json.minisig";
/// Name that the manifest is renamed to, first of all, when its set is deleted.
pub const DELETING: &str = "manifest.json.deleting";

/// How the name of a segment of the log ends, which is encrypted as a set's data is.
pub const SEGMENT: &str = ".seg";

/// Prefix of the folder in which earlier versions wrote a set before they renamed the folder.
pub const EARLIER_STAGING: &str = ".draft-";
/// Prefix to which earlier versions renamed a set's folder before they removed it.
pub const EARLIER_DELETING: &str = ".grave-";

/// What a folder of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// A set, which may be damaged.
    Set,
    /// Data without a manifest.
    Staging,
    /// The remains of a set that does not exist any more.
    Deleting,
    /// A folder that never was a set.
    Nothing,
}

/// Judges a folder by the names in it. A file in a folder's place, or an unreadable folder, is listed with the empty name and
/// taken for a set: reading that set then reports the damage.
pub fn folder(names: &[String]) -> Folder {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(MANIFEST) || has("") {
        Folder::Set
    } else if has(DELETING) {
        Folder::Deleting
    } else if names.iter().any(|name| !name.starts_with('.')) {
        Folder::Staging
    } else {
        Folder::Nothing
    }
}

/// Whether a name within a set's folder is one that this program gives, or gave for a moment.
pub fn is_ours(name: &str) -> bool {
    matches!(name, DATA | MANIFEST | SIGNATURE | DELETING) || name.is_empty() || name.starts_with('.')
}

/// The prefix of a set's objects.
pub fn set(instance_id: &str, backup_id: &str) -> String {
    format!("{instance_id}/{backup_id}")
}

/// The full name of a set's object.
pub fn object(instance_id: &str, backup_id: &str, name: &str) -> String {
    format!("{instance_id}/{backup_id}/{name}")
}
