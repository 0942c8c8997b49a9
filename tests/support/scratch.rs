//! A directory that goes with its test.

/// In memory where the host allows: what a reader sees does not depend on what is synced.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
