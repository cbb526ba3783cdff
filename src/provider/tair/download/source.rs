//! Where a set's file comes from: the one file, the URL that this machine can use, and new URLs for those that expire.

use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::secret::Secret;
use crate::provider::SignedUrl;
use crate::provider::tair::Inner;
use crate::provider::tair::sets::{CloudSet, Shard};
use crate::tair::wire::DownloadUrl;

/// New URLs in a row, without a byte between them.
pub const RENEWALS: u32 = 3;

/// A set's file, listed again whenever a new URL is needed.
pub struct Source<'a> {
    /// The provider's inside.
    pub inner: &'a Inner,
    /// The instance whose set is downloaded.
    pub instance_id: &'a str,
    /// The set, or one file of a set.
    pub backup_id: &'a str,
}

impl Source<'_> {
    /// The file as it is listed now, whatever was found in it here.
    pub async fn shard(&self) -> Result<Shard, Fault> {
        let set = self.inner.set_or_file_as_listed(self.instance_id, self.backup_id).await?;
        only_file(&set).cloned()
    }
}

impl Inner {
    /// A URL from which a set of one file can be read by whoever has the URL.
    pub async fn download_url(&self, set: &BackupSet) -> Result<SignedUrl, Fault> {
        let set = self.set_or_file(&set.instance_id, &set.id).await?;
        let url = url_of(only_file(&set)?, self.client.is_in_vpc())?;
        Ok(SignedUrl { url: Secret::new(url.expose()), expires_at: url.expires_at() })
    }
}

/// The fault of a download that can be resumed.
pub fn incomplete(why: &str) -> Fault {
    Fault::new(Kind::Provider, "download.interrupted", format!("the download stopped: {why}"))
        .hint("What has arrived is kept; call download_backup again to resume where it stopped.")
        .retry_after(std::time::Duration::from_secs(10))
}

/// The one file of a set.
///
/// # Errors
/// `download.several_files`, naming the shards to ask for.
pub fn only_file(set: &CloudSet) -> Result<&Shard, Fault> {
    match set.shards.as_slice() {
        [one] => Ok(one),
        [] => Err(Fault::new(
            Kind::Provider,
            "download.no_file",
            format!("the cloud lists no file for backup {}", set.set.id),
        )
        .hint("Choose another set with describe_backups.")),
        many => {
            let ids: Vec<String> = many.iter().map(|s| format!("{} ({})", s.id, s.node)).collect();
            Err(Fault::new(
                Kind::Usage,
                "download.several_files",
                format!("backup {} is a cluster's: it has one file for each of {} shards", set.set.id, many.len()),
            )
            .hint(format!("Call download_backup once for each shard, with its id as backup_id: {}", ids.join(", "))))
        }
    }
}

/// The URL that this machine can use.
///
/// # Errors
/// `download.no_url`.
pub fn url_of(shard: &Shard, in_vpc: bool) -> Result<&DownloadUrl, Fault> {
    let (wanted, kind) = if in_vpc { (&shard.intranet, "within the region") } else { (&shard.public, "public") };
    wanted.as_ref().ok_or_else(|| {
        Fault::new(Kind::Provider, "download.no_url", format!("the cloud gives no {kind} URL for backup {}", shard.id))
            .hint("Set [tair] vpc = true on a machine within the region, and leave it out elsewhere.")
    })
}
