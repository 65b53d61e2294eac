//! Exit codes of the runtime itself. Those of a container's process are passed on by `run` and `exec`.

pub const SUCCESS: u8 = 0;
pub const FAILURE: u8 = 1;
/// A failure of `exec`: its caller must be able to tell it from the program's own exit code.
pub const EXEC_FAILURE: u8 = 255;
