//! Many containers at the cost of one: copies of its state, which share its process and its cgroup.

use std::fs;

use super::{Bundle, Container};

pub struct Copies<'a> {
    pub container: Container<'a>,
    /// The IDs of the copies.
    pub ids: Vec<String>,
}

impl<'a> Copies<'a> {
    pub fn of(bundle: &'a Bundle, number: usize) -> Self {
        let container = bundle.start();
        let directory = |id: &str| bundle.state_root().join(id);
        let state = fs::read_to_string(directory(&container.id).join("state.json")).unwrap();
        let ids: Vec<String> = (0..number).map(|n| format!("copy-{n:04}")).collect();
        for id in &ids {
            fs::create_dir(directory(id)).unwrap();
            fs::write(directory(id).join("state.json"), state.replace(&container.id, id)).unwrap();
        }
        Copies { container, ids }
    }
}

impl Drop for Copies<'_> {
    fn drop(&mut self) {
        for id in &self.ids {
            fs::remove_dir_all(self.container.bundle.state_root().join(id)).unwrap();
        }
    }
}
