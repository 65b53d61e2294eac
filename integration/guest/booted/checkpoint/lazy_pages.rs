//! `--lazy-pages`: the restored container runs before it has its memory, and gets each page when it needs it.

use std::io::Read;

use nix::unistd::pipe;
use serde_json::json;

use super::super::{BOOTED, is_booted};
use super::{Movable, ON_DEMAND, THERE, alive, free_port, has_feature, page_files, work};
use crate::harness::{Running, eventually};
use crate::need;

/// Moves it, and returns when it runs there: the checkpoint, and the server there. Both end when all pages have been moved.
pub fn move_it(c: &Movable) -> (Running, Running) {
    let port = free_port().to_string();
    let address = format!("127.0.0.1:{port}");
    let (ready, status_fd) = pipe().expect("a pipe");
    let flags = ["--lazy-pages", "--page-server", &address, "--status-fd", "7"];
    let checkpoint = c.checkpoint_cmd("images", &flags).pass_fd(status_fd, 7).spawn();
    // CRIU writes a zero when the images are complete and it waits for requests.
    let mut byte = [1];
    std::fs::File::from(ready).read_exact(&mut byte).unwrap_or_else(|e| {
        let log = std::fs::read_to_string(c.bundle.path(&work("images")).join("dump.log"));
        panic!("no status: {e}; {log:?}")
    });
    assert_eq!(byte, [0]);
    let args = ["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", &port];
    let server = c.criu("images", &args);
    let socket = c.bundle.path(&work("images")).join("lazy-pages.socket");
    eventually("the server listens", || socket.exists());
    // The container here still exists, with its cgroup.
    let there = format!("{}-there", c.id);
    c.bundle
        .change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{there}")));
    c.restore(THERE, "images", &["--lazy-pages"]);
    (checkpoint, server)
}

#[test]
fn pages_are_fetched_on_demand() {
    need!(is_booted(), BOOTED);
    need!(has_feature("uffd"), ON_DEMAND);
    let c = Movable::rewriting(32, 4, 4);
    let pid = c.on(&["state"]).ok().json()["pid"].as_i64().expect("a PID") as i32;
    let (checkpoint, server) = move_it(&c);
    assert_eq!(page_files(&c, "images").len(), 1, "only what may not be lazy");
    c.until_it_goes_on();
    checkpoint.wait().ok();
    server.wait().ok();
    assert!(!alive(pid), "the original container still runs");
    c.assert_memory_intact();
    c.delete();
}
