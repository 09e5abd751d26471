//! `${NAME}` in string values: replaced by the environment that the caller hands in.

/// The environment, as the caller sees it. The library never reads the process's own.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// `text` with every `${NAME}` replaced; `$${` stands for `${`.
pub(super) fn replace(text: &str, env: Env<'_>) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            replaced.push_str(before);
            replaced.push_str("${");
            rest = after;
            continue;
        }
        replaced.push_str(before);
        let (name, tail) = variable(after)?;
        match env(name) {
            Some(value) => replaced.push_str(&value),
            None => missing.push(format!("`{name}`")),
        }
        rest = tail;
    }
    replaced.push_str(rest);
    match missing.as_slice() {
        [] => Ok(replaced),
        [name] => Err(format!(
            "the environment variable {name} is not set: set it, or write `$${{` for a plain `${{`"
        )),
        names => Err(format!(
            "the environment variables {} are not set",
            names.join(", ")
        )),
    }
}

/// The name up to the closing brace, and what follows it.
fn variable(text: &str) -> Result<(&str, &str), String> {
    let plain = "write `$${` for a plain `${`";
    let (name, tail) = text
        .split_once('}')
        .ok_or_else(|| format!("`${{` has no closing `}}`: {plain}"))?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word)
    {
        return Err(format!(
            "`${{{name}}}` names no environment variable: {plain}"
        ));
    }
    Ok((name, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_escapes_kept() {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        let cases = [
            ("plain", Ok("plain")),
            ("", Ok("")),
            ("$A and $", Ok("$A and $")),
            ("${A}", Ok("one")),
            ("x${A}y${A}z", Ok("xoneyonez")),
            ("${EMPTY}", Ok("")),
            ("${NESTED}", Ok("${A}")),
            ("$${A}", Ok("${A}")),
            ("$$${A}", Ok("$${A}")),
            ("$${A}${A}", Ok("${A}one")),
            ("${B}", Err("variable `B` is not set")),
            ("${B}${C}", Err("variables `B`, `C` are not set")),
            ("${A", Err("no closing")),
            ("${}", Err("names no environment variable")),
            ("${a b}", Err("names no environment variable")),
            ("${1}", Err("names no environment variable")),
        ];
        for (text, expected) in cases {
            match (replace(text, &env), expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
