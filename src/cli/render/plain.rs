//! Any reply for people, field by field: for a tool without a rendering of its own.

use serde_json::Value;

/// One line a field; nested fields are indented.
pub fn fields(json: &Value) -> String {
    let mut lines = Vec::new();
    add(json, 0, &mut lines);
    lines.join("\n")
}

fn add(json: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                if value.is_object() || value.is_array() {
                    lines.push(format!("{indent}{name}"));
                    add(value, depth + 1, lines);
                } else {
                    lines.push(format!("{indent}{name}  {}", scalar(value)));
                }
            }
        }
        Value::Array(rows) => rows.iter().for_each(|row| add(row, depth, lines)),
        value => lines.push(format!("{indent}{}", scalar(value))),
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::fields;
    use serde_json::json;

    /// Every field is on a line of its own, and text has no quotes.
    #[test]
    fn every_field_is_shown() {
        let reply = json!({ "status": "done", "rows": [{ "id": "a", "n": 1 }, { "id": "b", "n": 2 }], "tags": ["x"] });
        assert_eq!(fields(&reply), "status  done\nrows\n  id  a\n  n  1\n  id  b\n  n  2\ntags\n  x");
    }
}
