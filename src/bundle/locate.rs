//! Where in a JSON document a value is that its type refuses.
//!
//! The reader of types stops at the first mistake and knows only its line. Keeping the path while reading would cost every
//! container for the sake of the broken ones, so the path is found afterwards, by reading again with less: an object or a
//! list that is cut behind the mistake still fails in the same words, and one that is cut before it does not.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The path of the value that makes a document unreadable as a `T` (`linux.namespaces[2].type`; empty for the document
/// itself), and the reason. `None` where the document can be read after all.
pub fn mistake<T: DeserializeOwned>(document: &Value) -> Option<(String, String)> {
    let reason = refusal::<T>(document)?;
    let mut path: Vec<Step> = Vec::new();
    while let Some(count) = children(document, &path) {
        let fails = |kept: usize| {
            cut(document, &path, kept).is_some_and(|shorter| refusal::<T>(&shorter).as_ref() == Some(&reason))
        };
        // This is not what was expected at all, or lacks something.
        if count == 0 || fails(0) || lacks::<T>(document, &path, &reason) {
            break;
        }
        // With `enough` children it fails, with `few` it does not.
        let (mut few, mut enough) = (0, count);
        while enough - few > 1 {
            let middle = few + (enough - few) / 2;
            if fails(middle) {
                enough = middle;
            } else {
                few = middle;
            }
        }
        path.push(step(document, &path, few)?);
    }
    // The reader of text says no more of what cannot be a name.
    let reason = match at(document, &path) {
        Some(value) if reason == "expected value" => format!("{value} is none of the names that are possible here"),
        _ => reason,
    };
    Some((text(&path), reason))
}

/// Whether the reason is a field that is missing just here: then it is another one once the field is there.
fn lacks<T: DeserializeOwned>(document: &Value, path: &[Step], reason: &str) -> bool {
    let field = reason
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    let Some(field) = field else { return false };
    let mut completed = document.clone();
    match at_mut(&mut completed, path) {
        Some(Value::Object(map)) if !map.contains_key(field) => {
            map.insert(field.into(), Value::Null);
        }
        _ => return false,
    }
    refusal::<T>(&completed).as_deref() != Some(reason)
}

/// One step down: a key, or a place in a list.
#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// Why a document cannot be read, without the place in a text that nobody has seen.
fn refusal<T: DeserializeOwned>(document: &Value) -> Option<String> {
    let bytes = serde_json::to_vec(document).ok()?;
    let message = serde_json::from_slice::<T>(&bytes).err()?.to_string();
    Some(match message.rfind(" at line ") {
        Some(end) => message.get(..end).unwrap_or_default().to_string(),
        None => message,
    })
}

fn at<'a>(document: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

fn at_mut<'a>(document: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

/// How many values the one at `path` holds; `None` if it can hold none.
fn children(document: &Value, path: &[Step]) -> Option<usize> {
    match at(document, path)? {
        Value::Object(map) => Some(map.len()),
        Value::Array(list) => Some(list.len()),
        _ => None,
    }
}

fn step(document: &Value, path: &[Step], index: usize) -> Option<Step> {
    match at(document, path)? {
        Value::Object(map) => map.keys().nth(index).map(|key| Step::Key(key.clone())),
        _ => Some(Step::Index(index)),
    }
}

/// The document with only the first `kept` children of the value at `path`.
fn cut(document: &Value, path: &[Step], kept: usize) -> Option<Value> {
    let mut shorter = document.clone();
    match at_mut(&mut shorter, path)? {
        Value::Object(map) => *map = std::mem::take(map).into_iter().take(kept).collect(),
        Value::Array(list) => list.truncate(kept),
        _ => {}
    }
    Some(shorter)
}

fn text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text += key,
            Step::Key(key) => text += &format!(".{key}"),
            Step::Index(index) => text += &format!("[{index}]"),
        }
    }
    text
}
