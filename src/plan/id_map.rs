//! Maps of user and group IDs.

/// What is in `/proc/PID/{uid_map,gid_map}`, see user_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdMaps {
    pub uid: Vec<IdMapping>,
    pub gid: Vec<IdMapping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdMapping {
    pub container: u32,
    pub host: u32,
    pub size: u32,
}

impl IdMaps {
    /// The id inside the container that files of the making belong to: root where it is mapped, else `preferred` (the
    /// process's own), else the first that there is.
    pub fn creator_id(list: &[IdMapping], preferred: Option<u32>) -> Option<u32> {
        let mapped = |id: u32| list.iter().any(|mapping| mapping.holds(id));
        if mapped(0) {
            return Some(0);
        }
        preferred
            .filter(|id| mapped(*id))
            .or_else(|| list.first().map(|mapping| mapping.container))
    }
}

impl IdMapping {
    /// The host's ID for an ID of the container, if it is in this range.
    pub fn to_host(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.container).filter(|offset| *offset < self.size)?;
        self.host.checked_add(offset)
    }

    /// Whether an id of the container is in this range.
    pub fn holds(&self, id: u32) -> bool {
        id.checked_sub(self.container).is_some_and(|offset| offset < self.size)
    }
}
