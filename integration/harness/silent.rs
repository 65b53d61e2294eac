//! Servers that never answer, so that their clients hang.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sys::socket::{Backlog, listen};

use super::HostMount;

/// A FUSE file system (fuse(4)) whose server does not read requests: a process that looks up a name in it waits
/// until it is killed, or this is dropped.
pub struct SilentMount {
    // In this order: waiting processes continue before the mount is removed.
    _server: File,
    mount: HostMount,
}

impl SilentMount {
    /// None where there is no /dev/fuse.
    pub fn new(path: &Path) -> Option<Self> {
        let server = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        fs::create_dir(path).expect("make the mount point");
        let mount = HostMount::at(path);
        let data = format!("fd={},rootmode=40755,user_id=0,group_id=0", server.as_raw_fd());
        nix::mount::mount(
            Some("silent"),
            path,
            Some("fuse"),
            MsFlags::empty(),
            Some(data.as_str()),
        )
        .expect("mount(fuse)");
        Some(SilentMount { _server: server, mount })
    }

    /// A name in it.
    pub fn name(&self) -> PathBuf {
        self.mount.path.join("name")
    }
}

/// A socket that listens and has no room for another connection: connect(2) waits.
pub struct SilentSocket {
    pub path: PathBuf,
    _listener: UnixListener,
    _waiting: UnixStream,
}

impl SilentSocket {
    pub fn new(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("bind");
        // The backlog has room for one connection, which this one fills.
        listen(&listener, Backlog::new(0).expect("a backlog")).expect("listen");
        let waiting = UnixStream::connect(&path).expect("connect");
        SilentSocket {
            path,
            _listener: listener,
            _waiting: waiting,
        }
    }
}
