//! A result as JSON, and ways to look into it: by pointers (RFC 6901), the first of several that is there.
//!
//! It must never fail because a value has another type than expected: then it isn't there.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// The object in a file; of several lines of JSON (`--ndjson`) the objects in order.
///
/// # Errors
/// [`Failure::Run`] for a file that can't be read, [`Failure::Usage`] for one that holds no JSON objects.
pub(super) fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    let name = path.display();
    let mut text = String::new();
    let got = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    got.map_err(|error| Failure::Run(format!("cannot read {name}: {error}")))?;
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let values = values.collect::<Result<Vec<_>, _>>().map_err(|error| {
        Failure::Usage(format!(
            "{name} is not JSON ({error}): expected what serve, bench, load or flood print with --json"
        ))
    })?;
    if values.is_empty() || !values.iter().all(Value::is_object) {
        return Err(Failure::Usage(format!(
            "{name} holds no result: expected what serve, bench, load or flood print with --json"
        )));
    }
    Ok(values)
}

/// The first of these places where there is something.
pub(super) fn first<'a>(value: &'a Value, pointers: &[&str]) -> Option<&'a Value> {
    let mut found = pointers.iter().filter_map(|pointer| value.pointer(pointer));
    found.find(|value| !value.is_null())
}

/// A number at the first of these places.
pub(super) fn number(value: &Value, pointers: &[&str]) -> Option<f64> {
    first(value, pointers)?.as_f64().filter(|n| n.is_finite())
}

/// A text at the first of these places.
pub(super) fn text<'a>(value: &'a Value, pointers: &[&str]) -> Option<&'a str> {
    first(value, pointers)?.as_str()
}

/// Texts: one, or a list of them.
pub(super) fn texts(value: &Value, pointers: &[&str]) -> Vec<String> {
    match first(value, pointers) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().map(plain).collect(),
        _ => Vec::new(),
    }
}

/// A value in a line: texts as they are, lists with commas.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null => "none".into(),
        other => other.to_string(),
    }
}

/// Names and counts of an object, those that are not 0, largest first.
pub(super) fn counts(value: &Value, pointers: &[&str]) -> Vec<(String, u64)> {
    let Some(Value::Object(object)) = first(value, pointers) else {
        return Vec::new();
    };
    let count = |(name, n): (&String, &Value)| Some((name.clone(), n.as_u64().filter(|&n| n > 0)?));
    let mut counts: Vec<(String, u64)> = object.iter().filter_map(count).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}
