//! Which modules a server has loaded: by MODULE LIST, else by INFO, which not every server tells them in.

use super::conn::Conn;
use super::error::RedisError;
use super::resp::Value;

/// Names of the loaded modules; `None` where the server tells them neither way. `info` is what it said to INFO.
///
/// # Errors
/// The connection's.
pub(super) async fn loaded(conn: &mut Conn, info: &str) -> Result<Option<Vec<String>>, RedisError> {
    match conn.cmd_str(&["MODULE", "LIST"]).await {
        Ok(list) => Ok(Some(module_names(&list))),
        Err(RedisError::Denied { .. } | RedisError::Server { .. } | RedisError::Loading { .. }) => {
            Ok(modules_in_info(info))
        }
        Err(error) => Err(error),
    }
}

/// MODULE LIST is an array of flat arrays of names and values.
fn module_names(list: &Value) -> Vec<String> {
    let name = |module: &Value| {
        let fields = module.as_array()?;
        fields.chunks(2).find_map(|pair| match pair {
            [key, value] if key.as_str() == Some("name") => value.as_str().map(str::to_owned),
            _ => None,
        })
    };
    list.as_array().unwrap_or_default().iter().filter_map(name).collect()
}

/// `module:name=vectorset,ver=1,…`, from INFO. `None` where INFO has no such section, for then nothing is known.
fn modules_in_info(text: &str) -> Option<Vec<String>> {
    text.lines().any(|l| l.trim_end() == "# Modules").then(|| {
        let name = |l: &str| l.strip_prefix("module:name=")?.split(',').next().map(str::to_owned);
        text.lines().filter_map(name).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::modules_in_info;

    /// INFO tells the modules only where it has a section for them.
    #[test]
    fn modules_are_told_by_their_section() {
        let text = "# Server\r\n# Modules\r\nmodule:name=json,ver=1\r\n# Keyspace\r\n";
        assert_eq!(modules_in_info(text), Some(vec!["json".to_owned()]));
        assert_eq!(modules_in_info("# Server\r\n"), None);
    }
}
