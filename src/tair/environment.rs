//! The environment as a value: variables and the home directory, so that what is read of them can be tested.

use std::collections::HashMap;
use std::path::PathBuf;

/// Environment variables and where the user's files are.
#[derive(Clone)]
pub struct Environment {
    /// `None` reads the process's.
    vars: Option<HashMap<String, String>>,
    home: Option<PathBuf>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The variables hold secrets.
        f.debug_struct("Environment").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn process() -> Self {
        Self { vars: None, home: etcetera::home_dir().ok() }
    }

    /// Exactly these variables, and the home directory that `HOME` names.
    #[must_use]
    pub fn of(vars: HashMap<String, String>) -> Self {
        Self { home: vars.get("HOME").map(PathBuf::from), vars: Some(vars) }
    }

    /// A variable; an empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let value = match &self.vars {
            Some(vars) => vars.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|v| !v.is_empty())
    }

    /// Whether a variable is `true` or `1`.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v == "1" || v.eq_ignore_ascii_case("true"))
    }

    /// A file of the user.
    #[must_use]
    pub fn in_home(&self, path: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }
}
