//! A body as XML: what older clients get that do not say another format.

use serde_json::Value;

/// The content type: to the letter, for clients compare it.
pub const KIND: &str = "text/xml;charset=utf-8";

/// A body within an element of a name.
#[must_use]
pub fn document(root: &str, body: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    element(&mut out, root, body);
    out
}

/// A list has its name once for each of its items.
fn element(out: &mut String, name: &str, value: &Value) {
    if let Value::Array(items) = value {
        items.iter().for_each(|item| element(out, name, item));
        return;
    }
    out.push_str(&format!("<{name}>"));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| element(out, name, value)),
        Value::String(text) => text.chars().for_each(|c| push_escaped(out, c)),
        Value::Null | Value::Array(_) => {}
        Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
    out.push_str(&format!("</{name}>"));
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        '"' => out.push_str("&quot;"),
        // XML has no way to write these.
        c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push(' '),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    //! Lists repeat their name, texts are escaped, and nothing is left open.
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_are_written() {
        let body = json!({"Id": 1, "Rows": {"Row": [{"A": "x<&>\""}, {"A": null}]}, "Bare": [true, "b"]});
        let written = document("R", &body);
        let (_, xml) = written.split_once('\n').unwrap_or_default();
        assert!(xml.starts_with("<R>") && xml.ends_with("</R>"), "{xml}");
        for part in [
            "<Id>1</Id>",
            "<Rows><Row><A>x&lt;&amp;&gt;&quot;</A></Row><Row><A></A></Row></Rows>",
            "<Bare>true</Bare><Bare>b</Bare>",
        ] {
            assert!(xml.contains(part), "{part}: {xml}");
        }
    }
}
