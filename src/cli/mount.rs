//! What kind of volume a directory lies on, from the kernel's table of mounts.

use std::path::Path;

/// One row of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The part of the volume that is shown here.
    pub root: String,
    pub point: String,
    /// `ext4`, `tmpfs`, `overlay`.
    pub kind: String,
    pub read_only: bool,
}

impl Mount {
    /// The mount that `path` lies on; the last one wins where mounts cover each other.
    pub fn of(table: &str, path: &Path) -> Option<Self> {
        let mut best: Option<Self> = None;
        for mount in table.lines().filter_map(Self::parse) {
            let longer = best.as_ref().is_none_or(|best| mount.point.len() >= best.point.len());
            if longer && path.starts_with(&mount.point) {
                best = Some(mount);
            }
        }
        best
    }

    /// `proc_pid_mountinfo(5)`: optional fields end with a lone dash.
    fn parse(row: &str) -> Option<Self> {
        let (left, right) = row.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point, options) = (left.next()?, left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?;
        Some(Self {
            root: unescape(root),
            point: unescape(point),
            kind: kind.to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
        })
    }

    /// Why what is written here does not last; `None` where it should.
    pub fn transience(&self, in_container: bool) -> Option<&'static str> {
        match self.kind.as_str() {
            "tmpfs" | "ramfs" => Some("it is kept in memory and gone after a restart"),
            _ if self.root.contains("kubernetes.io~empty-dir") => {
                Some("it is an emptyDir, gone with its pod")
            }
            "overlay" if in_container => Some("it is the container's own layer, gone with the container"),
            _ => None,
        }
    }
}

/// Blanks and backslashes are written in octal.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /run rw,nosuid - tmpfs tmpfs rw
24 22 8:1 /var/lib/kubelet/pods/x/volumes/kubernetes.io~empty-dir/state /state rw - ext4 /dev/sda1 rw
25 22 0:9 / /a\\040b ro - xfs /dev/sdb rw
26 22 0:50 / /box rw - overlay overlay rw
";

    #[test]
    fn volumes_that_do_not_last_are_known() {
        let on = |path: &str| Mount::of(TABLE, Path::new(path)).map(|mount| (mount.kind.clone(), mount));
        let lasts = |path: &str| on(path).and_then(|(_, mount)| mount.transience(true)).is_none();
        assert!(lasts("/var/lib/nolapse") && lasts("/a b/c") && lasts("/statement"));
        assert!(!lasts("/run/nolapse") && !lasts("/state/x") && !lasts("/box"));
        assert!(on("/a b").is_some_and(|(kind, mount)| kind == "xfs" && mount.read_only));
        assert_eq!(Mount::of("", Path::new("/")), None);
        assert_eq!(Mount::of("garbage - x\n1 2 - \n", Path::new("/")), None);
    }
}
