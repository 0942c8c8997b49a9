//! Metrics as a file for `node_exporter`'s textfile collector: the way for a timer, which has no
//! process to scrape.

use std::path::Path;

use super::metrics::Metrics;
use crate::core::layout::{Content, FileRights, FsOp, replace};

/// Steps that put the current numbers at `path`, whole or not at all; readable by everyone, as
/// the collector has a user of its own.
///
/// The collector reads names that end in `.prom` only, so a half-written file is never read.
pub fn plan(path: &Path, metrics: &Metrics) -> Vec<FsOp> {
    replace(path, Content::new(metrics.textfile().into_bytes()), FileRights::mode(0o644))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::time::Timestamp;

    #[test]
    fn the_file_appears_whole_and_readable() {
        let metrics = Metrics::new("1.2.3", Arc::new(|| Timestamp::EPOCH));
        let ops = plan(Path::new("/var/lib/node/nolapse.prom"), &metrics);
        let [
            FsOp::Discard { .. },
            FsOp::Create { path, content, rights },
            FsOp::Rename { from, to },
            FsOp::SyncDir { .. },
        ] = ops.as_slice()
        else {
            unreachable!("{ops:?}")
        };
        assert_eq!((path, to.as_path()), (from, Path::new("/var/lib/node/nolapse.prom")));
        assert!(path.extension().is_none_or(|end| end != "prom"));
        assert_eq!(rights.mode, 0o644);
        assert_eq!(content.bytes(), metrics.textfile().as_bytes());
    }
}
