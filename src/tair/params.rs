//! Parameters of a call and their one encoding: RFC 3986 percent-encoding, sorted, as both signatures want them.
//!
//! Nothing here knows what a parameter means.

/// Parameters of one call, in any order.
pub type Params = Vec<(String, String)>;

/// Percent-encodes everything but `A–Z a–z 0–9 - _ . ~`.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(digit(byte >> 4));
            out.push(digit(byte & 15));
        }
    }
    out
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

/// Decodes percent-encoding; `+` is a space, as servers have always read a query. What is not valid is kept as it is.
#[must_use]
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (value(*high), value(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok())
}

/// `name=value&…`, encoded, sorted by name and value before they are encoded. An empty value gives `name=`.
#[must_use]
pub fn canonical(params: &[(String, String)]) -> String {
    let mut pairs: Vec<&(String, String)> = params.iter().collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    pairs.join("&")
}

/// Reads a query, or a body of type `application/x-www-form-urlencoded`.
#[must_use]
pub fn parse(query: &str) -> Params {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// The first value under a name.
#[must_use]
pub fn first<'a>(params: &'a [(String, String)], name: &str) -> Option<&'a str> {
    params.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written can be read back, and the awkward characters are written as the cloud wants them.
    #[test]
    fn encoding_round_trips() {
        let text = "h.*llo,user:[0-9]+ ~key/中";
        assert_eq!(encode(text), "h.%2Allo%2Cuser%3A%5B0-9%5D%2B%20~key%2F%E4%B8%AD");
        assert_eq!(decode(&encode(text)), text);
    }

    /// Broken encoding from the wire is data, never a panic.
    #[test]
    fn broken_encoding_is_kept() {
        for (text, read) in [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("a+b%2", "a b%2"), ("%ff", "\u{fffd}")] {
            assert_eq!(decode(text), read);
        }
        assert_eq!(parse("&a&=b&c=d=e"), [("a", ""), ("", "b"), ("c", "d=e")].map(|(k, v)| (k.into(), v.into())));
    }
}
