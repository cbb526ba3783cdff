//! Where things of a set lie, and what a folder is by what lies in it.
//!
//! | in the folder | what it is |
//! |---|---|
//! | `manifest.json` | a set; whole if `data.rdb.zst` is what the manifest says |
//! | data, no manifest | being staged by a job that runs; else what a crash left of one: damage |
//! | `manifest.json.deleting`, no manifest | being deleted, or what a crash left of that: nothing any more |
//! | nothing, or files that never got their name | nothing |

/// The data object of a set, written first.
pub const DATA: &str = "data.rdb.zst";
/// The manifest of a set, put last: with it the set exists, without it there is none.
pub const MANIFEST: &str = "manifest.json";
/// What the manifest is renamed to, first of all, when its set is deleted.
pub const DELETING: &str = "manifest.json.deleting";

/// Beginning of the folder that earlier versions wrote a set in, before they renamed the folder.
pub const EARLIER_STAGING: &str = ".draft-";
/// Beginning of the folder that earlier versions renamed a set's folder to, before they removed it.
pub const EARLIER_DELETING: &str = ".grave-";

/// What a folder of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// A set, which may be damaged.
    Set,
    /// Data without a manifest.
    Staging,
    /// What is left of a set that does not exist any more.
    Deleting,
    /// Nothing that ever was a set.
    Nothing,
}

/// Judges a folder by the names in it. A file where a folder should be, or a folder that cannot be looked into, has the empty
/// name in it and is taken for a set: reading it says what is wrong.
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

/// The folder of a set.
pub fn set(instance_id: &str, backup_id: &str) -> String {
    format!("{instance_id}/{backup_id}")
}

/// An object of a set.
pub fn object(instance_id: &str, backup_id: &str, name: &str) -> String {
    format!("{instance_id}/{backup_id}/{name}")
}
