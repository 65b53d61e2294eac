//! The error model: what failed, at which step, on which object, by which call, with which errno, and a hint.
//!
//! Errors are `anyhow::Error`s whose innermost cause is usually a [`SysError`]. On the way up each level adds one context.
//! Two kinds of context carry facts besides text: `Step` (a step on the way to a container) and [`At`] (the place in
//! config.json that is at fault). Errors are returned, never logged on the way, and printed once, by `main`. An error of
//! init crosses to the runtime as a [`Report`].

mod cleanup;
pub mod findings;
mod hints;
mod shortened;
mod step;

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::sys::SysError;

pub use anyhow::{Error, Result, anyhow, bail};
pub use cleanup::{Cleanup, again};
pub use findings::{Finding, Position};
pub use shortened::shortened;
pub(crate) use step::Step;

/// Adds to an error what was being done. Like anyhow's trait of this name, except for one rule: of several places in
/// config.json the innermost is at fault, and no place is named twice. So an [`At`] does not replace one that the error
/// already has: the outer one is dropped if the inner includes it (`mounts[7]` around `mounts[7].source`), and becomes
/// plain text if not.
pub trait Context<T> {
    fn context<C: fmt::Display + Send + Sync + 'static>(self, context: C) -> Result<T>;
    fn with_context<C: fmt::Display + Send + Sync + 'static>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context<C: fmt::Display + Send + Sync + 'static>(self, context: C) -> Result<T> {
        self.map_err(|error| add(error.into(), context))
    }

    fn with_context<C: fmt::Display + Send + Sync + 'static>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| add(error.into(), context()))
    }
}

fn add<C: fmt::Display + Send + Sync + 'static>(error: Error, context: C) -> Error {
    let outer = (&context as &dyn std::any::Any).downcast_ref::<At>();
    match (outer, error.downcast_ref::<At>()) {
        (Some(outer), Some(inner)) if outer.holds(inner) => error,
        (Some(outer), Some(_)) => {
            let text = outer.to_string();
            error.context(text)
        }
        _ => error.context(context),
    }
}

/// Context: the place in config.json that is at fault, and what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The path inside config.json: `mounts[3]`, `linux.namespaces[0].type`.
    pub path: String,
    /// The name of the object, if it helps: a mount's destination, a device's path.
    pub object: Option<String>,
}

impl At {
    pub fn new(path: impl Into<String>) -> Self {
        At {
            path: path.into(),
            object: None,
        }
    }

    pub fn object(path: impl Into<String>, object: impl fmt::Display) -> Self {
        At {
            path: path.into(),
            object: Some(object.to_string()),
        }
    }

    /// Whether another place is this one or is inside it.
    fn holds(&self, other: &At) -> bool {
        let rest = other.path.strip_prefix(&self.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{} {object:?}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// An error reduced to what a log line or another process needs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Report {
    /// The whole chain of contexts, outermost first, joined by `": "`.
    pub msg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<Step>,
    /// The path inside config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_number")]
    pub errno: Option<Errno>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every mistake in a document, in the order of the file; the first is the one that the fields above describe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// An errno crosses to another process as its number.
mod as_number {
    use nix::errno::Errno;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(errno: &Option<Errno>, to: S) -> Result<S::Ok, S::Error> {
        errno.map(|errno| errno as i32).serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Errno>, D::Error> {
        Ok(Option::deserialize(from)?.map(Errno::from_raw))
    }
}

impl Report {
    pub fn of(error: &Error) -> Self {
        // A report from another process keeps its facts. Contexts that were added since come before its message.
        let crossed = error.downcast_ref::<Report>().cloned().unwrap_or_default();
        let step = error.downcast_ref::<Step>().copied().or(crossed.step);
        let path = error.downcast_ref::<At>().map(|at| at.path.clone()).or(crossed.path);
        let call = error.downcast_ref::<SysError>();
        let errno = call.map(|call| call.errno).or(crossed.errno);
        let msg = shortened(format!("{error:#}"));
        let hint = error
            .downcast_ref::<Hint>()
            .map(|hint| hint.hint.clone())
            .or(crossed.hint)
            .or_else(|| hints::find(step, call?).map(str::to_string));
        Report {
            msg,
            step,
            path: path.map(shortened),
            errno,
            hint: hint.map(shortened),
            findings: crossed.findings,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)
    }
}

impl std::error::Error for Report {}

/// A message with its hint, for errors whose hint only the place that found them knows. Also a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What failed.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hint {}

/// An error with its hint: `with_hint("what failed", "what to do")`. After a failed call use [`call_with_hint`], which
/// keeps the call.
pub fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(Hint {
        message: message.into(),
        hint: hint.into(),
    })
}

/// A failed call with what it means and its hint. The call and its errno stay in the error.
pub fn call_with_hint(call: SysError, message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(call).context(Hint {
        message: message.into(),
        hint: hint.into(),
    })
}

/// The errno of the failed call that an error is about, if there is one.
pub fn errno(error: &Error) -> Option<Errno> {
    error.downcast_ref::<SysError>().map(|call| call.errno)
}

/// Adds a failed cleanup to the error that made it necessary. The cause stays first.
pub fn with_cleanup(cause: Error, cleanup: Result<()>) -> Error {
    match cleanup {
        Ok(()) => cause,
        Err(also) => {
            let mut report = Report::of(&cause);
            report.msg = format!("{} (cleaning up failed too: {})", report.msg, Report::of(&also).msg);
            Error::new(report)
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::sys::Syscall;

    fn call() -> SysError {
        SysError::new(Syscall::OpenTree.of("/srv"), Errno::ENOENT)
    }

    #[test]
    fn the_innermost_place_is_reported_and_only_once() {
        let inner: Result<()> = Err(call()).context(At::object("mounts[7].source", "/srv"));
        let error = inner.context(At::object("mounts[7]", "/data")).context(Step::Mounts);
        let report = Report::of(&error.unwrap_err());
        assert_eq!(report.path.as_deref(), Some("mounts[7].source"));
        assert_eq!(report.msg.matches("mounts[7]").count(), 1, "{}", report.msg);
        assert_eq!(report.step, Some(Step::Mounts));

        // Another place around it is still printed, but is not at fault.
        let inner: Result<()> = Err(call()).context(At::new("mounts[70]"));
        let report = Report::of(&inner.context(At::new("mounts[7]")).unwrap_err());
        assert_eq!(report.path.as_deref(), Some("mounts[70]"));
        assert!(report.msg.starts_with("mounts[7]: mounts[70]: "), "{}", report.msg);
    }

    #[test]
    fn a_value_of_10_megabytes_is_not_echoed() {
        let value = "x".repeat(10 << 20);
        let inner: Result<()> = Err(with_hint(
            format!("{value:?} is too long"),
            format!("shorten {value:?}"),
        ));
        let report = Report::of(&inner.context(At::new(format!("linux.sysctl[{value:?}]"))).unwrap_err());
        assert!(report.msg.ends_with("xxx\" is too long"), "{}", report.msg);
        for text in [Some(report.msg), report.hint, report.path] {
            assert!(text.is_some_and(|text| text.len() < 2000));
        }
    }

    #[test]
    fn a_hint_keeps_the_call() {
        let report = Report::of(&call_with_hint(call(), "no such directory", "make it"));
        assert_eq!(report.errno, Some(Errno::ENOENT));
        assert_eq!(report.hint.as_deref(), Some("make it"));
        assert!(
            report.msg.starts_with("no such directory: open_tree("),
            "{}",
            report.msg
        );
    }

    #[test]
    fn a_report_of_another_process_keeps_its_facts() {
        let inner: Result<()> = Err(call()).context(At::new("mounts[7].source"));
        let sent = Report::of(&inner.context(Step::Mounts).unwrap_err());
        let hint = sent.hint.clone();
        assert!(hint.is_some_and(|hint| hint.starts_with("the source of a bind mount must exist")));
        let bytes = serde_json::to_vec(&sent).unwrap();
        let received: Report = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(received, sent);
        let error = Error::new(received).context("run");
        let report = Report::of(&error);
        assert_eq!(report.msg, format!("run: {}", sent.msg));
        assert_eq!(
            (report.step, report.path, report.errno, report.hint),
            (sent.step, sent.path, sent.errno, sent.hint)
        );
    }
}
