//! The cloud's requests and replies with their real names and quirks: read leniently, written strictly.
//!
//! A reply's optional fields are `None` when they are missing, empty, masked or of a form nobody promised; ids and lists
//! are not: a list that cannot be read is an error, because "no backups" is an answer somebody acts on. Every type is
//! written as the API publishes it, so that a server of the API can use the same types.

pub mod attribute;
pub mod backups;
pub mod clone;
pub mod clusters;
pub mod instances;
pub mod monitor;
pub mod paging;
pub mod policy;
pub mod regions;
pub mod restore;
pub mod settings;

mod lenient;
mod url;

pub(super) use lenient::parse;
pub use lenient::{read_reply, read_success};
pub use url::DownloadUrl;

use crate::model::time::parse as parse_time;
use crate::tair::params::{Params, first};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

/// HTTP method of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
}

impl Method {
    /// The method as the wire has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Kind of an action that destroys nothing and costs nothing: it takes no grant.
#[derive(Debug)]
pub enum Harmless {}

/// An action of the API: its parameters, and the reply that it gets.
pub trait Action: Sync {
    /// The action's name.
    const NAME: &'static str;
    /// The HTTP method of the call.
    const METHOD: Method;
    /// Whether it changes something. Such a call is never repeated unless the cloud said that nothing was done.
    const WRITES: bool;
    /// What the cloud answers a success with.
    type Reply: DeserializeOwned + Send;
    /// The kind of grant that it takes: [`Harmless`] for what neither overwrites, nor deletes, nor costs money.
    type Needs;

    /// Its parameters as they are sent.
    fn params(&self) -> Params;

    /// Reads its parameters as they arrive; unknown ones are ignored, as the cloud does.
    ///
    /// # Errors
    /// The first parameter that is missing or wrong.
    fn from_params(params: &Params) -> Result<Self, BadParam>
    where
        Self: Sized;
}

/// Whether a word of a reply is one of these: in whatever letter case, and never where it is missing.
#[must_use]
pub fn is_one_of(word: Option<&str>, known: &[&str]) -> bool {
    word.is_some_and(|word| known.iter().any(|known| known.eq_ignore_ascii_case(word.trim())))
}

/// A parameter that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadParam {
    /// A mandatory one is not there.
    #[error("{0} is mandatory for this action.")]
    Missing(String),
    /// Its value is of the wrong form.
    #[error("The Specified parameter {0} is not valid.")]
    Malformed(String),
}

/// Something that travels as one parameter, or as several under one name.
pub trait Param: Sized {
    /// Adds the parameter under a name.
    fn put(&self, name: &str, params: &mut Params);
    /// Finds the parameter of a name.
    ///
    /// # Errors
    /// When the parameter is missing or of the wrong form.
    fn take(name: &str, params: &Params) -> Result<Self, BadParam>;
}

/// A value that travels as text.
pub trait Scalar: Sized {
    /// As sent.
    fn write(&self) -> String;
    /// As read; `None` when the text is not of its form.
    fn read(text: &str) -> Option<Self>;
}

impl Scalar for String {
    fn write(&self) -> String {
        self.clone()
    }
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Scalar for i64 {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl Scalar for bool {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Option<Self> {
        match text.trim() {
            t if t.eq_ignore_ascii_case("true") || t == "1" => Some(true),
            t if t.eq_ignore_ascii_case("false") || t == "0" => Some(false),
            _ => None,
        }
    }
}

/// A boolean that travels as `1` and `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneZero(pub bool);

impl Scalar for OneZero {
    fn write(&self) -> String {
        if self.0 { "1" } else { "0" }.to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        bool::read(text).map(Self)
    }
}

/// A moment written to the minute, `yyyy-MM-ddTHH:mmZ`; read in either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(pub Timestamp);

impl Scalar for Minute {
    fn write(&self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%MZ").to_string()
    }
    fn read(text: &str) -> Option<Self> {
        parse_time("", text).ok().map(Self)
    }
}

/// A moment written to the second, `yyyy-MM-ddTHH:mm:ssZ`; read in either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(pub Timestamp);

impl Scalar for Second {
    fn write(&self) -> String {
        crate::model::time::written(self.0)
    }
    fn read(text: &str) -> Option<Self> {
        parse_time("", text).ok().map(Self)
    }
}

/// A label of an instance; travels as `Tag.1.Key` and `Tag.1.Value`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tag {
    /// The label's key.
    #[serde(deserialize_with = "lenient::plain_text")]
    pub key: String,
    /// The label's value.
    #[serde(deserialize_with = "lenient::plain_text")]
    pub value: String,
}

/// Labels in one call at most, as the API's own description has it; what follows is not read.
const MOST_TAGS: usize = 21;

impl<S: Scalar> Param for S {
    fn put(&self, name: &str, params: &mut Params) {
        params.push((name.to_owned(), self.write()));
    }
    fn take(name: &str, params: &Params) -> Result<Self, BadParam> {
        <Option<S> as Param>::take(name, params)?.ok_or_else(|| BadParam::Missing(name.to_owned()))
    }
}

impl<S: Scalar> Param for Option<S> {
    fn put(&self, name: &str, params: &mut Params) {
        if let Some(value) = self {
            value.put(name, params);
        }
    }
    fn take(name: &str, params: &Params) -> Result<Self, BadParam> {
        match first(params, name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => S::read(text).map(Some).ok_or_else(|| BadParam::Malformed(name.to_owned())),
        }
    }
}

impl Param for Vec<Tag> {
    fn put(&self, name: &str, params: &mut Params) {
        for (n, tag) in self.iter().enumerate() {
            params.push((format!("{name}.{}.Key", n + 1), tag.key.clone()));
            params.push((format!("{name}.{}.Value", n + 1), tag.value.clone()));
        }
    }
    fn take(name: &str, params: &Params) -> Result<Self, BadParam> {
        let mut tags = Self::new();
        while tags.len() < MOST_TAGS
            && let Some(key) = first(params, &format!("{name}.{}.Key", tags.len() + 1))
        {
            let value = first(params, &format!("{name}.{}.Value", tags.len() + 1)).unwrap_or_default();
            tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
        }
        Ok(tags)
    }
}

/// Declares an action: its parameters by field, each with its name on the wire.
macro_rules! action {
    ($(#[$doc:meta])* $name:ident, $method:ident, writes: $writes:literal, $reply:ty, { $($fields:tt)* }) => {
        $crate::tair::wire::action! {
            $(#[$doc])* $name, $method, writes: $writes, needs: $crate::tair::wire::Harmless, $reply, { $($fields)* }
        }
    };
    ($(#[$doc:meta])* $name:ident, $method:ident, writes: $writes:literal, needs: $needs:ty, $reply:ty,
     { $($(#[$fdoc:meta])* $field:ident: $type:ty = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }

        impl $crate::tair::wire::Action for $name {
            const NAME: &'static str = stringify!($name);
            const METHOD: $crate::tair::wire::Method = $crate::tair::wire::Method::$method;
            const WRITES: bool = $writes;
            type Reply = $reply;
            type Needs = $needs;

            fn params(&self) -> $crate::tair::params::Params {
                let mut params = $crate::tair::params::Params::new();
                $($crate::tair::wire::Param::put(&self.$field, $wire, &mut params);)*
                params
            }

            fn from_params(params: &$crate::tair::params::Params) -> Result<Self, $crate::tair::wire::BadParam> {
                Ok(Self { $($field: $crate::tair::wire::Param::take($wire, params)?,)* })
            }
        }
    };
}
pub(crate) use action;

/// A reply that says no more than that the call was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Done {
    /// For Alibaba Cloud's support.
    #[serde(deserialize_with = "lenient::plain_text")]
    pub request_id: String,
}

/// Reads a moment out of a reply's field; `None` for anything else.
#[must_use]
pub fn moment(text: Option<&str>) -> Option<Timestamp> {
    let text = text?.trim();
    // One published sample lacks the Z; the API knows no zone but UTC.
    parse_time("", text).or_else(|_| parse_time("", &format!("{text}Z"))).ok()
}
