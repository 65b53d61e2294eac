//! Where in a JSON document a value is that its type refuses.
//!
//! The reader of types stops at the first mistake and knows only its line. Keeping the path while reading would cost every
//! container for the sake of the broken ones, so the path is found afterwards, by reading again with less: an object or a
//! list that is cut behind the mistake still fails in the same words, and one that is cut before it does not.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The path of the value that makes a document unreadable as a `T` (`linux.namespaces[2].type`; empty for the document
/// itself), and the reason. `None` where the document can be read after all.
pub fn mistake<T: DeserializeOwned>(document: &Value) -> Option<(String, String)> {
    let reason = refusal::<T>(document)?;
    let mut document = document.clone();
    // Where the value is in the document that is there, and where it was in the one that was given.
    let (mut path, mut given): (Vec<Step>, Vec<Step>) = (Vec::new(), Vec::new());
    while let Some(count) = children(&document, &path) {
        let fails = |kept: Range<usize>| {
            cut(&document, &path, kept).is_some_and(|less| refusal::<T>(&less).as_ref() == Some(&reason))
        };
        // This is not what was expected at all, or lacks something.
        if count == 0 || fails(0..0) || lacks::<T>(&document, &path, &reason) {
            break;
        }
        // What is in a list does not depend on what stands before it, and need not be read again and again.
        let is_list = matches!(at(&document, &path), Some(Value::Array(_)));
        // With `enough` children it fails, with `few` it does not.
        let (mut few, mut enough) = (0, count);
        while enough - few > 1 {
            let middle = few + (enough - few) / 2;
            if fails(if is_list { few } else { 0 }..middle) {
                enough = middle;
            } else {
                few = middle;
            }
        }
        let next = step(&document, &path, few)?;
        given.push(next.clone());
        // Further down it is quicker without the neighbours, where the mistake remains the same without them.
        let alone = cut(&document, &path, few..few + 1);
        match alone.filter(|alone| refusal::<T>(alone).as_ref() == Some(&reason)) {
            Some(alone) => {
                document = alone;
                path.push(if is_list { Step::Index(0) } else { next });
            }
            None => path.push(next),
        }
    }
    // The reader of text says no more of what cannot be a name.
    let reason = match at(&document, &path) {
        Some(value) if reason == "expected value" => format!("{value} is none of the names that are possible here"),
        _ => reason,
    };
    Some((text(&given), reason))
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

/// The document with only these children of the value at `path`.
fn cut(document: &Value, path: &[Step], kept: Range<usize>) -> Option<Value> {
    let (step, below) = match path.split_first() {
        Some(split) => split,
        None => {
            let (skipped, count) = (kept.start, kept.len());
            return Some(match document {
                Value::Object(map) => {
                    let entries = map.iter().skip(skipped).take(count);
                    Value::Object(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
                }
                Value::Array(list) => Value::Array(list.iter().skip(skipped).take(count).cloned().collect()),
                other => other.clone(),
            });
        }
    };
    // Only what is kept is copied.
    Some(match (document, step) {
        (Value::Object(map), Step::Key(key)) => {
            let inner = cut(map.get(key)?, below, kept)?;
            let mut inner = Some(inner);
            let entries = map.iter().map(|(name, value)| {
                let cut = if name == key { inner.take() } else { None };
                (name.clone(), cut.unwrap_or_else(|| value.clone()))
            });
            Value::Object(entries.collect())
        }
        (Value::Array(list), Step::Index(index)) => {
            let mut inner = Some(cut(list.get(*index)?, below, kept)?);
            let entries = list.iter().enumerate().map(|(place, value)| {
                let cut = if place == *index { inner.take() } else { None };
                cut.unwrap_or_else(|| value.clone())
            });
            Value::Array(entries.collect())
        }
        _ => return None,
    })
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
