//! `--page-server`: the memory goes directly to the other machine.

use super::super::{BOOTED, is_booted};
use super::{CHECKPOINT, Movable, THERE, TRACKING, can_checkpoint, carry, has_feature, page_files};
use crate::need;

#[test]
fn pages_are_sent_to_the_page_server() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = Movable::rewriting(32, 4, 4);
    let (server, port) = c.page_server("there-images", &[]);
    c.checkpoint("images", &["--page-server", &format!("127.0.0.1:{port}")]);
    server.wait().ok();
    assert_eq!(page_files(&c, "images"), [""; 0]);
    assert!(!page_files(&c, "there-images").is_empty());
    carry(&c, "images", "there-images");
    c.restore(THERE, "there-images", &[]);
    c.until_it_goes_on();
    c.assert_memory_intact();
    c.delete();
}

#[test]
fn a_checkpoint_without_its_page_server_leaves_the_container_running() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = Movable::rewriting(8, 4, 4);
    let port = super::free_port();
    c.checkpoint_cmd("images", &["--page-server", &format!("127.0.0.1:{port}")])
        .run()
        .fails();
    assert_eq!(c.status(), "running");
    c.until_it_goes_on();
    c.assert_memory_intact();
}

#[test]
fn a_chain_of_pre_dumps_goes_to_page_servers() {
    need!(is_booted(), BOOTED);
    need!(has_feature("mem_dirty_track"), TRACKING);
    let c = Movable::rewriting(32, 4, 4);
    super::migration::send(&c, &["--auto-dedup"]);
    c.restore(THERE, "there-3", &["--auto-dedup"]);
    c.until_it_goes_on();
    c.assert_memory_intact();
    c.delete();
}
