//! Sends the listener of a seccomp filter to its agent (config-linux.md, "The Container Process State").

use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;

use super::fd_passing;
use crate::error::{At, Context, Result, Step, call_with_hint};
use crate::plan::seccomp::Listener;
use crate::progress;
use crate::protocol::{Message, out_of_order};
use crate::status::Document;
use crate::sys::socket;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a Document<'a>,
}

/// Sends the descriptor and the state of its process: one state per connection, which is then closed.
pub fn hand_over(listener: Option<&Listener>, pid: i32, state: &Document, fd: OwnedFd) -> Result<()> {
    let listener = listener.ok_or_else(|| out_of_order(&Message::Listener))?;
    progress::step(Step::SeccompAgent);
    let send = || -> Result<()> {
        let text = serde_json::to_vec(&ContainerProcessState {
            oci_version: crate::plan::OCI_VERSION,
            fds: ["seccompFd"],
            pid,
            metadata: listener.metadata.as_deref(),
            state,
        })?;
        let socket = socket::unix(libc::SOCK_STREAM)?;
        socket::limit_sending(socket.as_fd(), fd_passing::PATIENCE)?;
        socket::connect(socket.as_fd(), &listener.path).map_err(|error| {
            let cure = "start the seccomp agent first: it must be listening on linux.seccomp.listenerPath";
            call_with_hint(error, "failed to connect with seccomp agent", cure)
        })?;
        Ok(socket::send(socket.as_fd(), &text, Some(fd.as_fd()))?)
    };
    send()
        .context(At::object("linux.seccomp.listenerPath", listener.path.display()))
        .context(Step::Seccomp)
}
