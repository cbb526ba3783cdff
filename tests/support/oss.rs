//! A bucket that answers as OSS is documented to (<https://www.alibabacloud.com/help/en/oss/developer-reference/>), as far as a vault asks: no server of
//! OSS's own is to be had for tests. What the documents do not say it refuses, as it does a request that is not signed as they say.

use crate::support::s3::{Fate, KEY, Line, Request, key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tair_backup_mcp::config::vault::{BucketPlace, CloudDefaults, VaultPlace};
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::bucket::Bucket;
use url::form_urlencoded;

/// Of one page of a listing; OSS may give fewer than are asked for.
const PAGE: usize = 3;
/// What every name in the bucket begins with here.
const PREFIX: &str = "redis/";
const NULL: &str = "null";
const DATE: &str = "Fri, 27 Nov 2026 00:00:00 GMT";

/// What a bucket does about versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    Off,
    Enabled,
    Paused,
}

/// An object, or a delete marker.
struct Version {
    key: String,
    id: String,
    tag: String,
    is_marker: bool,
    bytes: Vec<u8>,
    mark: String,
}

struct State {
    versioning: Versioning,
    lists_versions: bool,
    deletes: bool,
    /// Replies to puts that are lost from now on.
    loses: u32,
    /// The oldest first.
    all: Vec<Version>,
    made: u32,
}

/// A bucket, and the line on which it is asked.
pub struct Oss {
    state: Arc<Mutex<State>>,
    pub line: Line,
}

impl Oss {
    pub fn start(versioning: Versioning) -> Self {
        let state = State { versioning, lists_versions: true, deletes: true, loses: 0, all: Vec::new(), made: 0 };
        let state = Arc::new(Mutex::new(state));
        let answering = Arc::clone(&state);
        let line = Line::to(0, move |request| answering.lock().unwrap().answer(request));
        Self { state, line }
    }

    /// The place as a configuration has it.
    pub fn url(&self) -> String {
        format!("oss://backups/redis?endpoint=http://127.0.0.1:{}&addressing=path", self.line.port)
    }

    fn place(&self) -> BucketPlace {
        BucketPlace::parse(&self.url(), CloudDefaults::default()).unwrap()
    }

    /// A store there, that has seen nothing of it yet.
    pub fn store(&self) -> Bucket {
        Bucket::new(self.place(), Some(Arc::new(key())))
    }

    /// A vault there.
    pub fn vault(&self, spill_dir: &Path) -> Vault {
        Vault::at(&VaultPlace::Bucket(self.place()), spill_dir.to_owned(), Some(Arc::new(key())), None)
    }

    /// The access key, as the program looks for it.
    pub fn environment() -> Vec<(&'static str, String)> {
        vec![("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY.0.into()), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", KEY.1.into())]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn turn(&self, versioning: Versioning) {
        self.state().versioning = versioning;
    }

    /// Takes the right to list versions away.
    pub fn deny_listing(&self) {
        self.state().lists_versions = false;
    }

    /// Takes the right to delete away.
    pub fn deny_deleting(&self) {
        self.state().deletes = false;
    }

    /// Loses the replies to the next puts.
    pub fn lose_replies(&self, times: u32) {
        self.state().loses = times;
    }

    /// A put that was under way all the time lands once more, over what is there.
    pub fn land_again(&self, name: &str) {
        let key = format!("{PREFIX}{name}");
        let mut state = self.state();
        let last = state.current(&key).map(|one| (one.bytes.clone(), one.mark.clone())).unwrap();
        state.put(&key, &last.0, &last.1, false).unwrap();
    }

    /// An intruder puts an object.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.state().put(&format!("{PREFIX}{name}"), bytes, "theirs", false).unwrap();
    }

    /// An intruder deletes an object, as whoever names no version does.
    pub fn delete(&self, name: &str) {
        self.state().delete(&format!("{PREFIX}{name}"), None);
    }

    /// What lies under a name, the oldest first; `None` for a marker.
    pub fn versions(&self, name: &str) -> Vec<Option<Vec<u8>>> {
        let key = format!("{PREFIX}{name}");
        let state = self.state();
        let all = state.all.iter().filter(|one| one.key == key);
        all.map(|one| (!one.is_marker).then(|| one.bytes.clone())).collect()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Fate {
        if !is_signed(request) {
            return Fate::error(403, "SignatureDoesNotMatch");
        }
        let (path, query) = request.target.split_once('?').unwrap_or((request.target.as_str(), ""));
        let asked: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let key = path.strip_prefix("/backups").unwrap().trim_start_matches('/');
        let id = asked.get("versionId").map(String::as_str);
        match (request.method.as_str(), key) {
            ("GET", "") if asked.contains_key("versions") => self.list_versions(&asked),
            ("GET", "") => self.list(&asked),
            ("HEAD" | "GET", key) => self.read(request, key, id),
            ("PUT", key) if query.is_empty() => {
                let mark = request.header("x-oss-meta-put-id").unwrap_or_default();
                let is_new = request.header("x-oss-forbid-overwrite") == Some("true");
                match self.put(key, &request.body, mark, is_new) {
                    Err(fate) => fate,
                    Ok(_) if self.loses > 0 => {
                        self.loses -= 1;
                        Fate::Lose
                    }
                    Ok(id) => {
                        let tag = self.all.last().unwrap().tag.clone();
                        Fate::Answer { status: 200, headers: self.headers(&id, &tag), body: Vec::new() }
                    }
                }
            }
            // What becomes of a version that is named where none were ever kept is not said.
            ("DELETE", _) if id.is_some() && self.versioning == Versioning::Off => Fate::error(501, "NotImplemented"),
            ("DELETE", _) if !self.deletes => Fate::error(403, "AccessDenied"),
            ("DELETE", key) => {
                self.delete(key, id);
                Fate::Answer { status: 204, headers: Vec::new(), body: Vec::new() }
            }
            _ => Fate::error(501, "NotImplemented"),
        }
    }

    fn headers(&self, id: &str, tag: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![("etag", tag.to_owned()), ("last-modified", DATE.to_owned())];
        if self.versioning != Versioning::Off {
            headers.push(("x-oss-version-id", id.to_owned()));
        }
        headers
    }

    fn current(&self, key: &str) -> Option<&Version> {
        self.all.iter().rfind(|one| one.key == key)
    }

    fn next_id(&mut self) -> String {
        self.made += 1;
        if self.versioning == Versioning::Enabled { format!("CAEQ{:04}", self.made) } else { NULL.to_owned() }
    }

    /// Its version.
    fn put(&mut self, key: &str, bytes: &[u8], mark: &str, is_new: bool) -> Result<String, Fate> {
        // The header does not take effect where versioning is enabled or suspended.
        if is_new && self.versioning == Versioning::Off && self.current(key).is_some() {
            return Err(Fate::error(409, "FileAlreadyExists"));
        }
        let id = self.next_id();
        self.all.retain(|one| one.key != key || one.id != id);
        self.all.push(Version {
            key: key.to_owned(),
            id: id.clone(),
            tag: tag(bytes),
            is_marker: false,
            bytes: bytes.to_owned(),
            mark: mark.to_owned(),
        });
        Ok(id)
    }

    fn delete(&mut self, key: &str, id: Option<&str>) {
        if let Some(id) = id {
            return self.all.retain(|one| one.key != key || one.id != id);
        }
        let id = self.next_id();
        self.all.retain(|one| one.key != key || one.id != id);
        if self.versioning != Versioning::Off {
            let (key, tag) = (key.to_owned(), String::new());
            self.all.push(Version { key, id, tag, is_marker: true, bytes: Vec::new(), mark: String::new() });
        }
    }

    fn read(&self, request: &Request, key: &str, id: Option<&str>) -> Fate {
        let found = match id {
            Some(id) => self.all.iter().find(|one| one.key == key && one.id == id),
            None => self.current(key),
        };
        let found = match (found, id) {
            (Some(found), Some(_)) if found.is_marker => return Fate::error(405, "MethodNotAllowed"),
            (Some(found), _) if !found.is_marker => found,
            (_, Some(_)) => return Fate::error(404, "NoSuchVersion"),
            _ => return Fate::error(404, "NoSuchKey"),
        };
        if request.header("if-match").is_some_and(|tag| tag != found.tag) {
            return Fate::error(412, "PreconditionFailed");
        }
        let mut headers = self.headers(&found.id, &found.tag);
        headers.push(("x-oss-meta-put-id", found.mark.clone()));
        let length = found.bytes.len();
        if request.method == "HEAD" {
            headers.push(("content-length", length.to_string()));
            return Fate::Answer { status: 200, headers, body: Vec::new() };
        }
        let Some(range) = request.header("range") else {
            return Fate::Answer { status: 200, headers, body: found.bytes.clone() };
        };
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        headers.push(("content-range", format!("bytes {from}-{to}/{length}")));
        Fate::Answer { status: 206, headers, body: found.bytes[from..=to].to_vec() }
    }

    fn list_versions(&self, asked: &BTreeMap<String, String>) -> Fate {
        if !self.lists_versions {
            return Fate::error(403, "AccessDenied");
        }
        let Some(most) = most(asked) else { return Fate::error(400, "InvalidArgument") };
        let (prefix, delimiter) = (text(asked, "prefix"), text(asked, "delimiter"));
        let mut all: Vec<(usize, &Version)> =
            self.all.iter().enumerate().filter(|(_, one)| one.key.starts_with(prefix)).collect();
        // Names in their order, versions of one from the newest on.
        all.sort_by(|(m, a), (n, b)| a.key.cmp(&b.key).then(n.cmp(m)));
        let folders = folders(all.iter().map(|(_, one)| one.key.as_str()), prefix, delimiter);
        all.retain(|(_, one)| folder(&one.key, prefix, delimiter).is_none());
        let (key, id) = (text(asked, "key-marker"), text(asked, "version-id-marker"));
        if !key.is_empty() {
            let last = all.iter().position(|(_, one)| one.key == key && one.id == id).unwrap();
            all.drain(..=last);
        }
        let is_cut = all.len() > most.min(PAGE);
        all.truncate(most.min(PAGE));
        let mut body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListVersionsResult>\n  <Name>backups</Name>\n  <Prefix>{prefix}</Prefix>\n  \
             <KeyMarker>{key}</KeyMarker>\n  <VersionIdMarker>{id}</VersionIdMarker>\n  <MaxKeys>{most}</MaxKeys>\n  \
             <Delimiter>{delimiter}</Delimiter>\n  <IsTruncated>{is_cut}</IsTruncated>\n"
        );
        if let Some((_, last)) = all.last().filter(|_| is_cut) {
            let (key, id) = (&last.key, &last.id);
            let _ = write!(
                body,
                "  <NextKeyMarker>{key}</NextKeyMarker>\n  <NextVersionIdMarker>{id}</NextVersionIdMarker>\n"
            );
        }
        for (n, one) in all {
            let is_latest = self.all.iter().rposition(|other| other.key == one.key) == Some(n);
            let what = if one.is_marker { "DeleteMarker" } else { "Version" };
            let (key, id) = (&one.key, &one.id);
            let _ = write!(
                body,
                "  <{what}>\n    <Key>{key}</Key>\n    <VersionId>{id}</VersionId>\n    <IsLatest>{is_latest}</IsLatest>\n    \
                 <LastModified>2026-11-27T00:00:00.000Z</LastModified>\n"
            );
            if !one.is_marker {
                let (tag, size) = (&one.tag, one.bytes.len());
                let _ = write!(
                    body,
                    "    <ETag>{tag}</ETag>\n    <Type>Normal</Type>\n    <Size>{size}</Size>\n    <StorageClass>Standard</StorageClass>\n"
                );
            }
            let _ = write!(
                body,
                "    <Owner>\n      <ID>1234</ID>\n      <DisplayName>1234</DisplayName>\n    </Owner>\n  </{what}>\n"
            );
        }
        body += &folders;
        body += "</ListVersionsResult>\n";
        Fate::Answer { status: 200, headers: Vec::new(), body: body.into_bytes() }
    }

    fn list(&self, asked: &BTreeMap<String, String>) -> Fate {
        if most(asked).is_none() {
            return Fate::error(400, "InvalidArgument");
        }
        let (prefix, delimiter) = (text(asked, "prefix"), text(asked, "delimiter"));
        let keys: BTreeSet<&str> =
            self.all.iter().map(|one| one.key.as_str()).filter(|key| key.starts_with(prefix)).collect();
        let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>\n");
        body += "  <Name>backups</Name>\n  <IsTruncated>false</IsTruncated>\n";
        for key in keys.iter().filter(|key| folder(key, prefix, delimiter).is_none()) {
            let Some(Version { tag, bytes, .. }) = self.current(key).filter(|one| !one.is_marker) else { continue };
            let _ = write!(
                body,
                "  <Contents>\n    <Key>{key}</Key>\n    <LastModified>2026-11-27T00:00:00.000Z</LastModified>\n    <ETag>{tag}</ETag>\n    \
                 <Type>Normal</Type>\n    <Size>{}</Size>\n    <StorageClass>Standard</StorageClass>\n  </Contents>\n",
                bytes.len()
            );
        }
        body += &folders(keys.into_iter(), prefix, delimiter);
        body += "</ListBucketResult>\n";
        Fate::Answer { status: 200, headers: Vec::new(), body: body.into_bytes() }
    }
}

/// As OSS's own: the same bytes have the same.
fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016X}\"", hasher.finish())
}

fn text<'a>(asked: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    asked.get(name).map_or("", String::as_str)
}

/// How many names are asked for, where that is in the range that is documented.
fn most(asked: &BTreeMap<String, String>) -> Option<usize> {
    let most = asked.get("max-keys").map_or(100, |most| most.parse().unwrap());
    (1..1000).contains(&most).then_some(most)
}

/// The folder under the prefix in which a name lies.
fn folder<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let at = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

fn folders<'a>(keys: impl Iterator<Item = &'a str>, prefix: &str, delimiter: &str) -> String {
    let all: BTreeSet<&str> = keys.filter_map(|key| folder(key, prefix, delimiter)).collect();
    all.iter().map(|one| format!("  <CommonPrefixes>\n    <Prefix>{one}</Prefix>\n  </CommonPrefixes>\n")).collect()
}

/// Whether a request is signed by version 1, with those of its parameters that are sub-resources
/// (<https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header>).
fn is_signed(request: &Request) -> bool {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target.as_str(), ""));
    let mut parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .filter(|(name, _)| matches!(name.as_str(), "versions" | "versionId" | "continuation-token"))
        .collect();
    parameters.sort();
    let parameters: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| if value.is_empty() { name } else { format!("{name}={value}") })
        .collect();
    let resource = if parameters.is_empty() { path.to_owned() } else { format!("{path}?{}", parameters.join("&")) };
    let mut own: Vec<(String, &str)> = request
        .headers()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name.starts_with("x-oss-"))
        .collect();
    own.sort();
    let own: String = own.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let [md5, kind, date] =
        ["content-md5", "content-type", "date"].map(|name| request.header(name).unwrap_or_default());
    let signed = format!("{}\n{md5}\n{kind}\n{date}\n{own}{resource}", request.method);
    let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, KEY.1.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&secret, signed.as_bytes()).as_ref());
    request.header("authorization") == Some(format!("OSS {}:{signature}", KEY.0).as_str())
}
