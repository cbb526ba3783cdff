//! The first line of a function library, `#!<engine> name=<name>`: what a server reads before it hands the code to the engine, and ends
//! over where it is wrong.
//!
//! It must not judge the code: only the engine can compile that, and it may hold any bytes.

/// The engine that every server has. Modules of Valkey 8.1 and later may bring others.
const LUA: &[u8] = b"LUA";

/// The name of a library, if its first line is one that servers take. `engines`: whether other engines than Lua may be there. The name is empty
/// where the line is quoted in a way that only servers read.
pub(super) fn name(code: &[u8], engines: bool) -> Result<&[u8], &'static str> {
    let line = code.strip_prefix(b"#!").ok_or("a function library does not begin with #!")?;
    let end = line.iter().position(|byte| *byte == b'\n').ok_or("a function library ends in its first line")?;
    let line = line.get(..end).unwrap_or_default();
    if line.contains(&0) {
        return Err("the first line of a function library holds a zero");
    }
    if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return Ok(&[]);
    }
    let mut words = line.split(|byte| byte.is_ascii_whitespace() || *byte == 0x0b);
    // What follows #! at once is the engine's name.
    let engine = words.next().unwrap_or_default();
    if engine.is_empty() || !(engines || engine.eq_ignore_ascii_case(LUA)) {
        return Err("the engine of a function library is not known");
    }
    let mut words = words.filter(|word| !word.is_empty());
    let (Some(word), None) = (words.next(), words.next()) else {
        return Err("the first line of a function library does not give its name alone");
    };
    match word.split_at_checked(5) {
        Some((key, name)) if key.eq_ignore_ascii_case(b"name=") && is_name(name) => Ok(name),
        _ => Err("the name of a function library is none"),
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn first_lines() {
        for (code, expected) in [
            ("#!lua name=lib\ncode", Some("lib")),
            ("#!LUA \t NAME=Lib_2 \r\n", Some("Lib_2")),
            ("#!lua name=\"lib\"\n", Some("")),
            ("#!lua name=lib", None),
            ("#!lua\n", None),
            ("#! lua name=lib\n", None),
            ("lua name=lib\n", None),
            ("#!luna name=lib\n", None),
            ("#!lua name=lib name=lib\n", None),
            ("#!lua name=lib else\n", None),
            ("#!lua name=a-b\n", None),
            ("#!lua name=\n", None),
            ("#!lua name=l\0ib\n", None),
            ("", None),
        ] {
            assert_eq!(name(code.as_bytes(), false).ok(), expected.map(str::as_bytes), "{code:?}");
        }
        assert_eq!(name(b"#!js name=lib\n", true), Ok(&b"lib"[..]));
    }
}
